#include "orchestrator/glue/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

/* Of the process, as the limit itself is: rlim_max 0 as long as it was not raised. */
static struct rlimit files_before;

typedef struct Pipe {
        int read, write;
} Pipe;

static void pipe_done(Pipe *p) {
        closep(&p->read);
        closep(&p->write);
}

#define auto_pipe auto_cleanup(pipe_done) Pipe
#define PIPE_NONE ((Pipe){ .read = -1, .write = -1 })

static int pipe_open(Pipe *p) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *p = (Pipe){ .read = fds[0], .write = fds[1] };
        return 0;
}

/* In the child: target becomes a copy of fd, or of /dev/null when fd is -1. */
static void child_redirect(int fd, int target, int null_flags) {
        if (fd < 0)
                fd = open("/dev/null", null_flags);
        if (fd >= 0)
                dup2(fd, target);
}

/* In the child, between vfork and exec: only async-signal-safe calls, and nothing is changed that the parent
 * reads. It waits for the exec in any case, and is spared a copy of its page tables, which under the
 * sanitizers takes longer than most of the programs. */
__attribute__((noreturn)) static void child_exec(char *const *argv, char *const *env,
                                                 ChildFlags flags, int in, int out, int err,
                                                 int report, pid_t parent) {
        sigset_t none;
        int code;

        for (int s = 1; s < 32; s++)
                signal(s, SIG_DFL);
        /* Only now: a handler of the parent's would run in its memory. */
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (flags & CHILD_SESSION)
                setsid();
        else if (!(flags & CHILD_OUR_GROUP))
                setpgid(0, 0);
        if (flags & CHILD_DIE) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(127); /* the parent ended before the line above */
        }
        if (files_before.rlim_max > 0)
                (void) setrlimit(RLIMIT_NOFILE, &files_before); /* lowering cannot fail */
        child_redirect(in, 0, O_RDONLY);
        if (flags & CHILD_OUT)
                child_redirect(out, 1, O_WRONLY);
        if (flags & CHILD_ERR)
                child_redirect(err, 2, O_WRONLY);
        if (env)
                execvpe(argv[0], argv, env);
        else
                execvp(argv[0], argv);
        code = errno;
        (void) !write(report, &code, sizeof(code));
        _exit(127);
}

int child_start(char *const *argv, char *const *env, ChildFlags flags, Child *ret, Error *reterr) {
        auto_pipe in = PIPE_NONE, out = PIPE_NONE, err = PIPE_NONE, report = PIPE_NONE;
        pid_t pid, parent = getpid();
        sigset_t all, old;
        int r, code = 0;
        ssize_t n;

        r = pipe_open(&report);
        if (r == 0 && flags & CHILD_IN)
                r = pipe_open(&in);
        if (r == 0 && flags & CHILD_OUT)
                r = pipe_open(&out);
        if (r == 0 && flags & CHILD_ERR)
                r = pipe_open(&err);
        if (r < 0)
                return error_set(reterr, r, "Cannot make a pipe: %s", strerror(-r));

        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &old);
        pid = vfork();
        if (pid == 0)
                child_exec(argv, env, flags, in.read, out.write, err.write, report.write, parent);
        r = -errno;
        sigprocmask(SIG_SETMASK, &old, NULL);
        if (pid < 0)
                return error_set(reterr, r, "Cannot fork: %s", strerror(-r));
        if (!(flags & (CHILD_SESSION | CHILD_OUR_GROUP)))
                (void) setpgid(pid, pid); /* both sides do it: whoever is first */

        report.write = fd_close(report.write);
        do
                n = read(report.read, &code, sizeof(code));
        while (n < 0 && errno == EINTR);
        if (n == sizeof(code)) {
                (void) waitpid(pid, NULL, 0);
                return error_set(reterr, -code, "Cannot run '%s': %s", argv[0], strerror(code));
        }

        *ret = (Child){ .pid = pid,
                        .in = TAKE_FD(in.write),
                        .out = TAKE_FD(out.read),
                        .err = TAKE_FD(err.read) };
        ret->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (ret->pidfd < 0) {
                r = -errno;
                child_done(ret);
                return error_set(reterr, r, "Cannot watch a process: %s", strerror(-r));
        }
        if (ret->in >= 0)
                (void) fcntl(ret->in, F_SETFL, O_NONBLOCK);
        if (ret->out >= 0)
                (void) fcntl(ret->out, F_SETFL, O_NONBLOCK);
        if (ret->err >= 0)
                (void) fcntl(ret->err, F_SETFL, O_NONBLOCK);
        return 0;
}

int child_raise_files(Error *reterr) {
        struct rlimit files;

        if (getrlimit(RLIMIT_NOFILE, &files) < 0)
                return error_set(reterr, -errno, "Cannot read the limit of open files: %s",
                                 strerror(errno));
        if (files.rlim_cur >= files.rlim_max)
                return 0;
        if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){ files.rlim_max, files.rlim_max }) < 0)
                return error_set(reterr, -errno, "Cannot raise the limit of open files: %s",
                                 strerror(errno));
        files_before = files;
        return 0;
}

int child_kill(const Child *c, int sig) {
        if (c->pid <= 0 || kill(-c->pid, sig) == 0 || errno == ESRCH)
                return 0;
        return -errno;
}

int child_reap(Child *c, int *ret_status) {
        int status;
        pid_t pid;

        if (c->pid <= 0)
                return -ECHILD;
        pid = waitpid(c->pid, &status, WNOHANG);
        if (pid == 0)
                return 0;
        if (pid < 0)
                return -errno;
        /* What it left behind in its group ends with it. */
        (void) child_kill(c, SIGKILL);
        c->pid = 0;
        *ret_status = status;
        return 1;
}

void child_done(Child *c) {
        c->in = fd_close(c->in);
        c->out = fd_close(c->out);
        c->err = fd_close(c->err);
        c->pidfd = fd_close(c->pidfd);
        if (c->pid > 0) {
                (void) child_kill(c, SIGKILL);
                (void) kill(c->pid, SIGKILL); /* before it had a group of its own */
                while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                c->pid = 0;
        }
}

/* Reads what is there into text. 1 while open, 0 at the end, negative errno. */
static int run_collect(int fd, StrBuf *text, size_t max) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 1 : -errno;
        if (n == 0)
                return 0;
        if (text->size + (size_t) n > max)
                return -EFBIG;
        strbuf_addn(text, chunk, (size_t) n);
        return text->broken ? -ENOMEM : 1;
}

/* Moves bytes until both outputs are closed and the process ended. */
static int run_pump(Child *c, const char *input, size_t max, int64_t until, StrBuf *out,
                    StrBuf *err, int *ret_status) {
        size_t left = input ? strlen(input) : 0;

        for (;;) {
                struct pollfd fds[4] = {
                        { .fd = c->in, .events = POLLOUT },
                        { .fd = c->out, .events = POLLIN },
                        { .fd = c->err, .events = POLLIN },
                        { .fd = c->pidfd, .events = POLLIN },
                };
                int64_t rest = until ? until - clock_boot_ms(&clock_system) : -1;
                int r;

                if (until && rest <= 0)
                        return -ETIMEDOUT;
                if (poll(fds, 4, rest > INT32_MAX ? INT32_MAX : (int) rest) < 0 && errno != EINTR)
                        return -errno;
                if (c->in >= 0 && (fds[0].revents || left == 0)) {
                        ssize_t n = left ? write(c->in, input, left) : 0;

                        if (n > 0) {
                                input += n;
                                left -= (size_t) n;
                        }
                        if (left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                                c->in = fd_close(c->in);
                }
                if (fds[1].revents) {
                        r = run_collect(c->out, out, max);
                        if (r < 0)
                                return r;
                        if (r == 0)
                                c->out = fd_close(c->out);
                }
                if (fds[2].revents) {
                        r = run_collect(c->err, err, max);
                        if (r < 0)
                                return r;
                        if (r == 0)
                                c->err = fd_close(c->err);
                }
                if (fds[3].revents && !fds[1].revents && !fds[2].revents)
                        return child_reap(c, ret_status) < 0 ? -ECHILD : 0;
        }
}

int child_run(char *const *argv, char *const *env, const char *input, size_t max, int timeout_ms,
              char **ret_out, char **ret_err, int *ret_status, Error *reterr) {
        return child_run_with(argv, env, 0, input, max, timeout_ms, ret_out, ret_err, ret_status,
                              reterr);
}

int child_run_with(char *const *argv, char *const *env, ChildFlags flags, const char *input,
                   size_t max, int timeout_ms, char **ret_out, char **ret_err, int *ret_status,
                   Error *reterr) {
        auto_cleanup(child_done) Child c = CHILD_NONE;
        auto_strbuf out = { 0 }, err = { 0 };
        struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
        auto_cleanup(freep) char *out_text = NULL, *err_text = NULL;
        int r;

        r = child_start(argv, env, flags | CHILD_IN | CHILD_OUT | CHILD_ERR, &c, reterr);
        if (r < 0)
                return r;
        sigaction(SIGPIPE, &ignore, &old);
        r = run_pump(&c, input, max, timeout_ms ? clock_boot_ms(&clock_system) + timeout_ms : 0,
                     &out, &err, ret_status);
        sigaction(SIGPIPE, &old, NULL);
        if (r == -ETIMEDOUT)
                return error_set(reterr, r, "'%s' did not end within %d ms", argv[0], timeout_ms);
        if (r == -EFBIG)
                return error_set(reterr, r, "'%s' wrote more than %zu bytes", argv[0], max);
        if (r < 0)
                return error_set(reterr, r, "'%s': %s", argv[0], strerror(-r));

        out_text = strbuf_take(&out);
        err_text = strbuf_take(&err);
        if (!out_text || !err_text)
                return -ENOMEM;
        if (ret_out)
                *ret_out = TAKE(out_text);
        if (ret_err)
                *ret_err = TAKE(err_text);
        return 0;
}

char *child_status_format(int status, char buf[static 64]) {
        if (WIFEXITED(status))
                snprintf(buf, 64, "exited with code %d", WEXITSTATUS(status));
        else if (WIFSIGNALED(status))
                snprintf(buf, 64, "was ended by signal %d (%s)", WTERMSIG(status),
                         strsignal(WTERMSIG(status)));
        else
                snprintf(buf, 64, "ended with status %#x", status);
        return buf;
}
