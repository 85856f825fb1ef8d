#include "tests/unit/test.h"

#include "orchestrator/base/time.h"

static void test_durations_read(void **state) {
        static const struct {
                const char *text;
                int64_t ms;
        } cases[] = {
                { "0s", 0 },          { "500ms", 500 },      { "45s", 45000 },
                { "30m", 1800000 },   { "1h30m", 5400000 },  { "7d", 604800000 },
                { "2w", 1209600000 }, { "1d 2h", 93600000 }, { "3650d", 3650 * MS_PER_DAY },
        };
        int64_t ms;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(duration_parse(cases[i].text, &ms, NULL), 0);
                assert_int_equal(ms, cases[i].ms);
        }
}

static void test_durations_refused(void **state) {
        static const char *const bad[] = { "",    "30",  "m",  "-1h",   "1.5h",
                                           "1h ", " 1h", "1y", "3651d", "99999999999999999999d",
                                           "1h30" };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };
                int64_t ms = 42;

                assert_true(duration_parse(bad[i], &ms, &error) < 0);
                assert_int_equal(ms, 42);
                assert_non_null(error.message);
        }
}

static void test_formats(void **state) {
        char buf[TIME_TEXT_MAX];

        assert_string_equal(time_format(0, buf), "1970-01-01T00:00:00Z");
        assert_string_equal(time_format(-1, buf), "1969-12-31T23:59:59Z");
        assert_string_equal(time_format(INT64_C(1795171478123), buf), "2026-11-20T10:44:38Z");
        assert_string_equal(duration_format(850, buf), "850ms");
        assert_string_equal(duration_format(30 * MS_PER_MINUTE, buf), "30m");
        assert_string_equal(duration_format(65 * MS_PER_MINUTE, buf), "1h 5m");
        assert_string_equal(duration_format(7 * MS_PER_DAY, buf), "7d");
        assert_string_equal(duration_format(-5000, buf), "-5s");
        assert_non_null(time_format(INT64_MAX, buf));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_durations_read),
                cmocka_unit_test(test_durations_refused),
                cmocka_unit_test(test_formats),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
