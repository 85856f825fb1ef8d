#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/glue/table.h"

static char *print(Table *t) {
        char *text = NULL;
        size_t size;
        FILE *out = tmpfile();

        assert_non_null(out);
        assert_int_equal(table_print(t, out, NULL), 0);
        size = (size_t) ftell(out);
        rewind(out);
        text = calloc(1, size + 1);
        assert_int_equal(fread(text, 1, size, out), size);
        fclose(out);
        return text;
}

static void test_columns_line_up(void **state) {
        static const char *const columns[] = { "NAME", "STATE", "URL", NULL };
        static const char *const one[] = { "feature-login--shop", "ready", "http://x", NULL };
        static const char *const two[] = { "a", NULL,
                                           "a text that is long and is not cut in a file "
                                           "however wide the terminal was at the start" };
        auto_cleanup(table_freep) Table *t = NULL;
        auto_cleanup(freep) char *text = NULL;

        assert_int_equal(table_new(columns, &t, NULL), 0);
        assert_int_equal(table_add(t, one, NULL), 0);
        assert_int_equal(table_add(t, two, NULL), 0);
        text = print(t);
        assert_string_equal(text,
                            "NAME                STATE URL\n"
                            "feature-login--shop ready http://x\n"
                            "a                         a text that is long and is not cut in a "
                            "file however wide the terminal was at the start\n");
}

static void test_no_rows_still_say_what_it_is(void **state) {
        static const char *const columns[] = { "NAME", "STATE", NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        auto_cleanup(freep) char *text = NULL;

        assert_int_equal(table_new(columns, &t, NULL), 0);
        text = print(t);
        assert_string_equal(text, "NAME STATE\n");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_columns_line_up),
                cmocka_unit_test(test_no_rows_still_say_what_it_is),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
