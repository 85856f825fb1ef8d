/* A backup takes the ledger's place. It is copied beside the ledger and checked there first; then the ledger
 * takes its WAL in, its files get a second name in a folder of their own, and the backup takes the name in one
 * step. So whoever kills this leaves the whole ledger or the whole backup, and the same command can be given
 * again. Only of a ledger that is damaged the WAL is taken away before that: it does not open as it is, and
 * the WAL would be played over the backup. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/ledger/private.h"
#include "orchestrator/ledger/restore.h"

#define KEPT_MAX 1000 /* restores whose former ledgers are still there */

static const char *const parts[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm" };

static int folder_open(const char *folder, int *ret, Error *reterr) {
        *ret = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return *ret < 0 ? error_set(reterr, -errno, "Cannot open '%s': %s", folder, strerror(errno))
                        : 0;
}

/* ---- the copy ---- */

static int copy_bytes(void *userdata, int fd) {
        const int *from = userdata;
        char chunk[65536];
        ssize_t n;

        for (;;) {
                n = read(*from, chunk, sizeof(chunk));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = write_all(fd, chunk, (size_t) n);

                if (r < 0)
                        return r;
        }
}

static int copy_in(const char *from, const char *to, int folder_fd, Error *reterr) {
        auto_cleanup(closep) int fd = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st, present;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set(reterr, -errno, "Cannot read '%s': %s", from, strerror(errno));
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, -EINVAL, "It is no plain file");
        if (fstatat(folder_fd, parts[0], &present, 0) == 0 && present.st_dev == st.st_dev &&
            present.st_ino == st.st_ino)
                return error_set(reterr, -EINVAL, "It is the ledger itself");
        return write_file_by(to, 0600, copy_bytes, &fd, reterr);
}

/* ---- what it is ---- */

/* What SQLite made to read it, when it is no backup of ours but a file that was copied by hand. */
static void unlink_index(const char *path) {
        static const char *const tails[] = { "-wal", "-shm" };

        for (size_t i = 0; i < N_ELEMENTS(tails); i++) {
                auto_cleanup(freep) char *name = str_format("%s%s", path, tails[i]);

                if (name)
                        (void) unlink(name);
        }
}

/* Opened to be read, as the next start will find it. */
static int check(const char *path, const char *folder, LedgerRestored *ret, Error *reterr) {
        auto_cleanup(freep) char *key = path_join(folder, "key");
        auto_cleanup(freep) char *anchor = path_join(folder, "ledger.anchor");
        auto_cleanup(ledger_closep) Ledger *ledger = NULL;
        LedgerOptions options = { .path = path,
                                  .key_path = key,
                                  .anchor_path = anchor,
                                  .random = &random_system,
                                  .read_only = true };
        int r;

        if (!key || !anchor)
                return -ENOMEM;
        r = ledger_open(&options, &ledger, reterr);
        if (r == 0)
                r = ledger_event_last_ms(ledger, &ret->until_ms, reterr);
        if (r == 0 && ledger_held(ledger)) {
                ret->held = strdup(ledger_held(ledger));
                r = ret->held ? 0 : -ENOMEM;
        }
        ledger = ledger_close(ledger);
        unlink_index(path);
        return r;
}

/* ---- what was there ---- */

/* A second name for each file that is there, in a folder that did not exist before. */
static int keep_former(const char *folder, int folder_fd, char **ret, Error *reterr) {
        auto_cleanup(freep) char *name = NULL;
        int r = -EEXIST;

        for (unsigned n = 1; n <= KEPT_MAX && r == -EEXIST; n++) {
                free(name);
                name = str_format("ledger.before-%u", n);
                if (!name)
                        return -ENOMEM;
                r = mkdirat(folder_fd, name, 0700) < 0 ? -errno : 0;
        }
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(parts); i++) {
                auto_cleanup(freep) char *to = path_join(name, parts[i]);

                if (!to)
                        return -ENOMEM;
                if (linkat(folder_fd, parts[i], folder_fd, to, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        if (r == 0) {
                auto_cleanup(closep) int fd =
                        openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                r = fd < 0 || fsync(fd) < 0 || fsync(folder_fd) < 0 ? -errno : 0;
        }
        if (r < 0)
                return error_set(reterr, r, "Cannot keep what is in '%s' under another name: %s",
                                 folder, strerror(-r));
        *ret = path_join(folder, name);
        return *ret ? 0 : -ENOMEM;
}

/* Looked at without a write: a connection that may write brings the WAL into what is damaged. */
static int is_whole(const char *path, Error *reterr) {
        auto_cleanup(db_freep) Db *db = NULL;
        int r = db_open_to_read(path, NULL, &db, reterr);

        return r == 0 ? ledger_check_whole(db, reterr) : r;
}

/* So that the ledger's main file is all of it. What is damaged is put aside as it lies there. */
static int take_wal_in(const char *path, Error *reterr) {
        auto_cleanup(db_freep) Db *db = NULL;
        auto_error damage = { 0 };
        int r;

        if (is_whole(path, &damage) < 0)
                return 0;
        r = db_open(path, NULL, &db, reterr);
        if (r == 0)
                r = db_exec(db, "PRAGMA journal_mode = DELETE", reterr);
        return r < 0 ? error_prefix(reterr, r, "The ledger cannot be put aside") : 0;
}

/* A WAL is there only when it could not be taken in; it must never lie beside the backup. */
static int swap(int folder_fd, const char *part, const char *path, Error *reterr) {
        for (size_t i = N_ELEMENTS(parts) - 1; i > 0; i--)
                if (unlinkat(folder_fd, parts[i], 0) < 0 && errno != ENOENT)
                        return error_set(reterr, -errno, "Cannot remove '%s': %s", parts[i],
                                         strerror(errno));
        if (fsync(folder_fd) < 0)
                return error_set(reterr, -errno, "Cannot write the state folder: %s",
                                 strerror(errno));
        crash_point("ledger.restore.cleared");
        if (rename(part, path) < 0 || fsync(folder_fd) < 0)
                return error_set(reterr, -errno, "Cannot write '%s': %s", path, strerror(errno));
        crash_point("ledger.restore.named");
        return 0;
}

int ledger_restore(const char *folder, const char *backup, LedgerRestored *ret, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, parts[0]);
        auto_cleanup(freep) char *part = path_join(folder, LEDGER_RESTORING);
        auto_cleanup(closep) int folder_fd = -1;
        int r;

        *ret = (LedgerRestored){ 0 };
        if (!path || !part)
                return -ENOMEM;
        r = folder_open(folder, &folder_fd, reterr);
        if (r == 0)
                r = copy_in(backup, part, folder_fd, reterr);
        crash_point("ledger.restore.copied");
        if (r == 0)
                r = check(part, folder, ret, reterr);
        if (r < 0)
                r = error_prefix(reterr, r, "'%s' cannot be restored", backup);
        if (r == 0 && path_exists(path))
                r = take_wal_in(path, reterr);
        if (r == 0 && path_exists(path))
                r = keep_former(folder, folder_fd, &ret->kept, reterr);
        crash_point("ledger.restore.kept");
        if (r == 0)
                r = swap(folder_fd, part, path, reterr);
        if (r < 0) {
                (void) unlink(part);
                ledger_restored_done(ret);
        }
        return r;
}

void ledger_restored_done(LedgerRestored *r) {
        free(r->kept);
        free(r->held);
        *r = (LedgerRestored){ 0 };
}
