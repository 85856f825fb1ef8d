#include "orchestrator/api/state.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/ledger/restore.h"

/* Repositories belong to whoever pushes there; reading their branch names is what they were made known
 * for. Only this daemon's own listings read this file (branches.c). */
static const char gitconfig[] = "[safe]\n\tdirectory = *\n";

int state_lock(const char *folder, int *ret_fd, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, "lock");
        auto_cleanup(closep) int fd = -1;
        char pid[32] = "";
        ssize_t n;

        if (!path)
                return -ENOMEM;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot open '%s': %s", path, strerror(errno));
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                n = pread(fd, pid, sizeof(pid) - 1, 0);
                pid[n > 0 ? n : 0] = '\0';
                pid[strcspn(pid, "\n")] = '\0';
                return error_set(reterr, -EBUSY,
                                 "Another mayflyd (process %s) already uses the state folder '%s'; "
                                 "stop it first or give this one a folder of its own with --state",
                                 *pid ? pid : "unknown", folder);
        }
        /* Over what is there, which also a full disk has room for. The lock is what counts. */
        snprintf(pid, sizeof(pid), "%d\n", (int) getpid());
        n = pwrite(fd, pid, strlen(pid), 0);
        if (n < 0 || ftruncate(fd, n) < 0)
                log_warning("Cannot write '%s': %s", path, strerror(errno));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* What an earlier daemon was killed over goes: it may hold half a key. Only the lock's holder writes here. */
static int state_folders(Manager *m, Error *reterr) {
        static const char *const names[] = { "providers", "gateway" };
        auto_cleanup(freep) char *restoring = path_join(m->state_dir, LEDGER_RESTORING);
        int r = remove_unfinished(m->state_dir, reterr);

        if (r == 0 && !restoring)
                r = -ENOMEM;
        if (r < 0)
                return r;
        (void) unlink(restoring);

        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                auto_cleanup(freep) char *path = path_join(m->state_dir, names[i]);

                if (!path)
                        return -ENOMEM;
                r = mkdir_p(path, 0711, reterr);
                if (r == 0)
                        r = remove_unfinished(path, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What is there already is not written again: a start on a full disk goes on. */
static int state_write(Manager *m, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(m->state_dir, name), *now = NULL;

        if (!path)
                return -ENOMEM;
        if (read_file(path, 4096, &now, NULL, NULL) == 0 && streq(now, text))
                return 0;
        return write_file(path, text, strlen(text), 0644, reterr);
}

int state_start(Manager *m, Error *reterr) {
        auto_error pid_error = { 0 };
        char whole[PATH_MAX], pid[32];
        int r = mkdir_p(m->options->state, 0711, reterr);

        if (r < 0)
                return r;
        if (!realpath(m->options->state, whole))
                return error_set(reterr, -errno, "Cannot use the state folder '%s': %s",
                                 m->options->state, strerror(errno));
        m->state_dir = strdup(whole);
        m->gitconfig = path_join(whole, "gitconfig");
        m->socket_path =
                m->options->socket ? strdup(m->options->socket) : path_join(whole, "api.sock");
        if (!m->state_dir || !m->gitconfig || !m->socket_path)
                return -ENOMEM;
        r = state_lock(m->state_dir, &m->lock_fd, reterr);
        if (r < 0)
                return r;
        /* Sandboxes of other users pass through to what is theirs; nobody lists it. */
        if (chmod(m->state_dir, 0711) < 0)
                return error_set(reterr, -errno, "Cannot set the mode of '%s': %s", m->state_dir,
                                 strerror(errno));
        r = state_folders(m, reterr);
        if (r == 0)
                r = state_write(m, "gitconfig", gitconfig, reterr);
        if (r < 0)
                return r;
        snprintf(pid, sizeof(pid), "%d\n", (int) getpid());
        r = state_write(m, "mayflyd.pid", pid, &pid_error);
        if (r < 0) /* for people only: the lock decides */
                log_warning("%s", error_text(&pid_error, r));
        return 0;
}

void state_stop(Manager *m) {
        if (m->lock_fd >= 0 && m->state_dir) {
                auto_cleanup(freep) char *path = path_join(m->state_dir, "mayflyd.pid");

                if (path)
                        (void) unlink(path); /* a stale one harms nobody: the lock decides */
        }
        m->lock_fd = fd_close(m->lock_fd);
        free(TAKE(m->state_dir));
        free(TAKE(m->gitconfig));
        free(TAKE(m->socket_path));
}
