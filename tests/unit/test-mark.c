#include "tests/unit/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/sdk/mark.h"

static int folder_make(void **state) {
        char *folder = strdup("/tmp/test-mark.XXXXXX");

        *state = mkdtemp(folder);
        return *state ? 0 : -1;
}

static int folder_remove(void **state) {
        int r = remove_tree(*state, NULL);

        free(*state);
        return r;
}

static void test_a_mark_is_never_replaced(void **state) {
        auto_cleanup(freep) char *text = NULL;
        auto_error error = { 0 };

        assert_int_equal(mark_read(*state, "a.mark", &text, NULL), -ENOENT);
        assert_int_equal(mark_make(*state, "a.mark", "i/e/a", NULL), 0);
        assert_int_equal(mark_make(*state, "a.mark", "i/e/a", NULL), 1);
        assert_int_equal(mark_make(*state, "a.mark", "i/other/a", &error), -EEXIST);
        assert_non_null(strstr(error.message, "i/e/a"));
        assert_int_equal(mark_read(*state, "a.mark", &text, NULL), 0);
        assert_string_equal(text, "i/e/a");
        assert_int_equal(mark_remove(*state, "a.mark", NULL), 0);
        assert_int_equal(mark_remove(*state, "a.mark", NULL), 0);
}

static void test_a_file_is_no_mark(void **state) {
        auto_cleanup(freep) char *path = path_join(*state, "b.mark"), *text = NULL;

        assert_int_equal(write_file(path, "x", 1, 0600, NULL), 0);
        assert_int_equal(mark_read(*state, "b.mark", &text, NULL), -EEXIST);
        assert_int_equal(mark_make(*state, "b.mark", "i/e/b", NULL), -EEXIST);
}

static int collect(void *userdata, const char *stem, const char *text, Error *reterr) {
        strbuf_addf(userdata, "%s=%s ", stem, text);
        return 0;
}

static void test_each_sees_marks_only(void **state) {
        auto_cleanup(freep) char *path = path_join(*state, "c.mark"),
                                 *none = path_join(*state, "no");
        auto_strbuf found = { 0 };

        assert_int_equal(write_file(path, "x", 1, 0600, NULL), 0);
        assert_int_equal(mark_make(*state, "d.mark", "i/e/d", NULL), 0);
        assert_int_equal(mark_make(*state, "d.done", "i/e/d", NULL), 0);
        assert_int_equal(mark_each(*state, ".mark", collect, &found, NULL), 0);
        assert_string_equal(found.text, "d=i/e/d ");
        assert_int_equal(mark_each(none, ".mark", collect, &found, NULL), 0);
}

/* The waiter must not end up with the lock of a file that was removed before it. */
static void test_a_removed_lock_is_noticed(void **state) {
        auto_cleanup(freep) char *path = path_join(*state, "lock");
        int fd = -1, status;
        pid_t pid;

        assert_int_equal(lock_take(path, &fd, NULL), 0);
        pid = fork();
        if (pid == 0) {
                int other = -1, r;

                close(fd); /* a lock belongs to the open file, which the fork shares */
                r = lock_take(path, &other, NULL);
                _exit(r == 0 && path_exists(path) ? 0 : 1);
        }
        usleep(20000); /* the waiter opens the old file meanwhile; right either way */
        lock_remove(path);
        close(fd);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* A name is locked once; other names are free; the file goes with its last name, and whoever waits for
 * one in the old file notices. */
static void test_names_share_a_lock_file(void **state) {
        auto_cleanup(freep) char *path = path_join(*state, "names.lock");
        auto_cleanup(closep) int a = -1, b = -1;
        int status;
        pid_t pid;

        assert_int_equal(lock_name_take(path, "a", &a, NULL), 0);
        assert_int_equal(lock_name_take(path, "b", &b, NULL), 0);
        lock_name_remove(path, b);
        assert_true(path_exists(path)); /* "a" is held */
        b = fd_close(b);
        pid = fork();
        if (pid == 0) {
                int other = -1, r;

                close(a);
                r = lock_name_take(path, "a", &other, NULL);
                _exit(r == 0 && path_exists(path) ? 0 : 1);
        }
        usleep(20000); /* it waits by now; right either way */
        assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
        lock_name_remove(path, a);
        assert_false(path_exists(path));
        a = fd_close(a);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_mark_is_never_replaced, folder_make,
                                                folder_remove),
                cmocka_unit_test_setup_teardown(test_a_file_is_no_mark, folder_make, folder_remove),
                cmocka_unit_test_setup_teardown(test_each_sees_marks_only, folder_make,
                                                folder_remove),
                cmocka_unit_test_setup_teardown(test_a_removed_lock_is_noticed, folder_make,
                                                folder_remove),
                cmocka_unit_test_setup_teardown(test_names_share_a_lock_file, folder_make,
                                                folder_remove),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
