#include "tests/unit/test.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/pattern.h"
#include "orchestrator/spec/shape.h"

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

/* ---- params ---- */

static void test_params_laid(void **state) {
        static const struct {
                const char *fixed, *defaults, *bounds, *said, *want; /* want: JSON, or the fault */
        } cases[] = {
                { "{}", "{}", "{}", "{\"a\":1}", "{\"a\":1}" },
                { "{\"b\":2}", "{\"c\":3}", "{}", "{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3}" },
                { "{\"b\":2}", "{}", "{}", "{\"b\":2}", "{\"b\":2}" },
                { "{\"b\":2}", "{}", "{}", "{\"b\":3}", "'b' is fixed at 2 by definition 'd'" },
                { "{}", "{\"c\":3}", "{}", "{\"c\":4}", "{\"c\":4}" },
                { "{\"b\":{\"$text\":\"x\"}}", "{}", "{}", "{}",
                  "{\"b\":{\"$literal\":{\"$text\":\"x\"}}}" },
                { "{\"b\":\"${x}\"}", "{}", "{}", "{}", "{\"b\":\"${x}\"}" },
                { "{}", "{}", "{\"s\":{\"max\":\"1Gi\"}}", "{}", "{}" },
                { "{}", "{}", "{\"s\":{\"max\":\"1Gi\"}}", "{\"s\":1073741824}",
                  "{\"s\":1073741824}" },
                { "{}", "{}", "{\"s\":{\"max\":\"1Gi\"}}", "{\"s\":\"1G\"}", "{\"s\":\"1G\"}" },
                { "{}", "{}", "{\"s\":{\"max\":\"1Gi\"}}", "{\"s\":\"2Gi\"}",
                  "'s' must be at most \"1Gi\"" },
                { "{}", "{}", "{\"s\":{\"min\":5}}", "{\"s\":4.5}", "'s' must be at least 5" },
                { "{}", "{}", "{\"s\":{\"max\":\"1h\"}}", "{\"s\":\"90m\"}", "at most \"1h\"" },
                { "{}", "{}", "{\"s\":{\"max\":\"1h\"}}", "{\"s\":\"30m\"}", "{\"s\":\"30m\"}" },
                { "{}", "{}", "{\"s\":{\"max\":\"1h\"}}", "{\"s\":30}", "cannot be compared" },
                { "{}", "{}", "{\"s\":{\"max\":5}}", "{\"s\":{\"$text\":\"${a.b}\"}}",
                  "cannot be compared" },
                { "{}", "{}", "{\"s\":{\"one_of\":[15,\"x\"]}}", "{\"s\":15}", "{\"s\":15}" },
                { "{}", "{}", "{\"s\":{\"one_of\":[15,\"x\"]}}", "{\"s\":16}",
                  "must be one of [15,\"x\"]" },
                { "{}", "{\"s\":7}", "{\"s\":{\"max\":5}}", "{}", "at most 5" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Definition d = { .name = (char *) "d",
                                 .params = json_loads(cases[i].fixed, 0, NULL),
                                 .defaults = json_loads(cases[i].defaults, 0, NULL),
                                 .bounds = json_loads(cases[i].bounds, 0, NULL) };
                json_t *said = json_loads(cases[i].said, 0, NULL), *laid = NULL;
                auto_cleanup(freep) char *got = NULL;
                auto_error error = { 0 };
                int r;

                r = definition_lay(&d, said, &laid, &error);
                got = r == 0 ? json_dumps(laid, JSON_COMPACT | JSON_SORT_KEYS)
                             : strdup(error_text(&error, r));
                if (r == 0 ? !streq(got, cases[i].want) : !strstr(got, cases[i].want))
                        fail_msg("case %zu: %s", i, got);
                json_decref(d.params);
                json_decref(d.defaults);
                json_decref(d.bounds);
                json_decref(said);
                json_decref(laid);
        }
}

/* ---- the file ---- */

static int parse(const char *text, Config **ret, SpecFaults *faults, Error *reterr) {
        return config_parse("mayflyd.yaml", text, strlen(text), ret, faults, reterr);
}

static void test_empty_file_is_the_default(void **state) {
        static const char *const texts[] = { "", "# nothing\n", "{}", "~\n" };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                SpecFaults faults = { 0 };
                Config *c;

                assert_int_equal(parse(texts[i], &c, &faults, NULL), 0);
                assert_string_equal(c->domain, "preview.localhost");
                assert_int_equal(c->n_definitions, 10);
                config_free(c);
        }
}

static void test_whole_file(void **state) {
        static const char text[] =
                "domain: preview.example.com\n"
                "listen: 127.0.0.1:9000\n"
                "front: haproxy\n"
                "clocks: {sleep_after_idle: 1h, delete_after_age: off}\n"
                "bounds: {clocks: {sleep_after_idle: 2h, delete_after_asleep: 1d}}\n"
                "values:\n  '*': {A: x}\n  shop: {B: 1, C: true}\n"
                "providers:\n  postgres: {path: /opt/pg, config: {host: db1}}\n"
                "projects:\n  shop: {team: red, owner: ann, clocks: {sleep_after_idle: 10m}}\n"
                "definitions:\n"
                "  - name: big\n"
                "    match: {type: postgres, class: large, project: shop, branch: 'rel/*', trust: member, id: x}\n"
                "    provider: postgres\n"
                "    params: {version: 15}\n"
                "    defaults: {size: 1Gi}\n"
                "    bounds: {size: {max: 10Gi}, kind: {one_of: [a, 1]}}\n"
                "    config: {admin: true}\n"
                "    deadline: 3m\n"
                "  - {name: vol, match: {type: volume}, provider: zfs}\n";
        SpecFaults faults = { 0 };
        const Definition *d;
        Config *c;

        assert_int_equal(parse(text, &c, &faults, NULL), 0);
        assert_string_equal(c->domain, "preview.example.com");
        assert_string_equal(c->listen, "127.0.0.1:9000");
        assert_string_equal(c->front_listen, "127.0.0.1:8200");
        assert_int_equal(c->clocks.sleep_after_idle, MS_PER_HOUR);
        assert_int_equal(c->clocks.delete_after_age, 0);
        assert_int_equal(c->clocks.delete_after_asleep,
                         MS_PER_DAY); /* 7d by default, bound to 1d */
        assert_int_equal(c->clocks.delete_after_close, MS_PER_HOUR);
        assert_int_equal(c->clocks_max.sleep_after_idle, 2 * MS_PER_HOUR);
        assert_int_equal(config_clock_max(c, "delete_after_asleep"), MS_PER_DAY);
        assert_int_equal(config_clock_max(c, "delete_after_age"), -1);
        assert_string_equal(
                json_string_value(json_object_get(json_object_get(c->values, "*"), "A")), "x");
        assert_string_equal(json_string_value(json_object_get(
                                    json_object_get(c->providers, "postgres"), "path")),
                            "/opt/pg");
        assert_int_equal(json_integer_value(json_object_get(
                                 json_object_get(json_object_get(c->projects, "shop"), "clocks"),
                                 "sleep_after_idle")),
                         10 * MS_PER_MINUTE);
        assert_int_equal(c->n_definitions, 12);
        d = &c->definitions[10];
        assert_string_equal(d->name, "big");
        assert_string_equal(d->type, "postgres");
        assert_string_equal(d->class, "large");
        assert_string_equal(d->id, "x");
        assert_string_equal(d->project, "shop");
        assert_string_equal(d->branch, "rel/*");
        assert_string_equal(d->trust, "member");
        assert_string_equal(d->provider, "postgres");
        assert_int_equal(d->deadline_ms, 3 * MS_PER_MINUTE);
        assert_int_equal(d->line, 14);
        assert_true(json_is_true(json_object_get(d->config, "admin")));
        assert_string_equal(matched(c, "volume", NULL, "x", "p", "b", "member"), "vol");
        config_free(c);
        spec_faults_done(&faults);
}

/* A protection that was written and does not hold is worse than none: the whole file is refused. */
static void F02_config_misindented_so_no_protection(void **state) {
        static const char *const texts[] = {
                "clock:\n  delete_after_age: off\n",
                "clocks:\ndelete_after_age: off\n",
                "clocks:\n  delete_after_ages: off\n",
                "clocks: [delete_after_age]\n",
                "clocks:\n  delete_after_age: 21\n",
                "clocks:\n  delete_after_age: -1d\n",
                "clocks:\n  delete_after_age: never\n",
                "clocks:\n  delete_after_age: off\n  delete_after_age: 1h\n",
                "bounds:\n  delete_after_age: 2d\n",
                "projects:\n  shop:\n  clocks: {delete_after_age: off}\n",
                "projects:\n  shop: {clock: {delete_after_age: off}}\n",
                "definitions:\n  - name: mine\n    type: volume\n    provider: volume\n",
                "clocks: {delete_after_age: off\n",
        };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                auto_cleanup(spec_faults_done) SpecFaults faults = { 0 };
                auto_error error = { 0 };
                Config *config = NULL;

                if (config_parse("m", texts[i], strlen(texts[i]), &config, &faults, &error) == 0)
                        fail_msg("taken as it is: %s", texts[i]);
                assert_null(config);
                assert_true(faults.n_items > 0);
        }
}

static void test_faults(void **state) {
        static const struct {
                const char *text, *fault, *hint;
                unsigned line, column;
        } cases[] = {
                { "domian: x\n", "did you mean 'domain'?", "domain", 1, 1 },
                { "a: 1\nlistten: x\n", "There is no 'a' in this file; it knows: domain,", NULL, 1,
                  1 },
                { "domain: 1\n", "must be text", NULL, 1, 9 },
                { "domain: ''\n", "must not be empty", NULL, 1, 9 },
                { "domain: Example.com\n", "lower case", NULL, 1, 9 },
                { "domain: a..b\n", "lower case", NULL, 1, 9 },
                { "domain: a-.b\n", "lower case", NULL, 1, 9 },
                { "listen: 8150\n", "must be text", NULL, 1, 9 },
                { "listen: localhost:8150\n", "not an address and port", NULL, 1, 9 },
                { "listen: 127.0.0.1:99999\n", "not an address and port", NULL, 1, 9 },
                { "listen: 0.0.0.0:80\n", "beyond this machine", NULL, 1, 9 },
                { "listen: '[::]:80'\n", "beyond this machine", NULL, 1, 9 },
                { "front: proxy\n", "'door' or 'haproxy'", NULL, 1, 8 },
                { "front: haprxy\n", "'door' or 'haproxy'", "haproxy", 1, 8 },
                { "front_listen: 127.0.0.1:1\n", "needs front: haproxy", NULL, 1, 15 },
                { "clocks: {sleep_after_idle: 30}\n", "must say its unit", NULL, 1, 28 },
                { "clocks: {sleep_after_idle: 2h}\nbounds: {clocks: {sleep_after_idle: 1h}}\n",
                  "beyond its own bound", NULL, 1, 28 },
                { "projects: {shop: {clocks: {delete_after_age: off}}}\n"
                  "bounds: {clocks: {delete_after_age: 1d}}\n",
                  "'delete_after_age' of project 'shop'", NULL, 1, 46 },
                { "projects: {Shop: {}}\n", "not the name of a project", NULL, 1, 12 },
                { "values: {shop: {A: [1]}}\n", "must be text, a number, true or false", NULL, 1,
                  20 },
                { "providers: {../x: {}}\n", "not a name of letters", NULL, 1, 13 },
                { "providers: {x: {path: y}}\n", "full path", NULL, 1, 23 },
                { "definitions: {}\n", "must be a list", NULL, 1, 14 },
                { "definitions: [{}]\n", "'name' is missing", NULL, 1, 15 },
                { "definitions: [{name: x, provider: y, match: {}}]\n", "'type' is missing", NULL,
                  1, 45 },
                { "definitions: [{name: 'builtin:x', provider: y, match: {type: t}}]\n",
                  "are taken", NULL, 1, 22 },
                { "definitions: [{name: x, provider: y, match: {type: t, trust: friend}}]\n",
                  "'member', 'approved' or 'stranger'", NULL, 1, 62 },
                { "definitions: [{name: x, provider: y, match: {type: t, branch: '['}}]\n",
                  "not closed", NULL, 1, 63 },
                { "definitions: [{name: x, provider: y, match: {type: t, brunch: a}}]\n",
                  "did you mean 'branch'?", "branch", 1, 55 },
                { "definitions: [{name: x, provider: y, match: {type: t}, deadline: 1ms}]\n",
                  "too short", NULL, 1, 66 },
                { "definitions:\n- {name: x, provider: y, match: {type: t}}\n"
                  "- {name: x, provider: y, match: {type: u}}\n",
                  "used twice", NULL, 3, 3 },
                { "definitions:\n- {name: x, provider: y, match: {type: t, branch: 'a*'}}\n"
                  "- {name: z, provider: y, match: {type: t, branch: '*b'}}\n",
                  "'x' (line 2) and 'z' name the same things", NULL, 3, 3 },
                { "definitions:\n- {name: x, provider: y, match: {type: t}, params: {a: 5}, bounds: {a: "
                  "{max: 4}}}\n",
                  "'a' must be at most 4", NULL, 2, 3 },
                { "- a\n", "must be a map", NULL, 1, 1 },
                { "a: [\n", "", NULL, 2, 1 },
                { "{}\n---\n{}\n", "one document", NULL, 0, 0 },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                SpecFaults faults = { 0 };
                auto_error error = { 0 };
                Config *c = NULL;

                assert_int_equal(parse(cases[i].text, &c, &faults, &error), -EINVAL);
                assert_null(c);
                assert_true(faults.n_items > 0);
                if (!strstr(faults.items[0].message, cases[i].fault) ||
                    (cases[i].line > 0 && (faults.items[0].line != cases[i].line ||
                                           faults.items[0].column != cases[i].column)) ||
                    (cases[i].hint && !streq_null(faults.items[0].hint, cases[i].hint)))
                        fail_msg("%s gives %u:%u %s (%s)", cases[i].text, faults.items[0].line,
                                 faults.items[0].column, faults.items[0].message,
                                 faults.items[0].hint ? faults.items[0].hint : "");
                assert_non_null(strstr(error.message, faults.items[0].message));
                spec_faults_done(&faults);
        }
}

static void test_all_faults_come_together(void **state) {
        SpecFaults faults = { 0 };
        Config *c = NULL;

        assert_int_equal(parse("domian: x\nfront: y\nclocks: {a: 1}\ndefinitions: [{name: 1}]\n",
                               &c, &faults, NULL),
                         -EINVAL);
        assert_int_equal(faults.n_items, 6);
        for (size_t i = 1; i < faults.n_items; i++)
                assert_true(faults.items[i].line >= faults.items[i - 1].line);
        spec_faults_done(&faults);
}

/* ---- the published schemas ---- */

static void schema_check(const Shape *shape, const char *name, const char *title) {
        const char *source = getenv("MAYFLY_SOURCE");
        auto_cleanup(freep) char *path = NULL, *text = NULL;
        auto_strbuf made = { 0 };
        json_t *schema;

        path = str_format("%s/packaging/schema/%s", source ? source : ".", name);
        assert_int_equal(shape_to_schema(shape, name, title, &schema), 0);
        json_write(&made, schema, 2);
        strbuf_add(&made, "\n");
        json_decref(schema);
        if (getenv("MAYFLY_WRITE_SCHEMA"))
                assert_int_equal(write_file(path, made.text, made.size, 0644, NULL), 0);
        assert_int_equal(read_file(path, 1000000, &text, NULL, NULL), 0);
        if (!streq(text, made.text))
                fail_msg("%s is not what the table says: run this test with MAYFLY_WRITE_SCHEMA=1",
                         path);
}

static void test_schemas_are_the_tables(void **state) {
        schema_check(&mayfly_shape, "mayfly.schema.json", "mayfly.yaml");
        schema_check(&config_shape, "mayflyd.schema.json", "mayflyd.yaml");
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
                cmocka_unit_test(test_params_laid),
                cmocka_unit_test(test_empty_file_is_the_default),
                cmocka_unit_test(test_whole_file),
                cmocka_unit_test(F02_config_misindented_so_no_protection),
                cmocka_unit_test(test_faults),
                cmocka_unit_test(test_all_faults_come_together),
                cmocka_unit_test(test_schemas_are_the_tables),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
