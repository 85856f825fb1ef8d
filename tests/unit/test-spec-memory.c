/* Every allocation fails once, and everything from one on: whatever a checkout is read into, there is
 * -ENOMEM, no crash, nothing left behind (the leak sanitizer looks at the end), and nobody is blamed for
 * a fault that the file has not. Our own calls are caught by the linker (--wrap, see meson.build),
 * jansson's by its hook, and libyaml calls its own yaml_malloc(), which stands here instead. */
#include "tests/unit/test.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/plan.h"
#include "orchestrator/spec/render.h"

/* ---- the countdown ---- */

static unsigned long n_calls, first, last; /* fail from first to last; 0: none */
static bool fired, show;                   /* where it failed, in a second run */

void __sanitizer_print_stack_trace(void) __attribute__((weak));

static bool now_it_fails(void) {
        n_calls++;
        if (first == 0 || n_calls < first || n_calls > last)
                return false;
        if (!fired && show && __sanitizer_print_stack_trace)
                __sanitizer_print_stack_trace();
        fired = true;
        return true;
}

#define WRAP(type, name, declared, given)   \
        type __real_##name declared;        \
        type __wrap_##name declared;        \
        type __wrap_##name declared {       \
                if (now_it_fails()) {       \
                        errno = ENOMEM;     \
                        return NULL;        \
                }                           \
                return __real_##name given; \
        }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t size), (p, size))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

int __real_vasprintf(char **ret, const char *fmt, va_list args);
int __wrap_vasprintf(char **ret, const char *fmt, va_list args);
int __wrap_asprintf(char **ret, const char *fmt, ...);

__attribute__((format(printf, 2, 0))) int __wrap_vasprintf(char **ret, const char *fmt,
                                                           va_list args) {
        return now_it_fails() ? -1 : __real_vasprintf(ret, fmt, args);
}

__attribute__((format(printf, 2, 3))) int __wrap_asprintf(char **ret, const char *fmt, ...) {
        va_list args;
        int r;

        va_start(args, fmt);
        r = __wrap_vasprintf(ret, fmt, args);
        va_end(args);
        return r;
}

/* libyaml's own, which its code calls by these names */
__attribute__((visibility("default"))) void *yaml_malloc(size_t size);
__attribute__((visibility("default"))) void *yaml_realloc(void *p, size_t size);
__attribute__((visibility("default"))) char *yaml_strdup(const char *s);

void *yaml_malloc(size_t size) {
        return __wrap_malloc(size > 0 ? size : 1);
}

void *yaml_realloc(void *p, size_t size) {
        return __wrap_realloc(p, size > 0 ? size : 1);
}

char *yaml_strdup(const char *s) {
        return s ? __wrap_strdup(s) : NULL;
}

/* ---- what is done ---- */

typedef struct File {
        const char *path, *text;
} File;

typedef struct Case {
        const char *name;
        const File *files;
        int (*run)(const struct Case *c, char **ret);
        int result; /* with memory enough */
} Case;

static int give(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                Error *reterr) {
        for (const File *f = userdata; f->path; f++)
                if (streq(f->path, path)) {
                        *ret_size = strlen(f->text);
                        *ret = strdup(f->text);
                        return *ret ? 0 : -ENOMEM;
                }
        return -ENOENT;
}

static json_t *outputs_of(void *userdata, const char *key) {
        return userdata;
}

/* As the engine does: made, stored, read back, resolved. */
static int use(Graph *g, char **ret) {
        auto_cleanup(json_decrefp) json_t *json = NULL, *outputs = NULL, *all = json_array();
        auto_cleanup(graph_freep) Graph *again = NULL;
        int r;

        outputs = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "path", "/x", "host", "h",
                            "namespace", "n", "port", 1, "address", "127.0.0.1", "url", "http://h");
        r = outputs && all ? graph_to_json(g, &json) : -ENOMEM;
        if (r == 0)
                r = graph_from_json(json, &again, NULL);
        for (size_t i = 0; r == 0 && i < again->n_nodes; i++) {
                json_t *params;

                r = graph_resolve(&again->nodes[i], outputs_of, outputs, &params, NULL);
                if (r == -ENOENT) { /* not among the outputs */
                        r = 0;
                        continue;
                }
                if (r == 0 && json_array_append_new(all, params) < 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                return r;
        *ret = json_compact(all);
        return *ret ? 0 : -ENOMEM;
}

static int plan(const Case *c, bool sketch, char **ret) {
        SpecReader reader = { .read = give, .userdata = (void *) c->files };
        auto_cleanup(config_freep) Config *config = NULL;
        SpecFaults faults = { 0 }, notices = { 0 };
        PlanOptions options = { .sketch = sketch, .notices = &notices };
        auto_cleanup(graph_freep) Graph *g = NULL;
        PlanContext context = { .project = "shop",
                                .repository = "r",
                                .branch = "b",
                                .commit = "0123456789012345678901234567890123456789",
                                .trust = "member" };
        auto_error error = { 0 };
        int r = config_default(&config, NULL);

        context.config = config;
        if (r == 0)
                r = plan_make_with(&context, &reader, &options, &g, &faults, &error);
        if (r == 0)
                r = use(g, ret);
        if (r == -EINVAL && show)
                fprintf(stderr, "# %s\n", error_text(&error, r));
        spec_faults_done(&faults);
        spec_faults_done(&notices);
        return r;
}

static int run_plan(const Case *c, char **ret) {
        return plan(c, false, ret);
}

static int run_sketch(const Case *c, char **ret) {
        return plan(c, true, ret);
}

static int run_config(const Case *c, char **ret) {
        SpecFaults faults = { 0 };
        Config *config = NULL;
        int r = config_parse("mayflyd.yaml", c->files->text, strlen(c->files->text), &config,
                             &faults, NULL);

        config_free(config);
        spec_faults_done(&faults);
        return r;
}

static int run_render(const Case *c, char **ret) {
        static const char *const properties[] = { "containers.main.command=[a, b]",
                                                  "metadata.annotations.a\\.b=c",
                                                  "service.ports=" };
        ScoreOverrides overrides = { .file = "o.yaml",
                                     .text = c->files[1].text,
                                     .size = strlen(c->files[1].text),
                                     .properties = properties,
                                     .n_properties = N_ELEMENTS(properties) };
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        SpecFaults faults = { 0 }, notices = { 0 };
        json_auto_t *outputs =
                json_pack("{s:{s:s}, s:{s:s}}", "db", "host", "h", "dns", "host", "h");
        json_auto_t *json = NULL;
        auto_error error = { 0 };
        int r;

        r = score_document_load("score.yaml", c->files->text, strlen(c->files->text), &overrides,
                                &d, &faults, &notices, &error);
        if (r == 0)
                r = outputs ? score_render(d, outputs, &json, &faults) : -ENOMEM;
        if (r == -EINVAL && getenv("MAYFLY_SHOW"))
                fprintf(stderr, "# %s\n", error_text(&error, r));
        if (r == 0) {
                *ret = json_compact(json);
                r = *ret ? 0 : -ENOMEM;
        }
        spec_faults_done(&faults);
        spec_faults_done(&notices);
        return r;
}

/* ---- what is read ---- */

static const File product[] = {
        { "mayfly.yaml",
          "version: 1\n"
          "score: [a/score.yaml, b.yaml]\n"
          "workloads: {web: {build: {command: make, inputs: [\"**\"], timeout: 1m}, migrate: x, seed: [y], public: true}}\n"
          "lease: {sleep_after_idle: 1h}\n" },
        { "a/score.yaml",
          "apiVersion: score.dev/v1b1\n"
          "metadata: {name: web, k: {v: 1}}\n"
          "service: {ports: {www: {port: 80, targetPort: 81}}}\n"
          "containers:\n"
          "  main: {image: ., command: [x], args: [\"$\"], variables: {A: \"${resources.host.host}$$\", B: \"${metadata.k}\"}, files: {/a: {content: \"${metadata.name}\"}, b: {source: c}, /d: {source: c, noExpand: true}}, volumes: {/v: {source: \"${resources.data}\", path: p}}, livenessProbe: {httpGet: {path: /, port: 1}}, resources: {limits: {cpu: 1m, memory: 1Mi}}}\n"
          "  two: {image: ., command: [y], before: {main: {ready: complete}}}\n"
          "resources:\n"
          "  host: {type: dns}\n"
          "  data: {type: volume}\n"
          "  rr: {type: route, params: {host: \"${resources.host.host}\", path: /x, port: www}}\n"
          "  api: {type: service}\n"
          "  pp: {type: service-port, params: {workload: api, port: 90}}\n"
          "  env: {type: environment}\n" },
        { "b.yaml", "apiVersion: score.dev/v1b1\n"
                    "metadata: {name: api}\n"
                    "service: {ports: {main: {port: 90}}}\n"
                    "containers: {main: {image: .}}\n" },
        { "Procfile", "api: run it\n" },
        { "a/c", "${metadata.name}\n" },
        { 0 },
};

static const File compose[] = {
        { "compose.yaml",
          "services:\n"
          "  web:\n"
          "    build: ./web\n"
          "    command: npm run \"a b\"\n"
          "    environment: {A: \"${A:-${B:-x}}\", DB: \"postgres://u:p@db:5432/x\"}\n"
          "    ports: [\"80:3000/udp\", \"1-2:1-2\", {target: 5}]\n"
          "    volumes: [\"data:/d:ro\", \"./c.conf:/etc/c.conf\", {type: tmpfs, target: /t}]\n"
          "    depends_on: {db: {condition: service_healthy}, job: {condition: service_completed_successfully}}\n"
          "    healthcheck: {test: [CMD-SHELL, x]}\n"
          "    deploy: {resources: {limits: {cpus: \"0.5\", memory: 64m}}}\n"
          "  db: {image: postgres:16, environment: [POSTGRES_PASSWORD=p]}\n"
          "  job: {build: ./web, command: j}\n"
          "volumes: {data: {}}\n"
          "secrets: {s: {file: ./c.conf}}\n" },
        { "web/Procfile", "web: w\n" },
        { "c.conf", "c\n" },
        { 0 },
};

static const File rendered[] = {
        { "score.yaml",
          "apiVersion: score.dev/v1b1\n"
          "metadata: {name: web}\n"
          "containers:\n"
          "  main:\n"
          "    image: .\n"
          "    command: [run]\n"
          "    args: [\"--port\", \"8080\"]\n"
          "    variables: {DB: \"${resources.db.host}\", N: \"${metadata.name}\", D: \"$${x} $$\"}\n"
          "    files:\n"
          "      /etc/a: {content: \"${metadata.name}\", mode: \"0644\"}\n"
          "      /etc/b: {source: b.txt, noExpand: true}\n"
          "      /etc/c: {binaryContent: aGk=}\n"
          "    volumes: {/data: {source: \"${resources.data}\", path: sub, readOnly: true}}\n"
          "    before: {side: {ready: healthy}}\n"
          "    readinessProbe: {httpGet: {path: /, port: 8080, scheme: HTTP, host: h, httpHeaders: [{name: X-A, value: b}]}}\n"
          "    livenessProbe: {exec: {command: [true-cmd]}}\n"
          "    resources: {limits: {cpu: 250m, memory: 1.5Gi}, requests: {cpu: \"0.1\", memory: 128M}}\n"
          "  side: {image: nginx}\n"
          "service: {ports: {www: {port: 80, targetPort: 8080, protocol: TCP}}}\n"
          "resources:\n"
          "  db: {type: postgres, class: large, id: main.db}\n"
          "  data: {type: volume}\n"
          "  dns: {type: dns}\n"
          "  route: {type: route, params: {host: \"${resources.dns.host}\", path: /, port: 80}}\n" },
        { "o.yaml",
          "containers:\n"
          "  main: {image: other, variables: {D: \"1\", E: \"2\"}, files: [{target: /etc/d, content: [a, b]}]}\n"
          "metadata: {more: &m {a: 1}, again: *m, merged: {<<: *m}}\n" },
        { 0 },
};

static const File config[] = {
        { "mayflyd.yaml",
          "domain: p.example.com\n"
          "listen: 127.0.0.1:80\n"
          "clocks: {sleep_after_idle: 5m}\n"
          "bounds: {clocks: {delete_after_age: 30d}}\n"
          "values: {shop: {A: b}, \"*\": {C: d}}\n"
          "providers: {p: {path: /x, config: {a: 1}}}\n"
          "projects: {shop: {team: t, owner: o, clocks: {delete_after_close: 1h}}}\n"
          "definitions:\n"
          "- {name: a, match: {type: volume, class: x, branch: \"a*[!b]?\", trust: stranger, project: shop, id: web.db}, provider: p, params: {a: 1}, defaults: {s: 1Gi}, bounds: {s: {min: 1, max: 10Gi, one_of: [1Gi]}}, config: {x: y}, deadline: 5s}\n"
          "- {name: b, match: {type: volume}, provider: p}\n" },
        { 0 },
};

static const File not_yaml[] = {
        { "score.yaml", "a: [1, 2\n"
                        "b: *x\n" },
        { 0 },
};

static const File broken[] = {
        { "score.yaml", "apiVersion: score.dev/v1b2\n"
                        "metadata: {name: Web_}\n"
                        "containers:\n"
                        "  main: {imag: ., variables: {A: 1}, resources: {limits: {cpu: lots}}}\n"
                        "service: {ports: {http: {port: http}}}\n"
                        "extra: true\n" },
        { 0 },
};

static const File meaningless[] = {
        { "score.yaml",
          "apiVersion: score.dev/v1b1\n"
          "metadata: {name: web}\n"
          "containers:\n"
          "  a: {image: ., variables: {A: \"${resource.db.x}\", B: \"${resources.dbb.x}\", C: \"${\"}, before: {b: {ready: healthy}, c: {ready: started}}}\n"
          "  b: {image: ., before: {a: {ready: complete}}}\n"
          "resources: {db: {type: postgres, params: {a: \"${resources.dc.x}\"}}, dc: {type: postgres, params: {a: \"${resources.db.x}\"}}}\n" },
        { 0 },
};

static const File strict[] = {
        { "mayfly.yaml",
          "scores: [score.yaml]\n"
          "workloads: {web: {build: {command: x, timeout: 1s, inputz: []}, publik: 1}, other: {seed: 3}}\n"
          "lease: {sleep_after_idle: 1x}\n" },
        { 0 },
};

static const File unserved[] = {
        { "score.yaml",
          "apiVersion: score.dev/v1b1\n"
          "metadata: {name: web}\n"
          "containers: {main: {image: nginx}, two: {image: ., files: {/a: {source: ../x}, /b: {source: gone}}}}\n"
          "resources: {db: {type: postgre}, r: {type: route, params: {host: x, path: /, port: 99}}}\n"
          "service: {ports: {a: {port: 1}, b: {port: 1, targetPort: 2}}}\n" },
        { 0 },
};

static const File compose_refused[] = {
        { "compose.yaml",
          "services:\n"
          "  web: {image: nginx, command: \"a 'b\", ports: [x, \"80:80\"], netwrk: 1, depends_on: [gone], privileged: true, environment: {A: \"${A?no}\"}}\n"
          "  db: {image: postgres:16, volumes: [x:y:z:w], healthcheck: {interval: 1x}}\n"
          "volums: {}\n" },
        { 0 },
};

static const File config_refused[] = {
        { "mayflyd.yaml",
          "domaine: x\n"
          "listen: 1.2.3.4:80\n"
          "clocks: {sleep_after_idle: 5}\n"
          "definitions: [{name: a, match: {type: volume}, provider: p}, {name: b, match: {type: volume}, provider: p}, {match: 1}]\n" },
        { 0 },
};

static const Case cases[] = {
        { "several files", product, run_plan, 0 },
        { "compose", compose, run_sketch, 0 },
        { "rendered with overrides", rendered, run_render, 0 },
        { "configuration", config, run_config, 0 },
        { "no YAML", not_yaml, run_plan, -EINVAL },
        { "against the schema", broken, run_plan, -EINVAL },
        { "without meaning", meaningless, run_plan, -EINVAL },
        { "mayfly.yaml is strict", strict, run_plan, -EINVAL },
        { "nothing serves it", unserved, run_plan, -EINVAL },
        { "compose refused", compose_refused, run_plan, -EINVAL },
        { "configuration refused", config_refused, run_config, -EINVAL },
};

/* ---- the test ---- */

static void fail_from(unsigned long from, unsigned long to) {
        n_calls = 0;
        first = from;
        last = to;
        fired = false;
}

/* Lost memory may cost a hint or a notice, but neither the answer nor its truth. */
static void run_failing(const Case *c, unsigned long n, bool for_ever, const char *expected) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        fail_from(n, for_ever ? ULONG_MAX : n);
        r = c->run(c, &text);
        fail_from(0, 0);
        if (r == -ENOMEM || (r == c->result && (r < 0 || streq_null(text, expected))))
                return;
        if (!show && getenv("MAYFLY_SHOW")) {
                printf("# VIOLATION %s: %lu%s gives %d\n", c->name, n, for_ever ? " and on" : "",
                       r);
                fflush(stdout);
                show = true;
                run_failing(c, n, for_ever, expected);
                show = false;
                return;
        }
        if (!show)
                fail_msg("%s: allocation %lu%s fails and the result is %d %s", c->name, n,
                         for_ever ? " and all after it fail" : "", r, text ? text : "");
}

static void test_case(const Case *c) {
        auto_cleanup(freep) char *expected = NULL;
        unsigned long n;
        int r;

        fail_from(0, 0);
        r = c->run(c, &expected);
        if (r != c->result)
                fail_msg("%s: %d with memory enough", c->name, r); /* its words: MAYFLY_SHOW */
        n = n_calls;
        assert_true(n > 20);
        /* what is beyond repeats itself, node by node: a part of it, or all with MAYFLY_EVERY=1 */
        for (unsigned long i = 1; i <= n; i += i < 1500 || getenv("MAYFLY_EVERY") ? 1 : 11) {
                run_failing(c, i, false, expected);
                if (i % 7 == 0)
                        run_failing(c, i, true, expected);
        }
}

static void test_every_allocation(void **state) {
        json_set_alloc_funcs(__wrap_malloc, free);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                test_case(&cases[i]);
}

/* The countdown reaches all of them, or the test proves nothing. */
static void test_the_countdown_reaches_the_libraries(void **state) {
        auto_cleanup(yaml_tree_freep) YamlTree *t = yaml_tree_new();
        YamlNode *root;

        json_set_alloc_funcs(__wrap_malloc, free);
        fail_from(1, ULONG_MAX);
        assert_null(json_object());
        assert_true(fired);
        for (unsigned long i = 1; i < 30; i++) {
                fail_from(i, i);
                if (yaml_parse(t, "x", "a: [b, c]", 9, &root) == 0)
                        assert_false(fired);
        }
        fail_from(0, 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_countdown_reaches_the_libraries),
                cmocka_unit_test(test_every_allocation),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
