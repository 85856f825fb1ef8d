#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/base/str.h"
#include "providers/sdk/schema.h"

static void expect(const char *schema_text, const char *value_text, const char *word) {
        json_auto_t *schema = json_loads(schema_text, 0, NULL);
        json_auto_t *value = json_loads(value_text, JSON_DECODE_ANY, NULL);
        auto_error error = { 0 };
        int r;

        assert_non_null(schema);
        assert_non_null(value);
        r = schema_check(schema, value, "params", &error);
        assert_int_equal(r, word ? -EINVAL : 0);
        if (word && !strstr(error_text(&error, r), word))
                fail_msg("'%s' does not hold '%s'", error_text(&error, r), word);
}

static void test_each_keyword(void **state) {
        static const char *const cases[][3] = {
                { "{\"type\":\"object\"}", "{}", NULL },
                { "{\"type\":\"object\"}", "[]", "params must be an object" },
                { "{\"type\":\"integer\"}", "1.5", "a whole number" },
                { "{\"type\":\"number\"}", "1", NULL },
                { "{\"type\":\"boolean\"}", "null", "true or false" },
                { "{\"minimum\":2}", "1", "at least 2" },
                { "{\"maximum\":2}", "2.5", "at most 2" },
                { "{\"maxLength\":2}", "\"\\u00e4\\u00e4\"", NULL },
                { "{\"maxLength\":2}", "\"abc\"", "longer than 2" },
                { "{\"enum\":[\"a\",\"b\"]}", "\"b\"", NULL },
                { "{\"enum\":[\"a\",\"b\"]}", "\"c\"", "one of 'a', 'b'" },
                { "{\"maxItems\":1}", "[1,2]", "more than 1" },
                { "{\"items\":{\"type\":\"string\"}}", "[\"a\",1]", "params[1] must be a text" },
                { "{\"required\":[\"a\"]}", "{}", "params.a is missing" },
                { "{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"a\":1}",
                  "params.a must be" },
                { "{\"properties\":{\"size\":{}},\"additionalProperties\":false}", "{\"siez\":1}",
                  "did you mean 'size'?" },
                { "{\"properties\":{},\"additionalProperties\":false}", "{\"x\":1}", "not known" },
                { "{\"properties\":{}}", "{\"x\":1}", NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                expect(cases[i][0], cases[i][1], cases[i][2]);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_keyword),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
