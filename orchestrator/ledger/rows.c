/* Rows to structs and back. Each kind of row has one table of columns, in the order in which its
 * statements name them. */
#include <jansson.h>
#include <stdio.h>

#include "orchestrator/ledger/private.h"

#define FIELD(type, row, column) ((type *) ((char *) (row) + (column)->offset))

static int list_load(const char *text, char ***ret) {
        auto_cleanup(strv_freep) char **list = NULL;
        json_auto_t *array = NULL;
        json_t *item;
        size_t i;
        int r;

        if (!text)
                return 0;
        array = json_loads(text, 0, NULL);
        if (!json_is_array(array))
                return -EBADMSG;
        json_array_foreach(array, i, item) {
                if (!json_is_string(item))
                        return -EBADMSG;
                r = strv_add(&list, json_string_value(item));
                if (r < 0)
                        return r;
        }
        *ret = TAKE(list);
        return 0;
}

static int list_bind(DbQuery *q, int at, char *const *list) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *array = json_array();

        if (!list) {
                db_bind_null(q, at);
                return 0;
        }
        for (; *list; list++)
                if (json_array_append_new(array, json_string(*list)) < 0)
                        return -ENOMEM;
        text = json_dumps(array, JSON_COMPACT);
        if (!text)
                return -ENOMEM;
        db_bind_text(q, at, text);
        return 0;
}

static int column_load(DbQuery *q, int at, const Column *c, void *row) {
        int state;

        switch (c->kind) {
        case COLUMN_TEXT:
                if (!db_text(q, at))
                        return -EBADMSG;
                return str_replace(FIELD(char *, row, c), db_text(q, at));
        case COLUMN_TEXT_OR_NULL:
                return str_replace(FIELD(char *, row, c), db_text(q, at));
        case COLUMN_INT:
                *FIELD(int64_t, row, c) = db_int(q, at);
                return 0;
        case COLUMN_BOOL:
                *FIELD(bool, row, c) = db_int(q, at) != 0;
                return 0;
        case COLUMN_STATE:
                state = state_from_name(c->machine, db_text(q, at));
                if (state < 0)
                        return -EBADMSG;
                *FIELD(int, row, c) = state;
                return 0;
        case COLUMN_LIST:
                return list_load(db_text(q, at), FIELD(char **, row, c));
        }
        return -EINVAL;
}

int row_load(DbQuery *q, const Column *columns, size_t n, void *row, size_t size, Error *reterr) {
        for (size_t i = 0; i < n; i++) {
                int r = column_load(q, (int) i, &columns[i], row);

                if (r < 0) {
                        row_done(columns, n, row, size);
                        return error_set(reterr, r,
                                         "A row of the ledger cannot be read: column %zu", i);
                }
        }
        return 0;
}

void row_skip(DbQuery *q, Skipped *skipped, Error *reterr) {
        if (skipped->n++ == 0)
                snprintf(skipped->first, sizeof(skipped->first), "%s", db_text(q, 0) ?: "?");
        if (reterr)
                error_done(reterr);
}

int row_bind(DbQuery *q, const Column *columns, size_t n, const void *row) {
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const Column *c = &columns[i];
                int at = (int) i + 1;

                switch (c->kind) {
                case COLUMN_TEXT:
                case COLUMN_TEXT_OR_NULL:
                        db_bind_borrowed(q, at, *FIELD(char *const, row, c));
                        break;
                case COLUMN_INT:
                        db_bind_int(q, at, *FIELD(const int64_t, row, c));
                        break;
                case COLUMN_BOOL:
                        db_bind_int(q, at, *FIELD(const bool, row, c));
                        break;
                case COLUMN_STATE:
                        db_bind_borrowed(q, at, state_name(c->machine, *FIELD(const int, row, c)));
                        break;
                case COLUMN_LIST:
                        r = list_bind(q, at, *FIELD(char **const, row, c));
                        break;
                }
        }
        return r;
}

void row_done(const Column *columns, size_t n, void *row, size_t size) {
        for (size_t i = 0; i < n; i++) {
                const Column *c = &columns[i];

                if (c->kind == COLUMN_TEXT || c->kind == COLUMN_TEXT_OR_NULL)
                        free(*FIELD(char *, row, c));
                else if (c->kind == COLUMN_LIST)
                        strv_free(*FIELD(char **, row, c));
        }
        memset(row, 0, size);
}
