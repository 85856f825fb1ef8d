#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/branches.h"
#include "orchestrator/api/render.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222"

static void test_branches_are_read_whole_or_not_at_all(void **state) {
        static const char *const bad[] = {
                ONE "\trefs/heads/main",  /* cut short */
                ONE " refs/heads/main\n", /* no tab */
                "123\trefs/heads/main\n", /* no object */
                ONE "\trefs/tags/v1\n",   /* not asked for */
                "warning: redirecting\n", /* not git's list */
                ONE "\trefs/heads/a\n\n", /* an empty line */
        };
        char text[] = "ref: refs/heads/trunk\tHEAD\n" ONE "\tHEAD\n" ONE "\trefs/heads/trunk\n" TWO
                      "\trefs/heads/feature/login\n" TWO "\trefs/heads/\xff\n";
        auto_cleanup(freep) char *head = NULL;
        Branches b = { 0 };

        assert_int_equal(branches_parse(text, &b.list, &head), 0);
        assert_string_equal(head, "trunk");
        assert_int_equal(json_array_size(b.list), 2);
        assert_string_equal(branches_find(&b, "feature/login"), TWO);
        assert_null(branches_find(&b, "login"));
        json_decref(b.list);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_cleanup(freep) char *copy = strdup(bad[i]), *none = NULL;
                json_t *list = NULL;

                assert_int_equal(branches_parse(copy, &list, &none), -EBADMSG);
                assert_null(list);
        }
}

static void test_repositories(void **state) {
        static const char *const good[] = { "/srv/git/shop.git", "file:///srv/shop",
                                            "https://example.com/shop",
                                            "ssh://git@example.com/shop" };
        static const char *const bad[] = { "",
                                           "shop.git",
                                           "../shop",
                                           "--upload-pack=touch /tmp/x",
                                           "ext::sh -c touch% /tmp/x",
                                           "ssh://-oProxyCommand=x/y",
                                           "git://example.com/x",
                                           "http://example.com/x",
                                           "/a\nb",
                                           "file://host/x" };

        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_int_equal(repository_check(good[i], NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_int_equal(repository_check(bad[i], NULL), -EINVAL);
}

static void test_failures_have_a_status_and_a_word(void **state) {
        const char *code;
        json_t *json;
        auto_error error = { 0 };

        assert_int_equal(api_status(-ENOENT, &code), 404);
        assert_string_equal(code, "not_found");
        assert_int_equal(api_status(-EACCES, &code), 403);
        assert_int_equal(api_status(-ENOSPC, &code), 507);
        assert_int_equal(api_status(-EPROTO, &code), 500);
        assert_string_equal(code, "internal");
        error_set(&error, -EINVAL, "No '%s'", "x");
        json = api_error_json(-EINVAL, &error);
        assert_string_equal(
                json_string_value(json_object_get(json_object_get(json, "error"), "message")),
                "No 'x'");
        json_decref(json);
}

/* Every route is in the document, and nothing else is. */
static void test_routes_are_documented(void **state) {
        const char *root = getenv("MAYFLY_SOURCE");
        auto_cleanup(freep) char *path = root ? path_join(root, "packaging/doc/api.md") : NULL;
        auto_cleanup(freep) char *text = NULL;
        size_t n = 0;

        if (!path)
                skip();
        assert_int_equal(read_file(path, 1 << 20, &text, NULL, NULL), 0);
        for (size_t i = 0; i < api_n_routes; i++) {
                auto_cleanup(freep) char *row =
                        str_format("| `%s %s` |", api_routes[i].method, api_routes[i].path);

                if (!strstr(text, row))
                        fail_msg("api.md has no row %s", row);
        }
        for (const char *at = text; (at = strstr(at, "\n| `")); at++)
                if (str_after(at, "\n| `GET") || str_after(at, "\n| `POST") ||
                    str_after(at, "\n| `DELETE"))
                        n++;
        assert_int_equal(n, api_n_routes);
}

static void test_bodies_are_named_only_where_they_are_taken(void **state) {
        for (size_t i = 0; i < api_n_routes; i++) {
                assert_non_null(api_routes[i].func);
                if (streq(api_routes[i].method, "GET")) {
                        assert_null(api_routes[i].fields);
                        assert_false(api_routes[i].change);
                }
        }
}

static void test_routes_are_found(void **state) {
        static const struct {
                const char *method, *path, *route, *arg;
                bool known;
        } cases[] = {
                { "GET", "/v1/status", "/v1/status", NULL, true },
                { "POST", "/v1/status", NULL, NULL, true },
                { "GET", "/v1/environments/a%2Fb", "/v1/environments/*", "a%2Fb", true },
                { "GET", "/v1/environments/a/why", "/v1/environments/*/why", "a", true },
                { "GET", "/v1/environments//why", NULL, NULL, false },
                { "GET", "/v1/environments/", NULL, NULL, false },
                { "GET", "/v1/environments/a/b/why", NULL, NULL, false },
                { "GET", "/v1/environments/a/why/", NULL, NULL, false },
                { "GET", "", NULL, NULL, false },
                { "GET", "//v1/status", NULL, NULL, false },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                char *args[2] = { NULL, NULL };
                bool known;
                const ApiRoute *r = api_route_find(cases[i].method, cases[i].path, args, &known);

                assert_true(streq_null(r ? r->path : NULL, cases[i].route));
                assert_true(streq_null(args[0], cases[i].arg));
                assert_int_equal(known, cases[i].known);
                free(args[0]);
                free(args[1]);
        }
}

static void test_bodies_are_strict(void **state) {
        static const ApiField fields[] = { { "name", 's', true },
                                           { "by", 'i', false },
                                           { "list", 'a', false },
                                           { "at", 'S', false },
                                           { 0 } };
        static const struct {
                const char *text, *words; /* words NULL: good */
        } cases[] = {
                { "{\"name\":\"x\"}", NULL },
                { "{\"name\":\"x\",\"by\":3,\"list\":[\"a\"],\"at\":null}", NULL },
                { "", "'name' is missing" },
                { "{}", "'name' is missing" },
                { "[]", "must be an object" },
                { "{\"name\":1}", "must be a string" },
                { "{\"name\":null}", "must be a string" },
                { "{\"name\":\"x\",\"by\":1.5}", "whole number" },
                { "{\"name\":\"x\",\"list\":[1]}", "list of strings" },
                { "{\"name\":\"x\",\"nmae\":1}", "'nmae' is unknown" },
                { "{\"name\":\"x\",\"name\":\"y\"}", "not JSON" },
                { "{\"name\":\"x\"} {}", "not JSON" },
                { "{\"name\":\"\\u0000\"}", "not JSON" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_error error = { 0 };
                json_t *body = NULL;
                int r = api_body_read(cases[i].text, strlen(cases[i].text), fields, &body, &error);

                if (r != (cases[i].words ? -EINVAL : 0) ||
                    (cases[i].words && !strstr(error_text(&error, r), cases[i].words)))
                        fail_msg("%s: %d %s", cases[i].text, r, error_text(&error, r));
                json_decref(body);
        }
}

/* What an environment shows: null for what is not, never 0 or INT64_MAX as a time. */
static void test_rows_become_json(void **state) {
        char front[] = "http://%s.preview.localhost:8150";
        Manager m = { .front_url = front };
        Environment e = { .id = (char *) "e1",
                          .label = (char *) "main--shop",
                          .project = (char *) "shop",
                          .branch = (char *) "main",
                          .state = ENV_READY,
                          .created_ms = 5,
                          .due_ms = INT64_MAX,
                          .pinned_until_ms = INT64_MAX,
                          .pinned_by = (char *) "uid:0" };
        json_t *json = render_environment(&m, &e);

        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "url")),
                            "http://main--shop.preview.localhost:8150");
        assert_true(json_is_null(json_object_get(json, "due_ms")));
        assert_true(json_is_null(json_object_get(json, "commit")));
        assert_int_equal(json_integer_value(json_object_get(json, "created_ms")), 5);
        assert_true(json_is_null(json_object_get(json_object_get(json, "pinned"), "until_ms")));
        assert_true(json_is_null(json_object_get(json, "gone")));
        json_decref(json);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_branches_are_read_whole_or_not_at_all),
                cmocka_unit_test(test_repositories),
                cmocka_unit_test(test_failures_have_a_status_and_a_word),
                cmocka_unit_test(test_routes_are_documented),
                cmocka_unit_test(test_bodies_are_named_only_where_they_are_taken),
                cmocka_unit_test(test_routes_are_found),
                cmocka_unit_test(test_bodies_are_strict),
                cmocka_unit_test(test_rows_become_json),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
