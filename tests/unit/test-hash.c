#include "tests/unit/test.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/id.h"

static void test_map_against_many_keys(void **state) {
        auto_cleanup(map_freep) Map *m = map_new(free);
        char key[32];

        for (int i = 0; i < 5000; i++) {
                snprintf(key, sizeof(key), "key-%d", i);
                assert_int_equal(map_put(m, key, strdup(key)), 0);
        }
        for (int i = 0; i < 5000; i += 2) {
                snprintf(key, sizeof(key), "key-%d", i);
                assert_int_equal(map_remove(m, key), 1);
                assert_int_equal(map_remove(m, key), 0);
        }
        assert_int_equal(map_size(m), 2500);
        for (int i = 0; i < 5000; i++) {
                snprintf(key, sizeof(key), "key-%d", i);
                if (i % 2)
                        assert_string_equal(map_get(m, key), key);
                else
                        assert_null(map_get(m, key));
        }
        for (int i = 0; i < 20000; i++) { /* churn must not grow the index or loop for ever */
                snprintf(key, sizeof(key), "churn-%d", i);
                assert_int_equal(map_put(m, key, strdup(key)), 0);
                assert_int_equal(map_remove(m, key), 1);
        }
        assert_int_equal(map_size(m), 2500);
}

static void test_map_walk_in_order_with_removal(void **state) {
        auto_cleanup(map_freep) Map *m = map_new(NULL);
        const char *key;
        size_t at = 0, n = 0;
        char *value;

        assert_int_equal(map_put(m, "one", (char *) "1"), 0);
        assert_int_equal(map_put(m, "two", (char *) "2"), 0);
        assert_int_equal(map_put(m, "three", (char *) "3"), 0);
        assert_int_equal(map_put(m, "two", (char *) "22"), 0);
        while ((value = map_next(m, &at, &key))) {
                static const char *const order[] = { "one", "two", "three" };

                assert_string_equal(key, order[n++]);
                map_remove(m, key);
        }
        assert_int_equal(n, 3);
        assert_int_equal(map_size(m), 0);
}

static void test_ids_have_their_form(void **state) {
        char id[ID_SIZE], trace[TRACE_SIZE];

        id_make(&random_system, 'e', id);
        assert_int_equal(strlen(id), ID_SIZE - 1);
        assert_int_equal(strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz"), ID_SIZE - 1);
        assert_int_equal(id[0], 'e');
        trace_make(&random_system, trace);
        assert_int_equal(strspn(trace, "0123456789abcdef"), 32);
        assert_int_equal(strlen(trace), 32);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_map_against_many_keys),
                cmocka_unit_test(test_map_walk_in_order_with_removal),
                cmocka_unit_test(test_ids_have_their_form),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
