#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/str.h"
#include "orchestrator/gateway/haproxy-config.h"
#include "orchestrator/gateway/site.h"

static void test_addresses(void **state) {
        static const struct {
                const char *text;
                bool loopback;
        } good[] = { { "127.0.0.1:8150", true },  { "127.9.9.9:0", true },
                     { "[::1]:8150", true },      { "0.0.0.0:80", false },
                     { "10.0.0.1:65535", false }, { "[::]:80", false } };
        static const char *const bad[] = { "",
                                           ":80",
                                           "127.0.0.1",
                                           "127.0.0.1:",
                                           "localhost:80",
                                           "127.0.0.1:65536",
                                           "127.0.0.1:-1",
                                           "::1:80",
                                           "[127.0.0.1]:80",
                                           "[::1]",
                                           "1.2.3:80",
                                           "127.0.0.1:80 ",
                                           "[::1:80" };
        char text[ADDRESS_TEXT_MAX];
        Address a;

        for (size_t i = 0; i < N_ELEMENTS(good); i++) {
                assert_int_equal(address_parse(good[i].text, &a, NULL), 0);
                assert_int_equal(address_is_loopback(&a), good[i].loopback);
                assert_string_equal(address_format(&a, text), good[i].text);
        }
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };

                if (address_parse(bad[i], &a, &error) != -EINVAL)
                        fail_msg("taken for an address: %s", bad[i]);
                assert_non_null(error.message);
        }
}

static void test_names_of_answers(void **state) {
        for (Answer a = 0; a < _ANSWER_MAX; a++)
                assert_int_equal(answer_from_string(answer_to_string(a)), a);
        assert_int_equal(answer_from_string("nonsense"), _ANSWER_INVALID);
        assert_null(answer_to_string(_ANSWER_MAX));
}

/* ---- routes of a real ledger ---- */

typedef struct Fixture {
        char dir[32];
        Ledger *ledger;
} Fixture;

static void put(Fixture *f, const char *host, const char *id, const char *answer,
                const char *endpoints) {
        Route route = { (char *) host,      (char *) id,   (char *) answer,
                        (char *) endpoints, (char *) "{}", 1 };

        assert_int_equal(ledger_route_put(f->ledger, &route, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));
        Project p = { .id = (char *) "p", .name = (char *) "shop", .repository = (char *) "/r" };
        auto_cleanup(freep) char *path = NULL, *key = NULL;

        strcpy(f->dir, "/tmp/mayfly-site-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        path = str_format("%s/db", f->dir);
        key = str_format("%s/key", f->dir);
        assert_int_equal(ledger_open(&(LedgerOptions){ path, key, NULL, &random_system, true },
                                     &f->ledger, NULL),
                         0);
        assert_int_equal(ledger_project_insert(f->ledger, &p, NULL), 0);
        for (int i = 1; i <= 2; i++) {
                char id[] = { 'e', (char) ('0' + i), 0 };
                Environment e = { .id = id,
                                  .project_id = p.id,
                                  .branch = id,
                                  .commit = id,
                                  .label = id,
                                  .trust = id,
                                  .trace = id,
                                  .due_ms = INT64_MAX };

                assert_int_equal(ledger_environment_insert(f->ledger, &e, NULL), 0);
        }
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;
        auto_cleanup(freep) char *command = str_format("rm -rf %s", f->dir);

        ledger_close(f->ledger);
        assert_int_equal(system(command), 0);
        free(f);
        return 0;
}

static const char *path_of(const Site *s, const char *path) {
        const Endpoint *e = site_endpoint(s, path, strlen(path));

        return e ? e->path : NULL;
}

static void test_longest_path(void **state) {
        auto_cleanup(sites_freep) Sites *sites = NULL;
        const Site *s;

        put(*state, "a.test", "e1", "direct",
            "[{\"path\":\"/\",\"address\":\"10.0.0.1\",\"port\":80},"
            "{\"path\":\"/api/\",\"address\":\"10.0.0.1\",\"port\":81},"
            "{\"path\":\"/api/v1\",\"address\":\"10.0.0.1\",\"port\":82}]");
        put(*state, "b.test", "e1", "direct",
            "[{\"path\":\"/api\",\"address\":\"10.0.0.1\",\"port\":81}]");
        assert_int_equal(sites_new(((Fixture *) *state)->ledger, &sites, NULL), 0);
        s = sites_get(sites, "a.test");
        assert_string_equal(path_of(s, "/"), "/");
        assert_string_equal(path_of(s, "*"), "/");
        assert_string_equal(path_of(s, "/ap"), "/");
        assert_string_equal(path_of(s, "/api"), "/api");
        assert_string_equal(path_of(s, "/api/"), "/api");
        assert_string_equal(path_of(s, "/apis"), "/");
        assert_string_equal(path_of(s, "/api/v1/x"), "/api/v1");
        assert_string_equal(path_of(s, "/api/v10"), "/api");
        assert_null(path_of(sites_get(sites, "b.test"), "/"));
        assert_null(sites_get(sites, "c.test"));
}

static void test_a_bad_row_harms_only_itself(void **state) {
        static const char *const bad[] = {
                "[{\"path\":\"/\",\"address\":\"localhost\",\"port\":80}]",
                "[{\"path\":\"/\",\"address\":\"10.0.0.1\",\"port\":0}]",
                "[{\"path\":\"/\",\"address\":\"10.0.0.1\",\"port\":65536}]",
                "[{\"path\":\"api\",\"address\":\"10.0.0.1\",\"port\":80}]",
                "[{\"path\":\"/a b\",\"address\":\"10.0.0.1\",\"port\":80}]",
                "[{\"path\":\"/a\\nset\",\"address\":\"10.0.0.1\",\"port\":80}]",
                "{\"path\":\"/\"}",
        };
        auto_cleanup(sites_freep) Sites *sites = NULL;
        Site *old = NULL, *now = NULL;

        put(*state, "good.test", "e1", "direct", "[{\"address\":\"10.0.0.1\",\"port\":80}]");
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_cleanup(freep) char *host = str_format("bad-%zu.test", i);

                put(*state, host, "e1", "direct", bad[i]);
        }
        assert_int_equal(sites_new(((Fixture *) *state)->ledger, &sites, NULL), 0);
        assert_int_equal(sites_count(sites), 1);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };

                put(*state, "good.test", "e1", "direct", bad[i]);
                assert_int_equal(sites_read(sites, "good.test", &old, &now, &error), -EINVAL);
                assert_non_null(error.message);
                assert_string_equal(path_of(sites_get(sites, "good.test"), "/x"),
                                    "/"); /* as before */
        }
}

static void test_a_site_belongs_to_one_environment(void **state) {
        auto_cleanup(sites_freep) Sites *sites = NULL;
        Site *first, *old = NULL, *now = NULL;

        put(*state, "a.test", "e1", "asleep", "[]");
        assert_int_equal(sites_new(((Fixture *) *state)->ledger, &sites, NULL), 0);
        first = sites_get(sites, "a.test");
        put(*state, "a.test", "e1", "waking", "[]");
        assert_int_equal(sites_read(sites, "a.test", &old, &now, NULL), 0);
        assert_null(old);
        assert_ptr_equal(now, first);
        assert_int_equal(now->answer, ANSWER_WAKING);

        put(*state, "a.test", "e2", "building", "[]");
        assert_int_equal(sites_read(sites, "a.test", &old, &now, NULL), 0);
        assert_ptr_equal(old, first);
        assert_false(old->listed);
        assert_string_equal(now->environment_id, "e2");
        site_unref(old);

        first = now;
        assert_int_equal(ledger_route_remove(((Fixture *) *state)->ledger, "a.test", NULL), 0);
        assert_int_equal(sites_read(sites, "a.test", &old, &now, NULL), 0);
        assert_ptr_equal(old, first);
        assert_null(now);
        site_unref(old);
        assert_int_equal(sites_read(sites, "a.test", &old, &now, NULL), 0);
        assert_true(!old && !now);
}

/* ---- how HAProxy is told of it ---- */

static void test_views(void **state) {
        static const struct {
                const char *host, *answer, *endpoints, *value, *line;
        } cases[] = {
                { "a.test", "direct", "[{\"address\":\"10.0.0.1\",\"port\":80}]", "10.0.0.1:80",
                  NULL },
                { "b.test", "direct", "[{\"path\":\"/api\",\"address\":\"10.0.0.1\",\"port\":80}]",
                  "paths", "b.test/api/ 10.0.0.1:80" },
                { "c.test", "direct", "[{\"path\":\"/a;b\",\"address\":\"10.0.0.1\",\"port\":80}]",
                  NULL, NULL },
                { "d.test", "direct", "[{\"address\":\"::1\",\"port\":80}]", NULL, NULL },
                { "e.test", "asleep", "[]", NULL, NULL },
                { "f.test;quit", "direct", "[{\"address\":\"10.0.0.1\",\"port\":80}]", NULL, NULL },
        };
        auto_cleanup(sites_freep) Sites *sites = NULL;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                put(*state, cases[i].host, "e1", cases[i].answer, cases[i].endpoints);
        assert_int_equal(sites_new(((Fixture *) *state)->ledger, &sites, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(strv_freep) char **paths = NULL;
                auto_cleanup(freep) char *value = NULL;

                assert_int_equal(haproxy_view(sites_get(sites, cases[i].host), &value, &paths), 0);
                assert_true(streq_null(value, cases[i].value));
                assert_int_equal(strv_length(paths), cases[i].line ? 1 : 0);
                if (cases[i].line)
                        assert_string_equal(paths[0], cases[i].line);
        }
}

static void test_configuration_knows_itself(void **state) {
        HaproxyNames names = { "/run/x", "0.0.0.0:80", "127.0.0.1:8150", false, 1 };
        auto_cleanup(freep) char *one = haproxy_config(&names), *two = NULL, *three = NULL;
        auto_cleanup(freep) char *first = haproxy_description(one), *second = NULL, *third = NULL;

        two = haproxy_config(&names);
        names.listen = "0.0.0.0:81";
        three = haproxy_config(&names);
        second = haproxy_description(two);
        third = haproxy_description(three);
        assert_string_equal(first, second);
        assert_string_not_equal(first, third);
        assert_null(haproxy_description("nothing here"));
        assert_true(haproxy_word_valid("/srv/mayfly-1/gateway"));
        assert_false(haproxy_word_valid("/srv/may fly") || haproxy_word_valid("a;b") ||
                     haproxy_word_valid("a'b") || haproxy_word_valid("a\"b") ||
                     haproxy_word_valid("a\\b") || haproxy_word_valid("a#b") ||
                     haproxy_word_valid("") || haproxy_word_valid("$a") ||
                     haproxy_word_valid("a\nb"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_names_of_answers),
                cmocka_unit_test_setup_teardown(test_longest_path, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_bad_row_harms_only_itself, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_site_belongs_to_one_environment, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_views, setup, teardown),
                cmocka_unit_test(test_configuration_knows_itself),
        };

        return cmocka_run_group_tests_name("site", tests, NULL, NULL);
}
