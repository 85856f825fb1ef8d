#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/graph.h"

static json_t *load(const char *text) {
        json_error_t error;
        json_t *json = json_loads(text, JSON_DECODE_ANY, &error);

        if (!json)
                fail_msg("%s: %s", error.text, text);
        return json;
}

#define NODE(key, depends)                                                                       \
        "{\"key\":\"" key "\",\"type\":\"t\",\"class\":\"default\",\"id\":\"i\",\"name\":\"n\"," \
        "\"workload\":null,\"implicit\":true,\"scope\":\"environment\",\"provider\":\"p\","      \
        "\"definition\":\"d\",\"params\":{\"a\":{\"$text\":\"${metadata.x}\"},\"b\":[1,null]},"  \
        "\"config\":{\"c\":1},\"refs\":{\"self\":\"a\"},\"metadata\":{\"x\":\"y\"},"             \
        "\"deadline_ms\":5,\"depends\":[" depends "]}"
#define GRAPH(nodes)                                                                     \
        "{\"nodes\":[" nodes "],\"workloads\":{\"web\":{\"ports\":{},\"public\":true}}," \
        "\"lease\":{\"sleep_after_idle\":60000}}"

static void test_stored_comes_back_equal(void **state) {
        json_t *json = load(GRAPH(NODE("a", "") "," NODE("b", "\"a\""))), *again;
        Graph *g;

        assert_int_equal(graph_from_json(json, &g, NULL), 0);
        assert_int_equal(g->n_nodes, 2);
        assert_string_equal(g->nodes[1].depends[0], "a");
        assert_null(g->nodes[0].workload);
        assert_int_equal(g->nodes[0].scope, GRAPH_SCOPE_ENVIRONMENT);
        assert_true(g->nodes[0].implicit);
        assert_ptr_equal(graph_find(g, "b"), &g->nodes[1]);
        assert_null(graph_find(g, "c"));
        assert_int_equal(graph_to_json(g, &again), 0);
        assert_true(json_equal(json, again));
        json_decref(again);

        free(g->nodes[0].workload);
        g->nodes[0].workload = strdup("web");
        assert_int_equal(graph_to_json(g, &again), 0);
        assert_false(json_equal(json, again));
        json_decref(json);
        graph_free(g);
        assert_int_equal(graph_from_json(again, &g, NULL), 0);
        assert_string_equal(g->nodes[0].workload, "web");
        json_decref(again);
        graph_free(g);
}

static void test_other_json_is_refused(void **state) {
        static const char *const bad[] = {
                "null",
                "[]",
                "{}",
                "{\"nodes\":[],\"workloads\":{},\"lease\":[]}",
                "{\"nodes\":[],\"workloads\":{},\"lease\":{},\"more\":1}",
                GRAPH("1"),
                GRAPH("{}"),
                GRAPH(NODE("b", "")), /* refers to a, which is not there */
                GRAPH(NODE("a", "") "," NODE("a", "")),
                GRAPH(NODE("a", "\"a\"")),
                GRAPH(NODE("b", "\"a\"") "," NODE("a", "")),
                GRAPH(NODE("a", "1")),
        };
        static const struct {
                const char *name, *value;
        } members[] = {
                { "key", "1" },           { "key", "null" },
                { "workload", "1" },      { "implicit", "1" },
                { "scope", "\"other\"" }, { "scope", "null" },
                { "params", "[]" },       { "params", "\"x\"" },
                { "refs", "{\"x\":1}" },  { "config", "null" },
                { "deadline_ms", "-1" },  { "deadline_ms", "1.5" },
                { "depends", "{}" },      { "depends", "[null]" },
                { "more", "1" },          { "key", "\"a\\u0000b\"" },
        };
        Graph *g = NULL;

        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };
                json_t *json = json_loads(bad[i], JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

                assert_non_null(json);
                assert_int_equal(graph_from_json(json, &g, &error), -EBADMSG);
                assert_non_null(error.message);
                json_decref(json);
        }
        for (size_t i = 0; i < N_ELEMENTS(members); i++) {
                auto_error error = { 0 };
                json_t *json = load(GRAPH(NODE("a", "")));
                json_t *value =
                        json_loads(members[i].value, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

                json_object_set_new(json_array_get(json_object_get(json, "nodes"), 0),
                                    members[i].name, value);
                assert_int_equal(graph_from_json(json, &g, &error), -EBADMSG);
                assert_non_null(error.message);
                json_decref(json);
        }
        assert_null(g);
}

/* ---- order ---- */

static void graph_fill(Graph *g, size_t n, const char *const (*rows)[4]) {
        g->nodes = calloc(n, sizeof(GraphNode));
        g->n_nodes = n;
        for (size_t i = 0; i < n; i++) {
                g->nodes[i].key = strdup(rows[i][0]);
                for (size_t j = 1; rows[i][j]; j++)
                        assert_int_equal(strv_add(&g->nodes[i].depends, rows[i][j]), 0);
        }
}

static void test_sort(void **state) {
        static const char *const rows[][4] = {
                { "e", "a", "d", NULL }, { "d", "b", NULL }, { "b", NULL },
                { "c", NULL },           { "a", "c", NULL },
        };
        static const char *const loop[][4] = { { "a", "b", NULL }, { "b", "a", NULL } };
        static const char *const unknown[][4] = { { "a", "zz", NULL } };
        static const char *const twice[][4] = { { "a", NULL }, { "a", NULL } };
        Graph *g = calloc(1, sizeof(Graph));
        auto_error error = { 0 };

        graph_fill(g, 5, rows);
        assert_int_equal(graph_sort(g, NULL), 0);
        for (size_t i = 0; i < 5; i++)
                assert_string_equal(g->nodes[i].key,
                                    ((const char *const[]){ "b", "c", "a", "d", "e" })[i]);
        graph_free(g);

        g = calloc(1, sizeof(Graph));
        graph_fill(g, 2, loop);
        assert_int_equal(graph_sort(g, &error), -ELOOP);
        assert_non_null(strstr(error.message, "circle"));
        graph_free(g);

        g = calloc(1, sizeof(Graph));
        graph_fill(g, 1, unknown);
        assert_int_equal(graph_sort(g, NULL), -ENOENT);
        graph_free(g);

        g = calloc(1, sizeof(Graph));
        graph_fill(g, 2, twice);
        assert_int_equal(graph_sort(g, NULL), -EEXIST);
        graph_free(g);
}

/* ---- templates ---- */

static json_t *outputs(void *userdata, const char *key) {
        return json_object_get(userdata, key);
}

#define WORLD                                                                                   \
        "{\"pg\":{\"host\":\"h1\",\"port\":5432,\"nested\":{\"k.1\":\"v\"},\"list\":[1,\"2\"]," \
        "\"dollar\":\"${not.again} $$\",\"none\":null,\"on\":true},\"vol\":{\"type\":\"bind\"," \
        "\"source\":\"/x\"}}"

/* The text that params resolve to, or the error as text. */
static char *resolved(const char *params, int *ret_r) {
        json_t *world = load(WORLD), *json;
        GraphNode node = {
                .key = (char *) "node",
                .params = load(params),
                .refs = load("{\"db\":\"pg\",\"data\":\"vol\",\"late\":\"later\"}"),
                .metadata = load("{\"name\":\"shop\",\"a.b\":\"dotted\",\"annotations\":"
                                 "{\"acme.io/team\":\"blue\"},\"r\":{\"z\":1,\"a\":[]}}"),
        };
        auto_error error = { 0 };
        char *text;

        *ret_r = graph_resolve(&node, outputs, world, &json, &error);
        if (*ret_r < 0) {
                text = strdup(error_text(&error, *ret_r));
        } else {
                text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
                json_decref(json);
        }
        json_decref(node.params);
        json_decref(node.refs);
        json_decref(node.metadata);
        json_decref(world);
        return text;
}

static void test_resolve(void **state) {
        static const struct {
                const char *params, *want;
        } cases[] = {
                { "{\"a\":\"${resources.db.host}\"}", "{\"a\":\"${resources.db.host}\"}" },
                { "{\"a\":{\"$text\":\"a${resources.db.port}b${metadata.name}\"}}",
                  "{\"a\":\"a5432bshop\"}" },
                { "[{\"$text\":\"\"},1,null,true,{\"x\":{\"$text\":\"$\"}}]",
                  "[\"\",1,null,true,{\"x\":\"$\"}]" },
                { "{\"$text\":\"$$\"}", "\"$\"" },
                { "{\"$text\":\"$$$\"}", "\"$$\"" },
                { "{\"$text\":\"$$$$\"}", "\"$$\"" },
                { "{\"$text\":\"$x $ {\"}", "\"$x $ {\"" },
                { "{\"$text\":\"$${x}\"}", "\"${x}\"" },
                { "{\"$text\":\"$$${metadata.name}\"}", "\"$shop\"" },
                { "{\"$text\":\"$$$${metadata.name}\"}", "\"$${metadata.name}\"" },
                { "{\"$text\":\"$${a\"}", "\"${a\"" },
                { "{\"$text\":\"${a\"}", "\"${a\"" },
                { "{\"$text\":\"${resources.db.dollar}\"}", "\"${not.again} $$\"" },
                { "{\"$text\":\"${resources.db.nested.k\\\\.1}\"}", "\"v\"" },
                { "{\"$text\":\"${metadata.annotations.acme\\\\.io/team}\"}", "\"blue\"" },
                { "{\"$text\":\"${metadata.r}\"}", "\"{\\\"a\\\":[],\\\"z\\\":1}\"" },
                { "{\"$text\":\"${resources.db.list}${resources.db.none}${resources.db.on}\"}",
                  "\"[1,\\\"2\\\"]nulltrue\"" },
                { "{\"$outputs\":\"vol\"}", "{\"source\":\"/x\",\"type\":\"bind\"}" },
                { "{\"$literal\":{\"$text\":\"${x}\"}}", "{\"$text\":\"${x}\"}" },
                { "{\"$literal\":{\"$text\":{\"$text\":\"${metadata.name}\"}}}",
                  "{\"$text\":\"shop\"}" },
                { "{\"$text\":\"x\",\"y\":1}", "{\"$text\":\"x\",\"y\":1}" },
        };
        static const struct {
                const char *params;
                int r;
                const char *message;
        } failures[] = {
                { "{\"$text\":\"${}\"}", -EINVAL, "not a reference" },
                { "{\"$text\":\"${metadata}\"}", -EINVAL, "not a reference" },
                { "{\"$text\":\"${resources.db}\"}", -EINVAL, "not a reference" },
                { "{\"$text\":\"${env.HOME}\"}", -EINVAL, "not a reference" },
                { "{\"$text\":\"${resources.nope.x}\"}", -EINVAL, "no resource 'nope'" },
                { "{\"$text\":\"${resources.late.x}\"}", -ENOENT, "no outputs yet" },
                { "{\"$text\":\"${resources.db.nope}\"}", -ENOENT, "there is no 'nope'" },
                { "{\"$text\":\"${resources.db.host.x}\"}", -ENOENT, "there is no 'x'" },
                { "{\"$text\":\"${metadata.}\"}", -ENOENT, "there is no ''" },
                { "{\"$outputs\":\"nothing\"}", -ENOENT, "no outputs yet" },
                { "{\"$outputs\":1}", -EINVAL, "bad '$outputs'" },
                { "{\"$text\":[]}", -EINVAL, "bad '$text'" },
                { "{\"$literal\":\"x\"}", -EINVAL, "bad '$literal'" },
        };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *got = resolved(cases[i].params, &r);

                if (r < 0 || !streq(got, cases[i].want))
                        fail_msg("%s gave %s, not %s", cases[i].params, got, cases[i].want);
        }
        for (size_t i = 0; i < N_ELEMENTS(failures); i++) {
                auto_cleanup(freep) char *got = resolved(failures[i].params, &r);

                assert_int_equal(r, failures[i].r);
                if (!strstr(got, failures[i].message))
                        fail_msg("%s gave %s", failures[i].params, got);
        }
}

/* What a person wrote comes out as written when it holds no placeholder, whatever its keys. */
static void test_template_keeps_what_is_literal(void **state) {
        static const char *const trees[] = {
                "{\"a\":[1,\"x\",{\"b\":null}]}",
                "{\"$text\":\"x\"}",
                "{\"$literal\":{\"$literal\":{\"$outputs\":\"x\"}}}",
                "{\"$outputs\":[]}",
                "{\"$text\":{\"$text\":1}}",
        };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(trees); i++) {
                json_t *tree = load(trees[i]), *made = template_tree(tree);
                auto_cleanup(freep) char *text = json_dumps(made, JSON_COMPACT);
                auto_cleanup(freep) char *got = resolved(text, &r);

                assert_string_equal(got, trees[i]);
                json_decref(tree);
                json_decref(made);
        }
}

static void test_template_resolves_the_rest(void **state) {
        json_t *tree = load("{\"$text\":\"${metadata.name}\",\"b\":[\"$${x}\"],"
                            "\"c\":{\"$outputs\":\"${resources.db.host}\"}}");
        json_t *made = template_tree(tree);
        auto_cleanup(freep) char *text = json_dumps(made, JSON_COMPACT), *got = NULL;
        int r;

        got = resolved(text, &r);
        assert_string_equal(got,
                            "{\"$text\":\"shop\",\"b\":[\"${x}\"],\"c\":{\"$outputs\":\"h1\"}}");
        json_decref(tree);
        json_decref(made);
}

/* A short text must not become a long one without end. */
static void test_resolve_is_bounded(void **state) {
        auto_strbuf text = { 0 };
        auto_cleanup(freep) char *long_one = NULL;
        auto_error error = { 0 };
        GraphNode node = { .key = (char *) "node" };
        json_t *json = NULL;

        for (size_t i = 0; i < 1000; i++)
                strbuf_add(&text, "${metadata.long}");
        long_one = calloc(1, 10001);
        memset(long_one, 'x', 10000);
        node.metadata = json_pack("{s:s}", "long", long_one);
        node.params = json_pack("{s:{s:s}}", "a", "$text", text.text);
        assert_int_equal(graph_resolve(&node, outputs, NULL, &json, &error), -EINVAL);
        assert_non_null(strstr(error.message, "larger than"));
        json_decref(node.params);
        json_decref(node.metadata);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stored_comes_back_equal),
                cmocka_unit_test(test_other_json_is_refused),
                cmocka_unit_test(test_sort),
                cmocka_unit_test(test_resolve),
                cmocka_unit_test(test_template_keeps_what_is_literal),
                cmocka_unit_test(test_template_resolves_the_rest),
                cmocka_unit_test(test_resolve_is_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
