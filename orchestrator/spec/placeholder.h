/* Placeholders: "${resources.db.host}" in the strings where Score knows them. Scanning is one pass from
 * left to right, and what is put in is not scanned again. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/base/error.h"

/* A piece of a string: literal text as it will stand in the result, or the reference between "${" and
 * "}". text points into the string scanned. */
typedef struct PlaceholderPart {
        bool reference;
        const char *text;
        size_t size;
        size_t offset; /* where it begins in the string, the "$" included */
} PlaceholderPart;

/* Start with { .string = s }. */
typedef struct PlaceholderScan {
        const char *string;
        size_t at;
        bool no_more_braces; /* nothing closes from here on: keeps the scan linear */
} PlaceholderScan;

/* The next part; false at the end. */
bool placeholder_next(PlaceholderScan *scan, PlaceholderPart *ret);
/* Whether the string holds a reference. */
bool placeholder_in(const char *string);

/* "a.b\.c" into "a", "b.c": an owned list that ends with NULL, never empty; NULL when out of memory. */
char **placeholder_split(const char *reference, size_t size);

/* What a loader can say without outputs: well formed, known root. 0, or -EINVAL with a sentence;
 * *ret_hint (may be NULL) is static text or NULL. *ret_parts (may be NULL) is the split reference. */
int placeholder_check(const char *reference, size_t size, char ***ret_parts, const char **ret_hint,
                      Error *reterr);

/* The outputs of the resource of this name as an object (borrowed), or NULL when there is none. */
typedef json_t *(*PlaceholderLookup)(void *userdata, const char *name);

/* The value that a reference means (borrowed). -ENOENT when a key, a resource or an output is missing,
 * -EINVAL for a reference that can mean nothing. */
int placeholder_value(const char *reference, size_t size, const json_t *metadata,
                      PlaceholderLookup lookup, void *userdata, json_t **ret, Error *reterr);
/* The string with every reference replaced: text as it is, anything else as compact JSON. */
int placeholder_substitute(const char *string, const json_t *metadata, PlaceholderLookup lookup,
                           void *userdata, char **ret, Error *reterr);

/* NAME when the whole string is "${resources.NAME}", owned, else NULL: the form that a volume source
 * takes. 0 or -ENOMEM. */
int placeholder_whole_resource(const char *string, char **ret);
