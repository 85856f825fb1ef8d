/* A small part of JSON Schema (draft 2020-12), enough to hold params against what describe says:
 * type (one name), properties, required, additionalProperties false, items, enum of strings, minimum,
 * maximum, maxLength, maxItems. Other keywords are for readers and are not held. */
#pragma once

#include <jansson.h>

#include "orchestrator/base/error.h"

/* 0, or -EINVAL with one sentence that names the place ("params.port") and, for a misspelt key, the one
 * that may have been meant. */
int schema_check(const json_t *schema, const json_t *value, const char *where, Error *reterr);

/* The key of a JSON object nearest to a misspelt one, or NULL. */
const char *schema_nearest_key(const json_t *object, const char *key);
