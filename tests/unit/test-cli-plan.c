/* plan, and check of the files that are no Score files, as commands: exit status, JSON, what people see. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/commands.h"

#define SCORE                                                                                             \
        "apiVersion: score.dev/v1b1\nmetadata: {name: web}\n"                                             \
        "service: {ports: {www: {port: 80}}}\n"                                                           \
        "containers: {main: {image: ., command: [./x], resources: {limits: {cpu: 250m, memory: 1Ki}}}}\n" \
        "resources: {data: {type: volume}, db: {type: postgres}}\n"

static char folder[] = "/tmp/test-cli-plan-XXXXXX";

static char *file_with(const char *name, const char *text) {
        char *path = path_join(folder, name);
        auto_cleanup(freep) char *parent = strdup(path);

        *strrchr(parent, '/') = 0;
        assert_int_equal(mkdir_p(parent, 0700, NULL), 0);
        assert_int_equal(write_file(path, text, strlen(text), 0600, NULL), 0);
        return path;
}

/* Runs a command in a child; its standard output and error together in *ret_out, owned. */
static int run(int (*command)(int argc, char **argv), char **ret_out, const char *const *args) {
        auto_cleanup(freep) char *path = path_join(folder, "out");
        char *argv[16] = { (char *) "command" };
        int argc = 1, status;
        pid_t pid;

        for (; args[argc - 1]; argc++)
                argv[argc] = (char *) args[argc - 1];
        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

                dup2(fd, STDOUT_FILENO);
                dup2(fd, STDERR_FILENO);
                status = command(argc, argv);
                fflush(NULL);
                _exit(status);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(read_file(path, 1000000, ret_out, NULL, NULL), 0);
        return WEXITSTATUS(status);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect(int (*command)(int argc, char **argv), const char *const *args, int status,
                   const char *part) {
        auto_cleanup(freep) char *out = NULL;
        int found = run(command, &out, args);

        if (found != status || !strstr(out, part))
                fail_msg("exit %d, not %d: %s (wanted: %s)", found, status, out, part);
}

static void test_plan_text(void **state) {
        auto_cleanup(freep) char *score = file_with("a/score.yaml", SCORE),
                                 *top = path_join(folder, "a");
        auto_cleanup(freep) char *none = path_join(folder, "none"), *bad = NULL;

        expect(cmd_plan, ARGS(score), 0, "volume.default#web.data");
        expect(cmd_plan, ARGS(score), 0, "Nothing serves the resource type 'postgres'");
        expect(cmd_plan, ARGS(top), 0, "workload.default#web");
        expect(cmd_plan, ARGS("--dot", score), 0,
               "\"workload.default#web\" -> \"volume.default#web.data\"");
        expect(cmd_plan, ARGS("--help"), 0, "mayfly plan");
        expect(cmd_plan, ARGS("--nonsense"), 2, "");
        expect(cmd_plan, ARGS(none), 2, "No such file");
        expect(cmd_plan, ARGS(folder), 2, "There is no dependency file");
        bad = file_with("b/score.yaml", "apiVersion: 1\n");
        expect(cmd_plan, ARGS(bad), 1, "b/score.yaml:1:13");
        expect(cmd_plan, ARGS(bad, score), 1, "apiVersion");
        expect(cmd_plan, ARGS(score, "--override-property", "metadata.name=shop"), 0,
               "workload.default#shop");
        expect(cmd_plan, ARGS(score, bad, "--override-property", "a=b"), 2, "one Score file");
}

static void test_plan_json(void **state) {
        auto_cleanup(freep) char *score = file_with("a/score.yaml", SCORE), *out = NULL;
        const json_t *workload;
        json_t *json;

        assert_int_equal(run(cmd_plan, &out, ARGS("--json", score)), 0);
        json = json_loads(out, 0, NULL);
        assert_non_null(json);
        assert_int_equal(json_array_size(json_object_get(json, "resources_in_order")), 2);
        assert_string_equal(
                json_string_value(json_array_get(json_object_get(json, "resources_in_order"), 0)),
                "postgres.default#web.db");
        workload = json_array_get(json_object_get(json, "workloads"), 0);
        assert_string_equal(json_string_value(json_object_get(workload, "name")), "web");
        assert_int_equal(
                json_integer_value(json_object_get(
                        json_array_get(json_object_get(workload, "containers"), 0), "cpu_milli")),
                250);
        assert_int_equal(json_integer_value(json_object_get(
                                 json_array_get(json_object_get(workload, "ports"), 0), "port")),
                         80);
        assert_int_equal(json_array_size(json_object_get(workload, "waits_for")), 2);
        json_decref(json);
}

static void test_plan_config(void **state) {
        auto_cleanup(freep) char *score = file_with("a/score.yaml", SCORE);
        auto_cleanup(freep) char *empty = file_with("mayflyd.yaml", ""), *good = NULL, *bad = NULL;

        expect(cmd_plan, ARGS("--config", empty, score), 1,
               "Nothing serves the resource type 'postgres'");
        good = file_with("good.yaml",
                         "definitions: [{name: pg, match: {type: postgres, branch: 'a*'}, "
                         "provider: pgd}]\n");
        expect(cmd_plan, ARGS("--config", good, "--branch", "abc", score), 0,
               "definition 'pg' (line 1): type 'postgres', branch 'a*'");
        expect(cmd_plan, ARGS("--config", good, "--branch", "x", score), 1,
               "served are: type 'postgres'");
        bad = file_with("bad.yaml", "domian: x\n");
        expect(cmd_plan, ARGS("--config", bad, score), 1, "did you mean 'domain'?");
}

static void test_check_of_other_files(void **state) {
        auto_cleanup(freep) char *score = file_with("c/score.yaml", SCORE);
        auto_cleanup(freep) char *mayfly = file_with("c/mayfly.yaml", "score: [score.yaml]\n");
        auto_cleanup(freep) char *bad = file_with("d/mayfly.yaml", "scores: [score.yaml]\n");
        auto_cleanup(freep) char *gone = file_with("e/mayfly.yaml", "score: [x.yaml]\n");
        auto_cleanup(freep) char *mayflyd =
                file_with("c/mayflyd.yaml", "clocks: {sleep_after_idle: 1}\n");
        auto_cleanup(freep) char *compose = file_with(
                "c/compose.yaml", "services:\n  web:\n    build: .\n    command: x\n    tty: true\n"
                                  "    image: \"a\\u202eb\"\n");
        auto_cleanup(freep) char *refused = file_with(
                "d/compose.yaml", "services:\n  web:\n    build: .\n    privileged: true\n");

        expect(cmd_check, ARGS(mayfly, score), 1, "a second time");
        expect(cmd_check, ARGS(mayfly), 0, "valid");
        expect(cmd_check, ARGS(bad), 1, "did you mean 'score'?");
        expect(cmd_check, ARGS(gone), 1, "x.yaml");
        expect(cmd_check, ARGS(mayflyd), 1, "must say its unit");
        expect(cmd_check, ARGS(compose), 0, "    4  honoured  /services/web/command");
        expect(cmd_check, ARGS(compose), 0,
               "    5  left out  /services/web/tty: nobody sits at it");
        expect(cmd_check, ARGS(refused), 1, "    4  refused   /services/web/privileged");
        expect(cmd_check, ARGS("--json", refused), 1, "\"valid\":false");
}

static int setup(void **state) {
        return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
        return remove_tree(folder, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plan_text),
                cmocka_unit_test(test_plan_json),
                cmocka_unit_test(test_plan_config),
                cmocka_unit_test(test_check_of_other_files),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
