#include "orchestrator/glue/table.h"

#include <libsmartcols/libsmartcols.h>
#include <string.h>

#include "orchestrator/base/str.h"

struct Table {
        struct libscols_table *table;
        size_t n_columns;
};

int table_new(const char *const *columns, Table **ret, Error *reterr) {
        auto_cleanup(table_freep) Table *t = calloc(1, sizeof(Table));

        if (!t)
                return -ENOMEM;
        t->table = scols_new_table();
        if (!t->table)
                return -ENOMEM;
        for (; columns[t->n_columns]; t->n_columns++) {
                if (!scols_table_new_column(t->table, columns[t->n_columns], 0, 0))
                        return error_set(reterr, -ENOMEM, "Cannot make a table");
        }
        /* Not cut to the terminal's width: an address that is cut cannot be opened. */
        (void) scols_table_set_termforce(t->table, SCOLS_TERMFORCE_NEVER);
        *ret = TAKE(t);
        return 0;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        if (t->table)
                scols_unref_table(t->table);
        free(t);
        return NULL;
}

int table_add(Table *t, const char *const *cells, Error *reterr) {
        struct libscols_line *line = scols_table_new_line(t->table, NULL);
        int r = line ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < t->n_columns; i++)
                r = scols_line_set_data(line, i, cells[i] ?: "");
        return r < 0 ? error_set(reterr, r, "Cannot fill a table: %s", strerror(-r)) : 0;
}

/* The library prints nothing at all for a table without lines; the headings still say what it is. */
static void table_print_headings(Table *t, FILE *out) {
        for (size_t i = 0; i < t->n_columns; i++) {
                struct libscols_column *column = scols_table_get_column(t->table, i);

                fprintf(out, "%s%s", i > 0 ? " " : "",
                        scols_cell_get_data(scols_column_get_header(column)));
        }
        fputc('\n', out);
}

int table_print(Table *t, FILE *out, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        if (scols_table_get_nlines(t->table) == 0) {
                table_print_headings(t, out);
                return 0;
        }
        r = scols_print_table_to_string(t->table, &text);
        if (r < 0)
                return error_set(reterr, r, "Cannot print a table: %s", strerror(-r));
        /* Padding after the last column helps nobody. */
        for (char *line = text; line && *line;) {
                char *end = strchrnul(line, '\n'), *last = end;

                while (last > line && last[-1] == ' ')
                        last--;
                fprintf(out, "%.*s\n", (int) (last - line), line);
                line = *end ? end + 1 : end;
        }
        return 0;
}
