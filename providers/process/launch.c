#include "providers/process/launch.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static void record_strings(StrBuf *b, char *const *v) {
        strbuf_addf(b, "%zu", strv_length(v));
        strbuf_addc(b, '\0');
        for (; v && *v; v++)
                strbuf_addn(b, *v, strlen(*v) + 1);
}

int launch_write(const Launch *l, int *ret_fd, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(freep) char *text = NULL;
        auto_strbuf b = { 0 };
        size_t size;
        int r;

        strbuf_addf(&b, "%lld", (long long) l->uid);
        strbuf_addc(&b, '\0');
        strbuf_addf(&b, "%lld", (long long) l->processes);
        strbuf_addc(&b, '\0');
        strbuf_addn(&b, l->cwd, strlen(l->cwd) + 1);
        record_strings(&b, l->argv);
        record_strings(&b, l->env);
        size = b.size;
        text = strbuf_take(&b);
        if (!text)
                return -ENOMEM;

        fd = memfd_create("launch", MFD_CLOEXEC);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot make a memory file: %s", strerror(errno));
        r = write_all(fd, text, size);
        if (r < 0)
                return error_set(reterr, r, "Cannot write a memory file: %s", strerror(-r));
        if (lseek(fd, 0, SEEK_SET) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* The next string of the record, or NULL when it is cut short. */
static const char *record_next(const char **at, const char *end) {
        const char *s = *at, *nul = s < end ? memchr(s, 0, (size_t) (end - s)) : NULL;

        if (!nul)
                return NULL;
        *at = nul + 1;
        return s;
}

static int record_read_strings(const char **at, const char *end, char ***ret) {
        const char *count = record_next(at, end);
        uint64_t n;
        int r;

        if (!count || str_to_u64(count, LIMIT_PROCESS_STRINGS, &n) < 0)
                return -EBADMSG;
        *ret = calloc(n + 1, sizeof(char *));
        if (!*ret)
                return -ENOMEM;
        for (uint64_t i = 0; i < n; i++) {
                const char *s = record_next(at, end);

                if (!s)
                        return -EBADMSG;
                r = str_replace(&(*ret)[i], s);
                if (r < 0)
                        return r;
        }
        return 0;
}

int launch_read(int fd, Launch *ret, Error *reterr) {
        auto_cleanup(launch_done) Launch l = { .uid = -1 };
        auto_cleanup(freep) char *text = NULL;
        const char *at, *end, *uid, *processes, *cwd;
        size_t size;
        int r;

        if (lseek(fd, 0, SEEK_SET) < 0)
                return error_set(reterr, -errno, "There is no launch record: %s", strerror(errno));
        r = read_fd(fd, LIMIT_PROVIDER_REQUEST_BYTES, &text, &size, reterr);
        if (r < 0)
                return r;
        at = text;
        end = text + size;
        uid = record_next(&at, end);
        processes = record_next(&at, end);
        cwd = record_next(&at, end);
        if (!cwd)
                return error_set(reterr, -EBADMSG, "The launch record is cut short");
        l.uid = strtoll(uid, NULL, 10);
        l.processes = strtoll(processes, NULL, 10);
        r = str_replace(&l.cwd, cwd);
        if (r == 0)
                r = record_read_strings(&at, end, &l.argv);
        if (r == 0)
                r = record_read_strings(&at, end, &l.env);
        if (r < 0)
                return error_set(reterr, r, "The launch record is cut short");
        *ret = l;
        l = (Launch){ 0 };
        return 0;
}

void launch_done(Launch *l) {
        free(l->cwd);
        strv_free(l->argv);
        strv_free(l->env);
        *l = (Launch){ 0 };
}

__attribute__((noreturn)) static void launch_fail(int code, const char *what, const char *name) {
        int e = errno;

        fprintf(stderr, "cannot %s '%s': %s\n", what, name, strerror(e));
        _exit(code);
}

/* Every capability away, for this process and everything it executes. */
static int caps_drop(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { 0 };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* The bounding set needs CAP_SETPCAP; without it, no-new-privileges alone has to do, and does. */
static void bounding_drop(void) {
        for (int cap = 0; cap < 64; cap++)
                if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                        break;
}

static int become(const Launch *l) {
        struct rlimit processes = { (rlim_t) l->processes, (rlim_t) l->processes };
        int r;

        if (l->uid == 0) {
                errno = EPERM;
                return -EPERM;
        }
        bounding_drop();
        if (l->uid > 0) {
                uid_t id = (uid_t) l->uid;

                if (setgroups(0, NULL) < 0 || setresgid(id, id, id) < 0 ||
                    setresuid(id, id, id) < 0)
                        return -errno;
        }
        if (l->processes > 0 && setrlimit(RLIMIT_NPROC, &processes) < 0)
                return -errno;
        r = caps_drop();
        if (r < 0)
                errno = -r;
        return r;
}

/* Finds argv[0]: with a slash beneath the working directory, else in the PATH that the program gets. */
static void program_exec(const Launch *l) {
        const char *name = l->argv[0], *path = "/usr/local/bin:/usr/bin:/bin";
        int found = ENOENT;

        for (char **e = l->env; e && *e; e++)
                if (str_after(*e, "PATH="))
                        path = str_after(*e, "PATH=");
        if (strchr(name, '/')) {
                execve(name, l->argv, l->env);
                return;
        }
        while (*name) {
                size_t n = strcspn(path, ":");
                auto_cleanup(freep) char *full =
                        str_format("%.*s%s%s", (int) n, path, n ? "/" : "", name);

                if (full)
                        execve(full, l->argv, l->env);
                if (errno != ENOENT && errno != ENOTDIR)
                        found = errno;
                path += n;
                if (!*path)
                        break;
                path++;
        }
        errno = found;
}

void launch_exec(const Launch *l, int started_fd) {
        if (!l->argv || !l->argv[0]) {
                errno = EINVAL;
                launch_fail(126, "run", "");
        }
        if (become(l) < 0)
                launch_fail(126, "give up privileges for", l->argv[0]);
        if (chdir(l->cwd) < 0)
                launch_fail(126, "change to", l->cwd);
        /* Among them are open folders of the host. */
        if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
                launch_fail(126, "close the descriptors of", l->argv[0]);
        /* The change of user has cleared it. */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (started_fd >= 0)
                (void) !write(started_fd, "s", 1);
        program_exec(l);
        launch_fail(errno == ENOENT ? 127 : 126, "run", l->argv[0]);
}

void launch_enter(const Launch *l, int pidfd, bool user_namespace) {
        int status, flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
        pid_t pid;

        if (setns(pidfd, flags | (user_namespace ? CLONE_NEWUSER : 0)) < 0)
                launch_fail(126, "enter the sandbox for", l->argv[0]);
        pid = fork(); /* a process namespace is entered by children only */
        if (pid < 0)
                launch_fail(126, "fork for", l->argv[0]);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                launch_exec(l, -1);
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        _exit(126);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
