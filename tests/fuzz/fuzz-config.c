/* mayflyd.yaml: whatever it says, it is a configuration that can be asked, or it has faults. */
#include <stdlib.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const Config *c, const char *type) {
        auto_cleanup(freep) char *why = NULL;
        auto_cleanup(json_decrefp) json_t *none = json_object(), *laid = NULL;
        const Definition *d, *other;
        auto_error error = { 0 };

        if (config_find_tie(c, &d, &other) > 0)
                abort(); /* would have been a fault */
        if (config_match(c, type, NULL, "web.db", "shop", "feature/login", "stranger", &d, &why,
                         &error) == 0 &&
            definition_lay(d, none, &laid, NULL) < 0)
                abort(); /* what the definition itself gives must be within its own bounds */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        SpecFaults faults = { 0 };
        auto_error error = { 0 };
        Config *c = NULL;
        int r;

        r = config_parse("mayflyd.yaml", (const char *) data, size, &c, &faults, &error);
        if (r == -EINVAL && (!error.message || faults.n_items == 0))
                abort();
        if (r == 0 && (faults.n_items > 0 || faults.n_dropped > 0))
                abort();
        for (size_t i = 0; r == 0 && i < c->n_definitions; i++)
                ask(c, c->definitions[i].type);
        config_free(c);
        spec_faults_done(&faults);
        return 0;
}
