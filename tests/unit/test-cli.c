/* The command table and its words: help, man page, completion and options come from one place or are
 * compared here. */
#include "tests/unit/test.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/cli.h"

/* Runs the command line in a child; its exit status, and what it wrote to both outputs. */
static int run(char **ret_text, const char *const *words) {
        int fds[2], status;
        pid_t pid;

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
                char *argv[16] = { (char *) "mayfly" };
                int argc = 1;

                for (; words[argc - 1]; argc++)
                        argv[argc] = (char *) words[argc - 1];
                dup2(fds[1], 1);
                dup2(fds[1], 2);
                status = cli_main(argc, argv);
                fflush(NULL);
                _exit(status);
        }
        close(fds[1]);
        assert_int_equal(read_fd(fds[0], 1 << 20, ret_text, NULL, NULL), 0);
        close(fds[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

#define RUN(text, ...) run(text, (const char *const[]){ __VA_ARGS__, NULL })

static void expect(int status, const char *part, const char *const *words) {
        auto_cleanup(freep) char *text = NULL;
        int r = run(&text, words);

        if (r != status || !strstr(text, part))
                fail_msg("'%s %s' ended with %d and: %s", words[0] ?: "",
                         words[0] ? words[1] ?: "" : "", r, text);
}

#define EXPECT(status, part, ...) expect(status, part, (const char *const[]){ __VA_ARGS__, NULL })

static void test_every_command_has_its_words(void **state) {
        for (const CliCommand *c = cli_commands; c->name; c++) {
                assert_non_null(c->args);
                assert_non_null(c->summary);
                assert_true(strlen(c->summary) < 80);
                assert_true(islower((unsigned char) c->summary[0]));
                assert_true((c->func != NULL) != (c->offline != NULL));
                assert_true(c->min_args <= c->max_args || c->offline);
                assert_true(c->max_args <= N_ELEMENTS(((Cli *) 0)->args));
                for (const CliOption *o = c->options; o && o->name; o++) {
                        assert_non_null(o->help);
                        assert_true(o - c->options < CLI_OPTIONS_MAX);
                }
        }
}

static void test_help_of_each_and_of_all(void **state) {
        auto_cleanup(freep) char *all = NULL;

        assert_int_equal(RUN(&all, "--help"), 0);
        for (const CliCommand *c = cli_commands; c->name; c++) {
                auto_cleanup(freep) char *first = strdup(c->name), *text = NULL;
                char *space = strchr(first, ' ');

                assert_non_null(strstr(all, c->summary));
                if (space)
                        *space = '\0';
                assert_int_equal(space ? RUN(&text, first, space + 1, "--help")
                                       : RUN(&text, first, "--help"),
                                 0);
                assert_non_null(strstr(text, c->offline ? c->name : c->summary));
                for (const CliOption *o = c->options; o && o->name; o++) {
                        auto_cleanup(freep) char *option = str_format("--%s", o->name);

                        assert_non_null(strstr(text, option));
                }
        }
}

static char *source_file(const char *path) {
        const char *root = getenv("MAYFLY_SOURCE");
        auto_cleanup(freep) char *whole = NULL;
        char *text = NULL;

        if (!root)
                return NULL;
        whole = path_join(root, path);
        assert_int_equal(read_file(whole, 1 << 20, &text, NULL, NULL), 0);
        return text;
}

static void test_the_man_page_has_every_command_and_option(void **state) {
        auto_cleanup(freep) char *page = source_file("packaging/man/mayfly.1");

        if (!page)
                skip();
        for (const CliCommand *c = cli_commands; c->name; c++) {
                auto_cleanup(freep) char *entry = str_format(".It Cm %s", c->name);

                if (!strstr(page, entry))
                        fail_msg("mayfly.1 has no '%s'", entry);
                for (const CliOption *o = c->options; o && o->name; o++) {
                        auto_cleanup(freep) char *option = str_format("-%s", o->name);

                        if (!strstr(page, option))
                                fail_msg("mayfly.1 has no '-%s' for %s", option, c->name);
                }
        }
}

static void test_wrong_usage_is_2_and_says_what_is_right(void **state) {
        EXPECT(2, "did you mean 'list'", "lst");
        EXPECT(2, "There is no command 'xyzzy'", "xyzzy");
        EXPECT(2, "project add NAME REPOSITORY", "project");
        EXPECT(2, "wants: NAME REPOSITORY", "project", "add", "one");
        EXPECT(2, "one argument too many: 'b'", "status", "b");
        EXPECT(2, "no option '--nope'", "list", "--nope");
        EXPECT(2, "no option '-z'", "list", "-z");
        EXPECT(2, "--timeout wants a value", "down", "x", "--timeout");
        EXPECT(2, "--wait takes no value", "down", "x", "--wait=yes");
        EXPECT(2, "whole number", "logs", "x", "-n", "many");
        EXPECT(2, "See 'mayfly extend --help'", "extend", "x", "soon");
        EXPECT(2, "command to run after '--'", "exec", "x");
        EXPECT(2, "write '--' before the command", "exec", "x", "-l");
        EXPECT(2, "Nothing may follow '--'", "list", "--", "x");
        EXPECT(2, "--project", "hook", "install", "/x");
}

static void test_no_daemon_is_3_and_says_what_to_do(void **state) {
        EXPECT(3, "mayflyd --state", "list", "--socket", "/nonexistent/api.sock");
        EXPECT(3, "/nonexistent/api.sock", "up", "shop", "main", "--socket=/nonexistent/api.sock");
        assert_int_equal(setenv("MAYFLY_STATE", "/nonexistent/state", 1), 0);
        EXPECT(3, "/nonexistent/state/api.sock", "status");
        assert_int_equal(setenv("MAYFLY_SOCKET", "/nonexistent/other", 1), 0);
        EXPECT(3, "/nonexistent/other", "status");
}

static void test_version(void **state) {
        EXPECT(0, "mayfly ", "--version");
}

typedef struct Answer {
        const char *state, *level, *word;
} Answer;

static void test_state_words(void **state) {
        static const Answer answers[] = {
                { "ready", "awake", "ready" },   { "ready", "stopped", "asleep" },
                { "ready", "waking", "waking" }, { "ready", "falling", "falling asleep" },
                { "failed", "awake", "failed" }, { "gone", "stopped", "gone" },
        };

        for (size_t i = 0; i < N_ELEMENTS(answers); i++) {
                json_t *e = json_pack("{s:s, s:s}", "state", answers[i].state, "level",
                                      answers[i].level);

                assert_string_equal(cli_state_word(e), answers[i].word);
                json_decref(e);
        }
}

static void test_times_for_people(void **state) {
        char buf[128];

        assert_string_equal(cli_when(0, 1000, buf), "never");
        assert_string_equal(cli_when(1000 + 28 * 60000 + 5123, 1000, buf), "in 28m");
        assert_string_equal(cli_when(100000 - 5123, 100000, buf), "5s ago");
        assert_string_equal(cli_when(100000 - 23, 100000, buf), "now");
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_command_has_its_words),
                cmocka_unit_test(test_help_of_each_and_of_all),
                cmocka_unit_test(test_the_man_page_has_every_command_and_option),
                cmocka_unit_test(test_wrong_usage_is_2_and_says_what_is_right),
                cmocka_unit_test(test_no_daemon_is_3_and_says_what_to_do),
                cmocka_unit_test(test_version),
                cmocka_unit_test(test_state_words),
                cmocka_unit_test(test_times_for_people),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
