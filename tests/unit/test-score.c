/* Score files: what each stage says, and where. Samples of others are in test-score-shared.c. */
#include "tests/unit/test.h"

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/render.h"
#include "orchestrator/spec/score.h"

#define HEAD "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"
#define MAIN HEAD "containers:\n  main:\n    image: .\n"

static int load(const char *text, const ScoreOverrides *overrides, ScoreDocument **ret,
                SpecFaults *faults, SpecFaults *notices) {
        return score_document_load("score.yaml", text, strlen(text), overrides, ret, faults,
                                   notices, NULL);
}

/* Exactly one fault: "STAGE LINE:COLUMN POINTER", a part of its message, a part of its hint. */
static void check(const char *text, const char *where, const char *message, const char *hint) {
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        auto_cleanup(freep) char *found = NULL;
        SpecFaults faults = { 0 };
        const SpecFault *fault;
        int r;

        r = load(text, NULL, &d, &faults, NULL);
        if (!where) {
                if (r < 0)
                        fail_msg("%s: %s", text, faults.items[0].message);
                return;
        }
        if (r != -EINVAL)
                fail_msg("%s must be invalid: %s", text, where);
        fault = &faults.items[0];
        found = str_format("%s %u:%u %s", spec_stage_to_string(fault->stage), fault->line,
                           fault->column, fault->path);
        if (faults.n_items != 1 || !streq(found, where) || !strstr(fault->message, message) ||
            (hint ? !fault->hint || !strstr(fault->hint, hint) : false))
                fail_msg("%s\n%zu faults, %s: %s (%s)", text, faults.n_items, found, fault->message,
                         fault->hint);
        spec_faults_done(&faults);
}

static void test_stages(void **state) {
        check(MAIN, NULL, NULL, NULL);
        check("", "yaml 1:1 ", "The file is empty", "apiVersion");
        check("- a\n", "yaml 1:1 ", "must hold a map, not a list", NULL);
        check("null\n", "yaml 1:1 ", "must hold a map", NULL);
        check(MAIN "    image: x\n", "yaml 6:5 ", "second time, first in line 5", NULL);
        check(MAIN "    files: [{content: a}]\n", "upgrade 6:13 /containers/main/files/0",
              "needs 'target'", "TARGET");
        check(MAIN "    files: [{target: 1, content: a}]\n",
              "upgrade 6:13 /containers/main/files/0", "target must be text", NULL);
        check(MAIN "    volumes: [x]\n", "upgrade 6:15 /containers/main/volumes/0",
              "needs 'target'", NULL);
        /* a later stage is silent when an earlier one found something */
        check(MAIN "    args: a\n    variables: {A: \"${x}\"}\n",
              "schema 6:11 /containers/main/args", "a list", NULL);
}

static void test_mistakes_of_real_files(void **state) {
        check(MAIN "    variables: {PORT: 8080}\n", "schema 6:23 /containers/main/variables/PORT",
              "must be text here, '8080' is a number", "\"8080\" in quotes");
        check(MAIN "    variables: {ON: true}\n", "schema 6:21 /containers/main/variables/ON",
              "'true' is a boolean", "\"true\" in quotes");
        check(MAIN "    variables: {D: 2024-01-01}\n", "schema 6:20 /containers/main/variables/D",
              "is a date", "in quotes");
        check(HEAD "containers:\n  main:\n    image:\n", "schema 5:5 /containers/main/image",
              "there is nothing", "image: .");
        check(HEAD "containers:\n  main: {}\n", "schema 4:3 /containers/main",
              "A container needs 'image'", "image: .");
        check(MAIN "kind: Workload\n", "schema 6:1 /kind", "'kind' is not a key of a Score file",
              "leave it out");
        check(MAIN "spec: {}\n", "schema 6:1 /spec", "'spec' is not", "take it away");
        check(MAIN "workloads: {}\n", "schema 6:1 /workloads", "'workloads' is not", "mayfly.yaml");
        check(MAIN "resources:\n  db: {type: postgres, properties: {}}\n",
              "schema 7:24 /resources/db/properties", "not a key of a resource", "leave it out");
        check(MAIN "    readinessProbe: {httpGet: {path: /, port: 80}, initialDelaySeconds: 1}\n",
              "schema 6:52 /containers/main/readinessProbe/initialDelaySeconds",
              "not a key of a probe", "no timing");
        check(MAIN "    volumes: {/d: {source: x, mountPath: /}}\n",
              "schema 6:31 /containers/main/volumes/~1d/mountPath", "not a key of a volume",
              "the key above");
        check("apiVersion: score.sh/v1b1\nmetadata: {name: web}\ncontainers: {main: {image: .}}\n",
              "schema 1:13 /apiVersion", "'score.sh/v1b1' is not", "score.dev/v1b1");
        check(MAIN "    comand: [a]\n", "schema 6:5 /containers/main/comand", "not a key",
              "did you mean command?");
        check(MAIN "    Command: [a]\n", "schema 6:5 /containers/main/Command", "not a key",
              "did you mean command?");
        check(MAIN "    xyzzy: [a]\n", "schema 6:5 /containers/main/xyzzy", "not a key",
              "it may have image, command");
        check("apiVersion: score.dev/v1b1\nmetadata: {name: My_App}\ncontainers: {main: {image: .}}\n",
              "schema 2:18 /metadata/name", "'My_App' is not a workload name",
              "did you mean 'my-app'?");
        check(MAIN "service: {ports: {80: {port: 80}}}\n", "schema 6:19 /service/ports/80",
              "The key '80' is not text", "\"80\": in quotes");
        check(MAIN "service: {ports: {www: {port: \"80\"}}}\n",
              "schema 6:31 /service/ports/www/port", "a whole number", "write 80 without quotes");
        check(MAIN "service: {ports: {www: {port: 80, protocol: tcp}}}\n",
              "schema 6:45 /service/ports/www/protocol", "'tcp' is not a protocol",
              "did you mean TCP?");
        check(MAIN "    livenessProbe: {httpGet: {path: /, port: 80, scheme: http}}\n",
              "schema 6:58 /containers/main/livenessProbe/httpGet/scheme", "'http' is not",
              "did you mean HTTP?");
        check(MAIN "    files: {/a: {content: x, source: y}}\n",
              "schema 6:13 /containers/main/files/~1a", "A file has content and source",
              "keep one");
        check(MAIN "    files: {/a: {mode: \"0644\"}}\n", "schema 6:13 /containers/main/files/~1a",
              "A file needs content, binaryContent or source", NULL);
        check(MAIN "    files: {/a: {content: x, mode: 0644}}\n",
              "schema 6:36 /containers/main/files/~1a/mode", "must be text", "\"0644\"");
        check(MAIN "    resources: {limits: {memory: 128MB}}\n",
              "schema 6:34 /containers/main/resources/limits/memory",
              "'128MB' is not an amount of memory", "128M");
        check(MAIN "    resources: {cpu: 1}\n", "schema 6:17 /containers/main/resources/cpu",
              "not a key", "below limits or requests");
        check(HEAD "containers: {}\n", "schema 3:1 /containers", "at least one", NULL);
        check(HEAD "containers:\n", "schema 3:1 /containers", "there is nothing",
              "containers: {main");
        check(MAIN "    variables: [A=1]\n", "schema 6:16 /containers/main/variables",
              "a map here, this is a list", "without '-'");
        check(MAIN "    variables: {\"\": x}\n", "schema 6:17 /containers/main/variables/",
              "must not be empty", NULL);
        check(MAIN "    variables: {\"A=B\": x}\n", "schema 6:17 /containers/main/variables/A=B",
              "not a variable name", NULL);
        check(MAIN "    image2: .\n", "schema 6:5 /containers/main/image2", "not a key",
              "did you mean image?");
}

static void test_values_at_the_border(void **state) {
        static const char *const good[] = {
                MAIN "service: {ports: {www: {port: 8080.0, targetPort: 1e3}}}\n",
                MAIN "service: {ports: {www: {port: 0x1F90}}}\n",
                MAIN "service: {}\n",
                MAIN "service: {ports: {}}\n",
                MAIN
                "    before: {}\n    command: []\n    files: {}\n    volumes: {}\n    resources: {limits: {}}\n",
                MAIN "    livenessProbe: {exec: {command: []}}\n",
                MAIN "    livenessProbe: {httpGet: {path: \"\", port: 65535}}\n",
                MAIN
                "    files: {\"\": {binaryContent: \"\"}, ../x: {content: \"\", mode: \"644\"}}\n",
                MAIN "resources: {ab: {type: A-b, class: \"0-0\", id: a--b.c, params: {}}}\n",
                MAIN
                "    resources: {limits: {cpu: \"0\", memory: \"0.5Ki\"}, requests: {cpu: 250m}}\n",
                MAIN "    variables: {A: yes, B: 12:30, C: 1.2.3, D: \"\", \"\\n\": x}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {ab.cd/X_.1: x, aa: y}, 'x y': [1]}\ncontainers: {aa: {image: a}}\n",
        };
        static const char *const bad[] = {
                MAIN "service: {ports: {www: {port: 80.5}}}\n",
                MAIN "service: {ports: {www: {port: 65536}}}\n",
                MAIN "service: {ports: {www: {port: 0}}}\n",
                MAIN "service: {ports: {www: {port: -1}}}\n",
                MAIN "service: {ports: {www: {port: 1e300}}}\n",
                MAIN "service: {ports: {www: {}}}\n",
                MAIN "service: {ports: {w: {port: 1}}}\n",
                MAIN "service:\n",
                MAIN "resources: {ab: {type: a}}\n",
                MAIN "resources: {ab: {type: -a}}\n",
                MAIN "resources: {ab: {type: \"ab\\n\"}}\n",
                MAIN "resources: {ab: {type: aa, id: a..b}}\n",
                MAIN "resources: {ab: {type: aa, id: a.b.}}\n",
                MAIN "resources: {ab: {type: aa, id: a-}}\n",
                MAIN "resources: {ab: {type: aa, class: }}\n",
                MAIN "resources: {ab: {type: aa, params: {x: {8080: y}}}}\n",
                MAIN "resources: {ab: {type: aa, params: {x: [2024-01-01]}}}\n",
                MAIN "resources: {ab: {type: aa, params: {x: .inf}}}\n",
                MAIN "resources: {ab: {type: aa, metadata: {annotations: {a: x}}}}\n",
                MAIN "    command: [1]\n",
                MAIN "    command: [null]\n",
                MAIN "    livenessProbe: {}\n",
                MAIN "    livenessProbe: {exec: {}}\n",
                MAIN "    livenessProbe: {httpGet: {path: /}}\n",
                MAIN "    livenessProbe: {httpGet: {path: /, port: 1, host: \"\"}}\n",
                MAIN
                "    livenessProbe: {httpGet: {path: /, port: 1, httpHeaders: [{name: \"a b\", value: x}]}}\n",
                MAIN
                "    livenessProbe: {httpGet: {path: /, port: 1, httpHeaders: [{name: a, value: \"\"}]}}\n",
                MAIN "    before: {other: {}}\n",
                MAIN "    before: {other: {ready: done}}\n",
                MAIN "    files: {/a: {content: [a, b]}}\n",
                MAIN "    files: {/a: {content: }}\n",
                MAIN "    files: {/a: {content: a, target: b}}\n",
                MAIN "    files: {/a: {content: a, mode: \"888\"}}\n",
                MAIN "    files: {/a: {content: a, mode: \"1644\"}}\n",
                MAIN "    files: {/a: {content: a, noExpand: yes}}\n",
                MAIN "    volumes: {/a: {source: a, read_only: true}}\n",
                MAIN "    volumes: {/a: {}}\n",
                MAIN "    resources: {limits: {cpu: .5}}\n",
                MAIN "    resources: {limits: {memory: \"0\"}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {a/bb: x}}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {ab./bb: x}}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {Ab/bb: x}}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {ab/b/b: x}}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {name: aa, annotations: {/bb: x}}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: \"score.dev/v1b1\\n\"\nmetadata: {name: aa}\ncontainers: {aa: {image: a}}\n",
                "apiVersion: score.dev/v1b1\nmetadata: {}\ncontainers: {aa: {image: a}}\n",
        };

        for (size_t i = 0; i < N_ELEMENTS(good) + N_ELEMENTS(bad); i++) {
                const char *text = i < N_ELEMENTS(good) ? good[i] : bad[i - N_ELEMENTS(good)];
                auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
                SpecFaults faults = { 0 };
                int r;

                r = load(text, NULL, &d, &faults, NULL);
                if (i < N_ELEMENTS(good) && r < 0)
                        fail_msg("%s: %s", text, faults.items[0].message);
                if (i >= N_ELEMENTS(good) &&
                    (r != -EINVAL || faults.items[0].stage != SPEC_STAGE_SCHEMA))
                        fail_msg("%s must fail the schema", text);
                spec_faults_done(&faults);
        }
}

static void test_placeholders(void **state) {
#define DB "resources: {db: {type: postgres}}\n"
        check(MAIN "    variables:\n      A: a ${resource.db.host}\n" DB,
              "semantic 7:12 /containers/main/variables/A",
              "'${resource.db.host}' begins with 'resource'", "did you mean ${resources.");
        check(MAIN "    variables: {A: \"${resources.db.host:-x}\"}\n" DB,
              "semantic 6:21 /containers/main/variables/A", "is not a reference",
              "no default values");
        check(MAIN "    variables: {A: \"${resources.dv.host}\"}\n" DB,
              "semantic 6:21 /containers/main/variables/A", "not declared", "did you mean 'db'?");
        check(MAIN "    variables: {A: \"${resources.cache.host}\"}\n",
              "semantic 6:21 /containers/main/variables/A", "not declared", "declare it");
        check(MAIN "    variables: {A: \"${ metadata.name }\"}\n",
              "semantic 6:21 /containers/main/variables/A", "is not a reference", "without spaces");
        check(MAIN
              "    files:\n      /a:\n        content: |\n          one\n          two ${HOME}\n",
              "semantic 10:15 /containers/main/files/~1a/content", "'${HOME}' is not", "$${...}");
        check(MAIN "    volumes: {/a: {source: \"${resources.vol}\"}}\n",
              "semantic 6:29 /containers/main/volumes/~1a/source", "not declared", NULL);
        check(MAIN "resources: {db: {type: x1, params: {a: [{b: \"${env.X}\"}]}}}\n",
              "semantic 6:46 /resources/db/params/a/0/b", "begins with 'env'",
              "of type environment");
        check(MAIN
              "    files: {/a: {content: \"${HOME}\", noExpand: true}, /b: {binaryContent: \"${HOME}\"}, /c: {source: "
              "\"${HOME}\"}}\n    command: [\"${HOME}\"]\n    variables: {\"${X}\": \"$HOME $${HOME} $$\"}\n",
              NULL, NULL, NULL);
        check(MAIN
              "    variables: {A: \"${metadata.annotations.acme\\\\.io/team} ${resources.db}\"}\n" DB,
              NULL, NULL, NULL);
}

static void test_before(void **state) {
        check(HEAD "containers:\n  aa: {image: ., before: {aa: {ready: started}}}\n",
              "semantic 4:27 /containers/aa/before/aa", "cannot start before itself", NULL);
        check(HEAD "containers:\n  aa: {image: ., before: {bb: {ready: started}}}\n",
              "semantic 4:27 /containers/aa/before/bb", "no container 'bb'", NULL);
        check(HEAD
              "containers:\n  aa: {image: ., before: {bb: {ready: started}}}\n"
              "  bb: {image: ., before: {cc: {ready: started}}}\n  cc: {image: ., before: {aa: {ready: started}}}\n",
              "semantic 6:27 /containers/cc/before/aa", "in a circle", NULL);
        check(HEAD
              "containers:\n  aa: {image: ., before: {bb: {ready: started}, cc: {ready: complete}}}\n"
              "  bb: {image: ., before: {cc: {ready: started}}}\n  cc: {image: .}\n",
              NULL, NULL, NULL);
}

static void test_all_faults_of_a_stage_in_order(void **state) {
        static const char text[] =
                "apiVersion: x\nmetadata: {name: X}\ncontainers: {main: {image: ., bad: 1, args: [1, 2]}}\n";
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        auto_error e = { 0 };
        SpecFaults faults = { 0 };

        assert_int_equal(
                score_document_load("s.yaml", text, strlen(text), NULL, &d, &faults, NULL, &e),
                -EINVAL);
        spec_faults_sort(&faults);
        assert_int_equal(faults.n_items, 5);
        for (size_t i = 1; i < faults.n_items; i++)
                assert_true(faults.items[i].line > faults.items[i - 1].line ||
                            faults.items[i].column > faults.items[i - 1].column);
        assert_non_null(strstr(e.message, "s.yaml:1:13: "));
        spec_faults_done(&faults);
}

static void test_faults_are_limited(void **state) {
        auto_strbuf b = { 0 };
        ScoreDocument *d = NULL;
        SpecFaults faults = { 0 };

        strbuf_add(&b, MAIN "    variables:\n");
        for (int i = 0; i < 1000; i++)
                strbuf_addf(&b, "      V%d: %d\n", i, i);
        assert_int_equal(load(b.text, NULL, &d, &faults, NULL), -EINVAL);
        assert_int_equal(faults.n_items, LIMIT_SPEC_FAULTS);
        assert_int_equal(faults.n_dropped, 1000 - LIMIT_SPEC_FAULTS);
        spec_faults_done(&faults);
}

static void check_json(const char *text, const ScoreOverrides *o, const char *pointer,
                       const char *expected) {
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        auto_cleanup(freep) char *json = NULL;
        SpecFaults faults = { 0 };
        json_auto_t *part = NULL;
        YamlNode *node;

        if (load(text, o, &d, &faults, NULL) < 0)
                fail_msg("%s: %s", text, faults.items[0].message);
        node = yaml_at(d->root, pointer, NULL);
        assert_non_null(node);
        assert_int_equal(yaml_to_json(node, &part, NULL), 0);
        json = json_compact(part);
        assert_string_equal(json, expected);
}

static void test_upgrades(void **state) {
        check_json(
                MAIN
                "    files:\n    - {target: /a, content: [x, 1, true], mode: \"600\"}\n    - {target: /b, content: []}\n"
                "    - {target: /a, source: s}\n",
                NULL, "/containers/main/files",
                "{\"/a\":{\"source\":\"s\"},\"/b\":{\"content\":\"\"}}");
        check_json(
                MAIN
                "    volumes: [{target: /a, source: x, read_only: true}, {target: /b, source: y, readOnly: false}]\n",
                NULL, "/containers/main/volumes",
                "{\"/a\":{\"readOnly\":true,\"source\":\"x\"},\"/b\":{\"readOnly\":false,\"source\":\"y\"}}");
        check_json(MAIN "    files: []\n", NULL, "/containers/main/files", "{}");
        /* an anchored list is upgraded in each place */
        check_json(
                HEAD
                "containers:\n  aa: {image: ., files: &f [{target: /a, content: x}]}\n  bb: {image: ., files: *f}\n",
                NULL, "/containers/bb/files", "{\"/a\":{\"content\":\"x\"}}");
        check_json(MAIN "service: {ports: {www: {port: 8080.0}}}\n", NULL,
                   "/service/ports/www/port", "8080");
        check(MAIN "    volumes: [{target: /a, source: x, read_only: 1}]\n",
              "schema 6:39 /containers/main/volumes/~1a/read_only", "not a key", "readOnly");
}

static void test_overrides(void **state) {
        static const char *const properties[] = { "containers.main.variables.A=\"2\"",
                                                  "containers.main.args.-1=z", "metadata.x=" };
        static const char file[] =
                "containers: {main: {args: [p], variables: {B: null, C: '3'}}}\nmetadata: {x: 1}\n";
        ScoreOverrides o = { "o.yaml", file, sizeof(file) - 1, properties, N_ELEMENTS(properties) };
        static const char *const bad_path[] = { "containers.main.args.9=z" }, *const bad_value[] = {
                "metadata.name=12"
        };
        SpecFaults faults = { 0 };
        ScoreDocument *d = NULL;

        check_json(
                MAIN "    variables: {A: '1', B: '1'}\n    args: [a, b]\n", &o, "/containers/main",
                "{\"args\":[\"p\",\"z\"],\"image\":\".\",\"variables\":{\"A\":\"2\",\"C\":\"3\"}}");
        /* a fault is shown where the value was written */
        o = (ScoreOverrides){ .file = "o.yaml", .text = "metadata: {name: 1}\n", .size = 20 };
        assert_int_equal(load(MAIN, &o, &d, &faults, NULL), -EINVAL);
        assert_string_equal(faults.items[0].file, "o.yaml");
        assert_int_equal(faults.items[0].column, 18);
        spec_faults_done(&faults);
        o = (ScoreOverrides){ .properties = bad_path, .n_properties = 1 };
        assert_int_equal(load(MAIN "    args: []\n", &o, &d, &faults, NULL), -EINVAL);
        assert_non_null(strstr(faults.items[0].message, "out of range"));
        spec_faults_done(&faults);
        o.properties = bad_value;
        assert_int_equal(load(MAIN, &o, &d, &faults, NULL), -EINVAL);
        assert_int_equal(faults.items[0].stage, SPEC_STAGE_SCHEMA);
        assert_string_equal(faults.items[0].file, "--override-property");
        spec_faults_done(&faults);
}

static void test_notices(void **state) {
        static const char text[] = HEAD
                "containers:\n  aa: {image: \"x:${TAG}\", command: [\"${A}\"], before: {bb: {ready: "
                "healthy}}}\n  bb: {image: ., files: [{target: /a, content: x}]}\n"
                "resources: {rt: {type: route, params: {path: /}}}\n---\nmore: 1\n";
        SpecFaults faults = { 0 }, notices = { 0 };
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;

        assert_int_equal(load(text, NULL, &d, &faults, &notices), 0);
        assert_int_equal(notices.n_items, 6);
        spec_faults_done(&notices);
}

/* ---- projects ---- */

static int make(const char *const *texts, size_t n, ScoreProject **ret, SpecFaults *faults) {
        ScoreDocument *documents[8];

        for (size_t i = 0; i < n; i++)
                assert_int_equal(load(texts[i], NULL, &documents[i], faults, NULL), 0);
        return score_project_make(documents, n, ret, faults, NULL);
}

#define WORKLOAD(name, resources)                            \
        "apiVersion: score.dev/v1b1\nmetadata: {name: " name \
        "}\ncontainers: {main: {image: .}}\nresources: {" resources "}\n"

static char *order_of(const ScoreProject *p) {
        auto_strbuf b = { 0 };

        for (size_t i = 0; i < p->n_resources; i++)
                strbuf_addf(&b, "%s%s", i > 0 ? " " : "", p->resources[i].key);
        return strbuf_take(&b);
}

static void check_project(const char *one, const char *two, const char *expected) {
        const char *texts[] = { one, two };
        auto_cleanup(score_project_freep) ScoreProject *p = NULL;
        auto_cleanup(freep) char *order = NULL;
        SpecFaults faults = { 0 };
        int r;

        r = make(texts, two ? 2 : 1, &p, &faults);
        if (r < 0) {
                assert_int_equal(r, -EINVAL);
                if (expected[0] != '!' || !strstr(faults.items[0].message, expected + 1))
                        fail_msg("%s, not %s", faults.items[0].message, expected);
                spec_faults_done(&faults);
                return;
        }
        order = order_of(p);
        assert_string_equal(order, expected);
}

static void test_identity_and_sharing(void **state) {
        check_project(WORKLOAD("bb", "db: {type: pg}"), WORKLOAD("aa", "db: {type: pg}"),
                      "pg.default#aa.db pg.default#bb.db");
        /* an id may name another workload's private resource */
        check_project(WORKLOAD("aa", "db: {type: pg}"), WORKLOAD("bb", "xx: {type: pg, id: aa.db}"),
                      "pg.default#aa.db");
        check_project(WORKLOAD("aa", "x1: {type: pg, id: s1}, x2: {type: pg, id: s1, params: {}}"),
                      NULL, "pg.default#s1");
        check_project(
                WORKLOAD(
                        "aa",
                        "x1: {type: pg, id: s1, params: {a: 1}}, x2: {type: pg, id: s1, params: {}}"),
                NULL, "!params of the shared resource pg.default#s1 differ");
        check_project(WORKLOAD("aa", "x1: {type: pg, id: s1, metadata: {a: 1}}"),
                      WORKLOAD("bb", "x1: {type: pg, id: s1, metadata: {a: 2}}"),
                      "!metadata of the shared resource");
        check_project(WORKLOAD("aa", ""), WORKLOAD("aa", ""), "!'aa' is used a second time");
        check_project(WORKLOAD("aa", "db: {type: Pg}, dc: {type: pg}"), NULL,
                      "Pg.default#aa.db pg.default#aa.dc");
}

static void test_order(void **state) {
        /* the union of what every declaration waits for, also when only one gives params */
        check_project(
                WORKLOAD("aa", "sh: {type: a1, id: sh}"),
                WORKLOAD(
                        "bb",
                        "sh: {type: a1, id: sh, params: {x: \"${resources.zz.y}\"}}, zz: {type: z1}"),
                "z1.default#bb.zz a1.default#sh");
        check_project(
                WORKLOAD("aa",
                         "a1: {type: tt, params: {x: \"$${resources.b1.y}\"}}, b1: {type: tt}"),
                NULL, "tt.default#aa.a1 tt.default#aa.b1");
        check_project(WORKLOAD("aa", "a1: {type: tt, params: {x: \"${resources.a1.y}\"}}"), NULL,
                      "!in a circle: tt.default#aa.a1 -> tt");
        check_project(
                WORKLOAD("aa",
                         "a1: {type: tt, params: {x: [{y: \"${resources.b1}\"}]}}, b1: {type: tt}"),
                NULL, "tt.default#aa.b1 tt.default#aa.a1");
        /* a circle through two files */
        check_project(
                WORKLOAD(
                        "aa",
                        "xx: {type: tt, id: xx, params: {a: \"${resources.yy.o}\"}}, yy: {type: tt, id: yy}"),
                WORKLOAD(
                        "bb",
                        "xx: {type: tt, id: xx}, yy: {type: tt, id: yy, params: {a: \"${resources.xx.o}\"}}"),
                "!in a circle");
}

static void test_who_gives_the_params(void **state) {
        const char *const texts[] = {
                WORKLOAD("cc", "c1: {type: tt, id: sh, params: {n: \"${metadata.name}\"}}"),
                WORKLOAD("bb", "b1: {type: tt, id: sh, params: {n: \"${metadata.name}\"}}"),
                WORKLOAD("aa", "a1: {type: tt, id: sh}"),
        };
        auto_cleanup(score_project_freep) ScoreProject *p = NULL;
        SpecFaults faults = { 0 };
        const ScoreResource *s;

        assert_int_equal(make(texts, 3, &p, &faults), 0);
        s = score_project_find(p, "tt.default#sh");
        assert_string_equal(s->workload, "bb");
        assert_string_equal(s->name, "b1");
        assert_string_equal(s->pointer, "/resources/b1");
        assert_string_equal(s->document->workload, "bb");
        assert_string_equal(score_project_key(p, "cc", "c1"), "tt.default#sh");
        assert_null(score_project_key(p, "cc", "a1"));
        assert_null(score_project_find(p, "x"));
}

static void test_too_many_resources(void **state) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *text = NULL;
        const char *texts[1];
        ScoreProject *p = NULL;
        SpecFaults faults = { 0 };

        strbuf_add(&b, MAIN "resources:\n");
        for (int i = 0; i <= LIMIT_GRAPH_RESOURCES; i++)
                strbuf_addf(&b, "  r%d: {type: tt}\n", i);
        text = strbuf_take(&b);
        texts[0] = text;
        assert_int_equal(make(texts, 1, &p, &faults), -EINVAL);
        spec_faults_done(&faults);
}

static void test_rendering(void **state) {
        static const char text[] = MAIN
                "    variables: {A: \"${resources.db.port}\", B: \"$${x}\"}\n    args: [\"${HOME}\"]\n"
                "    files: {/a: {content: \"${metadata.name} $$\"}, /b: {content: \"${x} $$\", noExpand: true}}\n"
                "    volumes: {/v: {source: \"${resources.db}\"}}\n"
                "resources: {db: {type: pg, params: {l: [\"${metadata.name}\", 1]}}}\n";
        json_auto_t *outputs = json_pack("{s:{s:i}}", "db", "port", 5432), *json = NULL,
                    *none = NULL;
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        auto_cleanup(freep) char *found = NULL;
        SpecFaults faults = { 0 };

        assert_int_equal(load(text, NULL, &d, &faults, NULL), 0);
        assert_int_equal(score_render(d, outputs, &json, &faults), 0);
        found = json_compact(json);
        assert_string_equal(
                found,
                "{\"apiVersion\":\"score.dev/v1b1\",\"containers\":{\"main\":{\"args\":[\"${HOME}\"],\"files\":{\"/a\":{"
                "\"content\":\"web $\"},\"/b\":{\"content\":\"${x} $$\",\"noExpand\":true}},\"image\":\".\",\"variables\":{"
                "\"A\":\"5432\",\"B\":\"${x}\"},\"volumes\":{\"/v\":{\"source\":\"pg.default#web.db\"}}}},\"metadata\":{"
                "\"name\":\"web\"},\"resources\":{\"db\":{\"params\":{\"l\":[\"web\",1]},\"type\":\"pg\"}}}");
        assert_int_equal(score_render(d, NULL, &none, &faults), -EINVAL);
        assert_int_equal(faults.n_items, 1);
        assert_string_equal(faults.items[0].path, "/containers/main/variables/A");
        spec_faults_done(&faults);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_stages),
                cmocka_unit_test(test_mistakes_of_real_files),
                cmocka_unit_test(test_values_at_the_border),
                cmocka_unit_test(test_placeholders),
                cmocka_unit_test(test_before),
                cmocka_unit_test(test_all_faults_of_a_stage_in_order),
                cmocka_unit_test(test_faults_are_limited),
                cmocka_unit_test(test_upgrades),
                cmocka_unit_test(test_overrides),
                cmocka_unit_test(test_notices),
                cmocka_unit_test(test_identity_and_sharing),
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_who_gives_the_params),
                cmocka_unit_test(test_too_many_resources),
                cmocka_unit_test(test_rendering),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
