#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/spec/compose-internal.h"

static Config *config;

/* ---- texts ---- */

static void test_interpolation(void **state) {
        static const struct {
                const char *text, *want, *missing;
        } cases[] = {
                { "", "", NULL },
                { "plain", "plain", NULL },
                { "$$", "$", NULL },
                { "a$${b}", "a${b}", NULL },
                { "$A-b", "-b", "A" },
                { "${A}", "", "A" },
                { "x${A:-d}y", "xdy", NULL },
                { "${A-d}", "d", NULL },
                { "${A:-}", "", NULL },
                { "${A:-${B:-c}}", "c", NULL },
                { "${A:-${B}}", "", "B" },
                { "${A:+x}${A+x}", "", NULL },
                { "${A:-a:b}/$$${B:-1}", "a:b/$1", NULL },
        };
        static const char *const bad[] = { "$",    "${",           "${A",         "${}",
                                           "${1}", "${A:?needed}", "${A?needed}", "${A!x}",
                                           "$1",   "a$ b" };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *got = NULL, *missing = NULL;

                assert_int_equal(compose_interpolate(cases[i].text, &got, &missing, NULL), 0);
                assert_string_equal(got, cases[i].want);
                assert_true(streq_null(missing, cases[i].missing));
        }
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_cleanup(freep) char *got = NULL, *missing = NULL;
                auto_error error = { 0 };

                assert_int_equal(compose_interpolate(bad[i], &got, &missing, &error), -EINVAL);
                assert_non_null(error.message);
        }
}

static void test_nesting_ends(void **state) {
        auto_cleanup(freep) char *got = NULL, *missing = NULL;
        auto_strbuf b = { 0 };

        for (size_t i = 0; i < 1000; i++)
                strbuf_add(&b, "${A:-");
        for (size_t i = 0; i < 1000; i++)
                strbuf_add(&b, "}");
        assert_int_equal(compose_interpolate(b.text, &got, &missing, NULL), -EINVAL);
}

static void test_split(void **state) {
        static const struct {
                const char *line, *want; /* NULL: refused */
        } cases[] = {
                { "", "[]" },
                { "  a  b\tc ", "[\"a\",\"b\",\"c\"]" },
                { "a 'b c' \"d e\"", "[\"a\",\"b c\",\"d e\"]" },
                { "a\\ b", "[\"a b\"]" },
                { "\"a\\\"b\\n\"", "[\"a\\\"b\\\\n\"]" },
                { "'a\\b'", "[\"a\\\\b\"]" },
                { "''", "[\"\"]" },
                { "a'b'c", "[\"abc\"]" },
                { "'a", NULL },
                { "a\\", NULL },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(freep) char *got = NULL;
                json_t *words = NULL;

                if (!cases[i].want) {
                        assert_int_equal(compose_split(cases[i].line, &words), -EINVAL);
                        continue;
                }
                assert_int_equal(compose_split(cases[i].line, &words), 0);
                got = json_dumps(words, JSON_COMPACT);
                assert_string_equal(got, cases[i].want);
                json_decref(words);
        }
}

static void test_amounts(void **state) {
        static const struct {
                const char *text;
                int64_t want; /* -1: refused */
        } bytes[] = { { "1", 1 },
                      { "1b", 1 },
                      { "2k", 2048 },
                      { "2KB", 2048 },
                      { "512m", 536870912 },
                      { "1Gb", 1 << 30 },
                      { "1.5g", -1 },
                      { "", -1 },
                      { "m", -1 },
                      { "-1", -1 },
                      { "99999999999g", -1 } },
          cpus[] = { { "1", 1000 }, { "0.5", 500 }, { ".25", 250 }, { "1.2345", 1234 },
                     { "", -1 },    { ".", -1 },    { "x", -1 },    { "1.x", -1 } };
        int64_t n;

        for (size_t i = 0; i < N_ELEMENTS(bytes); i++) {
                int r = compose_bytes(bytes[i].text, &n);

                assert_int_equal(r < 0 ? -1 : n, bytes[i].want);
        }
        for (size_t i = 0; i < N_ELEMENTS(cpus); i++) {
                int r = compose_cpus(cpus[i].text, &n);

                assert_int_equal(r < 0 ? -1 : n, cpus[i].want);
        }
}

static void test_labels(void **state) {
        auto_cleanup(freep) char *a = compose_label("data"), *b = compose_label("db_data"),
                                 *c = compose_label("db-data"), *d = compose_label("X"),
                                 *e = compose_label("__"), *f = compose_label("db.data");

        assert_string_equal(a, "data");
        assert_string_equal(c, "db-data");
        assert_non_null(str_after(b, "db-data-x"));
        assert_string_not_equal(b, f);
        assert_true(strlen(d) >= 2 && strlen(e) >= 2);
}

/* ---- files ---- */

typedef struct File {
        const char *path, *text;
} File;

static int file_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
        for (const File *f = userdata; f->path; f++)
                if (streq(f->path, path)) {
                        *ret = strdup(f->text);
                        *ret_size = strlen(f->text);
                        return 0;
                }
        return error_set(reterr, -ENOENT, "There is no '%s'", path);
}

typedef struct Outcome {
        Graph *graph;
        SpecFaults faults, notices;
        Error error;
        json_t *report;
        int r;
} Outcome;

static void outcome_done(Outcome *o) {
        graph_free(o->graph);
        spec_faults_done(&o->faults);
        spec_faults_done(&o->notices);
        error_done(&o->error);
        json_decref(o->report);
}

#define auto_outcome auto_cleanup(outcome_done) Outcome

static void plan_with(const File *files, Outcome *ret) {
        SpecReader reader = { .read = file_read, .userdata = (void *) files };
        PlanContext c = { .config = config,
                          .project = "shop",
                          .repository = "/srv/shop.git",
                          .branch = "main",
                          .commit = "0123456789012345678901234567890123456789",
                          .trust = "member" };
        ComposeRequest request = { .file = files[0].path,
                                   .text = files[0].text,
                                   .size = strlen(files[0].text),
                                   .config = config,
                                   .reader = &reader };
        SpecFaults faults = { 0 };
        json_t *made = NULL;

        *ret = (Outcome){ 0 };
        ret->r = plan_make_with(&c, &reader, &(PlanOptions){ .notices = &ret->notices },
                                &ret->graph, &ret->faults, &ret->error);
        assert_true((ret->r == 0) == (ret->graph != NULL));
        request.faults = &faults;
        (void) compose_convert(&request, &made, &ret->report, NULL);
        json_decref(made);
        spec_faults_done(&faults);
}

#define PLAN(o, ...) plan_with((const File[]){ __VA_ARGS__, { 0 } }, o)

static void outcome_print(const Outcome *o) {
        print_message("# %d %s\n", o->r, o->error.message ? o->error.message : "");
        for (size_t i = 0; i < o->faults.n_items; i++)
                print_message("# %u:%u %s: %s\n", o->faults.items[i].line,
                              o->faults.items[i].column, o->faults.items[i].path,
                              o->faults.items[i].message);
}

static void assert_planned(const Outcome *o) {
        if (o->r != 0) {
                outcome_print(o);
                fail();
        }
}

static json_t *at(json_t *json, const char *path) {
        auto_cleanup(freep) char *copy = strdup(path);

        for (char *part = strtok(copy, "|"); part; part = strtok(NULL, "|"))
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

/* The verdict on this line, of which the text holds this. */
static void assert_said(const Outcome *o, unsigned line, const char *verdict, const char *text) {
        const json_t *item;
        size_t i;

        json_array_foreach(o->report, i, item)
                if (json_integer_value(json_object_get(item, "line")) == line &&
                    streq(json_string_value(json_object_get(item, "verdict")), verdict) &&
                    strstr(json_string_value(json_object_get(item, "text")), text))
                        return;
        json_dumpf(o->report, stdout, JSON_INDENT(1));
        fail_msg("line %u is not '%s' with \"%s\"", line, verdict, text);
}

static void test_a_service(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o,
             { "compose.yaml",
               "version: '3'\n"
               "services:\n"
               "  web:\n"
               "    build: {context: ./web, target: dev}\n"
               "    command: npm run 'start it'\n"
               "    environment:\n"
               "      A: 1\n"
               "      B: ${B:-x}$${y}\n"
               "      C:\n"
               "    ports: ['8080:3000', 53/udp]\n"
               "    volumes:\n"
               "      - data:/data:ro\n"
               "      - ./web:/code\n"
               "      - ./conf/a.conf:/etc/a.conf:ro\n"
               "    healthcheck: {test: [CMD, ./ok], interval: 5s}\n"
               "    deploy: {resources: {limits: {cpus: '0.5', memory: 64m}}, replicas: 2}\n"
               "    restart: always\n"
               "    working_dir: /code\n"
               "volumes: {data: }\n" },
             { "conf/a.conf", "x $${y}" });
        assert_planned(&o);
#define WEB "workload.default#web"
        assert_param(&o, WEB, "directory", "{\"$text\":\"${resources.@checkout.path}/web\"}");
        assert_param(&o, WEB, "containers|0|command", "[\"npm\",\"run\",\"start it\"]");
        assert_param(&o, WEB, "containers|0|variables",
                     "{\"A\":\"1\",\"B\":{\"$text\":\"x$${y}\"}}");
        assert_param(&o, WEB, "ports|port-3000",
                     "{\"port\":3000,\"protocol\":\"TCP\",\"target_port\":3000}");
        assert_param(&o, WEB, "ports|udp-53|protocol", "\"UDP\"");
        assert_param(&o, WEB, "containers|0|volumes",
                     "[{\"read_only\":true,\"source\":{\"$outputs\":\"volume.default#data\"},"
                     "\"target\":\"/data\"}]");
        assert_param(&o, WEB, "containers|0|files",
                     "[{\"content\":\"x $${y}\",\"mode\":\"0644\",\"target\":\"/etc/a.conf\"}]");
        assert_param(&o, WEB, "containers|0|readiness|exec|command", "[\"./ok\"]");
        assert_param(&o, WEB, "containers|0|limits",
                     "{\"cpu_milli\":500,\"memory_bytes\":67108864}");
        assert_said(&o, 1, "left out", "no version");
        assert_said(&o, 4, "changed", "no image is built");
        assert_said(&o, 4, "left out", "'target'");
        assert_said(&o, 5, "honoured", "without a shell");
        assert_said(&o, 9, "left out", "'C' would come from an environment");
        assert_said(&o, 10, "changed", "port 3000");
        assert_said(&o, 12, "honoured", "across pushes");
        assert_said(&o, 13, "changed", "/app");
        assert_said(&o, 14, "honoured", "a copy of the file");
        assert_said(&o, 15, "left out", "'interval'");
        assert_said(&o, 16, "changed", "one of each");
        assert_said(&o, 17, "changed", "growing delay");
        assert_true(json_is_true(at(o.graph->workloads, "web|public")));
}

static void test_order(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o, { "compose.yaml",
                   "services:\n"
                   "  api:\n    build: .\n    command: ./api\n"
                   "    depends_on:\n"
                   "      migrate: {condition: service_completed_successfully}\n"
                   "      queue: {condition: service_healthy}\n"
                   "  migrate: {build: ., command: ./migrate, depends_on: [store]}\n"
                   "  queue: {build: ., command: ./queue, healthcheck: {test: ./ok}}\n"
                   "  store: {build: ., command: ./store}\n"
                   "  worker: {build: ., command: ./w, depends_on: {migrate: {condition: "
                   "service_completed_successfully}}}\n" });
        assert_planned(&o);
        assert_null(graph_find(o.graph, "workload.default#migrate"));
        assert_param(&o, "workload.default#api", "containers|1|name", "\"migrate\"");
        assert_param(&o, "workload.default#api", "containers|1|before",
                     "[{\"container\":\"main\",\"ready\":\"complete\"}]");
        assert_param(&o, "workload.default#queue", "containers|0|readiness|exec|command",
                     "[\"/bin/sh\",\"-c\",\"./ok\"]");
        assert_true(strv_contains(graph_find(o.graph, "workload.default#api")->depends,
                                  "workload.default#queue"));
        assert_true(strv_contains(graph_find(o.graph, "workload.default#api")->depends,
                                  "workload.default#store"));
        assert_true(strv_contains(graph_find(o.graph, "workload.default#worker")->depends,
                                  "workload.default#api"));
}

/* Adds a definition for a type, or takes all added ones away. */
static void serve(const char *type) {
        static size_t before;
        Definition *d;

        if (!before)
                before = config->n_definitions;
        if (!type) {
                while (config->n_definitions > before)
                        definition_done(&config->definitions[--config->n_definitions]);
                return;
        }
        config->definitions =
                reallocarray(config->definitions, config->n_definitions + 1, sizeof(Definition));
        d = &config->definitions[config->n_definitions++];
        *d = (Definition){ .name = str_format("for-%s", type),
                           .type = strdup(type),
                           .provider = strdup("db"),
                           .params = json_object(),
                           .defaults = json_object(),
                           .bounds = json_object(),
                           .config = json_object(),
                           .line = 1 };
}

static const char databases[] = "services:\n"
                                "  web:\n"
                                "    build: .\n"
                                "    command: ./web\n"
                                "    depends_on: [db]\n"
                                "    environment:\n"
                                "      - DB_HOST=db\n"
                                "      - DB_ADDRESS=db:5432\n"
                                "      - DB_PASSWORD=geheim\n"
                                "      - APP_NAME=app\n"
                                "      - URL=postgres://app:geheim@db:5432/app?sslmode=disable\n"
                                "      - CACHE=redis://cache:6379/0\n"
                                "      - OTHER=http://example.com/db\n"
                                "  db:\n"
                                "    image: docker.io/library/postgres:16\n"
                                "    environment: {POSTGRES_USER: app, POSTGRES_PASSWORD: geheim}\n"
                                "    volumes: ['pg:/var/lib/postgresql/data']\n"
                                "  cache: {image: valkey/valkey}\n"
                                "volumes: {pg: {}}\n";

static void test_known_images(void **state) {
        auto_outcome a = { 0 }, b = { 0 };

        PLAN(&a, { "compose.yaml", databases });
        assert_int_equal(a.r, -EINVAL);
        assert_said(&a, 15, "refused", "no definition serves that type");
        serve("postgres");
        serve("redis");
        PLAN(&b, { "compose.yaml", databases });
        serve(NULL);
        assert_planned(&b);
        assert_string_equal(graph_find(b.graph, "postgres.default#db")->provider, "db");
        assert_non_null(graph_find(b.graph, "redis.default#cache"));
        assert_null(graph_find(b.graph, "workload.default#db"));
        assert_null(graph_find(b.graph, "volume.default#pg"));
#define VARIABLE(name, want) \
        assert_param(&b, WEB, "containers|0|variables|" name, "{\"$text\":\"" want "\"}")
        VARIABLE("DB_HOST", "${resources.db.host}");
        VARIABLE("DB_ADDRESS", "${resources.db.host}:${resources.db.port}");
        VARIABLE("DB_PASSWORD", "${resources.db.password}");
        VARIABLE("URL", "postgres://${resources.db.username}:${resources.db.password}@"
                        "${resources.db.host}:${resources.db.port}/${resources.db.database}"
                        "?sslmode=disable");
        VARIABLE("CACHE", "redis://${resources.cache.host}:${resources.cache.port}/0");
        assert_param(&b, WEB, "containers|0|variables|OTHER", "\"http://example.com/db\"");
        assert_said(&b, 17, "left out", "decides this");
        assert_said(&b, 11, "changed", "'URL' becomes");
}

static void test_env_files(void **state) {
        auto_outcome o = { 0 };

        PLAN(&o,
             { "compose.yaml", "services:\n  web:\n    build: .\n    command: x\n"
                               "    env_file: [a.env, ./b.env, {path: c.env, required: false}]\n"
                               "    environment: {A: compose}\n" },
             { "a.env", "# x\nA=file\nB=first\nexport C='q $x'\nbad\n" },
             { "b.env", "B = \"second\"\r\n" });
        assert_planned(&o);
        assert_param(&o, WEB, "containers|0|variables|A", "\"compose\"");
        assert_param(&o, WEB, "containers|0|variables|C", "{\"$text\":\"q $$x\"}");
        assert_said(&o, 5, "left out", "no 'c.env'");
}

static void test_mayfly_yaml_beside_compose(void **state) {
        auto_outcome a = { 0 }, b = { 0 };

        PLAN(&a, { "compose.yaml", "services: {web: {image: node:20}}\n" });
        assert_int_equal(a.r, -EINVAL);
        assert_non_null(strstr(a.error.message, "'node:20'"));
        assert_int_equal(a.faults.items[0].line, 1);
        assert_int_equal(a.faults.items[0].column, 25);
        PLAN(&b, { "compose.yaml", "services: {web: {image: node:20}}\n" },
             { "mayfly.yaml",
               "workloads: {web: {command: [node, a.js], build: {command: npm ci}}}\n" });
        assert_planned(&b);
        assert_param(&b, WEB, "containers|0|command", "[\"node\",\"a.js\"]");
        assert_non_null(graph_find(b.graph, "build.default#web"));
}

static void test_refused(void **state) {
        static const struct {
                const char *text, *fault;
                unsigned line;
        } cases[] = {
                { "services: {}\n", "at least one", 1 },
                { "x: 1\n", "must have 'services'", 1 },
                { "- a\n", "must be a map", 1 },
                { "services: {web: {}}\n", "needs 'build' or 'image'", 1 },
                { "services: {web: 1}\n", "must be a map", 1 },
                { "services:\n  Web: {build: .}\n", "a-z, 0-9", 2 },
                { "servces: {}\nservices: {web: {build: ., command: x}}\n", "not a key of Compose",
                  1 },
                { "services:\n  web: {build: ., command: x,\n   prots: []}\n",
                  "did you mean 'ports'?", 3 },
                { "services:\n  web: {build: ., command: x,\n   privileged: true}\n",
                  "no such right", 3 },
                { "services:\n  web: {build: ., command: x,\n   network_mode: host}\n",
                  "cannot be had", 3 },
                { "services:\n  web: {build: ., command: x,\n   ports: ['a:b']}\n", "not a port",
                  3 },
                { "services:\n  web: {build: ., command: x,\n   ports: ['1-9999:1-9999']}\n",
                  "not a port", 3 },
                { "services:\n  web: {build: ., command: x,\n   ports: [{published: 1}]}\n",
                  "'target'", 3 },
                { "services:\n  web: {build: ., command: x,\n   volumes: ['/etc:/x']}\n",
                  "Nothing of the server", 3 },
                { "services:\n  web: {build: ., command: x,\n   volumes: ['../x:/x']}\n",
                  "Nothing of the server", 3 },
                { "services:\n  web: {build: ., command: x,\n   volumes: ['~/x:/x']}\n",
                  "Nothing of the server", 3 },
                { "services:\n  web: {build: ./a, command: x,\n   volumes: ['./b:/x']}\n",
                  "no file of the repository", 3 },
                { "services:\n  web: {build: ., command: x,\n   volumes: ['data:/x']}\n",
                  "declares no volume", 3 },
                { "services:\n  web: {build: ., command: x,\n   volumes: ['./x:x']}\n",
                  "begin with '/'", 3 },
                { "services:\n  web: {build: ., command: x}\nvolumes: {d: {external: true}}\n",
                  "none from outside", 3 },
                { "services:\n  web: {build: ., command: x,\n   depends_on: [db]}\n",
                  "no such service", 3 },
                { "services:\n  web: {build: ., command: x,\n   depends_on: [web]}\n",
                  "wait for itself", 3 },
                { "services:\n  aa: {build: ., command: x, depends_on: [bb]}\n"
                  "  bb: {build: ., command: x, depends_on: [aa]}\n",
                  "circle", 2 },
                { "services:\n  aa: {build: ., command: x, depends_on: {bb: {condition: "
                  "service_completed_successfully}}}\n"
                  "  bb: {build: ., command: x, depends_on: {aa: {condition: "
                  "service_completed_successfully}}}\n",
                  "circle", 0 },
                { "services:\n  aa: {build: ., command: y}\n  web: {build: ., command: x, depends_on: {aa: {condition: gone}}}\n",
                  "not a condition", 3 },
                { "services:\n  web: {build: ., command: \"x 'y\"}\n", "closed quotes", 2 },
                { "services:\n  web: {build: ., command: '${X:?say it}'}\n", "required: say it",
                  2 },
                { "services:\n  web: {build: ., command: x, healthcheck: {test: [x]}}\n",
                  "CMD-SHELL", 2 },
                { "services:\n  web: {build: ., command: x, mem_limit: lots}\n", "not an amount",
                  2 },
                { "services:\n  web: {build: ., command: x, extends: y}\n", "write the service out",
                  2 },
                { "services:\n  web: {build: ., command: x, environment: ['=x']}\n", "NAME=VALUE",
                  2 },
                { "services:\n  web: {build: ., command: x, environment: {A: [1]}}\n",
                  "must be text", 2 },
                { "services:\n  web: {build: ., command: x, env_file: ../x}\n",
                  "not in this repository", 2 },
                { "services:\n  web: {build: ., command: x, env_file: x}\n", "no 'x'", 2 },
                { "services:\n  web: {build: 'https://x/y', command: x}\n",
                  "folder of this repository", 2 },
                { "services:\n  web: {build: ., command: x, secrets: [s]}\nsecrets: {s: {external: true}}\n",
                  "neither 'file' nor 'content'", 2 },
                { "services:\n  web: {build: .}\n", "has no command", 2 },
                { "services:\n  aa: {build: ., command: x, ports: [80]}\n"
                  "  bb: {build: ., command: x, ports: [80]}\n",
                  "'aa' listens on port 80 too", 3 },
                { "include: [a]\nservices: {web: {build: ., command: x}}\n", "one file", 1 },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_outcome o = { 0 };
                bool found = false;

                PLAN(&o, { "compose.yaml", cases[i].text });
                if (o.r != -EINVAL)
                        fail_msg("%s gives %d", cases[i].text, o.r);
                for (size_t k = 0; k < o.faults.n_items; k++)
                        found = found ||
                                (strstr(o.faults.items[k].message, cases[i].fault) &&
                                 (cases[i].line == 0 || o.faults.items[k].line == cases[i].line));
                if (!found) {
                        outcome_print(&o);
                        fail_msg("%s does not say \"%s\" on line %u", cases[i].text, cases[i].fault,
                                 cases[i].line);
                }
        }
}

/* Every key that the Compose specification knows has a verdict. */
static void test_every_key_is_known(void **state) {
        const char *root = getenv("MAYFLY_SHARED");
        auto_cleanup(freep) char *path =
                str_format("%s/score/related/compose-spec.json", root ? root : "../shared");
        json_t *schema = json_load_file(path, 0, NULL), *value;
        const char *name;

        if (!schema) {
                print_message("# skipped: there is no %s\n", path);
                skip();
        }
        json_object_foreach(at(schema, "definitions|service|properties"), name, value) {
                auto_cleanup(freep) char *text =
                        str_format("services: {web: {build: ., %s: {}}}", name);
                auto_outcome o = { 0 };

                PLAN(&o, { "compose.yaml", text });
                for (size_t i = 0; i < o.faults.n_items; i++)
                        if (strstr(o.faults.items[i].message, "is not a key"))
                                fail_msg("%s", o.faults.items[i].message);
        }
        json_decref(schema);
}

static int setup(void **state) {
        return config_default(&config, NULL);
}

static int teardown(void **state) {
        config = config_free(config);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_interpolation),
                cmocka_unit_test(test_nesting_ends),
                cmocka_unit_test(test_split),
                cmocka_unit_test(test_amounts),
                cmocka_unit_test(test_labels),
                cmocka_unit_test(test_a_service),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_known_images),
                cmocka_unit_test(test_env_files),
                cmocka_unit_test(test_mayfly_yaml_beside_compose),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_every_key_is_known),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
