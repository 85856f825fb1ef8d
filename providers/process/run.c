#include "providers/process/run.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/process/cgroup.h"
#include "providers/sdk/mark.h"

#define KEEPERS_MAX 64
#define CONNECT_MS  3000 /* a keeper that has just been started opens its socket within this */

bool is_root(void) {
        return geteuid() == 0;
}

int program_beside(const char *name, char **ret, Error *reterr) {
        char self[4096];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n < 0)
                return error_set(reterr, -errno, "Cannot find this program: %s", strerror(errno));
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        *ret = path_join(self, name);
        return *ret ? 0 : -ENOMEM;
}

int json_digest(const json_t *value, char buf[static DIGEST_SIZE]) {
        auto_cleanup(freep) char *text =
                json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY);

        if (!text)
                return -ENOMEM;
        snprintf(buf, DIGEST_SIZE, "%016llx%016llx", (unsigned long long) hash_string(1, text),
                 (unsigned long long) hash_string(2, text));
        return 0;
}

static char *mark_name(const SdkCall *call) {
        return str_format("%s.%s", call->uid, call->type);
}

static int mark_check(Run *run, const char *name, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r = mark_read(run->call->state_dir, name, &text, reterr);

        if (r == -ENOENT) {
                error_done(reterr);
                return 0;
        }
        if (r < 0)
                return r;
        if (!streq(text, run->call->marker))
                return error_set(reterr, -EEXIST, "The %s is marked '%s', not '%s'",
                                 run->call->type, text, run->call->marker);
        run->marked = true;
        return 0;
}

static int folder_mark(const Run *run, Error *reterr) {
        auto_cleanup(freep) char *name = str_format("mark.%s", run->call->type);
        int r = name ? mark_make(run->path, name, run->call->marker, reterr) : -ENOMEM;

        return r < 0 ? r : 0;
}

int run_open(SdkCall *call, bool make, Run *ret, Error *reterr) {
        auto_cleanup(run_done) Run run = { .call = call, .lock_fd = -1, .dir_fd = -1 };
        auto_cleanup(freep) char *name = mark_name(call);
        auto_error quiet = { 0 };
        int r;

        run.path = path_join(call->state_dir, call->uid);
        run.lock_path = path_join(call->state_dir, "resources.lock");
        if (!name || !run.path || !run.lock_path)
                return -ENOMEM;
        r = lock_name_take(run.lock_path, call->uid, &run.lock_fd, reterr);
        if (r < 0)
                return r;
        r = mark_check(&run, name, make ? reterr : &quiet);
        if (r < 0)
                return make ? r : error_set(reterr, r, "%s", error_text(&quiet, r));
        if (make) {
                r = mark_make(call->state_dir, name, call->marker, reterr);
                if (r < 0)
                        return r;
                run.marked = true;
                crash_point("process.marked");
                if (mkdir(run.path, 0700) < 0 && errno != EEXIST)
                        return error_set(reterr, -errno, "Cannot make '%s': %s", run.path,
                                         strerror(errno));
        }
        run.dir_fd = open(run.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (run.dir_fd < 0 && errno != ENOENT)
                return error_set(reterr, -errno, "Cannot open '%s': %s", run.path, strerror(errno));
        r = make ? folder_mark(&run, reterr) : 0;
        if (r < 0)
                return r;
        *ret = run;
        run = (Run){ .lock_fd = -1, .dir_fd = -1 };
        return 0;
}

void run_done(Run *run) {
        run->dir_fd = fd_close(run->dir_fd);
        if (run->lock_fd >= 0 && !run->marked)
                lock_name_remove(run->lock_path, run->lock_fd); /* nothing of ours is left */
        run->lock_fd = fd_close(run->lock_fd);
        free(TAKE(run->path));
        free(TAKE(run->lock_path));
        strv_free(TAKE(run->pids));
        strv_free(TAKE(run->groups));
}

int run_put(const Run *run, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *temporary = str_format(".%s.new", name);
        auto_cleanup(closep) int fd = -1;
        int r;

        if (!temporary)
                return -ENOMEM;
        fd = openat(run->dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
                    0600);
        r = fd < 0 ? -errno : write_all(fd, text, strlen(text));
        if (r == 0 && renameat(run->dir_fd, temporary, run->dir_fd, name) < 0)
                r = -errno;
        return r < 0 ? error_set(reterr, r, "Cannot write '%s/%s': %s", run->path, name,
                                 strerror(-r))
                     : 0;
}

int report_removed(SdkCall *call, bool removed, const char *kind, const char *name) {
        const char *key = removed ? "removed" : "absent";
        json_t *list;

        if (!call->ret_extra)
                call->ret_extra = json_pack("{s:[],s:[]}", "removed", "absent");
        list = json_object_get(call->ret_extra, key);
        return json_array_append_new(list, json_pack("{s:s,s:s}", "kind", kind, "name", name)) < 0
                       ? -ENOMEM
                       : 0;
}

int run_remove(Run *run, Error *reterr) {
        auto_cleanup(freep) char *name = mark_name(run->call);
        bool was = run->dir_fd >= 0 || run->marked;
        int r;

        if (!name)
                return -ENOMEM;
        r = remove_tree(run->path, reterr);
        if (r < 0)
                return r;
        crash_point("process.removed");
        r = mark_remove(run->call->state_dir, name, reterr);
        if (r < 0)
                return r;
        run->marked = false;
        return report_removed(run->call, was, "file", run->path);
}

int keeper_alive(const Run *run, int *ret_lock_fd, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (run->dir_fd < 0)
                return 0;
        fd = openat(run->dir_fd, "keeper.lock",
                    O_RDWR | O_NOFOLLOW | O_CLOEXEC | (ret_lock_fd ? O_CREAT : 0), 0600);
        if (fd < 0 && errno == ENOENT)
                return 0;
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot open the keeper's lock: %s",
                                 strerror(errno));
        /* A lock of the opening (fcntl(2)): a keeper inherits it, and looking does not take it. */
        if (fcntl(fd, ret_lock_fd ? F_OFD_SETLK : F_OFD_GETLK, &lock) < 0)
                return errno == EAGAIN || errno == EACCES
                               ? 1
                               : error_set(reterr, -errno, "Cannot lock: %s", strerror(errno));
        if (!ret_lock_fd)
                return lock.l_type != F_UNLCK;
        *ret_lock_fd = TAKE_FD(fd);
        return 0;
}

static int connect_once(int dir_fd, int *ret_fd) {
        auto_cleanup(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un to = { .sun_family = AF_UNIX };

        if (fd < 0)
                return -errno;
        snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/ctl", dir_fd);
        if (connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int keeper_connect(const Run *run, int *ret_fd, Error *reterr) {
        struct timespec pause = { .tv_nsec = 2000000 };

        /* A keeper that is just starting has its lock already and its socket soon. */
        for (unsigned i = 0; i < CONNECT_MS / 2; i++) {
                int r = keeper_alive(run, NULL, reterr);

                if (r < 0)
                        return r;
                if (r == 0)
                        return -ENOENT;
                if (connect_once(run->dir_fd, ret_fd) == 0)
                        return 0;
                nanosleep(&pause, NULL);
        }
        return error_set(reterr, -EIO, "The keeper lives but does not answer");
}

/* When the process was started, in ticks since boot; 0 when there is none. */
static uint64_t process_start(int pid) {
        auto_cleanup(freep) char *text = NULL;
        char path[64];
        const char *at;

        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        if (read_file(path, 4096, &text, NULL, NULL) < 0)
                return 0;
        at = strrchr(text, ')');
        for (int field = 2; at && field < 22; field++)
                at = strchr(at + 1, ' ');
        return at ? strtoull(at, NULL, 10) : 0;
}

int keeper_identify(int dir_fd, int *ret_pid, int *ret_pidfd) {
        auto_cleanup(freep) char *text = NULL, *boot = NULL;
        auto_cleanup(closep) int pidfd = -1;
        json_auto_t *identity = NULL;
        int pid, r;

        r = dir_fd < 0 ? -ENOENT : read_file_at(dir_fd, "keeper.json", 65536, &text, NULL, NULL);
        if (r < 0)
                return r;
        r = read_file("/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL);
        if (r < 0)
                return r;
        boot[strcspn(boot, "\n")] = '\0';
        identity = json_loads(text, 0, NULL);
        pid = (int) sdk_integer(identity, "pid", 0);
        if (pid <= 1 || !streq(sdk_string(identity, "boot", ""), boot))
                return -ENOENT;
        pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        /* Looked at after the descriptor is ours: the number may have been given to another process. */
        if (pidfd < 0 || process_start(pid) != (uint64_t) sdk_integer(identity, "start", 0))
                return -ENOENT;
        *ret_pid = pid;
        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
}

static bool pidfd_wait(int pidfd, int64_t timeout_ms) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return poll(&p, 1, timeout_ms > INT32_MAX ? INT32_MAX : (int) timeout_ms) == 1;
}

static int keeper_kill(const Run *run, int pidfd, Error *reterr) {
        struct timespec pause = { .tv_nsec = 2000000 };

        if (pidfd >= 0) {
                (void) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
                (void) pidfd_wait(pidfd, 5000);
        }
        for (unsigned i = 0; i < 1000; i++) {
                if (keeper_alive(run, NULL, NULL) == 0)
                        return 0;
                nanosleep(&pause, NULL);
        }
        return error_set(reterr, -EIO, "The keeper cannot be ended");
}

/* One whose folder is gone, or that has no lock in it, is found by its command line. */
static int keepers_kill(Run *run, bool *was, Error *reterr) {
        for (unsigned i = 0; i < KEEPERS_MAX; i++) {
                auto_cleanup(closep) int pidfd = -1;
                int pid;

                if (keeper_find(run->call->marker, &pid, &pidfd) < 0)
                        return 0;
                *was = true;
                (void) process_tree(pid, &run->pids);
                (void) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
                (void) pidfd_wait(pidfd, 5000);
        }
        return error_set(reterr, -EIO, "There are ever more keepers with this marker");
}

/* What an orderly keeper removes itself. */
static int stale_clean(const Run *run, Error *reterr) {
        auto_cleanup(freep) char *files = path_join(run->path, "files");
        int r = 0;

        if (!files)
                return -ENOMEM;
        if (run->dir_fd >= 0) {
                r = remove_tree(files, reterr);
                if (r < 0)
                        return r;
                (void) unlinkat(run->dir_fd, "ctl", 0);
                (void) unlinkat(run->dir_fd, "keeper.json", 0);
        }
        r = cgroup_remove(run->call->uid, NULL);
        return r < 0 ? error_set(reterr, r, "Cannot remove a control group: %s", strerror(-r)) : 0;
}

int keeper_end(Run *run, int64_t stop_ms, bool *ret_was, Error *reterr) {
        auto_cleanup(closep) int fd = -1, pidfd = -1;
        auto_error quiet = { 0 };
        int r, pid = 0;
        bool was;

        r = keeper_alive(run, NULL, reterr);
        if (r < 0)
                return r;
        was = r > 0;
        if (was && keeper_identify(run->dir_fd, &pid, &pidfd) < 0)
                (void) keeper_find(run->call->marker, &pid, &pidfd); /* not written yet */
        r = run_stock(run, pid);
        if (r < 0)
                return r;
        if (was && keeper_connect(run, &fd, &quiet) == 0) {
                if (pidfd < 0)
                        (void) keeper_identify(run->dir_fd, &pid, &pidfd);
                (void) keeper_send(fd, "stop", NULL);
                if (pidfd >= 0)
                        (void) pidfd_wait(pidfd, stop_ms);
        }
        r = was ? keeper_kill(run, pidfd, reterr) : 0;
        if (r == 0)
                r = keepers_kill(run, &was, reterr);
        if (r == 0)
                r = stale_clean(run, reterr);
        if (r < 0)
                return r;
        if (ret_was)
                *ret_was = was;
        return 0;
}

int keeper_send(int fd, const char *verb, const char *container) {
        json_auto_t *request = json_pack("{s:s,s:s*}", "verb", verb, "container", container);
        auto_cleanup(freep) char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
        auto_cleanup(freep) char *line = text ? str_format("%s\n", text) : NULL;

        if (!line)
                return -ENOMEM;
        return send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t) strlen(line) ? 0
                                                                                    : -ECONNRESET;
}

static void reader_take_fds(KeeperReader *reader, struct msghdr *m) {
        for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
                int fds[2] = { -1, -1 };

                if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
                        continue;
                memcpy(fds, CMSG_DATA(h),
                       h->cmsg_len - CMSG_LEN(0) < sizeof(fds) ? h->cmsg_len - CMSG_LEN(0)
                                                               : sizeof(fds));
                for (int i = 0; i < 2; i++)
                        if (fds[i] >= 0) {
                                fd_close(reader->fds[i]);
                                reader->fds[i] = fds[i];
                        }
        }
}

/* 1 when a whole line is there. */
static int reader_fill(KeeperReader *reader, int64_t until) {
        char chunk[16384], control[CMSG_SPACE(2 * sizeof(int))];
        struct iovec part = { .iov_base = chunk, .iov_len = sizeof(chunk) };
        struct msghdr m = { .msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control) };
        struct pollfd p = { .fd = reader->fd, .events = POLLIN };
        int64_t left = until < 0 ? -1 : until - clock_boot_ms(&clock_system);
        char *text;
        ssize_t n;

        if (reader->size > 0 && memchr(reader->text, '\n', reader->size))
                return 1;
        /* With no time left, what has arrived already is still taken. */
        if (until >= 0 && left < 0)
                left = 0;
        n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int) left);
        if (n <= 0)
                return n == 0 && left == 0 ? -ETIMEDOUT : 0;
        n = recvmsg(reader->fd, &m, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR)
                return 0;
        if (n <= 0 || reader->size + (size_t) n > 16 * LIMIT_PROCESS_CONTROL_BYTES)
                return -ECONNRESET;
        reader_take_fds(reader, &m);
        text = realloc(reader->text, reader->size + (size_t) n + 1);
        if (!text)
                return -ENOMEM;
        reader->text = text;
        memcpy(text + reader->size, chunk, (size_t) n);
        reader->size += (size_t) n;
        return memchr(text, '\n', reader->size) ? 1 : 0;
}

int keeper_read(KeeperReader *reader, int64_t timeout_ms, json_t **ret, Error *reterr) {
        int64_t until = timeout_ms < 0 ? -1 : clock_boot_ms(&clock_system) + timeout_ms;
        size_t used;
        json_t *reply;
        int r;

        do
                r = reader_fill(reader, until);
        while (r == 0);
        if (r < 0)
                return error_set(reterr, r,
                                 r == -ETIMEDOUT ? "The keeper did not answer in time"
                                                 : "The keeper ended without an answer");
        used = (size_t) ((char *) memchr(reader->text, '\n', reader->size) - reader->text) + 1;
        reply = json_loadb(reader->text, used, 0, NULL);
        reader->size -= used;
        memmove(reader->text, reader->text + used, reader->size);
        if (!reply)
                return error_set(reterr, -EBADMSG, "The keeper wrote nonsense");
        *ret = reply;
        return 0;
}

void keeper_reader_done(KeeperReader *reader) {
        free(reader->text);
        closep(&reader->fds[0]);
        closep(&reader->fds[1]);
}

int keeper_status(const Run *run, json_t **ret, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        int r = keeper_connect(run, &fd, reterr);

        if (r < 0)
                return r;
        reader.fd = fd;
        r = keeper_send(fd, "status", NULL);
        return r < 0 ? r : keeper_read(&reader, CONNECT_MS, ret, reterr);
}
