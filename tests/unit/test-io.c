#include "tests/unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

static char folder[] = "/tmp/mayfly-test-io-XXXXXX";

static char *at(const char *name) {
        static char path[256];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return path;
}

static void test_write_then_read(void **state) {
        auto_cleanup(freep) char *text = NULL;
        struct stat st;
        size_t size;

        assert_int_equal(write_file(at("a"), "one\0two", 7, 0600, NULL), 0);
        assert_int_equal(read_file(at("a"), 100, &text, &size, NULL), 0);
        assert_int_equal(size, 7);
        assert_memory_equal(text, "one\0two", 8);
        assert_int_equal(stat(at("a"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(read_file(at("a"), 6, &text, &size, NULL), -EFBIG);
        assert_int_equal(read_file(at("none"), 6, &text, &size, NULL), -ENOENT);
}

static void test_beneath_refuses_ways_out(void **state) {
        auto_cleanup(freep) char *text = NULL;
        auto_cleanup(closep) int dir = -1;

        assert_int_equal(mkdir_p(at("inside/deeper"), 0755, NULL), 0);
        assert_int_equal(write_file(at("secret"), "s", 1, 0644, NULL), 0);
        assert_int_equal(write_file(at("inside/deeper/file"), "f", 1, 0644, NULL), 0);
        assert_int_equal(symlink("../secret", at("inside/link")), 0);
        assert_int_equal(symlink("deeper/file", at("inside/fine")), 0);
        assert_int_equal(mkfifo(at("inside/fifo"), 0644), 0);
        dir = open(at("inside"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(read_file_beneath(dir, "fine", 10, &text, NULL, NULL), 0);
        assert_string_equal(text, "f");
        free(TAKE(text));
        assert_int_equal(read_file_beneath(dir, "link", 10, &text, NULL, NULL), -EXDEV);
        assert_int_equal(read_file_beneath(dir, "../secret", 10, &text, NULL, NULL), -EXDEV);
        assert_int_equal(read_file_beneath(dir, "/etc/hostname", 10, &text, NULL, NULL), -EXDEV);
        assert_int_equal(read_file_beneath(dir, "fifo", 10, &text, NULL, NULL), -EISDIR);
        assert_int_equal(read_file_beneath(dir, "deeper", 10, &text, NULL, NULL), -EISDIR);
        assert_null(text);
}

static void test_tree_removal_stays_inside(void **state) {
        assert_int_equal(mkdir_p(at("tree/a/b/c"), 0755, NULL), 0);
        assert_int_equal(mkdir_p(at("outside"), 0755, NULL), 0);
        assert_int_equal(write_file(at("outside/kept"), "k", 1, 0644, NULL), 0);
        assert_int_equal(symlink("../../outside", at("tree/a/way-out")), 0);
        assert_int_equal(write_file(at("tree/a/b/c/file"), "x", 1, 0400, NULL), 0);
        assert_int_equal(chmod(at("tree/a/b"), 0), 0);
        assert_int_equal(remove_tree(at("tree"), NULL), 0);
        assert_false(path_exists(at("tree")));
        assert_true(path_exists(at("outside/kept")));
        assert_int_equal(remove_tree(at("tree"), NULL), 0);
}

/* Deeper than a process may have descriptors, with a name in the way that the removal itself uses. */
static void test_deep_trees_are_removed(void **state) {
        struct rlimit old, few = { .rlim_cur = 100 };
        int fd;

        assert_int_equal(mkdir_p(at("deep/.removed-0/x"), 0755, NULL), 0);
        assert_int_equal(write_file(at("deep/.removed-1"), "x", 1, 0644, NULL), 0);
        fd = open(at("deep"), O_RDONLY | O_DIRECTORY);
        for (int i = 0; i < 500; i++) {
                int inner;

                assert_int_equal(mkdirat(fd, "d", 0700), 0);
                inner = openat(fd, "d", O_RDONLY | O_DIRECTORY);
                if (i % 40 == 39)
                        assert_int_equal(fchmod(inner, i % 80 == 79 ? 0700 : 0), 0);
                close(fd);
                fd = inner;
        }
        close(fd);
        getrlimit(RLIMIT_NOFILE, &old);
        few.rlim_max = old.rlim_max;
        setrlimit(RLIMIT_NOFILE, &few);
        assert_int_equal(remove_tree(at("deep"), NULL), 0);
        setrlimit(RLIMIT_NOFILE, &old);
        assert_false(path_exists(at("deep")));
}

static size_t count_names(const char *path) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        size_t n = 0;

        assert_non_null(dir);
        while ((entry = readdir(dir)))
                n += !streq(entry->d_name, ".") && !streq(entry->d_name, "..");
        assert_int_equal(closedir(dir), 0);
        return n;
}

static int be_killed(void *userdata, int fd) {
        _exit(write_all(fd, "half", 4) == 0 ? 0 : 1);
}

/* What a kill left of a file goes, and nothing that only looks a little like it. */
static void test_unfinished_files_are_removed(void **state) {
        static const char *const stay[] = { "kept/key", "kept/ledger.db.backup", "kept/a.new-12345",
                                            "kept/a.old-123456", "kept/.new-123456" };
        int status = -1;
        pid_t pid;

        assert_int_equal(mkdir_p(at("kept/b.new-folder"), 0700, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(stay); i++)
                assert_int_equal(write_file(at(stay[i]), "x", 1, 0600, NULL), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(write_file_by(at("kept/key"), 0600, be_killed, NULL, NULL) < 0 ? 1 : 2);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_int_equal(count_names(at("kept")), N_ELEMENTS(stay) + 2);
        assert_int_equal(remove_unfinished(at("kept"), NULL), 0);
        assert_int_equal(count_names(at("kept")), N_ELEMENTS(stay) + 1);
        for (size_t i = 0; i < N_ELEMENTS(stay); i++)
                assert_true(path_exists(at(stay[i])));
        assert_true(path_exists(at("kept/b.new-folder")));
        assert_int_equal(remove_unfinished(at("nowhere"), NULL), -ENOENT);
}

static void test_component_names(void **state) {
        static const char *const bad[] = { "", ".", "..", "a/b", "-x", "a b", "a\n", "\xc3\xa9" };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_false(path_component_valid(bad[i]));
        assert_true(path_component_valid("r0123.log-1_x"));
}

static int make_folder(void **state) {
        return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
        return remove_tree(folder, NULL);
}

/* Another name is no other file; a copy, and what is made where it was, are. */
static void test_which_file(void **state) {
        FileWhich one, again, other;
        char two[256];

        assert_int_equal(write_file(at("one"), "1", 1, 0600, NULL), 0);
        assert_int_equal(file_which(AT_FDCWD, at("one"), &one), 0);
        snprintf(two, sizeof(two), "%s", at("two"));
        assert_int_equal(rename(at("one"), two), 0);
        assert_int_equal(file_which(AT_FDCWD, at("two"), &again), 0);
        assert_true(file_which_same(&one, &again));
        assert_int_equal(write_file(at("one"), "1", 1, 0600, NULL), 0);
        assert_int_equal(file_which(AT_FDCWD, at("one"), &other), 0);
        assert_false(file_which_same(&one, &other));
        if (!*one.handle && one.born_ns == 0)
                return; /* a number alone may come again */
        assert_int_equal(unlink(at("two")), 0);
        assert_int_equal(write_file(at("two"), "1", 1, 0600, NULL), 0);
        assert_int_equal(file_which(AT_FDCWD, at("two"), &other), 0);
        assert_false(file_which_same(&one, &other));
        assert_int_equal(file_which(AT_FDCWD, at("none"), &other), -ENOENT);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_write_then_read),
                cmocka_unit_test(test_beneath_refuses_ways_out),
                cmocka_unit_test(test_tree_removal_stays_inside),
                cmocka_unit_test(test_deep_trees_are_removed),
                cmocka_unit_test(test_unfinished_files_are_removed),
                cmocka_unit_test(test_component_names),
                cmocka_unit_test(test_which_file),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
