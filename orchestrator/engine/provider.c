#include "orchestrator/engine/provider.h"

#include <string.h>

static const char *const class_names[_PROVIDER_CLASS_MAX] = {
        [PROVIDER_OK] = "ok",
        [PROVIDER_INVALID] = "invalid",
        [PROVIDER_DENIED] = "denied",
        [PROVIDER_GONE] = "gone",
        [PROVIDER_CONFLICT] = "conflict",
        [PROVIDER_DEPENDENCY] = "dependency",
        [PROVIDER_THROTTLED] = "throttled",
        [PROVIDER_TRANSIENT] = "transient",
        [PROVIDER_UNRECOVERABLE] = "unrecoverable",
};

const char *provider_class_to_string(ProviderClass c) {
        return (int) c >= 0 && c < _PROVIDER_CLASS_MAX ? class_names[c] : NULL;
}

ProviderClass provider_class_from_string(const char *s) {
        for (int i = 0; s && i < _PROVIDER_CLASS_MAX; i++)
                if (strcmp(class_names[i], s) == 0)
                        return (ProviderClass) i;
        return _PROVIDER_CLASS_INVALID;
}
