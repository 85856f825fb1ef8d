#include "tests/unit/test.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/pattern.h"

/* ---- patterns ---- */

static void test_pattern_check(void **state) {
        static const char *const good[] = { "",     "main", "*",    "a?b", "[a-z]*",
                                            "[!x]", "[]a]", "[a-]", "\\*", "release/*" };
        static const char *const bad[] = { "[", "[]", "[a", "a\\", "[[:alpha:]]", "[a-\\", "[!]" };
        char long_one[PATTERN_MAX + 2];

        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_int_equal(pattern_check(good[i], NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };

                assert_int_equal(pattern_check(bad[i], &error), -EINVAL);
                assert_non_null(error.message);
        }
        memset(long_one, 'a', sizeof(long_one) - 1);
        long_one[sizeof(long_one) - 1] = 0;
        assert_int_equal(pattern_check(long_one, NULL), -EINVAL);
        assert_true(pattern_is_exact("release/1.0"));
        assert_false(pattern_is_exact("release/1.?"));
}

/* Every pattern of up to four pieces against fnmatch, and overlap against trying every short name. */
static const char *const pieces[] = { "", "a", "b", "/", "*", "?", "[ab]", "[!a]", "\\*", "[a-b]" };
static const char *const alphabet = "ab/*";
#define N_NAMES (1 + 4 + 16 + 64 + 256)

static void name_make(size_t number, char *ret) {
        size_t length = 0, span = 1;

        while (number >= span) {
                number -= span;
                span *= 4;
                length++;
        }
        for (size_t i = 0; i < length; i++, number /= 4)
                ret[i] = alphabet[number % 4];
        ret[length] = 0;
}

static void pattern_make(size_t number, size_t n_pieces, char *ret) {
        ret[0] = 0;
        for (size_t i = 0; i < n_pieces; i++, number /= N_ELEMENTS(pieces))
                strcat(ret, pieces[number % N_ELEMENTS(pieces)]);
}

static void test_pattern_is_fnmatch(void **state) {
        char pattern[64], name[8];

        for (size_t p = 0; p < 10000; p += 3) {
                pattern_make(p, 4, pattern);
                assert_int_equal(pattern_check(pattern, NULL), 0);
                for (size_t n = 0; n < N_NAMES; n += 1 + p % 7) {
                        name_make(n, name);
                        if (pattern_matches(pattern, name) != (fnmatch(pattern, name, 0) == 0))
                                fail_msg("'%s' against '%s'", pattern, name);
                }
        }
}

static void test_pattern_overlap(void **state) {
        char a[64], b[64], name[8];

        for (size_t p = 0; p < 1000; p += 7)
                for (size_t q = 0; q < 1000; q += 3) {
                        bool both = false;

                        pattern_make(p, 3, a);
                        pattern_make(q, 3, b);
                        for (size_t n = 0; n < N_NAMES && !both; n++) {
                                name_make(n, name);
                                both = fnmatch(a, name, 0) == 0 && fnmatch(b, name, 0) == 0;
                        }
                        if (pattern_overlaps(a, b) != both)
                                fail_msg("'%s' and '%s'", a, b);
                }
}

/* ---- the choice ---- */

static const char *matched(const Config *c, const char *type, const char *class, const char *id,
                           const char *project, const char *branch, const char *trust) {
        auto_cleanup(freep) char *why = NULL;
        const Definition *d;

        if (config_match(c, type, class, id, project, branch, trust, &d, &why, NULL) < 0)
                return "none";
        assert_non_null(why);
        assert_null(strchr(why, '\n'));
        assert_non_null(strstr(why, d->name));
        return d->name;
}

static void test_defaults(void **state) {
        static const struct {
                const char *type, *provider;
                int64_t deadline_ms;
        } want[] = {
                { "checkout", "git", 120 * MS_PER_SECOND },
                { "network", "process", 20 * MS_PER_SECOND },
                { "build", "process", 15 * MS_PER_MINUTE },
                { "workload", "process", 90 * MS_PER_SECOND },
                { "volume", "volume", 20 * MS_PER_SECOND },
                { "service", "address", 20 * MS_PER_SECOND },
                { "service-port", "address", 20 * MS_PER_SECOND },
                { "dns", "address", 20 * MS_PER_SECOND },
                { "route", "address", 20 * MS_PER_SECOND },
                { "environment", "environment", 20 * MS_PER_SECOND },
        };
        const Definition *a, *b;
        Config *c;

        assert_int_equal(config_default(&c, NULL), 0);
        assert_string_equal(c->domain, "preview.localhost");
        assert_string_equal(c->listen, "127.0.0.1:8150");
        assert_string_equal(c->front, "door");
        assert_int_equal(c->clocks.sleep_after_idle, 30 * MS_PER_MINUTE);
        assert_int_equal(c->clocks.delete_after_asleep, 7 * MS_PER_DAY);
        assert_int_equal(c->clocks.delete_after_age, 21 * MS_PER_DAY);
        assert_int_equal(c->clocks.delete_after_close, MS_PER_HOUR);
        assert_int_equal(c->clocks_max.delete_after_age, -1);
        assert_int_equal(c->n_definitions, N_ELEMENTS(want));
        for (size_t i = 0; i < N_ELEMENTS(want); i++) {
                auto_cleanup(freep) char *why = NULL;
                const Definition *d;

                assert_int_equal(config_match(c, want[i].type, "any", "x", "p", "b", "stranger", &d,
                                              &why, NULL),
                                 0);
                assert_string_equal(d->provider, want[i].provider);
                assert_int_equal(d->deadline_ms, want[i].deadline_ms);
        }
        assert_int_equal(config_find_tie(c, &a, &b), 0);
        config_free(c);
        config_free(NULL);
}

static void test_not_served(void **state) {
        auto_error error = { 0 };
        auto_cleanup(freep) char *why = NULL;
        const Definition *d;
        Config *c;

        assert_int_equal(config_default(&c, NULL), 0);
        assert_int_equal(
                config_match(c, "volumes", NULL, "x", "p", "b", "member", &d, &why, &error),
                -ENOENT);
        assert_non_null(strstr(error.message, "did you mean 'volume'?"));
        assert_non_null(
                strstr(error.message,
                       "served are: dns, environment, route, service, service-port, volume"));
        config_free(c);
}

/* Adds a definition with these conditions; line 0 makes it a built-in one. */
static void define(Config *c, const char *name, unsigned line, const char *class, const char *id,
                   const char *project, const char *branch, const char *trust) {
        Definition *d;

        c->definitions = reallocarray(c->definitions, c->n_definitions + 1, sizeof(Definition));
        d = &c->definitions[c->n_definitions++];
        *d = (Definition){
                .name = strdup(name),
                .type = strdup("volume"),
                .provider = strdup("volume"),
                .class = class ? strdup(class) : NULL,
                .id = id ? strdup(id) : NULL,
                .project = project ? strdup(project) : NULL,
                .branch = branch ? strdup(branch) : NULL,
                .trust = trust ? strdup(trust) : NULL,
                .line = line,
        };
}

static void test_the_most_specific_wins(void **state) {
        Config *c;

        assert_int_equal(config_default(&c, NULL), 0);
        assert_string_equal(matched(c, "volume", NULL, "x", "p", "b", "member"), "builtin:volume");
        define(c, "all", 1, NULL, NULL, NULL, NULL, NULL);
        assert_string_equal(matched(c, "volume", NULL, "x", "p", "b", "member"), "all");
        define(c, "class", 2, "large", NULL, NULL, NULL, NULL);
        assert_string_equal(matched(c, "volume", NULL, "x", "p", "b", "member"), "all");
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "class");
        define(c, "id", 3, NULL, "x", NULL, NULL, NULL);
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "id");
        define(c, "id-class", 4, "large", "x", NULL, NULL, NULL);
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "id-class");
        define(c, "pattern", 5, NULL, NULL, NULL, "b*", NULL);
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "pattern");
        assert_string_equal(matched(c, "volume", "large", "x", "p", "a/b", "member"), "id-class");
        define(c, "branch", 6, NULL, NULL, NULL, "b", NULL);
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "branch");
        define(c, "project", 7, NULL, NULL, "p", NULL, NULL);
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "project");
        define(c, "trust", 8, NULL, NULL, NULL, NULL, "stranger");
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "member"), "project");
        assert_string_equal(matched(c, "volume", "large", "x", "p", "b", "stranger"), "trust");
        /* "default" is a class like any other, and what a resource without class has */
        define(c, "default", 9, "default", NULL, NULL, NULL, NULL);
        assert_string_equal(matched(c, "volume", NULL, "y", "q", "z", "member"), "default");
        assert_string_equal(matched(c, "volume", "other", "y", "q", "z", "member"), "all");
        config_free(c);
}

static void test_served_for_others_only(void **state) {
        auto_error error = { 0 };
        auto_cleanup(freep) char *why = NULL;
        const Definition *d;
        Config *c;

        assert_int_equal(config_default(&c, NULL), 0);
        define(c, "db", 1, "large", NULL, "shop", NULL, NULL);
        str_replace(&c->definitions[c->n_definitions - 1].type, "postgres");
        assert_int_equal(
                config_match(c, "postgres", NULL, "x", "shop", "b", "member", &d, &why, &error),
                -ENOENT);
        assert_non_null(strstr(error.message, "type 'postgres', class 'large', project 'shop'"));
        assert_true(config_serves(c, "postgres"));
        assert_false(config_serves(c, "mysql"));
        config_free(c);
}

static void test_ties(void **state) {
        static const struct {
                const char *a[5], *b[5]; /* class, id, project, branch, trust */
                bool tie;
        } cases[] = {
                { { "x" }, { "x" }, true },
                { { "x" }, { "y" }, false },
                { { 0 }, { "x" }, false },
                { { NULL, "i" }, { "x" }, false },
                { { NULL, NULL, "p", "rel/*" }, { NULL, NULL, "p", "*/1" }, true },
                { { NULL, NULL, "p", "rel/*" }, { NULL, NULL, "q", "*/1" }, false },
                { { NULL, NULL, NULL, "rel/*" }, { NULL, NULL, NULL, "fix/*" }, false },
                { { NULL, NULL, NULL, "rel/*" }, { NULL, NULL, NULL, "rel/1" }, false },
                { { NULL, NULL, NULL, NULL, "member" },
                  { NULL, NULL, NULL, NULL, "member" },
                  true },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                const char *const *a = cases[i].a, *const *b = cases[i].b;
                const Definition *one, *two;
                Config *c;

                assert_int_equal(config_default(&c, NULL), 0);
                define(c, "a", 1, a[0], a[1], a[2], a[3], a[4]);
                define(c, "b", 2, b[0], b[1], b[2], b[3], b[4]);
                assert_int_equal(config_find_tie(c, &one, &two), cases[i].tie);
                if (cases[i].tie) {
                        assert_string_equal(one->name, "a");
                        assert_string_equal(two->name, "b");
                }
                config_free(c);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pattern_check),
                cmocka_unit_test(test_pattern_is_fnmatch),
                cmocka_unit_test(test_pattern_overlap),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_not_served),
                cmocka_unit_test(test_the_most_specific_wins),
                cmocka_unit_test(test_served_for_others_only),
                cmocka_unit_test(test_ties),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
