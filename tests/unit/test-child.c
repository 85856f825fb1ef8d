#include "tests/unit/test.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/child.h"

static void test_run_collects_and_reports(void **state) {
        auto_cleanup(freep) char *out = NULL, *err = NULL;
        char *argv[] = { (char *) "sh", (char *) "-c", (char *) "cat; echo oops >&2; exit 3",
                         NULL };
        char text[64];
        int status;

        assert_int_equal(child_run(argv, NULL, "hello", 1000, 5000, &out, &err, &status, NULL), 0);
        assert_string_equal(out, "hello");
        assert_string_equal(err, "oops\n");
        assert_int_equal(WEXITSTATUS(status), 3);
        assert_string_equal(child_status_format(status, text), "exited with code 3");
}

static void test_absent_program_is_an_error_at_once(void **state) {
        char *argv[] = { (char *) "/nonexistent/program", NULL };
        auto_error error = { 0 };
        Child c = CHILD_NONE;

        assert_int_equal(child_start(argv, NULL, 0, &c, &error), -ENOENT);
        assert_int_equal(c.pid, 0);
        assert_non_null(strstr(error.message, "/nonexistent/program"));
}

static void test_overdue_and_oversized_end_with_their_group(void **state) {
        char *slow[] = { (char *) "sh", (char *) "-c", (char *) "sleep 300 & sleep 300", NULL };
        char *loud[] = { (char *) "sh", (char *) "-c", (char *) "yes", NULL };
        int status;

        assert_int_equal(child_run(slow, NULL, NULL, 1000, 50, NULL, NULL, &status, NULL),
                         -ETIMEDOUT);
        assert_int_equal(child_run(loud, NULL, NULL, 1000, 5000, NULL, NULL, &status, NULL),
                         -EFBIG);
}

static void test_environment_is_exact(void **state) {
        char *argv[] = { (char *) "/usr/bin/env", NULL };
        char *env[] = { (char *) "ONLY=this", NULL };
        auto_cleanup(freep) char *out = NULL;
        int status;

        assert_int_equal(child_run(argv, env, NULL, 1000, 5000, &out, NULL, &status, NULL), 0);
        assert_string_equal(out, "ONLY=this\n");
}

static void test_raised_files_are_not_handed_on(void **state) {
        char *argv[] = { (char *) "sh", (char *) "-c", (char *) "ulimit -Sn; ulimit -Hn", NULL };
        auto_cleanup(freep) char *out = NULL, *expected = NULL;
        struct rlimit before, files;
        int status;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        files = (struct rlimit){ 123, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
        assert_int_equal(child_raise_files(NULL), 0);
        assert_int_equal(child_raise_files(NULL), 0);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
        assert_int_equal(files.rlim_cur, before.rlim_max);
        assert_int_equal(child_run(argv, NULL, NULL, 1000, 5000, &out, NULL, &status, NULL), 0);
        expected = str_format("123\n%llu\n", (unsigned long long) before.rlim_max);
        assert_string_equal(out, expected);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_run_collects_and_reports),
                cmocka_unit_test(test_absent_program_is_an_error_at_once),
                cmocka_unit_test(test_overdue_and_oversized_end_with_their_group),
                cmocka_unit_test(test_environment_is_exact),
                cmocka_unit_test(test_raised_files_are_not_handed_on),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
