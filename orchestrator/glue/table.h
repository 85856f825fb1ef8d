/* Tables for people (libsmartcols): columns as wide as they need to be, never cut, so that what they
 * show can be copied. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "orchestrator/base/error.h"

typedef struct Table Table;

/* columns: their headings; the list ends with NULL. */
int table_new(const char *const *columns, Table **ret, Error *reterr);
Table *table_free(Table *t);
/* One cell for each column, copied; NULL prints nothing. */
int table_add(Table *t, const char *const *cells, Error *reterr);
/* Without rows only the headings come. */
int table_print(Table *t, FILE *out, Error *reterr);

DEFINE_CLEANUP(Table *, table_free)
