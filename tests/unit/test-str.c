#include "tests/unit/test.h"

#include "orchestrator/base/str.h"

static void test_buffer_grows_and_is_terminated(void **state) {
        StrBuf b = { 0 };
        char *text;

        for (int i = 0; i < 1000; i++)
                strbuf_addf(&b, "%d,", i);
        assert_int_equal(strlen(b.text), b.size);
        text = strbuf_take(&b);
        assert_non_null(text);
        assert_memory_equal(text, "0,1,2,3,", 8);
        assert_true(str_ends_with(text, ",999,"));
        free(text);

        text = strbuf_take(&b);
        assert_string_equal(text, "");
        free(text);
}

static void test_buffer_too_large_is_broken_for_good(void **state) {
        auto_strbuf b = { 0 };

        strbuf_addn(&b, "x", SIZE_MAX / 2);
        assert_true(b.broken);
        strbuf_add(&b, "more");
        assert_null(strbuf_take(&b));
}

static void test_numbers_are_strict(void **state) {
        static const char *const bad[] = { "",   "-1", "+1",  " 1",
                                           "1 ", "01", "0x1", "18446744073709551616" };
        uint64_t n = 7;

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_true(str_to_u64(bad[i], UINT64_MAX, &n) < 0);
        assert_int_equal(n, 7);
        assert_int_equal(str_to_u64("0", 10, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(str_to_u64("18446744073709551615", UINT64_MAX, &n), 0);
        assert_true(n == UINT64_MAX);
        assert_int_equal(str_to_u64("11", 10, &n), -ERANGE);
}

static void test_utf8(void **state) {
        static const char *const good[] = {
                "", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"
        };
        static const char *const bad[] = {
                "\x80", "\xc0\x80",     "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                "\xc3", "\xf0\x9f\x98", "\xff"
        };

        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_true(utf8_valid(good[i], strlen(good[i])));
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_false(utf8_valid(bad[i], strlen(bad[i])));
        assert_int_equal(utf8_length("a\xe2\x82\xac\xf0\x9f\x98\x80"), 3);
}

static void test_nearest_word(void **state) {
        static const char *const words[] = { "command", "variables", "files", "volumes", NULL };

        assert_string_equal(strv_nearest(words, "comand"), "command");
        assert_string_equal(strv_nearest(words, "volume"), "volumes");
        assert_string_equal(strv_nearest(words, "varaibles"), "variables");
        assert_null(strv_nearest(words, "replicas"));
        assert_int_equal(str_distance("", "abc"), 3);
        assert_int_equal(str_distance("ab", "ba"), 1);
        assert_int_equal(str_distance("kitten", "sitting"), 3);
        assert_int_equal(str_distance("abcdefgh", "zyxwvuts"), 8);
        assert_string_equal(strv_nearest(words, "ocmmnad"), "command");
        assert_null(strv_nearest(words, "zzzzand"));
}

static void test_lists(void **state) {
        auto_cleanup(strv_freep) char **v = NULL;

        assert_int_equal(strv_length(v), 0);
        assert_int_equal(strv_add(&v, "a"), 0);
        assert_int_equal(strv_add(&v, "b"), 0);
        assert_int_equal(strv_length(v), 2);
        assert_true(strv_contains(v, "b"));
        assert_false(strv_contains(v, "c"));
}

static void test_utf8_repair(void **state) {
        static const struct {
                const char *text, *want;
        } cases[] = { { "", "" },
                      { "abc", "abc" },
                      { "a\xc3\xa9", "a\xc3\xa9" },
                      { "a\xc3", "a" },
                      { "a\xe2\x82", "a" },
                      { "\xff"
                        "b\x80"
                        "c",
                        "bc" },
                      { "\xed\xa0\x80x", "x" } };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *copy = strdup(cases[i].text);

                assert_string_equal(utf8_repair(copy), cases[i].want);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_buffer_grows_and_is_terminated),
                cmocka_unit_test(test_buffer_too_large_is_broken_for_good),
                cmocka_unit_test(test_numbers_are_strict),
                cmocka_unit_test(test_utf8),
                cmocka_unit_test(test_nearest_word),
                cmocka_unit_test(test_lists),
                cmocka_unit_test(test_utf8_repair),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
