/* What jansson lacks: one deterministic way to write JSON, and numbers as short as they can be. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "orchestrator/base/str.h"

/* Appends value with sorted keys, UTF-8 unescaped, and the shortest digits that read back as the same
 * number (integral ones without a fraction). indent 0: all on one line without spaces. */
void json_write(StrBuf *b, const json_t *value, unsigned indent);
/* The same as an owned string, NULL when out of memory. */
char *json_compact(const json_t *value);

/* In the order of the members, as jansson writes it, owned; NULL when out of memory: json_dumps() of
 * jansson 2.14 may then leave a name out and say nothing. */
char *json_text(const json_t *value);

/* Appends "/" and key as one step of a JSON pointer (RFC 6901). */
void json_pointer_add(StrBuf *b, const char *key);
