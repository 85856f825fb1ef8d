/* Copying, checking and hashing the ledger takes long when it is large or the disk is busy, so a process
 * of its own does it: this program again, with --copy-ledger. It says "0 SIZE SHA256" or "ERRNO MESSAGE"
 * and ends. The copy lies in STATE/backup (0700), is opened and unlinked at once, and leaves in pieces, each
 * when the one before it has left. One at a time: it is rare, and each costs as much disk as the ledger. */
#include "orchestrator/api/backup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "orchestrator/api/api.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/child.h"
#include "orchestrator/glue/crypto.h"

struct Backup {
        Manager *m;
        Child child;
        LoopSource *exit_source, *timer;
        bool overdue;
        char *folder, *path;
        ApiCall *call;        /* while the copy is made */
        HttpRequest *request; /* while it is sent */
        int fd;
        char digest[SHA256_HEX];
        int64_t size;
};

static void backup_free(Backup *b) {
        if (b->m->backup == b)
                b->m->backup = NULL;
        loop_source_free(b->exit_source);
        loop_source_free(b->timer);
        child_done(&b->child);
        if (b->folder)
                (void) remove_tree(b->folder, NULL); /* else the next start or backup does it */
        fd_close(b->fd);
        free(b->folder);
        free(b->path);
        free(b);
}

/* ---- the copying process ---- */

int backup_copy(const char *state, const char *path) {
        auto_cleanup(freep) char *ledger = path_join(state, "ledger.db");
        auto_cleanup(closep) int fd = -1;
        auto_error error = { 0 };
        char digest[SHA256_HEX];
        int64_t size = 0;
        int r = ledger ? ledger_copy(ledger, NULL, path, &error) : -ENOMEM;

        if (r == 0) {
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                r = fd < 0 ? -errno : sha256_fd(fd, digest, &size);
        }
        if (r < 0)
                printf("%d %s\n", -r, error_text(&error, r));
        else
                printf("0 %lld %s\n", (long long) size, digest);
        return fflush(stdout) == 0 && r == 0 ? 0 : 1;
}

/* ---- sending ---- */

static void backup_on_room(void *userdata) {
        Backup *b = userdata;
        char chunk[65536];
        ssize_t n;

        do
                n = read(b->fd, chunk, sizeof(chunk));
        while (n < 0 && errno == EINTR);
        if (n > 0 && http_stream_write(b->request, chunk, (size_t) n) == 0)
                return;
        /* When it ends too early the client sees that by the size. */
        http_stream_end(b->request);
        backup_free(b);
}

static void backup_on_gone(void *userdata) {
        backup_free(userdata);
}

static void backup_send(Backup *b) {
        HttpStreamEvents events = { .on_room = backup_on_room,
                                    .on_gone = backup_on_gone,
                                    .userdata = b };
        ApiCall *c = TAKE(b->call);
        char head[SHA256_HEX + 32];

        snprintf(head, sizeof(head), "%lld %s", (long long) b->size, b->digest);
        b->request = api_take_request(c);
        api_forget(c);
        http_stream(b->request, 200, "application/vnd.sqlite3", &events);
        http_stream_header(b->request, "Mayfly-Backup", head);
}

/* ---- making ---- */

/* What the copying process said. It is our own program, but it may have died in the middle. */
static int backup_read_line(Backup *b, Error *reterr) {
        char line[1024], *end;
        long long size;
        ssize_t n = read(b->child.out, line, sizeof(line) - 1);
        long failure;

        if (b->overdue)
                return error_set(reterr, -ETIMEDOUT, "The backup was not made in %d minutes",
                                 LIMIT_BACKUP_MS / 60000);
        line[n > 0 ? n : 0] = '\0';
        line[strcspn(line, "\n")] = '\0';
        failure = strtol(line, &end, 10);
        if (failure > 0 && failure < 4096 && *end == ' ')
                return error_set(reterr, (int) -failure, "%s", end + 1);
        if (sscanf(line, "0 %lld %64[0-9a-f]", &size, b->digest) != 2 ||
            strlen(b->digest) != SHA256_HEX - 1)
                return error_set(reterr, -EIO, "The backup was not made: its process died");
        b->size = size;
        return 0;
}

/* The copy has no name any more when its first byte leaves. */
static int backup_take(Backup *b, Error *reterr) {
        struct stat st;
        int r = backup_read_line(b, reterr);

        if (r < 0)
                return r;
        b->fd = open(b->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (b->fd < 0 || fstat(b->fd, &st) < 0)
                return error_set(reterr, -errno, "Cannot read '%s': %s", b->path, strerror(errno));
        if (st.st_size != b->size)
                return error_set(reterr, -EIO, "The backup is not as it was written");
        r = remove_tree(b->folder, reterr);
        return r < 0 ? r
                     : engine_backup_made(b->m->engine, &b->call->actor, b->size, b->digest,
                                          reterr);
}

static void backup_on_exit(void *userdata, int fd, uint32_t events) {
        Backup *b = userdata;
        auto_error error = { 0 };
        int status, r;

        if (child_reap(&b->child, &status) == 0)
                return;
        b->exit_source = loop_source_free(b->exit_source);
        b->timer = loop_source_free(b->timer);
        r = backup_take(b, &error);
        manager_want_turn(b->m);
        if (r == 0) {
                backup_send(b);
                return;
        }
        api_finish(TAKE(b->call), r, &error);
        backup_free(b);
}

static void backup_on_time(void *userdata) {
        Backup *b = userdata;

        b->overdue = true;
        (void) child_kill(&b->child, SIGKILL);
}

static int backup_run(Backup *b, Error *reterr) {
        char *argv[] = { (char *) "/proc/self/exe",
                         (char *) "--state",
                         b->m->state_dir,
                         (char *) "--copy-ledger",
                         b->path,
                         NULL };
        Loop *loop = b->m->loop;
        int r = child_start(argv, NULL, CHILD_OUT | CHILD_DIE, &b->child, reterr);

        if (r == 0)
                r = loop_add_io(loop, b->child.pidfd, EPOLLIN, "backup: its end", backup_on_exit, b,
                                &b->exit_source, reterr);
        if (r == 0)
                r = loop_add_timer(loop, "backup: overdue", backup_on_time, b, &b->timer, reterr);
        return r < 0 ? r : loop_timer_arm_after(b->timer, LIMIT_BACKUP_MS * 1000ULL);
}

int api_backup(ApiCall *c, Error *reterr) {
        Manager *m = c->m;
        Backup *b;
        int r;

        if (m->backup)
                return error_set(reterr, -EBUSY, "Another backup is being made; try again later");
        b = calloc(1, sizeof(Backup));
        if (!b)
                return -ENOMEM;
        b->m = m;
        b->child = CHILD_NONE;
        b->fd = -1;
        b->folder = path_join(m->state_dir, "backup");
        b->path = b->folder ? path_join(b->folder, "ledger.db") : NULL;
        r = b->path ? remove_tree(b->folder, reterr) : -ENOMEM;
        if (r == 0 && mkdir(b->folder, 0700) < 0)
                r = error_set(reterr, -errno, "Cannot make '%s': %s", b->folder, strerror(errno));
        if (r == 0)
                r = backup_run(b, reterr);
        if (r < 0) {
                backup_free(b);
                return r;
        }
        b->call = c;
        m->backup = b;
        return API_LATER;
}

int backup_start(Manager *m, Error *reterr) {
        auto_cleanup(freep) char *folder = path_join(m->state_dir, "backup");

        return folder ? remove_tree(folder, reterr) : -ENOMEM;
}

void backup_stop(Manager *m) {
        if (!m->backup)
                return;
        if (m->backup->request)
                http_stream_end(m->backup->request);
        backup_free(m->backup); /* a call that waits is answered by the end of the API */
}
