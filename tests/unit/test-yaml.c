#include "tests/unit/test.h"

#include <math.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/glue/yaml.h"

/* The text as compact JSON, or "!MESSAGE" of the first problem, or "" for no document. Owned. */
static char *as_json(const char *text, size_t size) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        json_auto_t *json = NULL;
        auto_error e = { 0 };
        const YamlProblem *problems;
        YamlNode *root = NULL;
        size_t n;
        int r;

        r = yaml_parse(t, "test.yaml", text, size, &root);
        problems = yaml_problems(t, &n);
        if (r < 0) {
                assert_int_equal(r, -EBADMSG);
                assert_true(n > 0);
                return str_format("!%s", problems[0].message);
        }
        assert_int_equal(n, 0);
        if (!root)
                return strdup("");
        if (yaml_to_json(root, &json, &e) < 0)
                return str_format("!%s", e.message);
        return json_compact(json);
}

static void check(const char *text, const char *expected) {
        auto_cleanup(freep) char *json = as_json(text, strlen(text));

        if (!streq(json, expected))
                fail_msg("'%s' gives %s, not %s", text, json, expected);
}

/* Fails with a message that begins like this. */
static void check_problem(const char *text, const char *begin) {
        auto_cleanup(freep) char *json = as_json(text, strlen(text));

        if (*json != '!' || !str_after(json + 1, begin))
                fail_msg("'%s' gives %s, not the problem '%s'", text, json, begin);
}

static void test_scalars(void **state) {
        static const char *const cases[][2] = {
                { "yes", "\"yes\"" },
                { "no", "\"no\"" },
                { "on", "\"on\"" },
                { "off", "\"off\"" },
                { "y", "\"y\"" },
                { "n", "\"n\"" },
                { "N", "\"N\"" },
                { "true", "true" },
                { "True", "true" },
                { "TRUE", "true" },
                { "tRue", "\"tRue\"" },
                { "false", "false" },
                { "False", "false" },
                { "FALSE", "false" },
                { "~", "null" },
                { "null", "null" },
                { "Null", "null" },
                { "NULL", "null" },
                { "nULL", "\"nULL\"" },
                { "a:", "{\"a\":null}" },
                { "0", "0" },
                { "-0", "0" },
                { "0644", "420" },
                { "0o644", "420" },
                { "0O17", "15" },
                { "0x1A", "26" },
                { "0X1a", "26" },
                { "0b11", "3" },
                { "0B11", "3" },
                { "-0x10", "-16" },
                { "-0b11", "-3" },
                { "0o-7", "-7" },
                { "0b-1", "-1" },
                { "+0o-7", "\"+0o-7\"" },
                { "0x-7", "\"0x-7\"" },
                { "0x", "\"0x\"" },
                { "1_000", "1000" },
                { "1__0_", "10" },
                { "_1", "\"_1\"" },
                { "+1", "1" },
                { "-1", "-1" },
                { "+", "\"+\"" },
                { "9223372036854775807", "9223372036854775807" },
                { "-9223372036854775808", "-9223372036854775808" },
                { "1.10", "1.1" },
                { ".5", "0.5" },
                { "1.", "1" },
                { "1e3", "1000" },
                { "089", "89" },
                { "1e-7", "1e-7" },
                { "+.5", "0.5" },
                { "-1.5e+2", "-150" },
                { "1e400", "\"1e400\"" },
                { ".5.", "\".5.\"" },
                { "1e", "\"1e\"" },
                { ".", "\".\"" },
                { "1_0.5", "10.5" },
                { "0.1", "0.1" },
                { "1e21", "1e+21" },
                { "123456789012345678901", "123456789012345680000" },
                { "12:30:00", "\"12:30:00\"" },
                { "190:20:30", "\"190:20:30\"" },
                { "1.2.3", "\"1.2.3\"" },
                { "=", "\"=\"" },
                { "\"0644\"", "\"0644\"" },
                { "'true'", "\"true\"" },
                { "|\n  12\n", "\"12\\n\"" },
                { ">-\n  12\n", "\"12\"" },
                { "!!str 12", "\"12\"" },
                { "!!int \"12\"", "12" },
                { "!!float 1", "1" },
                { "!!float 0x10", "16" },
                { "!!bool true", "true" },
                { "!!null ''", "null" },
                { "! 12", "12" },
                { "! '12'", "\"12\"" },
                { "!mine 12", "\"12\"" },
                { "!!binary aGVsbG8=", "\"hello\"" },
                { "!!binary aGVsbA==", "\"hell\"" },
                { "<<", "\"<<\"" },
                { "\"\\u00e9\\x41\"", "\"\xc3\xa9"
                                      "A\"" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                check(cases[i][0], cases[i][1]);
        check_problem(".inf", "Line 1");
        check_problem("-.INF", "Line 1");
        check_problem(".nan", "Line 1");
        check_problem("!!int 1.5", "'1.5' cannot be read as !!int");
        check_problem("!!bool yes", "'yes' cannot be read");
        check_problem("!!null x", "'x' cannot be read");
        check_problem("!!timestamp x", "'x' cannot be read");
        check_problem("!!binary a", "This is not base64");
        check_problem("!!binary a=b=", "This is not base64");
        check_problem("!!binary /w==", "Bytes that are no text");
        check_problem("!!binary AAAA", "Bytes that are no text");
}

static YamlKind kind_of(const char *text) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        YamlNode *root = NULL;

        assert_int_equal(yaml_parse(t, "test.yaml", text, strlen(text), &root), 0);
        return root->kind;
}

static void test_timestamps(void **state) {
        static const char *const yes[] = {
                "2024-01-01",
                "2024-1-2",
                "2024-02-29",
                "2001-12-14t21:59:43.10-05:00",
                "2001-12-14T21:59:43Z",
                "2001-12-14 21:59:43.10",
                "2001-12-14   1:2:3",
                "0000-01-01",
                "2001-12-14T1:2:3.123456789123Z",
                "!!timestamp '2024-01-01'",
        };
        static const char *const no[] = {
                "2023-02-29",
                "2024-13-01",
                "2024-00-01",
                "2024-01-00",
                "2024-01-32",
                "24-01-01",
                "2024-01",
                "2024-01-01x",
                "2001-12-14 21:59:43.10 -5",
                "2001-12-14T21:59:43",
                "2001-12-14T24:00:00Z",
                "2001-12-14 21:60:00",
                "2001-12-14T21:59:43+5:00",
                "\"2024-01-01\"",
                "2024-01-01T",
                "20240-01-01",
                "2024-1-1 ",
        };

        for (size_t i = 0; i < N_ELEMENTS(yes); i++)
                if (kind_of(yes[i]) != YAML_KIND_TIMESTAMP)
                        fail_msg("%s is a timestamp", yes[i]);
        for (size_t i = 0; i + 1 < N_ELEMENTS(no); i++)
                if (kind_of(no[i]) == YAML_KIND_TIMESTAMP)
                        fail_msg("%s is no timestamp", no[i]);
}

static void test_maps(void **state) {
        check("{}", "{}");
        check("a: {b: [1, {c: d}]}", "{\"a\":{\"b\":[1,{\"c\":\"d\"}]}}");
        check("{\"a\":1,\"b\":[true,null]}", "{\"a\":1,\"b\":[true,null]}");
        check("a: &x {b: 1}\nc: *x", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}");
        check("&k a: 1\nb: *k", "{\"a\":1,\"b\":\"a\"}");
        /* an alias as a key is not seen as a repetition; the later one counts */
        check("? &k a\n: 1\n*k : 2", "{\"a\":2}");
        check("\"<<\": {a: 1}", "{\"<<\":{\"a\":1}}");
        check_problem("a: 1\na: 2", "The key 'a' is here a second time, first in line 1");
        check_problem("a: 1\n'a': 2", "The key 'a' is here a second time");
        check_problem("1: 1\n'1': 2", "The key '1' is here a second time");
        check_problem("{[a]: 1}", "A key must be text, not a list");
        check_problem("? {a: 1}\n: 1", "A key must be text, not a map");
        check_problem("8080: a", "Line 1: keys must be text");
        check_problem("true: a", "Line 1: keys must be text");
        check_problem("~: a", "Line 1: keys must be text");
        check_problem("!mine a: b", "Line 1: keys must be text");
}

static void test_merges(void **state) {
        check("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}",
              "{\"a\":{\"x\":1,\"y\":2},\"b\":{\"x\":1,\"y\":3}}");
        check("b: {y: 3, <<: {y: 1, x: 1}}", "{\"b\":{\"x\":1,\"y\":3}}");
        check("a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b]}",
              "{\"a\":{\"x\":1},\"b\":{\"x\":2,\"z\":2},\"c\":{\"x\":1,\"z\":2}}");
        check("a: &a {x: 1}\nb: &b {<<: *a, z: 2}\nc: {<<: *b, z: 3}",
              "{\"a\":{\"x\":1},\"b\":{\"x\":1,\"z\":2},\"c\":{\"x\":1,\"z\":3}}");
        check("a: {<<: {}}", "{\"a\":{}}");
        check("a: {!!merge <<: {x: 1}}", "{\"a\":{\"x\":1}}");
        check_problem("a: {<<: 1}", "'<<' takes a map or a list of maps");
        check_problem("a: {<<: }", "'<<' takes a map");
        check_problem("a: {<<: [1]}", "'<<' takes a map");
        check_problem("a: &l [{x: 1}]\nb: {<<: *l}", "'<<' takes a map");
        check_problem("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "The key '<<' is here a second time");
}

static void test_documents(void **state) {
        check("", "");
        check("# nothing\n", "");
        check("---\n", "null");
        check("--- a\n--- b\n", "\"a\"");
        check("a: 1\n---\n: : bad [", "{\"a\":1}");
        check("\xef\xbb\xbf"
              "a: 1",
              "{\"a\":1}");
        check("%YAML 1.1\n--- a", "\"a\"");
        check_problem("%YAML 1.2\n--- a", "YAML 1.2 is not read here");
        check_problem("a: \xff", "This is not YAML: invalid leading UTF-8 octet");
        check_problem("a: \"\\0\"", "Text must not contain");
        check_problem("a: *nope", "There is no anchor '&nope'");
        check_problem("a: &a [*a]", "The value of '&a' contains itself");
        check_problem("a: &a\n  b: {<<: *a}", "The value of '&a' contains itself");
        check_problem("a:\n\tb: 1", "This is not YAML");
        check_problem("a: [1", "This is not YAML");
        check_problem("a: b: c", "This is not YAML");
}

static void test_places(void **state) {
        static const char text[] =
                "a: 1\nb\xc3\xa9: {c: [x, \"y\"], d: }\ne: &q\n  f: |\n    text\ng: *q\n";
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        static const struct {
                const char *pointer;
                unsigned key_line, key_column, line, column;
        } cases[] = {
                { "/a", 1, 1, 1, 4 },
                { "/b\xc3\xa9", 2, 1, 2, 5 },
                { "/b\xc3\xa9/c/1", 0, 0, 2, 13 },
                { "/b\xc3\xa9/d", 2, 19, 2, 22 },
                { "/e/f", 4, 3, 4, 6 },
                { "/g/f", 4, 3, 4, 6 },
        };
        YamlNode *root;

        assert_int_equal(yaml_parse(t, "f.yaml", text, strlen(text), &root), 0);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                YamlEntry *entry;
                YamlNode *node = yaml_at(root, cases[i].pointer, &entry);

                assert_non_null(node);
                assert_string_equal(node->place.file, "f.yaml");
                assert_int_equal(node->place.line, cases[i].line);
                assert_int_equal(node->place.column, cases[i].column);
                assert_int_equal(entry ? entry->place.line : 0, cases[i].key_line);
                assert_int_equal(entry ? entry->place.column : 0, cases[i].key_column);
        }
        assert_null(yaml_at(root, "/b\xc3\xa9/c/2", NULL));
        assert_null(yaml_at(root, "/a/b", NULL));
        assert_ptr_equal(yaml_at(root, "", NULL), root);
}

static void test_second_document_has_a_place(void **state) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        YamlNode *root;

        assert_int_equal(yaml_parse(t, "f", "a: 1\n", 5, &root), 0);
        assert_int_equal(yaml_second_document(t).line, 0);
        assert_int_equal(yaml_parse(t, "f", "a: 1\n---\nb: 1\n", 14, &root), 0);
        assert_int_equal(yaml_second_document(t).line, 2);
}

/* ---- limits ---- */

static void check_big(StrBuf *b, const char *begin) {
        size_t size = b->size;
        auto_cleanup(freep) char *text = strbuf_take(b), *json = as_json(text, size);

        if (*json != '!' || !str_after(json + 1, begin))
                fail_msg("gives %.100s, not the problem '%s'", json, begin);
}

static void test_limits(void **state) {
        auto_strbuf b = { 0 };

        /* exponential aliases */
        strbuf_add(&b, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for (int i = 1; i < 12; i++) {
                strbuf_addf(&b, "a%d: &a%d [", i, i);
                for (int j = 0; j < 10; j++)
                        strbuf_addf(&b, "%s*a%d", j ? ", " : "", i - 1);
                strbuf_add(&b, "]\n");
        }
        check_big(&b, "Nearly everything here comes from aliases");
        /* doubling: not nearly everything, but too much */
        strbuf_add(&b, "a: &a [");
        for (int i = 0; i < 1000; i++)
                strbuf_add(&b, "x, ");
        strbuf_add(&b, "]\nb: [");
        for (int i = 0; i < 60; i++)
                strbuf_add(&b, "*a, ");
        strbuf_add(&b, "]\n");
        check_big(&b, "There are more than 50000 values");
        for (int i = 0; i < LIMIT_SPEC_DEPTH + 1; i++)
                strbuf_addc(&b, '[');
        check_big(&b, "This is nested more than 64 levels deep");
        for (int i = 0; i < 100000; i++)
                strbuf_add(&b, "- ");
        check_big(&b, "This is nested more than 64 levels deep");
        for (int i = 0; i < 500000; i++)
                strbuf_addc(&b, '[');
        check_big(&b, "This is nested more than 64 levels deep");
        for (int i = 0; i < 100000; i++)
                strbuf_addf(&b, "k%d: 1\n", i);
        check_big(&b, "There are more than 50000 values");
        strbuf_addc(&b, '{');
        for (int i = 0; i < 500000; i++)
                strbuf_add(&b, "a,");
        check_big(&b, "There are more than 50000 values");
        strbuf_add(&b, "a: ");
        for (int i = 0; i < 10 * 1024 * 1024; i++)
                strbuf_addc(&b, 'x');
        check_big(&b, "The file has more than 1048576 bytes");
        strbuf_add(&b, "a: &a x\nb: [");
        for (int i = 0; i < 20000; i++)
                strbuf_add(&b, "*a, y, ");
        strbuf_add(&b, "]");
        check_big(&b, "There are more than 10000 aliases");
        /* copies nest as well */
        strbuf_add(&b, "a0: &a0 [x]\n");
        for (int i = 1; i < 80; i++)
                strbuf_addf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
        check_big(&b, "This is nested more than 64 levels deep");
}

static void test_all_repeated_keys_are_said(void **state) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        static const char text[] = "a: 1\nb: {x: 1, x: 2}\na: 2\na: 3\n";
        const YamlProblem *problems;
        YamlNode *root;
        size_t n;

        assert_int_equal(yaml_parse(t, "f", text, strlen(text), &root), -EBADMSG);
        problems = yaml_problems(t, &n);
        assert_int_equal(n, 3);
        assert_int_equal(problems[0].place.line, 2);
        assert_int_equal(problems[0].place.column, 11);
        assert_int_equal(problems[2].place.line, 4);
}

static void test_ordinary_aliases_are_fine(void **state) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *text = NULL, *json = NULL;

        strbuf_add(&b, "a: &a {x: 1, y: 2}\nb:\n");
        for (int i = 0; i < 300; i++)
                strbuf_addf(&b, "  k%d: *a\n", i);
        text = strbuf_take(&b);
        json = as_json(text, strlen(text));
        assert_true(*json == '{');
}

static void test_changing(void **state) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        const YamlPlace place = { "x", 3, 4 };
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *json = NULL;
        YamlNode *root, *list;

        assert_int_equal(yaml_parse(t, "f", "a: 1\nl: [1, 2, 3]", 17, &root), 0);
        for (int i = 0; i < 40; i++) {
                char key[16];

                snprintf(key, sizeof(key), "k%d", i % 20);
                assert_int_equal(yaml_set(t, root, key, place, yaml_new_string(t, place, key)), 0);
        }
        assert_int_equal(root->n_entries, 22);
        for (int i = 0; i < 19; i++) {
                char key[16];

                snprintf(key, sizeof(key), "k%d", i);
                yaml_remove(root, key);
        }
        yaml_remove(root, "not there");
        list = yaml_get(root, "l");
        yaml_remove_at(list, 1);
        assert_int_equal(yaml_append(t, list, yaml_new_map(t, place)), 0);
        assert_int_equal(yaml_to_json(root, &json, NULL), 0);
        text = json_compact(json);
        assert_string_equal(text, "{\"a\":1,\"k19\":\"k19\",\"l\":[1,3,{}]}");
}

static void test_json_is_written_one_way(void **state) {
        json_auto_t *json = json_pack("{s:f, s:f, s:f, s:f, s:f, s:s, s:[i,b,n], s:{}, s:[]}", "b",
                                      0.1, "a", 1e300, "c", 5e-324, "d", 100.0, "e", -2.5, "t",
                                      "\"\\\n\t\x01\xc3\xa9/<", "l", 1, 1, "o", "z");
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *text = json_compact(json);

        assert_string_equal(
                text,
                "{\"a\":1e+300,\"b\":0.1,\"c\":5e-324,\"d\":100,\"e\":-2.5,\"l\":[1,true,null],\"o\":{},"
                "\"t\":\"\\\"\\\\\\n\\t\\u0001\xc3\xa9/<\",\"z\":[]}");
        json_write(&b, json_object_get(json, "l"), 2);
        assert_string_equal(b.text, "[\n  1,\n  true,\n  null\n]");
        strbuf_done(&b);
        json_pointer_add(&b, "a/b~c");
        assert_string_equal(b.text, "/a~1b~0c");
}

static void test_numbers_read_back(void **state) {
        static const double numbers[] = { 1e-6,
                                          1e-7,
                                          123456.789,
                                          1.0 / 3,
                                          1e20,
                                          1e21,
                                          1.7976931348623157e308,
                                          2.2250738585072014e-308,
                                          4503599627370497.5,
                                          0.000001234 };

        for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
                json_auto_t *json = json_real(numbers[i]);
                auto_cleanup(freep) char *text = json_compact(json);

                assert_true(strtod(text, NULL) == numbers[i]);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_scalars),
                cmocka_unit_test(test_timestamps),
                cmocka_unit_test(test_maps),
                cmocka_unit_test(test_merges),
                cmocka_unit_test(test_documents),
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_second_document_has_a_place),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_all_repeated_keys_are_said),
                cmocka_unit_test(test_ordinary_aliases_are_fine),
                cmocka_unit_test(test_changing),
                cmocka_unit_test(test_json_is_written_one_way),
                cmocka_unit_test(test_numbers_read_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
