#include "tests/unit/test.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/plan.h"

/* ---- a checkout in memory ---- */

typedef struct File {
        const char *path, *text;
        size_t size; /* 0: strlen */
} File;

static int file_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
        for (const File *f = userdata; f->path; f++) {
                size_t size = f->size ? f->size : strlen(f->text);

                if (!streq(f->path, path))
                        continue;
                if (size > max)
                        return error_set(reterr, -EFBIG, "'%s' is larger than %zu bytes", path,
                                         max);
                *ret = calloc(1, size + 1);
                memcpy(*ret, f->text, size);
                *ret_size = size;
                return 0;
        }
        return error_set(reterr, -ENOENT, "There is no '%s'", path);
}

typedef struct Outcome {
        Graph *graph;
        SpecFaults faults, notices;
        Error error;
        json_t *order;
        int r;
} Outcome;

static Config *config;

static void outcome_done(Outcome *o) {
        graph_free(o->graph);
        spec_faults_done(&o->faults);
        spec_faults_done(&o->notices);
        error_done(&o->error);
        json_decref(o->order);
}

#define auto_outcome auto_cleanup(outcome_done) Outcome

static PlanContext context(void) {
        return (PlanContext){ .config = config,
                              .project = "shop",
                              .repository = "/srv/shop.git",
                              .branch = "feature/login",
                              .commit = "0123456789012345678901234567890123456789",
                              .trust = "member" };
}

static void plan_with(const File *files, PlanOptions options, Outcome *ret) {
        SpecReader reader = { .read = file_read, .userdata = (void *) files };
        PlanContext c = context();

        *ret = (Outcome){ 0 };
        options.notices = &ret->notices;
        options.ret_order = &ret->order;
        ret->r = plan_make_with(&c, &reader, &options, &ret->graph, &ret->faults, &ret->error);
        assert_true((ret->r == 0) == (ret->graph != NULL));
        if (ret->r < 0)
                assert_non_null(ret->error.message);
        if (ret->r == -EINVAL && ret->faults.n_items > 0)
                assert_non_null(strstr(ret->error.message, ret->faults.items[0].message));
}

#define PLAN(o, ...) plan_with((const File[]){ __VA_ARGS__, { 0 } }, (PlanOptions){ 0 }, o)

static void outcome_print(const Outcome *o) {
        print_message("# %d %s\n", o->r, o->error.message ? o->error.message : "");
        for (size_t i = 0; i < o->faults.n_items; i++)
                print_message("# %s:%u:%u %s: %s\n", o->faults.items[i].file,
                              o->faults.items[i].line, o->faults.items[i].column,
                              o->faults.items[i].path, o->faults.items[i].message);
}

static void assert_planned(const Outcome *o) {
        if (o->r != 0) {
                outcome_print(o);
                fail();
        }
}

/* One of the faults has this text. */
static void assert_fault(const Outcome *o, const char *text) {
        for (size_t i = 0; i < o->faults.n_items; i++)
                if (strstr(o->faults.items[i].message, text))
                        return;
        outcome_print(o);
        fail_msg("no fault says \"%s\"", text);
}

static const json_t *at(const json_t *json, const char *path) {
        auto_cleanup(freep) char *copy = strdup(path);

        for (char *part = strtok(copy, "/"); part; part = strtok(NULL, "/"))
                json = json_is_array(json) ? json_array_get(json, (size_t) atoi(part))
                                           : json_object_get(json, part);
        return json;
}

static void assert_param(const Outcome *o, const char *key, const char *path, const char *want) {
        const GraphNode *n = graph_find(o->graph, key);
        auto_cleanup(freep) char *got = NULL;

        if (!n)
                fail_msg("there is no %s", key);
        got = json_dumps(at(n->params, path), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        if (!got || !streq(got, want))
                fail_msg("%s %s is %s, not %s", key, path, got ? got : "absent", want);
}

#define SCORE(name, more)                                           \
        "apiVersion: score.dev/v1b1\nmetadata:\n  name: " name "\n" \
        "containers:\n  main:\n    image: .\n    command: [./run]\n" more

/* ---- the bootstrap ---- */

static void test_bootstrap(void **state) {
        PlanContext c = context();
        auto_outcome o = { 0 };
        json_t *a, *b;
        Graph *g;

        assert_int_equal(plan_bootstrap(&c, &g, NULL), 0);
        assert_int_equal(g->n_nodes, 2);
        PLAN(&o, { "score.yaml", SCORE("web", "") });
        assert_planned(&o);
        for (size_t i = 0; i < g->n_nodes; i++) {
                GraphNode *same = graph_find(o.graph, g->nodes[i].key);

                assert_non_null(same);
                graph_node_to_json(&g->nodes[i], &a);
                graph_node_to_json(same, &b);
                assert_true(json_equal(a, b));
                json_decref(a);
                json_decref(b);
        }
        assert_param(&o, "checkout.default#checkout", "commit",
                     "\"0123456789012345678901234567890123456789\"");
        graph_free(g);
}

/* ---- finding the file ---- */

static void test_no_dependency_file(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o, { "README.md", "x" });
        assert_int_equal(o.r, -ENOENT);
        assert_non_null(strstr(o.error.message, "score.yaml"));
}

static void test_mayfly_comes_first(void **state) {
        auto_outcome a = { 0 }, b = { 0 }, c = { 0 };

        PLAN(&a, { "score.yaml", SCORE("one", "") }, { "x/score.yaml", SCORE("two", "") },
             { "mayfly.yaml", "score: [x/score.yaml]\n" });
        assert_planned(&a);
        assert_non_null(graph_find(a.graph, "workload.default#two"));
        assert_null(graph_find(a.graph, "workload.default#one"));
        PLAN(&b, { "score.yaml", SCORE("one", "") }, { "mayfly.yaml", "" });
        assert_planned(&b);
        assert_non_null(graph_find(b.graph, "workload.default#one"));
        PLAN(&c, { "score.yaml", SCORE("one", "") }, { "compose.yaml", "services: {}" });
        assert_planned(&c);
}

static void test_mayfly_faults(void **state) {
        static const struct {
                const char *text, *fault;
                unsigned line, column;
        } cases[] = {
                { "scores: [a]\n", "did you mean 'score'?", 1, 1 },
                { "version: 2\n", "from 1 to 1", 1, 10 },
                { "score: a\n", "must be a list", 1, 8 },
                { "score: []\n", "at least one", 1, 8 },
                { "score: [../a]\n", "inside the repository", 1, 9 },
                { "score: [gone.yaml]\n", "There is no 'gone.yaml'", 1, 9 },
                { "workloads:\n  wbe: {}\n", "did you mean 'web'?", 2, 3 },
                { "workloads:\n  web: {public: yes}\n", "'public' must be true or false", 2, 17 },
                { "workloads:\n  web: {build: {}}\n", "'command' is missing", 2, 16 },
                { "workloads:\n  web: {build: {command: []}}\n", "at least one", 2, 26 },
                { "workloads:\n  web: {build: {command: make, timeout: 10}}\n", "say its unit", 2,
                  41 },
                { "workloads:\n  web: {comand: make}\n", "did you mean 'command'?", 2, 9 },
                { "lease: {sleep_after_idle: 10x}\n", "not a duration", 1, 27 },
                { "lease: {sleep_after_idle: 1s}\n", "too short", 1, 27 },
                { "lease: {sleep_after_idel: 1h}\n", "did you mean 'sleep_after_idle'?", 1, 9 },
                { "workloads:\n  web: {build: {command: make, timeout: 1h}}\n", "at most 15m", 3,
                  9 },
                { "- a\n", "must be a map", 1, 1 },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_outcome o = { 0 };

                PLAN(&o, { "score.yaml", SCORE("web", "") }, { "mayfly.yaml", cases[i].text });
                assert_int_equal(o.r, -EINVAL);
                assert_fault(&o, cases[i].fault);
                if (o.faults.items[0].line != cases[i].line ||
                    o.faults.items[0].column != cases[i].column) {
                        outcome_print(&o);
                        fail_msg("not at %u:%u", cases[i].line, cases[i].column);
                }
        }
}

static void test_all_faults_together(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o, { "a.yaml", SCORE("aa", "extra: 1\n") }, { "b.yaml", "metadata: 1\n" },
             { "mayfly.yaml", "score: [a.yaml, b.yaml, c.yaml]\n" });
        assert_int_equal(o.r, -EINVAL);
        assert_fault(&o, "extra");
        assert_fault(&o, "There is no 'c.yaml'");
        assert_fault(&o, "'1' is a number");
}

static void test_lease(void **state) {
        auto_outcome a = { 0 }, b = { 0 };

        PLAN(&a, { "score.yaml", SCORE("web", "") },
             { "mayfly.yaml", "lease: {sleep_after_idle: 1h, delete_after_age: off}\n" });
        assert_planned(&a);
        assert_int_equal(json_integer_value(json_object_get(a.graph->lease, "sleep_after_idle")),
                         3600000);
        assert_int_equal(json_integer_value(json_object_get(a.graph->lease, "delete_after_age")),
                         0);
        config->clocks_max.sleep_after_idle = 1800000;
        config->clocks_max.delete_after_age = 1800000;
        PLAN(&b, { "score.yaml", SCORE("web", "") },
             { "mayfly.yaml", "lease: {sleep_after_idle: 1h, delete_after_age: off}\n" });
        config->clocks_max.sleep_after_idle = config->clocks_max.delete_after_age = -1;
        assert_int_equal(b.faults.n_items, 2);
        assert_fault(&b, "'sleep_after_idle' may be at most 30m");
}

/* ---- workloads ---- */

static void test_workload_params(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o,
             { "svc/score.yaml",
               "apiVersion: score.dev/v1b1\n"
               "metadata: {name: api, team: blue}\n"
               "service:\n  ports:\n    http: {port: 80, targetPort: 8080}\n"
               "    dns: {port: 53, protocol: UDP}\n"
               "containers:\n"
               "  init:\n    image: .\n    command: [./init]\n    before: {main: {ready: complete}}\n"
               "  main:\n    image: .\n    command: [./run, \"${x}\"]\n    args: [-v]\n"
               "    variables: {A: plain, B: \"${resources.db.host}:$$\", C: \"${metadata.team}\"}\n"
               "    files:\n"
               "      /etc/a: {content: \"${metadata.name}\", mode: \"600\"}\n"
               "      /etc/b: {content: \"${HOME}\", noExpand: true}\n"
               "      /etc/c: {binaryContent: AAECAw==}\n"
               "      rel//./d: {source: ./conf/d}\n"
               "      /e: {source: conf/e}\n"
               "    volumes:\n      /data: {source: \"${resources.data}\", path: sub, readOnly: true}\n"
               "    resources: {limits: {cpu: 250m, memory: 1.5Ki}, requests: {cpu: \"1\"}}\n"
               "    livenessProbe: {exec: {command: [./ok]}}\n"
               "    readinessProbe: {httpGet: {path: /ok, port: 8080, httpHeaders: [{name: a, value: b}]}}\n"
               "resources:\n"
               "  db: {type: dns}\n"
               "  data: {type: volume, params: {size_max: 10}}\n" },
             { "svc/conf/d", "hello ${resources.db.host} $$" }, { "svc/conf/e", "\xff\x00\x01", 3 },
             { "mayfly.yaml",
               "score: [svc/score.yaml]\nworkloads:\n  api:\n    build:\n"
               "      command: make all\n      inputs: [src/**]\n      timeout: 1m\n" });
        assert_planned(&o);
#define API "workload.default#api"
        assert_param(&o, API, "workload", "\"api\"");
        assert_param(&o, API, "directory", "{\"$text\":\"${resources.@checkout.path}/svc\"}");
        assert_param(&o, API, "checkout", "{\"$text\":\"${resources.@checkout.path}\"}");
        assert_param(&o, API, "network", "{\"$text\":\"${resources.@network.namespace}\"}");
        assert_param(&o, API, "address", "{\"$text\":\"${resources.@network.address}\"}");
        assert_param(&o, API, "siblings", "[\"api\"]");
        assert_param(&o, API, "ports",
                     "{\"dns\":{\"port\":53,\"protocol\":\"UDP\",\"target_port\":53},"
                     "\"http\":{\"port\":80,\"protocol\":\"TCP\",\"target_port\":8080}}");
        assert_param(&o, API, "containers/0/before",
                     "[{\"container\":\"main\",\"ready\":\"complete\"}]");
        assert_param(&o, API, "containers/0/readiness", "null");
        assert_param(&o, API, "containers/1/image", "\".\"");
        assert_param(&o, API, "containers/1/command", "[\"./run\",\"${x}\"]");
        assert_param(&o, API, "containers/1/args", "[\"-v\"]");
        assert_param(&o, API, "containers/1/variables",
                     "{\"A\":\"plain\",\"B\":{\"$text\":\"${resources.db.host}:$$\"},"
                     "\"C\":{\"$text\":\"${metadata.team}\"}}");
        assert_param(&o, API, "containers/1/files/0",
                     "{\"content\":{\"$text\":\"${metadata.name}\"},\"mode\":\"0600\",\"target\":"
                     "\"/etc/a\"}");
        assert_param(&o, API, "containers/1/files/1",
                     "{\"content\":\"${HOME}\",\"mode\":\"0644\",\"target\":\"/etc/b\"}");
        assert_param(&o, API, "containers/1/files/2",
                     "{\"binary\":\"AAECAw==\",\"mode\":\"0644\",\"target\":\"/etc/c\"}");
        assert_param(&o, API, "containers/1/files/3",
                     "{\"content\":{\"$text\":\"hello ${resources.db.host} $$\"},\"mode\":\"0644\","
                     "\"target\":\"/app/svc/rel/d\"}");
        assert_param(&o, API, "containers/1/files/4",
                     "{\"binary\":\"/wAB\",\"mode\":\"0644\",\"target\":\"/e\"}");
        assert_param(&o, API, "containers/1/volumes",
                     "[{\"path\":\"sub\",\"read_only\":true,\"source\":{\"$outputs\":"
                     "\"volume.default#api.data\"},\"target\":\"/data\"}]");
        assert_param(&o, API, "containers/1/limits", "{\"cpu_milli\":250,\"memory_bytes\":1536}");
        assert_param(&o, API, "containers/1/requests",
                     "{\"cpu_milli\":1000,\"memory_bytes\":null}");
        assert_param(&o, API, "containers/1/liveness",
                     "{\"exec\":{\"command\":[\"./ok\"]},\"http_get\":null}");
        assert_param(&o, API, "containers/1/readiness",
                     "{\"exec\":null,\"http_get\":{\"headers\":[{\"name\":\"a\",\"value\":\"b\"}],"
                     "\"host\":null,\"path\":\"/ok\",\"port\":8080,\"scheme\":\"HTTP\"}}");
        assert_param(&o, API, "start_timeout_ms", "60000");
        assert_param(&o, "build.default#api", "command", "[\"/bin/sh\",\"-c\",\"make all\"]");
        assert_param(&o, "build.default#api", "inputs", "[\"src/**\"]");
        assert_param(&o, "build.default#api", "timeout_ms", "60000");
        assert_param(&o, "build.default#api", "directory",
                     "{\"$text\":\"${resources.@checkout.path}/svc\"}");
        assert_param(&o, "volume.default#api.data", "size_max", "10");
        assert_int_equal(graph_find(o.graph, "volume.default#api.data")->scope,
                         GRAPH_SCOPE_ENVIRONMENT);
        assert_int_equal(graph_find(o.graph, "build.default#api")->deadline_ms, 15 * 60 * 1000);
        assert_string_equal(graph_find(o.graph, API)->provider, "process");
        assert_int_equal(strv_length(graph_find(o.graph, API)->depends), 5);
        assert_string_equal(
                json_string_value(json_object_get(graph_find(o.graph, API)->refs, "db")),
                "dns.default#api.db");
}

/* A graph of everything goes into the ledger and comes back. */
static void test_planned_graph_is_stored(void **state) {
        auto_outcome o = { 0 };
        json_t *json, *again;
        Graph *g;

        PLAN(&o,
             { "score.yaml",
               SCORE("web",
                     "service: {ports: {www: {port: 80}}}\nresources:\n  host: {type: dns}\n"
                     "  rr: {type: route, params: {host: \"${resources.host.host}\", port: 80}}\n"
                     "  ee: {type: environment}\n  ss: {type: service, id: x.web}\n") });
        assert_planned(&o);
        assert_int_equal(graph_to_json(o.graph, &json), 0);
        assert_int_equal(graph_from_json(json, &g, NULL), 0);
        assert_int_equal(graph_to_json(g, &again), 0);
        assert_true(json_equal(json, again));
        json_decref(json);
        json_decref(again);
        graph_free(g);
}

static json_t *one_output(void *userdata, const char *key) {
        return userdata;
}

static void test_odd_folder_names(void **state) {
        static const struct {
                const char *folder, *want;
        } cases[] = {
                { "a$b", "{\"$text\":\"${resources.@checkout.path}/a$$b\"}" },
                { "${x}", "{\"$text\":\"${resources.@checkout.path}/$${x}\"}" },
                { "$${a$$b}", "{\"$text\":\"${resources.@checkout.path}/$$$${a$$b}\"}" },
                { "${a$$b", "{\"$text\":\"${resources.@checkout.path}/$${a$$$$b\"}" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *path = str_format("%s/score.yaml", cases[i].folder);
                auto_cleanup(freep) char *mayfly = str_format("score: [\"%s\"]", path);
                auto_outcome o = { 0 };
                json_t *outputs = json_pack("{s:s}", "path", "/top"), *resolved;
                GraphNode *n, only = { 0 };

                PLAN(&o, { path, SCORE("web", "") }, { "mayfly.yaml", mayfly });
                assert_planned(&o);
                assert_param(&o, "workload.default#web", "directory", cases[i].want);
                /* and it resolves to the name that it is */
                n = graph_find(o.graph, "workload.default#web");
                only = *n;
                only.params = json_pack("{s:O}", "d", json_object_get(n->params, "directory"));
                json_object_set_new(only.refs, "@checkout", json_string("k"));
                assert_int_equal(graph_resolve(&only, one_output, outputs, &resolved, NULL), 0);
                assert_string_equal(
                        strrchr(json_string_value(json_object_get(resolved, "d")), '/') + 1,
                        cases[i].folder);
                json_decref(resolved);
                json_decref(only.params);
                json_decref(outputs);
        }
}

static void test_commands(void **state) {
        static const char score[] = "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
                                    "containers: {main: {image: ., args: [-x]}}\n";
        static const char devfile[] =
                "schemaVersion: 2.2.0\ncommands:\n"
                "  - id: a\n    exec: {commandLine: npm test, group: {kind: test, isDefault: true}}\n"
                "  - id: b\n    exec: {commandLine: npm start, env: [{name: A, value: b c}],\n"
                "            group: {kind: run, isDefault: true}}\n"
                "  - id: c\n    exec: {commandLine: npm other, group: {kind: run}}\n";
        static const char procfile[] = "# x\nworker: no\nweb:  node server.js \r\n";
#define COMMAND "workload.default#web", "containers/0/command"
        auto_outcome a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 }, e = { 0 };

        PLAN(&a, { "score.yaml", score }, { "devfile.yaml", devfile }, { "Procfile", procfile },
             { "mayfly.yaml", "workloads: {web: {command: [./serve]}}" });
        assert_planned(&a);
        assert_param(&a, COMMAND, "[\"./serve\"]");
        PLAN(&b, { "score.yaml", score }, { "devfile.yaml", devfile }, { "Procfile", procfile });
        assert_planned(&b);
        assert_param(&b, COMMAND, "[\"/usr/bin/env\",\"A=b c\",\"/bin/sh\",\"-c\",\"npm start\"]");
        PLAN(&c, { "score.yaml", score }, { "Procfile", procfile });
        assert_planned(&c);
        assert_param(&c, COMMAND, "[\"/bin/sh\",\"-c\",\"node server.js\"]");
        assert_param(&c, "workload.default#web", "containers/0/args", "[\"-x\"]");
        PLAN(&d, { "score.yaml", score });
        assert_int_equal(d.r, -EINVAL);
        assert_fault(&d, "has no command");
        PLAN(&e,
             { "score.yaml", "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
                             "containers: {aa: {image: .}, bb: {image: .}}\n" },
             { "Procfile", procfile });
        assert_int_equal(e.r, -EINVAL);
        assert_fault(&e, "Several containers");
}

static void test_images(void **state) {
        static const char score[] = "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
                                    "containers: {main: {image: nginx}}\n";
        auto_outcome a = { 0 }, b = { 0 }, c = { 0 };

        PLAN(&a, { "score.yaml", score });
        assert_int_equal(a.r, -EINVAL);
        assert_fault(&a, "'nginx'");
        assert_fault(&a, "none is configured");
        PLAN(&b, { "score.yaml", score }, { "mayfly.yaml", "workloads: {web: {command: [./x]}}" });
        assert_planned(&b);
        assert_param(&b, "workload.default#web", "containers/0/image", "\".\"");
        assert_param(&b, "workload.default#web", "containers/0/command", "[\"./x\"]");
        for (size_t i = 0; i < config->n_definitions; i++)
                if (streq(config->definitions[i].type, "workload"))
                        str_replace(&config->definitions[i].provider, "docker");
        PLAN(&c, { "score.yaml", score });
        for (size_t i = 0; i < config->n_definitions; i++)
                if (streq(config->definitions[i].type, "workload"))
                        str_replace(&config->definitions[i].provider, "process");
        assert_planned(&c);
        assert_param(&c, "workload.default#web", "containers/0/image", "\"nginx\"");
}

static void test_hooks(void **state) {
        auto_outcome a = { 0 }, b = { 0 };

        PLAN(&a, { "score.yaml", SCORE("web", "    variables: {A: b}\n") },
             { "mayfly.yaml", "workloads: {web: {seed: [./seed], migrate: ./migrate up}}" });
        assert_planned(&a);
        assert_param(&a, "workload.default#web", "containers/0/name", "\"migrate\"");
        assert_param(&a, "workload.default#web", "containers/0/command",
                     "[\"/bin/sh\",\"-c\",\"./migrate up\"]");
        assert_param(&a, "workload.default#web", "containers/0/variables", "{\"A\":\"b\"}");
        assert_param(&a, "workload.default#web", "containers/0/before",
                     "[{\"container\":\"seed\",\"ready\":\"complete\"},"
                     "{\"container\":\"main\",\"ready\":\"complete\"}]");
        assert_param(&a, "workload.default#web", "containers/1/before",
                     "[{\"container\":\"main\",\"ready\":\"complete\"}]");
        assert_param(&a, "workload.default#web", "containers/1/command/4", "\"./seed\"");
        assert_param(&a, "workload.default#web", "containers/1/volumes/0/source",
                     "{\"$outputs\":\"volume.default#web.@seed\"}");
        assert_non_null(graph_find(a.graph, "volume.default#web.@seed"));
        assert_param(&a, "workload.default#web", "containers/2/volumes", "[]");
        PLAN(&b,
             { "score.yaml", "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
                             "containers: {migrate: {image: ., command: [x]}}\n" },
             { "mayfly.yaml", "workloads: {web: {migrate: x}}" });
        assert_fault(&b, "named like its hook");
}

/* What a workload or a resource may not say; each gives the fault. */
static void test_faults(void **state) {
        static const struct {
                const char *more, *fault;
        } cases[] = {
                { "    variables: {\"a b\": x}\n", "variable name 'a b'" },
                { "    variables: {1A: x}\n", "variable name '1A'" },
                { "    files: {/a/../b: {content: x}}\n", "must not go up" },
                { "    files: {/proc/x: {content: x}}\n", "Nothing can be put" },
                { "    files: {/: {content: x}}\n", "Nothing can be put" },
                { "    files: {/a: {source: ../x}}\n", "beneath the folder" },
                { "    files: {/a: {source: /x}}\n", "beneath the folder" },
                { "    files: {/a: {source: none}}\n", "There is no 'none'" },
                { "    files: {/a: {source: big}}\n", "larger than" },
                { "    files: {/a: {source: refs}}\n", "there is no resource 'nope'" },
                { "    files: {/a: {source: odd}}\n", "In 'odd'" },
                { "    files: {/a: {content: x, mode: \"000\"}}\n", "readable by its owner" },
                { "    volumes: {/a: {source: plain}}\n", "must be a resource" },
                { "    volumes: {/a: {source: \"${resources.vv}\", path: ../x}}\nresources: {vv: {type: "
                  "volume}}\n",
                  "stay inside the volume" },
                { "resources: {db: {type: postgress}}\n", "served are: dns" },
                { "resources: {db: {type: volumes}}\n", "did you mean 'volume'?" },
                { "resources: {db: {type: workload}}\n", "no file may declare" },
                { "resources: {db: {type: checkout}}\n", "no file may declare" },
                { "resources: {db: {type: dns, params: {a: b}}}\n", "takes no params" },
                { "resources: {wbe: {type: service}}\n", "did you mean 'web'?" },
                { "resources: {xx: {type: service, params: {workload: \"${metadata.name}\"}}}\n",
                  "written out" },
                { "resources: {xx: {type: service-port, params: {workload: web}}}\n",
                  "needs the params 'workload' and 'port'" },
                { "resources: {xx: {type: service-port, params: {workload: web, port: 81}}}\n",
                  "no service port '81'; it has none" },
                { "resources: {xx: {type: service-port, params: {workload: wbe, port: 81}}}\n",
                  "did you mean 'web'?" },
                { "resources: {xx: {type: route, params: {port: 81}}}\n", "no service port '81'" },
                { "resources: {xx: {type: route}}\n", "needs the param 'port'" },
                { "service: {ports: {www: {port: 80}}}\nresources: {xx: {type: route, params: {port: 80, "
                  "path: \"/a/[^/]+\"}}}\n",
                  "taken literally" },
                { "service: {ports: {www: {port: 80}}}\nresources: {xx: {type: route, params: {port: 80, "
                  "path: a}}}\n",
                  "taken literally" },
                { "service: {ports: {www: {port: 80}}}\nresources: {xx: {type: route, params: {port: www}}, "
                  "yy: {type: route, params: {port: 80, path: /}}}\n",
                  "has the same path as 'xx'" },
        };
        auto_cleanup(freep) char *big = calloc(1, LIMIT_SPEC_SOURCE_BYTES + 2);

        memset(big, 'x', LIMIT_SPEC_SOURCE_BYTES + 1);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *score = str_format(SCORE("web", "%s"), cases[i].more);
                auto_outcome o = { 0 };

                PLAN(&o, { "score.yaml", score }, { "big", big }, { "refs", "${resources.nope.x}" },
                     { "odd", "a ${HOME} b" }, { "../x", "secret" }, { "/x", "secret" });
                if (o.r != -EINVAL)
                        fail_msg("%s is accepted", cases[i].more);
                assert_fault(&o, cases[i].fault);
                assert_true(o.faults.items[0].line > 0);
        }
}

static void test_ports_clash(void **state) {
        auto_outcome a = { 0 }, b = { 0 };
        static const char mayfly[] = "score: [a.yaml, b.yaml]";

        PLAN(&a,
             { "a.yaml", SCORE("aa", "service: {ports: {www: {port: 80, targetPort: 8080}}}\n") },
             { "b.yaml", SCORE("bb", "service: {ports: {www: {port: 8080}}}\n") },
             { "mayfly.yaml", mayfly });
        assert_int_equal(a.r, -EINVAL);
        assert_fault(&a, "'aa' and 'bb' both listen on port 8080/TCP");
        PLAN(&b,
             { "a.yaml", SCORE("aa", "service: {ports: {www: {port: 80, targetPort: 8080}}}\n") },
             { "b.yaml",
               SCORE("bb", "service: {ports: {www: {port: 80, targetPort: 81}, dd: {port: "
                           "8080, protocol: UDP}}}\n") },
             { "mayfly.yaml", mayfly });
        assert_planned(&b);
}

static void test_addresses(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o,
             { "a.yaml",
               SCORE("web", "service: {ports: {www: {port: 80}}}\nresources:\n"
                            "  api: {type: service}\n"
                            "  pp: {type: service-port, params: {workload: api, port: 81}}\n"
                            "  host: {type: dns}\n"
                            "  rr: {type: route, params: {host: \"${resources.host.host}\", "
                            "path: /x, port: 80}}\n") },
             { "b.yaml", SCORE("api", "service: {ports: {main: {port: 81}}}\nresources:\n"
                                      "  web: {type: service}\n") },
             { "mayfly.yaml", "score: [a.yaml, b.yaml]" });
        assert_planned(&o);
        assert_param(&o, "service.default#web.api", "workload", "\"api\"");
        assert_param(&o, "service-port.default#web.pp", "port", "\"main\"");
        assert_param(
                &o, "route.default#web.rr", "",
                "{\"host\":{\"$text\":\"${resources.host.host}\"},\"path\":\"/x\",\"port\":\"www\","
                "\"workload\":\"web\"}");
        assert_string_equal(graph_find(o.graph, "route.default#web.rr")->depends[0],
                            "dns.default#web.host");
        assert_true(json_is_true(at(o.graph->workloads, "web/public")));
        assert_true(json_is_false(at(o.graph->workloads, "api/public")));
        assert_int_equal(json_integer_value(at(o.graph->workloads, "api/ports/main/target_port")),
                         81);
}

static const char *face(const Outcome *o) {
        const char *name, *found = "none";
        json_t *value;

        json_object_foreach(o->graph->workloads, name, value)
                if (json_is_true(json_object_get(value, "public")))
                        found = streq(found, "none") ? name : "several";
        return found;
}

static void test_face_without_routes(void **state) {
        static const struct {
                const char *a, *b, *mayfly, *want;
        } cases[] = {
                { "aa", "bb", "", "aa" },
                { "aa", "web", "", "web" },
                { "app", "www", "", "www" },
                { "shop", "web", "", "shop" },
                { "aa", "bb", "workloads: {aa: {public: false}}", "bb" },
                { "aa", "web", "workloads: {aa: {public: true}}", "aa" },
                { "aa", "bb", "workloads: {aa: {public: false}, bb: {public: false}}", "none" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *a =
                        str_format(SCORE("%s", "service: {ports: {pp: {port: 1}}}\n"), cases[i].a);
                auto_cleanup(freep) char *b =
                        str_format(SCORE("%s", "service: {ports: {pp: {port: 2}}}\n"), cases[i].b);
                auto_cleanup(freep) char *mayfly =
                        str_format("score: [a.yaml, b.yaml]\n%s\n", cases[i].mayfly);
                auto_outcome o = { 0 };

                PLAN(&o, { "a.yaml", a }, { "b.yaml", b }, { "mayfly.yaml", mayfly });
                assert_planned(&o);
                assert_string_equal(face(&o), cases[i].want);
        }
}

static void test_route_to_internal_workload(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o,
             { "score.yaml", SCORE("web", "service: {ports: {www: {port: 80}}}\nresources:\n"
                                          "  rr: {type: route, params: {port: 80}}\n") },
             { "mayfly.yaml", "workloads: {web: {public: false}}" });
        assert_fault(&o, "keeps internal");
}

static void test_too_many_resources(void **state) {
        auto_strbuf b = { 0 };
        auto_outcome o = { 0 };

        strbuf_add(&b, SCORE("web", "resources:\n"));
        for (size_t i = 0; i < LIMIT_GRAPH_RESOURCES; i++)
                strbuf_addf(&b, "  v%03zu: {type: volume}\n", i);
        PLAN(&o, { "score.yaml", b.text });
        assert_int_equal(o.r, -E2BIG);
}

static void test_sketch(void **state) {
        static const char score[] = "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
                                    "containers: {main: {image: nginx}, two: {image: .}}\n"
                                    "resources: {db: {type: postgres}}\n";
        auto_outcome o = { 0 };

        plan_with((const File[]){ { "x/score.yaml", score }, { 0 } },
                  (PlanOptions){ .sketch = true,
                                 .files = (const char *const[]){ "x/score.yaml" },
                                 .n_files = 1 },
                  &o);
        assert_planned(&o);
        assert_string_equal(graph_find(o.graph, "postgres.default#web.db")->provider, "");
        assert_string_equal(json_string_value(json_array_get(o.order, 0)),
                            "postgres.default#web.db");
        assert_true(o.notices.n_items >= 3);
}

/* ---- shared samples ---- */

static const char *shared_root(void) {
        const char *root = getenv("MAYFLY_SHARED");

        root = root ? root : "../shared";
        if (!path_exists(root)) {
                print_message("# skipped: there is no shared data at %s\n", root);
                skip();
        }
        return root;
}

static int folder_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                       Error *reterr) {
        auto_cleanup(freep) char *whole = path_join(userdata, path);

        return read_file(whole, max, ret, ret_size, reterr);
}

static void plan_folder(const char *folder, const char *const *files, size_t n, Outcome *ret) {
        SpecReader reader = { .read = folder_read, .userdata = (void *) folder };
        PlanContext c = context();
        PlanOptions options = { .sketch = true, .files = files, .n_files = n };

        *ret = (Outcome){ 0 };
        options.ret_order = &ret->order;
        options.notices = &ret->notices;
        ret->r = plan_make_with(&c, &reader, &options, &ret->graph, &ret->faults, &ret->error);
}

static void project_check(const char *folder) {
        auto_cleanup(freep) char *path = path_join(folder, "expect.json"), *text = NULL;
        static const char *const all[] = { "score-1.yaml", "score-2.yaml", "score-3.yaml",
                                           "score-4.yaml" };
        json_t *expect, *order;
        auto_outcome o = { 0 };
        size_t n = 0;

        assert_int_equal(read_file(path, 100000, &text, NULL, NULL), 0);
        expect = json_loads(text, 0, NULL);
        assert_non_null(expect);
        for (; n < N_ELEMENTS(all); n++) {
                auto_cleanup(freep) char *file = path_join(folder, all[n]);

                if (!path_exists(file))
                        break;
        }
        plan_folder(folder, all, n, &o);
        order = json_object_get(expect, "resources_in_order");
        if (streq(json_string_value(json_object_get(expect, "verdict")), "valid")) {
                if (o.r < 0 || !json_equal(order, o.order)) {
                        outcome_print(&o);
                        fail_msg("%s: another order", folder);
                }
        } else {
                assert_int_equal(o.r, -EINVAL);
        }
        json_decref(expect);
}

static void test_shared_projects(void **state) {
        auto_cleanup(freep) char *root = path_join(shared_root(), "score/projects");
        DIR *dir = opendir(root);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                auto_cleanup(freep) char *folder = path_join(root, entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                project_check(folder);
                n++;
        }
        closedir(dir);
        assert_true(n >= 12);
}

/* Every valid document gives a graph, or a fault with a place and a sentence. */
static void test_shared_documents(void **state) {
        auto_cleanup(freep) char *root = path_join(shared_root(), "score/valid");
        size_t n = 0, planned = 0;
        struct dirent *entry;
        DIR *dir = opendir(root);

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                auto_outcome o = { 0 };
                const char *name = entry->d_name;

                if (name[0] == '.')
                        continue;
                plan_folder(root, &name, 1, &o);
                n++;
                planned += o.r == 0;
                if (o.r == 0)
                        continue;
                assert_int_equal(o.r, -EINVAL);
                assert_true(o.faults.n_items > 0);
                for (size_t i = 0; i < o.faults.n_items; i++) {
                        assert_true(o.faults.items[i].line > 0);
                        assert_true(strlen(o.faults.items[i].message) > 20);
                }
        }
        closedir(dir);
        print_message("# %zu of %zu valid documents give a graph offline\n", planned, n);
        assert_true(n > 100 && planned > n / 2);
}

/* The product that the quickstart shows. */
static void test_demo(void **state) {
        const char *source = getenv("MAYFLY_SOURCE");
        auto_cleanup(freep) char *folder = str_format("%s/packaging/demo", source ? source : ".");
        SpecReader reader = { .read = folder_read, .userdata = folder };
        PlanContext c = context();
        auto_outcome o = { 0 };

        o.r = plan_make(&c, &reader, &o.graph, &o.faults, &o.error);
        assert_planned(&o);
        assert_non_null(graph_find(o.graph, "workload.default#api"));
}

static int config_setup(void **state) {
        return config_default(&config, NULL);
}

static int config_teardown(void **state) {
        config = config_free(config);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bootstrap),
                cmocka_unit_test(test_no_dependency_file),
                cmocka_unit_test(test_mayfly_comes_first),
                cmocka_unit_test(test_mayfly_faults),
                cmocka_unit_test(test_all_faults_together),
                cmocka_unit_test(test_lease),
                cmocka_unit_test(test_workload_params),
                cmocka_unit_test(test_planned_graph_is_stored),
                cmocka_unit_test(test_odd_folder_names),
                cmocka_unit_test(test_commands),
                cmocka_unit_test(test_images),
                cmocka_unit_test(test_hooks),
                cmocka_unit_test(test_faults),
                cmocka_unit_test(test_ports_clash),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_face_without_routes),
                cmocka_unit_test(test_route_to_internal_workload),
                cmocka_unit_test(test_too_many_resources),
                cmocka_unit_test(test_sketch),
                cmocka_unit_test(test_shared_projects),
                cmocka_unit_test(test_shared_documents),
                cmocka_unit_test(test_demo),
        };

        return cmocka_run_group_tests(tests, config_setup, config_teardown);
}
