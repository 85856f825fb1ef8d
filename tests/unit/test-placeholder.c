/* Placeholders, quantities and overrides: our own cases and every shared vector. */
#include "tests/unit/test.h"

#include "orchestrator/glue/json.h"
#include "orchestrator/spec/override.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/quantity.h"
#include "tests/unit/shared.h"

static json_t *vectors(void) {
        auto_cleanup(freep) char *path = shared_or_skip("vectors.json");
        json_t *json = json_load_file(path, 0, NULL);

        assert_non_null(json);
        return json;
}

static json_t *lookup(void *userdata, const char *name) {
        return json_object_get(userdata, name);
}

static void check_substitution(const json_t *context, const char *in, const char *out) {
        auto_cleanup(freep) char *text = NULL;
        auto_error e = { 0 };
        int r;

        r = placeholder_substitute(in, json_object_get(context, "metadata"), lookup,
                                   json_object_get(context, "resources"), &text, &e);
        if (!out ? r == 0 : r < 0 || !streq(text, out))
                fail_msg("%s: '%s', not '%s'", in, text ? text : e.message, out ? out : "an error");
        if (r < 0)
                assert_non_null(e.message);
}

static void test_shared_substitution(void **state) {
        json_auto_t *root = vectors();
        const json_t *item;
        size_t i;

        json_array_foreach(json_object_get(root, "substitution"), i, item)
                check_substitution(json_object_get(root, "context"),
                                   json_string_value(json_object_get(item, "in")),
                                   json_string_value(json_object_get(item, "out")));
        assert_true(i >= 30);
}

static void test_substitution(void **state) {
        json_auto_t *context =
                json_pack("{s:{s:s, s:{s:i}, s:s}, s:{s:{s:s, s:f, s:{s:s}}}}", "metadata", "name",
                          "shop", "a.b", "c", 1, "x\\", "back", "resources", "db", "host", "h",
                          "ratio", 1.1, "k.1", "v.2", "deep");
        static const char *const cases[][2] = {
                { "$${a", "${a" },
                { "$$$", "$$" },
                { "${metadata.a\\.b.c}", "1" },
                { "${resources.db.k\\.1.v\\.2}", "deep" },
                { "${resources.db.ratio}", "1.1" },
                { "x${", "x${" },
                { "${metadata.name", "${metadata.name" },
                { "$${}", "${}" },
                { "$$${}", NULL },
                { "${metadata.x\\}", "back" },
                { "${metadata.}", NULL },
                { "${metadata.name.}", NULL },
                { "${.}", NULL },
                { "${\n}", NULL },
                { "$${\n}", "${\n}" },
                { "${resources.db.k\\.1}", "{\"v.2\":\"deep\"}" },
                { "a$b$$c$$$d", "a$b$c$$d" },
                { "${resources..x}", NULL },
                { "${metadata.name}${metadata.name}", "shopshop" },
                { "{${metadata.name}}", "{shop}" },
                { "$$$$${metadata.name}", "$$shop" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                check_substitution(context, cases[i][0], cases[i][1]);
}

static void test_scan_is_linear(void **state) {
        auto_strbuf b = { 0 };
        PlaceholderPart part;
        PlaceholderScan scan;
        size_t n = 0;

        for (int i = 0; i < 300000; i++)
                strbuf_add(&b, "${$${");
        scan = (PlaceholderScan){ .string = b.text };
        while (placeholder_next(&scan, &part))
                n += part.reference;
        assert_int_equal(n, 0);
}

static void test_check(void **state) {
        static const char *const good[] = { "metadata.name",
                                            "resources.db.host",
                                            "resources.db",
                                            "metadata.a_b.c-d.0",
                                            "metadata.annotations.acme\\.io/team",
                                            "resources.db.k\\.1" };
        static const char *const bad[] = { "",
                                           "metadata",
                                           "resources",
                                           "HOME",
                                           "env.HOME",
                                           " metadata.name",
                                           "metadata. x",
                                           "metadata.",
                                           ".metadata",
                                           "resources..x",
                                           "resources.db.host:-localhost",
                                           "resource.db.host",
                                           "metadata.name\n",
                                           "resources.db.\xc3\xa9",
                                           "metadata\\.name",
                                           "metadata.x\\",
                                           "Metadata.name",
                                           "resources.db[0]" };

        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_int_equal(placeholder_check(good[i], strlen(good[i]), NULL, NULL, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                const char *hint = NULL;
                auto_error e = { 0 };

                if (placeholder_check(bad[i], strlen(bad[i]), NULL, &hint, &e) != -EINVAL)
                        fail_msg("'%s' is no reference", bad[i]);
                assert_non_null(hint);
                assert_non_null(e.message);
        }
}

static void test_whole_resource(void **state) {
        static const char *const no[] = { "",
                                          "data",
                                          "${resources.data}x",
                                          "x${resources.data}",
                                          "$${resources.data}",
                                          "${resources.data.source}",
                                          "${metadata.name}",
                                          "${resources}",
                                          "${resources.}" };
        auto_cleanup(freep) char *name = NULL, *other = NULL;

        assert_int_equal(placeholder_whole_resource("${resources.data}", &name), 0);
        assert_string_equal(name, "data");
        for (size_t i = 0; i < N_ELEMENTS(no); i++) {
                assert_int_equal(placeholder_whole_resource(no[i], &other), 0);
                assert_null(other);
        }
}

static void test_shared_quantities(void **state) {
        json_auto_t *root = vectors();
        const json_t *item;
        int64_t value;
        size_t i;

        json_array_foreach(json_object_get(root, "cpu"), i, item) {
                assert_int_equal(
                        quantity_cpu_milli(json_string_value(json_object_get(item, "in")), &value),
                        0);
                assert_int_equal(value, json_integer_value(json_object_get(item, "milli")));
        }
        json_array_foreach(json_object_get(root, "memory"), i, item) {
                assert_int_equal(quantity_memory_bytes(
                                         json_string_value(json_object_get(item, "in")), &value),
                                 0);
                assert_int_equal(value, json_integer_value(json_object_get(item, "bytes")));
        }
}

static void test_quantities(void **state) {
        static const struct {
                const char *s;
                int64_t cpu, memory; /* -1: invalid */
        } cases[] = {
                { "0", 0, -1 },
                { "0.0001", 1, 1 },
                { "0.0005", 1, 1 },
                { "1.0001", 1001, 2 },
                { "0.25", 250, 1 },
                { "0.1", 100, 1 },
                { "2", 2000, 2 },
                { "m", -1, -1 },
                { "0.5m", -1, -1 },
                { ".5", -1, -1 },
                { "5.", -1, -1 },
                { "", -1, -1 },
                { "1 ", -1, -1 },
                { "1\n", -1, -1 },
                { "00", 0, -1 },
                { "01", 1000, -1 },
                { "99999999999999999999", INT64_MAX, INT64_MAX },
                { "1K", -1, 1000 },
                { "1k", -1, -1 },
                { "1Ki", -1, 1024 },
                { "1KiB", -1, -1 },
                { "0.5Ki", -1, 512 },
                { "0.0001Ki", -1, 1 },
                { "0.0009765625Ki", -1, 1 },
                { "0.0009765626Ki", -1, 2 },
                { "1.1M", -1, 1100000 },
                { "1.0000001M", -1, 1000001 },
                { "0K", -1, -1 },
                { "0.0K", -1, 0 },
                { "7Ei", -1, 7LL << 60 },
                { "8Ei", -1, INT64_MAX },
                { "9E", -1, 9000000000000000000LL },
                { "10E", -1, INT64_MAX },
                { "1.5Pi", -1, 3LL << 49 },
                { "1i", -1, -1 },
                { "1Kii", -1, -1 },
                { "-1", -1, -1 },
                { "0.1234567890123456789012345678901234567890E", -1, 123456789012345679LL },
        };
        int64_t value;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                if (quantity_cpu_milli(cases[i].s, &value) < 0)
                        value = -1;
                if (value != cases[i].cpu)
                        fail_msg("cpu %s is %lld", cases[i].s, (long long) value);
                if (quantity_memory_bytes(cases[i].s, &value) < 0)
                        value = -1;
                if (value != cases[i].memory)
                        fail_msg("memory %s is %lld", cases[i].s, (long long) value);
        }
}

/* ---- overrides ---- */

static YamlNode *tree_of(YamlTree *t, const char *text) {
        YamlNode *root = NULL;

        assert_int_equal(yaml_parse(t, "test", text, strlen(text), &root), 0);
        assert_non_null(root);
        return root;
}

static void check_override(const json_t *document, const json_t *item) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        auto_cleanup(freep) char *text = json_compact(document),
                                 *value = json_compact(json_object_get(item, "value"));
        const char *path = json_string_value(json_object_get(item, "path"));
        bool delete = json_is_true(json_object_get(item, "delete"));
        auto_cleanup(freep) char *property = str_format("%s=%s", path, delete ? "" : value);
        const json_t *expected = json_object_get(item, "result");
        YamlNode *root = tree_of(t, text);
        json_auto_t *result = NULL;
        int r;

        r = override_property(t, root, property, NULL);
        if (!expected) {
                if (r == 0)
                        fail_msg("%s must fail", property);
                return;
        }
        assert_int_equal(r, 0);
        assert_int_equal(yaml_to_json(root, &result, NULL), 0);
        if (!json_equal(result, expected))
                fail_msg("%s gives %s", property, json_compact(result));
}

static void test_shared_overrides(void **state) {
        json_auto_t *root = vectors();
        const json_t *item;
        size_t i;

        json_array_foreach(json_object_get(root, "override"), i, item)
                check_override(json_object_get(root, "override_document"), item);
        assert_true(i >= 10);
}

static void test_properties(void **state) {
        static const char *const cases[][3] = {
                { "{a: 1}", "b.c.d=x", "{\"a\":1,\"b\":{\"c\":{\"d\":\"x\"}}}" },
                { "{a: 1}", "a=", "{}" },
                { "{a: 1}", "a=null", "{}" },
                { "{a: 1}", "a=~", "{}" },
                { "{a: 1}", "a={b: [1, 2]}", "{\"a\":{\"b\":[1,2]}}" },
                { "{a: 1}", "a=\"\"", "{\"a\":\"\"}" },
                { "{a: 1}", "a=b=c", "{\"a\":\"b=c\"}" },
                { "{a: 1}", "a=0644", "{\"a\":420}" },
                { "{a: [1, 2]}", "a.0=", "{\"a\":[2]}" },
                { "{a: [1, 2]}", "a.-1=3", "{\"a\":[1,2,3]}" },
                { "{a: [1, 2]}", "a.-1=", NULL },
                { "{a: [1, 2]}", "a.2=3", NULL },
                { "{a: [1, 2]}", "a.-2=3", NULL },
                { "{a: [1, 2]}", "a.x=3", NULL },
                { "{a: [1, 2]}", "a.=3", NULL },
                { "{a: [{b: 1}]}", "a.0.b=2", "{\"a\":[{\"b\":2}]}" },
                { "{a: [{b: 1}]}", "a.-1.b=2", NULL },
                { "{a: [[1]]}", "a.0.-1=2", "{\"a\":[[1,2]]}" },
                { "{a: 1}", "a.b=1", NULL },
                { "{a: null}", "a.b=1", NULL },
                { "{a: 1}", "a", NULL },
                { "{a: 1}", "=1", NULL },
                { "{a: 1}", "a=[1", NULL },
                { "{a: 1}", "a=*x", NULL },
                { "{a.b: 1, 'c\\d': 2}", "a\\.b=3", "{\"a.b\":3,\"c\\\\d\":2}" },
                { "{'c\\d': 2}", "c\\\\d=3", "{\"c\\\\d\":3}" },
                { "{'c\\d': 2}", "c\\d=3", "{\"c\\\\d\":3}" },
                { "{'c\\': {d: 1}}", "c\\\\.d=3", "{\"c\\\\\":{\"d\":3}}" },
                { "{}", ".=1", "{\"\":{\"\":1}}" },
                { "{a: [1]}", "a.99999999999999999999=1", NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
                auto_cleanup(freep) char *text = NULL;
                YamlNode *root = tree_of(t, cases[i][0]);
                json_auto_t *json = NULL;
                auto_error e = { 0 };
                int r;

                r = override_property(t, root, cases[i][1], &e);
                if (r < 0) {
                        assert_non_null(e.message);
                        if (cases[i][2])
                                fail_msg("%s: %s", cases[i][1], e.message);
                        continue;
                }
                assert_int_equal(yaml_to_json(root, &json, NULL), 0);
                text = json_compact(json);
                if (!cases[i][2] || !streq(text, cases[i][2]))
                        fail_msg("%s: %s", cases[i][1], text);
        }
}

static void test_merging(void **state) {
        /* the examples of RFC 7396, appendix A, whose documents are maps */
        static const char *const cases[][3] = {
                { "{a: b}", "{a: c}", "{\"a\":\"c\"}" },
                { "{a: b}", "{b: c}", "{\"a\":\"b\",\"b\":\"c\"}" },
                { "{a: b}", "{a: null}", "{}" },
                { "{a: b, b: c}", "{a: null}", "{\"b\":\"c\"}" },
                { "{a: [b]}", "{a: c}", "{\"a\":\"c\"}" },
                { "{a: c}", "{a: [b]}", "{\"a\":[\"b\"]}" },
                { "{a: {b: c}}", "{a: {b: d, c: null}}", "{\"a\":{\"b\":\"d\"}}" },
                { "{a: [{b: c}]}", "{a: [1]}", "{\"a\":[1]}" },
                { "{e: null}", "{a: 1}", "{\"a\":1,\"e\":null}" },
                { "{}", "{a: {bb: {ccc: null}}}", "{\"a\":{\"bb\":{}}}" },
                { "{a: foo}", "{a: {b: null}}", "{\"a\":{}}" },
                /* empty values are values */
                { "{a: 1, b: [1], c: {d: 1}}", "{a: '', b: [], c: {}}",
                  "{\"a\":\"\",\"b\":[],\"c\":{\"d\":1}}" },
                { "{a: 1}", "{a: {b: [null, {c: null}]}}", "{\"a\":{\"b\":[null,{\"c\":null}]}}" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
                YamlNode *root = tree_of(t, cases[i][0]), *from = tree_of(t, cases[i][1]);
                auto_cleanup(freep) char *text = NULL;
                json_auto_t *json = NULL;

                assert_int_equal(override_merge(t, root, from), 0);
                assert_int_equal(yaml_to_json(root, &json, NULL), 0);
                text = json_compact(json);
                assert_string_equal(text, cases[i][2]);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shared_substitution),
                cmocka_unit_test(test_substitution),
                cmocka_unit_test(test_scan_is_linear),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_whole_resource),
                cmocka_unit_test(test_shared_quantities),
                cmocka_unit_test(test_quantities),
                cmocka_unit_test(test_shared_overrides),
                cmocka_unit_test(test_properties),
                cmocka_unit_test(test_merging),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
