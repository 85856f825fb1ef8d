#include "tests/unit/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"

typedef struct Fixture {
        char dir[32];
        char db[128], key[128], anchor[128], saved[128];
        Ledger *ledger;
} Fixture;

static int open_it(Fixture *f, Error *e) {
        LedgerOptions o = { .path = f->db, .key_path = f->key, .random = &random_system };

        f->ledger = ledger_close(f->ledger);
        return ledger_open(&o, &f->ledger, e);
}

static void reopen(Fixture *f) {
        auto_error e = { 0 };

        if (open_it(f, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        strcpy(f->dir, "/tmp/anchor-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        snprintf(f->anchor, sizeof(f->anchor), "%s/ledger.anchor", f->dir);
        snprintf(f->saved, sizeof(f->saved), "%s/saved.db", f->dir);
        reopen(f);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        f->ledger = ledger_close(f->ledger);
        assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f);
        return 0;
}

static void add_events(Ledger *l, int n) {
        for (int i = 0; i < n; i++) {
                Event e = { .time_ms = 1000 + i, .kind = (char *) "k", .text = (char *) "t" };

                assert_int_equal(ledger_event_add(l, &e, NULL), 0);
                assert_int_equal(ledger_commit(l, NULL), 0);
        }
}

static int last_of(void *userdata, const Event *e) {
        *(int64_t *) userdata = e->number;
        return 0;
}

static int64_t newest(Ledger *l) {
        int64_t n = 0;

        assert_int_equal(ledger_event_each(l, 0, NULL, 100000, last_of, &n, NULL), 0);
        return n;
}

static void copy(const char *from, const char *to) {
        auto_cleanup(freep) char *text = NULL;
        size_t size;

        assert_int_equal(read_file(from, 64 << 20, &text, &size, NULL), 0);
        assert_int_equal(write_file(to, text, size, 0600, NULL), 0);
}

static void overwrite(const char *path, const void *data, size_t size) {
        auto_cleanup(closep) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write_all(fd, data, size), 0);
}

static void assert_frozen(Fixture *f, const char *reason) {
        auto_cleanup(freep) char *frozen = NULL, *held = NULL;

        assert_non_null(ledger_held(f->ledger));
        assert_non_null(strstr(ledger_held(f->ledger), reason));
        assert_int_equal(ledger_value_get(f->ledger, "frozen", &frozen, NULL), 0);
        assert_non_null(strstr(frozen, reason));
        assert_non_null(strstr(frozen, "\"by\":\"ledger\""));
        assert_int_equal(ledger_value_get(f->ledger, "held", &held, NULL), 0);
        assert_non_null(strstr(held, reason));
}

/* Held once: what an admin released stays released, and a restart finds all well. */
static void assert_released_for_good(Fixture *f) {
        auto_cleanup(freep) char *frozen = NULL;

        assert_int_equal(ledger_value_set(f->ledger, "frozen", NULL, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        reopen(f);
        assert_null(ledger_held(f->ledger));
        assert_int_equal(ledger_value_get(f->ledger, "frozen", &frozen, NULL), -ENOENT);
        add_events(f->ledger, 1);
        reopen(f);
        assert_null(ledger_held(f->ledger));
}

typedef struct Said {
        int n;
        char all[1000];
} Said;

static void on_found(void *userdata, const char *sentence) {
        Said *said = userdata;
        size_t at = strlen(said->all);

        said->n++;
        snprintf(said->all + at, sizeof(said->all) - at, "%s\n", sentence);
}

/* By a ledger that is in use, and by somebody who only looks: this one thing, or nothing. */
static void assert_found(Fixture *f, const char *sentence) {
        LedgerOptions o = {
                .path = f->db, .key_path = f->key, .random = &random_system, .read_only = true
        };
        auto_cleanup(ledger_closep) Ledger *looked = NULL;
        Ledger *all[2] = { f->ledger };
        auto_error e = { 0 };

        if (ledger_open(&o, &looked, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
        all[1] = looked;
        for (size_t i = 0; i < 2; i++) {
                Said said = { 0 };

                if (!all[i])
                        continue;
                assert_int_equal(ledger_verify(all[i], on_found, &said, NULL), sentence ? 1 : 0);
                assert_int_equal(said.n, sentence ? 1 : 0);
                if (sentence && !strstr(said.all, sentence))
                        fail_msg("%s", said.all);
        }
}

static void test_not_held_in_ordinary_life(void **state) {
        Fixture *f = *state;

        for (int i = 0; i < 5; i++) {
                assert_null(ledger_held(f->ledger));
                add_events(f->ledger, i * 40);
                reopen(f);
                if (i % 2)
                        reopen(f); /* nothing written in between */
        }
        assert_int_equal(newest(f->ledger), 400);
}

static void test_an_older_file_is_held(void **state) {
        Fixture *f = *state;
        int64_t bad;

        add_events(f->ledger, 10);
        f->ledger = ledger_close(f->ledger);
        copy(f->db, f->saved);
        reopen(f);
        add_events(f->ledger, 7);
        f->ledger = ledger_close(f->ledger);
        copy(f->saved, f->db);
        reopen(f);
        assert_frozen(f, "the ledger is older than its anchor: a backup was put back");
        assert_non_null(strstr(ledger_held(f->ledger), "7 events"));
        assert_int_equal(newest(f->ledger), 11); /* and the log says so */
        assert_released_for_good(f);
        /* also when it was released, and wherever else it was noticed */
        assert_found(f, "events 11 to 17 are missing, noticed at ");
        assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 0);
}

/* The same number of events, but an earlier start: what is missing left no event. */
static void test_an_older_epoch_is_held(void **state) {
        Fixture *f = *state;

        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        copy(f->db, f->saved);
        reopen(f);
        assert_int_equal(ledger_value_set(f->ledger, "pinned", "yes", NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        f->ledger = ledger_close(f->ledger);
        copy(f->saved, f->db);
        reopen(f);
        assert_frozen(f, "the ledger is older than its anchor");
}

/* The disk is put back as a whole, runs on from there, and then the newer anchor is found again. */
static void test_another_past_is_held(void **state) {
        Fixture *f = *state;
        char then[160], now[160];

        snprintf(then, sizeof(then), "%s.then", f->anchor);
        snprintf(now, sizeof(now), "%s.now", f->anchor);
        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        copy(f->db, f->saved);
        assert_int_equal(link(f->anchor, then), 0);
        reopen(f);
        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(rename(f->anchor, now), 0);
        copy(f->saved, f->db);
        assert_int_equal(rename(then, f->anchor), 0);
        for (int i = 0; i < 3; i++) {
                Event other = { .time_ms = 5, .kind = (char *) "k", .text = (char *) "otherwise" };

                reopen(f);
                assert_null(ledger_held(f->ledger)); /* such a pair cannot be told from a new one */
                assert_int_equal(ledger_event_add(f->ledger, &other, NULL), 0);
                add_events(f->ledger, 3);
        }
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(rename(now, f->anchor), 0);
        reopen(f);
        assert_frozen(f, "the ledger's past is not the one that its anchor knows");
        assert_released_for_good(f);
}

/* Ledger and anchor of the same day agree with each other; but they are copies. */
static void test_an_old_pair_is_held(void **state) {
        Fixture *f = *state;
        char then[160];

        snprintf(then, sizeof(then), "%s.then", f->anchor);
        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        copy(f->db, f->saved);
        copy(f->anchor, then);
        reopen(f);
        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        copy(f->saved, f->db);
        copy(then, f->anchor);
        reopen(f);
        assert_frozen(f, "put back");
        assert_released_for_good(f);
}

/* Written over in place: the files are the same ones, but each anchor was a file of its own. */
static void test_an_old_pair_in_the_same_files_is_held(void **state) {
        auto_cleanup(freep) char *db = NULL, *anchor = NULL;
        Fixture *f = *state;
        size_t db_size, anchor_size;

        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(read_file(f->db, 64 << 20, &db, &db_size, NULL), 0);
        assert_int_equal(read_file(f->anchor, 4096, &anchor, &anchor_size, NULL), 0);
        reopen(f);
        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        overwrite(f->db, db, db_size);
        overwrite(f->anchor, anchor, anchor_size);
        reopen(f);
        assert_frozen(f, "put back");
}

/* Two daemons of one installation would each remove what the other one makes. */
static void test_a_copied_folder_is_held(void **state) {
        static const char *const names[] = { "ledger.db", "ledger.anchor", "key", "key.signing" };
        Fixture *f = *state;
        auto_error e = { 0 };
        char folder[64], from[160], to[100];

        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        snprintf(folder, sizeof(folder), "%s/copy", f->dir);
        assert_int_equal(mkdir(folder, 0700), 0);
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                snprintf(from, sizeof(from), "%s/%s", f->dir, names[i]);
                snprintf(to, sizeof(to), "%s/%s", folder, names[i]);
                copy(from, to);
        }
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", folder);
        snprintf(f->key, sizeof(f->key), "%s/key", folder);
        if (open_it(f, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
        assert_frozen(f, "the state folder was copied");
        assert_found(f, NULL);
        f->ledger = ledger_close(f->ledger);

        /* and one that has only another name is not */
        snprintf(to, sizeof(to), "%s/moved", f->dir);
        assert_int_equal(rename(folder, to), 0);
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", to);
        snprintf(f->key, sizeof(f->key), "%s/key", to);
        reopen(f);
        assert_null(ledger_held(f->ledger));
}

static void test_a_missing_or_foreign_anchor_is_held(void **state) {
        Fixture *f = *state;

        add_events(f->ledger, 3);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(unlink(f->anchor), 0);
        reopen(f);
        assert_frozen(f, "the ledger's anchor is missing");
        assert_released_for_good(f);

        f->ledger = ledger_close(f->ledger);
        assert_int_equal(write_file(f->anchor, "{\"epoch\":1}", 11, 0600, NULL), 0);
        reopen(f);
        assert_frozen(f, "the ledger's anchor cannot be read");
        assert_released_for_good(f);

        /* the ledger is lost and a new one is made */
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(unlink(f->db), 0);
        reopen(f);
        assert_frozen(f, "the ledger's anchor belongs to another ledger");
        assert_released_for_good(f);
}

/* Numbers in the anchor cannot be turned back by hand. */
static void test_a_forged_anchor_is_held(void **state) {
        Fixture *f = *state;
        auto_cleanup(freep) char *text = NULL;
        char *event;
        size_t size;

        add_events(f->ledger, 9);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(read_file(f->anchor, 4096, &text, &size, NULL), 0);
        event = strstr(text, "\"event\":9");
        assert_non_null(event);
        event[8] = '5';
        assert_int_equal(write_file(f->anchor, text, size, 0600, NULL), 0);
        reopen(f);
        assert_frozen(f, "the ledger's anchor cannot be read");
}

static void test_the_anchor_follows(void **state) {
        Fixture *f = *state;
        struct stat before, after;

        add_events(f->ledger, 1);
        assert_int_equal(stat(f->anchor, &before), 0);
        add_events(f->ledger, LIMIT_ANCHOR_EVENTS - 1);
        assert_int_equal(stat(f->anchor, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        add_events(f->ledger, 1);
        assert_int_equal(stat(f->anchor, &after), 0);
        assert_int_not_equal(before.st_ino, after.st_ino);
        assert_int_equal(after.st_mode & 0777, 0600);
        assert_int_equal(stat(f->db, &after), 0);
        assert_int_equal(after.st_mode & 0777, 0600);
}

/* A killed start leaves it behind. The next one brings it up, even when it commits nothing. */
static void test_a_start_that_commits_nothing_brings_it_up(void **state) {
        Fixture *f = *state;
        char then[160];

        snprintf(then, sizeof(then), "%s.then", f->anchor);
        add_events(f->ledger, 2);
        f->ledger = ledger_close(f->ledger);
        copy(f->db, f->saved);
        assert_int_equal(link(f->anchor, then), 0);
        reopen(f);
        add_events(f->ledger, 5);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(rename(then, f->anchor), 0);
        reopen(f);
        assert_null(ledger_held(f->ledger));
        f->ledger = ledger_close(f->ledger);
        copy(f->saved, f->db);
        reopen(f);
        assert_frozen(f, "the ledger is older than its anchor");
}

static void test_a_backup_is_whole_and_held(void **state) {
        Fixture *f = *state;
        auto_error e = { 0 };

        add_events(f->ledger, 5);
        assert_int_equal(ledger_backup(f->ledger, f->saved, NULL), 0);
        /* a turn that is open stays out, and goes on */
        assert_int_equal(ledger_value_set(f->ledger, "x", "1", NULL), 0);
        if (ledger_backup(f->ledger, f->saved, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
        assert_true(ledger_is_open(f->ledger));
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        add_events(f->ledger, 2);

        f->ledger = ledger_close(f->ledger);
        copy(f->saved, f->db);
        reopen(f);
        assert_frozen(f, "a backup was put in the ledger's place, 2 events");
        assert_int_equal(ledger_value_get(f->ledger, "x", &(char *){ NULL }, NULL), -ENOENT);
        assert_found(f, "events 6 to 7 are missing, noticed at ");
        assert_released_for_good(f);
}

/* On another machine there is no anchor: the backup itself says what it is. */
static void test_a_backup_without_anchor_is_held(void **state) {
        Fixture *f = *state;

        add_events(f->ledger, 5);
        assert_int_equal(ledger_backup(f->ledger, f->saved, NULL), 0);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(unlink(f->anchor), 0);
        copy(f->saved, f->db);
        reopen(f);
        assert_frozen(f, "a backup was put in the ledger's place");
        assert_found(f, NULL);
        assert_released_for_good(f);
}

static void test_a_backup_that_fails_leaves_the_last_one(void **state) {
        Fixture *f = *state;
        auto_error e = { 0 };
        char part[160];
        struct stat st;

        add_events(f->ledger, 2);
        assert_int_equal(ledger_backup(f->ledger, "/nowhere/at/all.db", &e), -ENOENT);
        assert_non_null(strstr(e.message, "The backup was not made"));
        assert_int_equal(mkdir(f->saved, 0700), 0); /* cannot be replaced by a file */
        assert_true(ledger_backup(f->ledger, f->saved, NULL) < 0);
        snprintf(part, sizeof(part), "%s.part", f->saved);
        assert_int_equal(stat(part, &st), -1);
        assert_int_equal(ledger_is_open(f->ledger), false);
        add_events(f->ledger, 1);
}

static void test_another_key_is_refused(void **state) {
        static const char other[32] = "another";
        Fixture *f = *state;
        auto_error e = { 0 };

        f->ledger = ledger_close(f->ledger);
        assert_int_equal(write_file(f->key, other, sizeof(other), 0600, NULL), 0);
        assert_int_equal(open_it(f, &e), -EKEYREJECTED);
        assert_non_null(strstr(e.message, "key file is not the one"));
}

static void test_a_lost_key_is_missed(void **state) {
        Fixture *f = *state;
        auto_error e = { 0 }, again = { 0 };
        char away[160];
        struct stat st;

        snprintf(away, sizeof(away), "%s.away", f->key);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(rename(f->key, away), 0);
        assert_int_equal(open_it(f, &e), -ENOKEY);
        assert_non_null(strstr(e.message, "is missing"));
        assert_int_equal(open_it(f, &again), -ENOKEY);
        assert_int_equal(stat(f->key, &st), -1); /* and no other was made */
        assert_int_equal(rename(away, f->key), 0);
        reopen(f);
        assert_null(ledger_held(f->ledger));
}

/* A writer is killed at any moment: nothing acknowledged is lost, and nobody cries wolf. */
static void write_until_killed(Fixture *f, int fd) {
        int64_t n;

        if (open_it(f, NULL) < 0)
                _exit(1);
        n = newest(f->ledger);
        for (;;) {
                Event e = { .time_ms = n, .kind = (char *) "k", .text = (char *) "t" };

                n++;
                if (ledger_event_add(f->ledger, &e, NULL) < 0 ||
                    ledger_commit(f->ledger, NULL) < 0 || write(fd, &n, sizeof(n)) != sizeof(n))
                        _exit(1);
        }
}

static void test_kills_lose_nothing_and_are_not_held(void **state) {
        Fixture *f = *state;
        int64_t acked = 0, n, bad;

        f->ledger = ledger_close(f->ledger);
        for (unsigned i = 0; i < 25; i++) {
                int fds[2], status;
                pid_t pid;

                assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
                pid = fork();
                assert_true(pid >= 0);
                if (pid == 0)
                        write_until_killed(f, fds[1]);
                close(fds[1]);
                /* after a few commits, in the middle of whatever it does then */
                for (unsigned c = 0; c < 1 + i * 7 % 90; c++)
                        assert_int_equal(read(fds[0], &acked, sizeof(acked)), sizeof(acked));
                assert_int_equal(kill(pid, SIGKILL), 0);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status));
                while (read(fds[0], &n, sizeof(n)) == sizeof(n))
                        acked = n;
                close(fds[0]);
                reopen(f);
                assert_null(ledger_held(f->ledger));
                assert_true(newest(f->ledger) >= acked);
                assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 0);
                assert_int_equal(bad, 0);
                f->ledger = ledger_close(f->ledger);
        }
        reopen(f);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH(test_not_held_in_ordinary_life),
                WITH(test_an_older_file_is_held),
                WITH(test_an_older_epoch_is_held),
                WITH(test_another_past_is_held),
                WITH(test_an_old_pair_is_held),
                WITH(test_an_old_pair_in_the_same_files_is_held),
                WITH(test_a_copied_folder_is_held),
                WITH(test_a_missing_or_foreign_anchor_is_held),
                WITH(test_a_forged_anchor_is_held),
                WITH(test_the_anchor_follows),
                WITH(test_a_start_that_commits_nothing_brings_it_up),
                WITH(test_a_backup_is_whole_and_held),
                WITH(test_a_backup_without_anchor_is_held),
                WITH(test_a_backup_that_fails_leaves_the_last_one),
                WITH(test_another_key_is_refused),
                WITH(test_a_lost_key_is_missed),
                WITH(test_kills_lose_nothing_and_are_not_held),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
