#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/engine/scrub.h"

static void assert_scrubbed(const char *values, const char *text, const char *expected) {
        json_auto_t *json = json_loads(values, JSON_DECODE_ANY, NULL);
        auto_cleanup(freep) char *clean = NULL;
        auto_scrub scrub = { 0 };

        assert_non_null(json);
        scrub_add(&scrub, json);
        clean = scrub_text(&scrub, text);
        assert_string_equal(clean, expected);
}

static void test_values(void **state) {
        assert_scrubbed("\"hunter2\"", "is hunter2, hunter2x, xhunter2", "is ***, ***x, x***");
        assert_scrubbed("123456789012", "the pin 123456789012.", "the pin ***.");
        assert_scrubbed("{\"a\":[\"deep-secret\",{\"b\":77777777}]}", "deep-secret 77777777",
                        "*** ***");
        assert_scrubbed("[\"secret\",\"secret-and-more\"]", "secret-and-more secret", "*** ***");
        assert_scrubbed("true", "true", "true");
}

static void test_short_ones_are_whole_words(void **state) {
        assert_scrubbed("\"abc\"", "abc abcd xabc (abc) abc", "*** abcd xabc (***) ***");
        assert_scrubbed("8080", "port 8080, 18080, 80801", "port ***, 18080, 80801");
        assert_scrubbed("[\"a\",\"yes\",\"1\",\"\"]", "a yes 1", "a yes 1");
}

/* A key is printed line by line, a request as the JSON that it is. */
static void test_other_forms(void **state) {
        assert_scrubbed("\"first-line\\nsecond-line\\nx\"", "a first-line b second-line x",
                        "a *** b *** x");
        assert_scrubbed("\"pass\\\"wörd/1\"", "{\"p\":\"pass\\\"wörd/1\"}", "{\"p\":\"***\"}");
        assert_scrubbed("\"pass\\\"wörd/1\"", "pass\\\"w\\u00F6rd/1", "***");
        assert_scrubbed("\"password/1\"", "password\\/1", "***");
}

static void test_results(void **state) {
        static const struct {
                const char *result, *expected;
        } cases[] = {
                { "{\"outputs\":{\"a\":\"value-of-a\",\"b\":\"value-of-b\"},\"secret\":[\"a\"]}",
                  "*** value-of-b" },
                { "{\"outputs\":{\"a\":\"value-of-a\",\"b\":\"value-of-b\"}}",
                  "value-of-a value-of-b" },
                { "{\"outputs\":{\"a\":\"value-of-a\",\"b\":\"value-of-b\"},\"secret\":[\"c\"]}",
                  "*** ***" },
                { "{\"outputs\":{\"a\":\"value-of-a\",\"b\":\"value-of-b\"},\"secret\":\"a\"}",
                  "*** ***" },
                { "{\"outputs\":[\"value-of-a\"],\"secret\":[\"a\"]}", "*** value-of-b" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                json_auto_t *result = json_loads(cases[i].result, 0, NULL);
                auto_cleanup(freep) char *clean = NULL;
                auto_scrub scrub = { 0 };

                scrub_add_result(&scrub, result);
                clean = scrub_text(&scrub, "value-of-a value-of-b");
                assert_string_equal(clean, cases[i].expected);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_short_ones_are_whole_words),
                cmocka_unit_test(test_other_forms),
                cmocka_unit_test(test_results),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
