#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/api/pages.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

#define HOST "pr-86--shop.preview.localhost"

typedef struct Shown {
        int status;
        char *html, *plain;
} Shown;

static Shown show(const char *answer, const char *endpoints, const char *facts) {
        Route route = { .host = (char *) HOST,
                        .answer = (char *) answer,
                        .endpoints = (char *) endpoints,
                        .facts = (char *) facts };
        Shown s;

        assert_int_equal(pages_render(NULL, answer ? &route : NULL, HOST, &s.status, &s.html,
                                      &s.plain, NULL),
                         0);
        return s;
}

static void shown_done(Shown *s) {
        free(s->html);
        free(s->plain);
}

#define auto_shown auto_cleanup(shown_done) Shown

static void test_status_and_words_of_each(void **state) {
        static const struct {
                const char *answer;
                int status;
                bool refresh;
                const char *word;
        } cases[] = {
                { "building", 503, true, "being built" },
                { "asleep", 503, true, "waking up" },
                { "waking", 503, true, "waking up" },
                { "failed", 502, false, "could not be made" },
                { "gone", 410, false, "taken away" },
                { "direct", 502, true, "does not answer" },
                { NULL, 404, false, "no such preview" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_shown s = show(cases[i].answer, "[]", "{}");

                assert_int_equal(s.status, cases[i].status);
                assert_non_null(strstr(s.html, cases[i].word));
                assert_non_null(strstr(s.plain, cases[i].word));
                assert_int_equal(strstr(s.html, "http-equiv=\"refresh\"") != NULL,
                                 cases[i].refresh);
                assert_non_null(strstr(s.html, HOST));
                assert_non_null(strstr(s.plain, HOST));
                assert_null(strstr(s.html, "<script"));
                assert_null(strstr(s.html, "http://"));
                assert_null(strstr(s.html, "url("));
        }
}

static void test_facts_are_shown(void **state) {
        auto_shown s = show(
                "gone", "[]",
                "{\"project\":\"shop\",\"branch\":\"feature/login\","
                "\"commit\":\"0123456789abcdef0123456789abcdef01234567\",\"who\":\"uid:1000(ann)\","
                "\"when\":1763635478000,\"why\":\"its branch was deleted\","
                "\"back\":\"Push the branch again: git push origin feature/login\"}");
        static const char *const words[] = { "shop",
                                             "feature/login",
                                             "0123456789ab",
                                             "uid:1000(ann)",
                                             "2025-11-20T10:44:38Z",
                                             "its branch was deleted",
                                             "git push origin feature/login" };

        for (size_t i = 0; i < N_ELEMENTS(words); i++) {
                assert_non_null(strstr(s.html, words[i]));
                assert_non_null(strstr(s.plain, words[i]));
        }
        assert_null(strstr(s.html, "0123456789abc"));
}

static void test_a_refusing_port_is_named(void **state) {
        auto_shown s = show("direct",
                            "[{\"path\":\"/api\",\"address\":\"10.1.2.3\",\"port\":8080},"
                            "{\"path\":\"/\",\"address\":\"10.1.2.3\",\"port\":8000}]",
                            "{}");

        assert_non_null(strstr(s.html, "10.1.2.3:8080 for /api, 10.1.2.3:8000 for /"));
        assert_non_null(strstr(s.plain, "10.1.2.3:8080 for /api, 10.1.2.3:8000 for /"));
}

static void test_hostile_facts_are_only_text(void **state) {
        auto_shown s =
                show("failed", "[]",
                     "{\"branch\":\"<script>alert(1)</script>\",\"project\":\"\\\"'><img src=x>\","
                     "\"cause\":\"a & b\\u001b[2Jcd\\u009be\\u202ef\\u2066g\\nh\","
                     "\"why\":{\"not\":\"text\"},\"who\":\"%s%n\"}");

        assert_null(strstr(s.html, "<script"));
        assert_null(strstr(s.html, "<img"));
        assert_non_null(strstr(s.html, "&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert_non_null(strstr(s.html, "&quot;&#39;&gt;&lt;img src=x&gt;"));
        assert_non_null(strstr(s.html, "%s%n"));
        for (const char *text = s.html; text; text = text == s.html ? s.plain : NULL) {
                assert_null(strchr(text, 0x1b));
                assert_null(strstr(text, "\xc2\x9b"));
                assert_null(strstr(text, "\xe2\x80\xae"));
                assert_null(strstr(text, "\xe2\x81\xa6"));
        }
        assert_true(utf8_valid(s.html, strlen(s.html)));
}

/* What jansson refuses as a whole must not take the page with it. */
static void test_unreadable_facts(void **state) {
        static const char *const facts[] = { "",
                                             "nonsense",
                                             "[]",
                                             "\"text\"",
                                             "{\"branch\":\"\xff\"}",
                                             "{\"when\":-1}",
                                             "{\"branch\":\"\"}" };

        for (size_t i = 0; i < N_ELEMENTS(facts); i++) {
                auto_shown s = show("failed", facts[i], facts[i]);

                assert_int_equal(s.status, 502);
                assert_null(strstr(s.html, "<dl>"));
        }
}

static void test_long_facts_are_cut(void **state) {
        auto_strbuf facts = { 0 };

        strbuf_add(&facts, "{\"cause\":\"");
        for (int i = 0; i < 100000; i++)
                strbuf_add(&facts, "ü<");
        strbuf_add(&facts, "\"}");
        {
                auto_shown s = show("failed", "[]", facts.text);

                assert_true(strlen(s.plain) < LIMIT_EVENT_TEXT_BYTES + 1000);
                assert_true(strlen(s.html) < 6 * LIMIT_EVENT_TEXT_BYTES);
                assert_true(utf8_valid(s.html, strlen(s.html)));
                assert_non_null(strstr(s.plain, "…"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status_and_words_of_each),
                cmocka_unit_test(test_facts_are_shown),
                cmocka_unit_test(test_a_refusing_port_is_named),
                cmocka_unit_test(test_hostile_facts_are_only_text),
                cmocka_unit_test(test_unreadable_facts),
                cmocka_unit_test(test_long_facts_are_cut),
        };

        return cmocka_run_group_tests_name("pages", tests, NULL, NULL);
}
