/* A backup is taken through a connection of its own, so that a turn that is open stays out of it. It is
 * complete, checked and synced before it gets its name, and says in itself that it is a backup: opened
 * as a ledger it is held (anchor.c). */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/ledger/private.h"

static void part_remove(char **path) {
        if (*path)
                (void) unlink(*path); /* renamed away when all went well */
        free(*path);
}

static int copy_mark(const char *path, Error *reterr) {
        auto_cleanup(db_freep) Db *copy = NULL;
        int r;

        r = db_open(path, NULL, &copy, reterr);
        if (r == 0) /* one file, that can be read where nothing can be written */
                r = db_exec(copy, "PRAGMA journal_mode = DELETE", reterr);
        if (r == 0)
                r = db_exec(copy, "INSERT OR REPLACE INTO value VALUES ('copied', '1')", reterr);
        return r < 0 ? r : ledger_check_whole(copy, reterr);
}

static int sync_and_name(const char *part, const char *path, Error *reterr) {
        auto_cleanup(freep) char *folder = strdup(path);
        auto_cleanup(closep) int fd = -1, dir = -1;
        char *slash;

        if (!folder)
                return -ENOMEM;
        slash = strrchr(folder, '/');
        if (slash)
                slash[slash == folder ? 1 : 0] = 0;
        fd = open(part, O_RDONLY | O_CLOEXEC);
        dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || dir < 0 || fsync(fd) < 0 || rename(part, path) < 0 || fsync(dir) < 0)
                return error_set(reterr, -errno, "Cannot write '%s': %s", path, strerror(errno));
        return 0;
}

static int part_make(const char *part, Error *reterr) {
        int fd;

        if (unlink(part) < 0 && errno != ENOENT)
                return error_set(reterr, -errno, "Cannot replace '%s': %s", part, strerror(errno));
        fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot write '%s': %s", part, strerror(errno));
        close(fd);
        return 0;
}

int ledger_copy(const char *ledger, const char *vfs, const char *path, Error *reterr) {
        auto_cleanup(part_remove) char *part = str_format("%s.part", path);
        auto_cleanup(db_freep) Db *source = NULL;
        int r;

        if (!part)
                return -ENOMEM;
        r = part_make(part, reterr);
        if (r == 0)
                r = db_open(ledger, vfs, &source, reterr);
        if (r == 0)
                r = db_backup(source, part, reterr);
        crash_point("ledger.backup.copied");
        if (r == 0)
                r = copy_mark(part, reterr);
        crash_point("ledger.backup.marked");
        if (r == 0)
                r = sync_and_name(part, path, reterr);
        crash_point("ledger.backup.named");
        return r < 0 ? error_prefix(reterr, r, "The backup was not made") : 0;
}

int ledger_backup(Ledger *l, const char *path, Error *reterr) {
        return ledger_copy(l->path, l->vfs, path, reterr);
}
