/* A disk that is really full: a small tmpfs in a mount namespace of the test's own. Needs root. */
#include "tests/unit/test.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/ledger/ledger.h"

static const char *dir;

static Ledger *open_it(int *ret_r, Error *e) {
        char db[64], key[64];
        LedgerOptions o = { .path = db, .key_path = key, .random = &random_system };
        Ledger *l = NULL;

        snprintf(db, sizeof(db), "%s/ledger.db", dir);
        snprintf(key, sizeof(key), "%s/key", dir);
        *ret_r = ledger_open(&o, &l, e);
        return l;
}

/* Takes every free byte, or gives them back. */
static void fill_disk(bool full) {
        static const char zeros[4096];
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "%s/filler", dir);
        if (!full) {
                assert_int_equal(unlink(path), 0);
                return;
        }
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                ;
        close(fd);
}

static int turn(Ledger *l, int i, Error *e) {
        char text[600];
        Event row = { .time_ms = i, .kind = (char *) "k", .text = text };
        int r;

        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        r = ledger_event_add(l, &row, e);
        return r < 0 ? (ledger_rollback(l), r) : ledger_commit(l, e);
}

static int count(void *userdata, const Event *e) {
        (*(int *) userdata)++;
        return 0;
}

static void assert_events(Ledger *l, int n) {
        int64_t bad = -1;
        int found = 0;

        assert_int_equal(ledger_event_each(l, 0, NULL, 100000, count, &found, NULL), 0);
        assert_int_equal(found, n);
        assert_int_equal(ledger_verify_events(l, &bad, NULL), 0);
        assert_int_equal(bad, 0);
        assert_null(ledger_held(l));
}

static void write_until_full(Ledger *l, int *n) {
        auto_error e = { 0 };
        int r;

        while ((r = turn(l, *n, &e)) == 0)
                ++*n;
        assert_int_equal(r, -ENOSPC);
        assert_non_null(e.message);
        assert_false(ledger_is_open(l));
        for (int i = 0; i < 5; i++) { /* again and again: the same answer, nothing half done */
                assert_int_equal(turn(l, *n, NULL), -ENOSPC);
                assert_events(l, *n);
        }
}

static void test_full_disk(void **state) {
        Ledger *l;
        int r, n = 0;

        l = open_it(&r, NULL);
        assert_int_equal(r, 0);
        for (; n < 20; n++)
                assert_int_equal(turn(l, n, NULL), 0);
        for (int round = 0; round < 4; round++) {
                fill_disk(true);
                write_until_full(l, &n);
                if (round % 2) { /* also across a restart */
                        l = ledger_close(l);
                        fill_disk(false);
                        l = open_it(&r, NULL);
                        assert_int_equal(r, 0);
                } else
                        fill_disk(false);
                assert_events(l, n);
                for (int i = 0; i < 30; i++, n++)
                        assert_int_equal(turn(l, n, NULL), 0);
                assert_events(l, n);
        }
        ledger_close(l);
}

/* Without room for SQLite's own files a start says so, and works when there is room. */
static void test_start_on_a_full_disk(void **state) {
        auto_error e = { 0 };
        Ledger *l;
        int r;

        fill_disk(true);
        l = open_it(&r, &e);
        if (r < 0) {
                assert_null(l);
                assert_int_equal(r, -ENOSPC);
                assert_non_null(strstr(error_text(&e, r), "Cannot open the ledger"));
        }
        ledger_close(l);
        fill_disk(false);
        l = open_it(&r, NULL);
        assert_int_equal(r, 0);
        assert_int_equal(turn(l, 1, NULL), 0);
        ledger_close(l);
}

static void test_backup_to_a_full_disk(void **state) {
        auto_error e = { 0 };
        char path[64], part[80];
        Ledger *l;
        int r;

        l = open_it(&r, NULL);
        assert_int_equal(r, 0);
        snprintf(path, sizeof(path), "%s/saved.db", dir);
        snprintf(part, sizeof(part), "%s.part", path);
        assert_int_equal(ledger_backup(l, path, NULL), 0);
        assert_int_equal(unlink(path), 0);
        fill_disk(true);
        assert_int_equal(ledger_backup(l, path, &e), -ENOSPC);
        assert_false(path_exists(path));
        assert_false(path_exists(part));
        fill_disk(false);
        assert_int_equal(turn(l, 1, NULL), 0);
        ledger_close(l);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full_disk),
                cmocka_unit_test(test_start_on_a_full_disk),
                cmocka_unit_test(test_backup_to_a_full_disk),
        };
        char name[] = "/tmp/full-disk-XXXXXX";
        int r;

        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                printf("1..0 # SKIP a mount namespace of one's own needs root\n");
                return 0;
        }
        dir = mkdtemp(name);
        if (!dir || mount("none", dir, "tmpfs", 0, "size=8m,mode=0700") < 0) {
                printf("1..0 # SKIP no tmpfs can be mounted here\n");
                return 0;
        }
        r = cmocka_run_group_tests(tests, NULL, NULL);
        (void) umount2(dir, MNT_DETACH);
        (void) rmdir(dir);
        return r;
}
