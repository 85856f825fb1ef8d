/* What a YAML scalar means: the resolution rules of gopkg.in/yaml.v3, apart from any parser. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/glue/yaml.h"

typedef struct YamlScalar {
        YamlKind kind;
        bool boolean;
        int64_t integer;
        double number; /* of an integer too large for int64_t as well, then of kind float */
} YamlScalar;

/* tag: "!!int" and so on, or NULL when the scalar is plain and says nothing. -EINVAL when the text
 * cannot be what its tag says. */
int yaml_scalar_resolve(const char *tag, const char *text, YamlScalar *ret);
/* Standard base64; *ret is owned and NUL-terminated. -EINVAL or -ENOMEM. */
int yaml_binary_decode(const char *text, char **ret, size_t *ret_size);
