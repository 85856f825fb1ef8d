/* check and render as commands: exit status, JSON, what people see. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/faults.h"
#include "tests/unit/shared.h"

#define VALID \
        "apiVersion: score.dev/v1b1\nmetadata: {name: web}\ncontainers: {main: {image: ., variables: {A: \"${resources.db.host}\"}}}\nresources: {db: {type: pg}}\n"

static char folder[] = "/tmp/test-cli-spec-XXXXXX";

static char *file_with(const char *name, const char *text) {
        char *path = path_join(folder, name);

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
        *ret_out = read_text(path, NULL);
        return WEXITSTATUS(status);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void check(int (*command)(int argc, char **argv), const char *const *args, int status,
                  const char *part) {
        auto_cleanup(freep) char *out = NULL;
        int found = run(command, &out, args);

        if (found != status || !strstr(out, part))
                fail_msg("exit %d, not %d: %s (wanted: %s)", found, status, out, part);
}

static void test_check(void **state) {
        auto_cleanup(freep) char *valid = file_with("valid.yaml", VALID);
        auto_cleanup(freep) char *bad =
                file_with("bad.yaml", VALID "kind: x\n\"\\e[31m\xe2\x80\xae\": 1\n");
        auto_cleanup(freep) char *image = file_with("o.yaml", "containers: {main: {image: ''}}\n");
        auto_cleanup(freep) char *missing = path_join(folder, "missing.yaml");

        check(cmd_check, ARGS(valid), 0, "valid\n");
        check(cmd_check, ARGS("--help"), 0, "Exit status: 0 valid, 1 invalid, 2 not readable");
        check(cmd_check, ARGS(bad), 1,
              "bad.yaml:5:1: schema: 'kind' is not a key of a Score file\n"
              "     5 | kind: x\n       | ^~~~\n       = leave it out");
        check(cmd_check, ARGS(bad), 1, "'\\u{1b}[31m\\u{202e}' is not a key");
        check(cmd_check, ARGS(missing), 2, "missing.yaml': No such file");
        check(cmd_check, ARGS(folder), 2, "Cannot read");
        check(cmd_check, ARGS("--nonsense", valid), 2, "nonsense");
        check(cmd_check, ARGS("--json"), 2, "mayfly check");
        check(cmd_check, ARGS(valid, valid), 1, "used a second time");
        check(cmd_check, ARGS("--overrides-file", image, valid), 1,
              "o.yaml:1:28: schema: This must not be empty");
        check(cmd_check, ARGS("--overrides-file", missing, valid), 2, "missing.yaml");
        check(cmd_check, ARGS("--override-property", "containers.main.image=", valid), 1,
              "needs 'image'");
        check(cmd_check, ARGS("--override-property", "metadata.x=1", valid, bad), 2,
              "one Score file");
}

static void test_check_json(void **state) {
        auto_cleanup(freep) char *valid = file_with("valid.yaml", VALID), *out = NULL,
                                 *bad_out = NULL;
        auto_cleanup(freep) char *bad = file_with("bad.yaml", VALID "\xc3\xa9: x\n");
        json_auto_t *bad_json = NULL;
        const json_t *fault;

        assert_int_equal(run(cmd_check, &out, ARGS("--json", valid)), 0);
        assert_string_equal(out, "{\"faults\":[],\"valid\":true}\n");
        assert_int_equal(run(cmd_check, &bad_out, ARGS("--json", bad)), 1);
        bad_json = json_loads(bad_out, 0, NULL);
        assert_true(json_is_false(json_object_get(bad_json, "valid")));
        fault = json_array_get(json_object_get(bad_json, "faults"), 0);
        assert_string_equal(json_string_value(json_object_get(fault, "file")), bad);
        assert_int_equal(json_integer_value(json_object_get(fault, "line")), 5);
        assert_int_equal(json_integer_value(json_object_get(fault, "column")), 1);
        assert_string_equal(json_string_value(json_object_get(fault, "path")), "/\xc3\xa9");
        assert_string_equal(json_string_value(json_object_get(fault, "stage")), "schema");
        assert_non_null(json_object_get(fault, "message"));
}

static void test_too_large(void **state) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *path = NULL;

        strbuf_add(&b, VALID "x: ");
        while (b.size < 10 * 1024 * 1024)
                strbuf_add(&b, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        path = file_with("large.yaml", b.text);
        check(cmd_check, ARGS(path), 1, "more than 1048576 bytes");
        check(cmd_check, ARGS("--json", path), 1, "\"stage\":\"yaml\"");
}

static void test_a_long_line_is_shown_in_part(void **state) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *path = NULL, *out = NULL;

        strbuf_add(&b, VALID "metadata2: {");
        for (int i = 0; i < 1000; i++)
                strbuf_addf(&b, "key%d: \xc3\xa9\xc3\xa9, ", i);
        strbuf_add(&b, "zz: *none}\n");
        path = file_with("long.yaml", b.text);
        assert_int_equal(run(cmd_check, &out, ARGS(path)), 1);
        assert_true(strlen(out) < 1000);
        assert_non_null(strstr(out, "zz: *none"));
}

static void test_render(void **state) {
        auto_cleanup(freep) char *valid = file_with("valid.yaml", VALID);
        auto_cleanup(freep) char *outputs =
                file_with("out.json", "{\"resources\": {\"db\": {\"host\": \"h1\"}}}");
        auto_cleanup(freep) char *broken = file_with("broken.json", "{\"resources\": {\"db\": 1}}");
        auto_cleanup(freep) char *no_json = file_with("no.json", "{");
        auto_cleanup(freep) char *bad = file_with("bad.yaml", VALID "kind: x\n");

        check(cmd_render, ARGS("--outputs", outputs, valid), 0, "\"A\": \"h1\"");
        check(cmd_render, ARGS("--raw", valid), 0, "\"A\": \"${resources.db.host}\"");
        check(cmd_render, ARGS(valid), 1, "valid.yaml:3:46: semantic: '${resources.db.host}'");
        check(cmd_render, ARGS("--outputs", broken, valid), 2, "must be an object");
        check(cmd_render, ARGS("--outputs", no_json, valid), 2, "no.json:1:");
        check(cmd_render, ARGS("--outputs", "/nonexistent", valid), 2, "/nonexistent");
        check(cmd_render, ARGS(bad), 1, "'kind' is not a key");
        check(cmd_render, ARGS(valid, valid), 2, "mayfly render");
        check(cmd_render, ARGS("--help"), 0, "--outputs");
        check(cmd_render, ARGS("--raw", "--override-property", "metadata.name=api", valid), 0,
              "\"name\": \"api\"");
}

static void test_terminal_safe(void **state) {
        static const char text[] = "a\x1b[0m\xe2\x80\xae\xc3\xa9\xff\x7f\n\xc2\x9b";
        auto_strbuf b = { 0 };

        terminal_safe(&b, text, sizeof(text) - 1);
        assert_string_equal(b.text, "a\\u{1b}[0m\\u{202e}\xc3\xa9\\u{fffd}\\u{7f}\\u{a}\\u{9b}");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_check_json),
                cmocka_unit_test(test_too_large),
                cmocka_unit_test(test_a_long_line_is_shown_in_part),
                cmocka_unit_test(test_render),
                cmocka_unit_test(test_terminal_safe),
        };
        int failed;

        if (!mkdtemp(folder))
                return 1;
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        (void) remove_tree(folder, NULL); /* only litter in /tmp */
        return failed;
}
