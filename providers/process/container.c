/* One container: started when those before it are far enough, started again when it ends. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/cgroup.h"
#include "providers/process/keeper.h"
#include "providers/process/launch.h"
#include "providers/process/sandbox.h"

const json_t *container_before(const Container *c) {
        return json_object_get(c->spec, "before");
}

static bool waits_complete(const Container *c) {
        const json_t *before;
        size_t i;

        json_array_foreach(container_before(c), i, before)
                if (streq_null(json_string_value(json_object_get(before, "ready")), "complete"))
                        return true;
        return false;
}

int container_init(Container *c, Keeper *k, unsigned index, Error *reterr) {
        const json_t *list = json_object_get(k->spec, "containers");

        *c = (Container){ .keeper = k,
                          .index = index,
                          .pidfd = -1,
                          .out = -1,
                          .err = -1,
                          .status = -1,
                          .started = -1,
                          .streams = { { .stream = 'o' }, { .stream = 'e' } },
                          .lines.fd = -1,
                          .spec = json_array_get(list, index) };
        c->name = json_string_value(json_object_get(c->spec, "name"));
        if (!c->name || !path_component_valid(c->name))
                return error_set(reterr, -EINVAL, "A container's name cannot be used");
        c->completes = k->role == KEEPER_BUILD || waits_complete(c);
        return lines_open(&c->lines, k->logs_fd, c->name, reterr);
}

static void container_close(Container *c) {
        c->pidfd = fd_close(c->pidfd);
        c->out = fd_close(c->out);
        c->err = fd_close(c->err);
        c->status = fd_close(c->status);
        c->started = fd_close(c->started);
}

void container_done(Container *c) {
        container_close(c);
        lines_flush(&c->lines, &c->streams[0]);
        lines_flush(&c->lines, &c->streams[1]);
        lines_close(&c->lines);
        strv_free(TAKE(c->procs));
}

bool container_alive(const Container *c) {
        return c->pid > 0 || c->init > 0;
}

/* Every container that says it comes before this one is as far as it says. */
static bool predecessors_passed(const Container *c) {
        const Keeper *k = c->keeper;

        for (size_t i = 0; i < k->n_containers; i++) {
                const Container *p = k->containers + i;
                const json_t *before;
                size_t j;

                json_array_foreach(container_before(p), j, before) {
                        const char *ready = json_string_value(json_object_get(before, "ready"));
                        const char *name = json_string_value(json_object_get(before, "container"));

                        if (!streq_null(name, c->name))
                                continue;
                        if (streq_null(ready, "complete")  ? p->state != CONTAINER_DONE
                            : streq_null(ready, "healthy") ? !p->healthy
                                                           : !p->running)
                                return false;
                }
        }
        return true;
}

static int limits_make(Container *c, Error *reterr) {
        const json_t *limits = json_object_get(c->spec, "limits");
        CgroupLimits wanted = {
                .cpu_milli = json_integer_value(json_object_get(limits, "cpu_milli")),
                .memory_bytes = json_integer_value(json_object_get(limits, "memory_bytes")),
                .pids = json_integer_value(json_object_get(c->keeper->spec, "pids")),
        };
        const char *uid = json_string_value(json_object_get(c->keeper->spec, "uid"));
        auto_cleanup(strv_freep) char **missing = NULL;
        auto_strbuf names = { 0 };
        auto_cleanup(freep) char *text = NULL;
        int r;

        c->limited = true;
        /* Joining a group waits for every processor of the machine, ten milliseconds and more; the number
         * of processes alone is limited without one. */
        if (wanted.cpu_milli <= 0 && wanted.memory_bytes <= 0)
                return 0;
        r = cgroup_make(uid, c->index, &wanted, &c->procs, &missing);
        for (char **m = missing; r == 0 && m && *m; m++)
                if (!streq(*m, "pids")) /* RLIMIT_NPROC does it */
                        strbuf_addf(&names, "%s%s", names.size ? ", " : "", *m);
        if (r < 0 || !names.size)
                return r;
        text = strbuf_take(&names);
        lines_say(&c->lines, "limits are not applied: this machine gives no control group for: %s",
                  text);
        if (text) {
                auto_cleanup(freep) char *note = str_format(
                        "limits are not applied: container '%s': no control group for: %s", c->name,
                        text);

                return note && !strv_contains(c->keeper->notes, note)
                               ? strv_add(&c->keeper->notes, note)
                               : 0;
        }
        return -ENOMEM;
}

static char **strings_of(const json_t *array) {
        char **v = calloc(json_array_size(array) + 1, sizeof(char *));

        for (size_t i = 0; v && i < json_array_size(array); i++) {
                const char *s = json_string_value(json_array_get(array, i));

                v[i] = strdup(s ? s : "");
                if (!v[i])
                        return strv_free(v);
        }
        return v;
}

/* What the container's programs are started with; for the probes and exec, with another argv. */
static int container_launch(const Container *c, Launch *ret) {
        const Keeper *k = c->keeper;
        const char *cwd = json_string_value(json_object_get(c->spec, "cwd"));

        *ret = (Launch){
                .uid = k->root ? json_integer_value(json_object_get(k->spec, "user")) : -1,
                .processes = json_integer_value(json_object_get(k->spec, "pids")),
                .cwd = strdup(cwd ? cwd : SANDBOX_APP),
                .argv = strings_of(json_object_get(c->spec, "argv")),
                .env = strings_of(json_object_get(c->spec, "env")),
        };
        /* With a control group the kernel counts exactly; the other count is per user. */
        if (c->procs && k->root)
                ret->processes = 0;
        return ret->cwd && ret->argv && ret->env ? 0 : -ENOMEM;
}

int container_record(const Container *c, int *ret_fd, Error *reterr) {
        auto_cleanup(launch_done) Launch l = { .uid = -1 };
        int r = container_launch(c, &l);

        return r < 0 ? r : launch_write(&l, ret_fd, reterr);
}

static int pipe_high(int *ret_read, int *ret_write) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        *ret_read = fds[0];
        *ret_write = fcntl(fds[1], F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        close(fds[1]);
        return *ret_write < 0 ? -errno : 0;
}

typedef struct Ends {
        int out, err, status, started, record;
} Ends;

static void ends_done(Ends *e) {
        closep(&e->out);
        closep(&e->err);
        closep(&e->status);
        closep(&e->started);
        closep(&e->record);
}

__attribute__((noreturn)) static void child_become(const Container *c, const Sandbox *s, Ends *e) {
        const Keeper *k = c->keeper;
        int null = open("/dev/null", O_RDONLY);
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        if (null < 0 || dup2(null, 0) < 0 || dup2(e->out, 1) < 0 || dup2(e->err, 2) < 0)
                _exit(126);
        for (char **p = c->procs; p && *p; p++) {
                int fd = open(*p, O_WRONLY | O_CLOEXEC);

                if (fd < 0 || write(fd, "0", 1) < 0) {
                        fprintf(stderr, "cannot join '%s': %s\n", *p, strerror(errno));
                        _exit(126);
                }
                close(fd);
        }
        if (k->netns_fd >= 0 && setns(k->netns_fd, CLONE_NEWNET) < 0) {
                fprintf(stderr, "cannot enter the network: %s\n", strerror(errno));
                _exit(126);
        }
        (void) fcntl(e->status, F_SETFD, 0);
        sandbox_exec(s, e->record, k->inside_fd, e->started);
}

static int container_prepare(Container *c, int status_fd, Sandbox *ret, Error *reterr) {
        const Keeper *k = c->keeper;
        const json_t *s = k->spec;
        auto_cleanup(freep) char *folder =
                str_format("%s/files/%s", json_string_value(json_object_get(s, "run")), c->name);
        SandboxSpec spec = {
                .bwrap = json_string_value(json_object_get(s, "bwrap")),
                .root = k->root,
                .uid = (uid_t) json_integer_value(json_object_get(s, "user")),
                .hostname = json_string_value(json_object_get(s, "hostname")),
                .siblings = json_object_get(s, "siblings"),
                .checkout = json_string_value(json_object_get(s, "checkout")),
                .checkout_writable = json_is_true(json_object_get(s, "checkout_writable")),
                .files = json_object_get(c->spec, "files"),
                .volumes = json_object_get(c->spec, "volumes"),
                .visible = json_object_get(s, "visible"),
                .host_network = json_is_true(json_object_get(s, "host_network")),
                .folder = folder,
                .status_fd = status_fd,
        };

        return folder ? sandbox_prepare(&spec, ret, reterr) : -ENOMEM;
}

static int container_start(Container *c, int64_t now, Error *reterr) {
        auto_cleanup(ends_done) Ends e = { -1, -1, -1, -1, -1 };
        auto_cleanup(sandbox_done) Sandbox sandbox = { 0 };
        int r = pipe_high(&c->out, &e.out), record = -1;

        if (r == 0)
                r = pipe_high(&c->err, &e.err);
        if (r == 0)
                r = pipe_high(&c->status, &e.status);
        if (r == 0)
                r = pipe_high(&c->started, &e.started);
        if (r == 0 && !c->limited)
                r = limits_make(c, reterr);
        if (r == 0)
                r = container_record(c, &record, reterr);
        if (r < 0)
                return r;
        e.record = fcntl(record, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        close(record);
        r = container_prepare(c, e.status, &sandbox, reterr);
        if (r < 0)
                return r;
        for (int *fd = (int[]){ c->out, c->err, c->status, c->started, -1 }; *fd >= 0; fd++)
                (void) fcntl(*fd, F_SETFL, O_NONBLOCK);

        c->pid = fork();
        if (c->pid == 0)
                child_become(c, &sandbox, &e);
        if (c->pid < 0) {
                c->pid = 0;
                return error_set(reterr, -errno, "Cannot fork: %s", strerror(errno));
        }
        c->state = CONTAINER_RUNNING;
        c->running = c->healthy = c->signalled = false;
        c->started_ms = now;
        c->next_start_ms = c->kill_ms = 0;
        c->status_text[0] = '\0';
        c->probe_next_ms = c->probe_delay_ms = 0;
        c->probe_failures = 0;
        return 0;
}

void container_kill(Container *c) {
        probe_cancel(c);
        if (c->init > 0)
                (void) kill(c->init, SIGKILL);
        if (c->pid > 0)
                (void) kill(c->pid, SIGKILL);
}

/* SIGTERM to every process of the container but bubblewrap, from within its process namespace. */
static void container_terminate(Container *c) {
        int flags = CLONE_NEWPID | (c->keeper->root ? 0 : CLONE_NEWUSER);
        pid_t pid;

        if (!c->running || c->pidfd < 0) {
                container_kill(c);
                return;
        }
        pid = fork();
        if (pid == 0) {
                if (setns(c->pidfd, flags) == 0) {
                        pid = fork();
                        if (pid == 0)
                                (void) kill(-1, SIGTERM);
                }
                _exit(0);
        }
        if (pid < 0)
                container_kill(c);
}

/* Those that started after this one have ended. */
static bool successors_ended(const Container *c) {
        const Keeper *k = c->keeper;
        const json_t *before;
        size_t i;

        json_array_foreach(container_before(c), i, before)
                for (size_t j = 0; j < k->n_containers; j++)
                        if (streq_null(json_string_value(json_object_get(before, "container")),
                                       k->containers[j].name) &&
                            container_alive(k->containers + j))
                                return false;
        return true;
}

static int64_t step_stopping(Container *c, int64_t now) {
        probe_cancel(c);
        if (!container_alive(c)) {
                c->state = CONTAINER_STOPPED;
                return 0;
        }
        if (!c->signalled) {
                if (!successors_ended(c))
                        return 0; /* their end wakes us */
                c->signalled = true;
                c->kill_ms = now + c->keeper->stop_timeout_ms;
                container_terminate(c);
        }
        if (c->kill_ms && now >= c->kill_ms) {
                lines_say(&c->lines, "ignored the request to end; killed");
                container_kill(c);
                c->kill_ms = 0;
        }
        return c->kill_ms;
}

int64_t container_step(Container *c, int64_t now) {
        auto_error error = { 0 };
        int r;

        if (c->keeper->state == KEEPER_STOPPING)
                return step_stopping(c, now);
        if (c->keeper->state == KEEPER_FAILED || c->state == CONTAINER_DONE)
                return 0;
        if (c->state == CONTAINER_WAITING) {
                if (now < c->next_start_ms)
                        return c->next_start_ms;
                if (!predecessors_passed(c))
                        return 0;
                r = container_start(c, now, &error);
                if (r < 0) {
                        container_close(c);
                        keeper_fail(c->keeper, r == -EINVAL ? "invalid" : "transient",
                                    "Container '%s' cannot be started: %s", c->name,
                                    error_text(&error, r));
                        return 0;
                }
        }
        return probe_step(c, now);
}

/* bubblewrap tells the pid of process 1 inside as JSON, in our process namespace. */
static void status_read(Container *c) {
        size_t used = strlen(c->status_text);
        ssize_t n = read(c->status, c->status_text + used, sizeof(c->status_text) - 1 - used);
        const char *at;

        if (n <= 0) {
                if (n == 0 || (errno != EAGAIN && errno != EINTR))
                        c->status = fd_close(c->status);
                return;
        }
        c->status_text[used + (size_t) n] = '\0';
        at = strstr(c->status_text, "\"child-pid\":");
        if (at && c->init == 0 && c->pid > 0) {
                c->init = atoi(at + strlen("\"child-pid\":"));
                c->pidfd = (int) syscall(SYS_pidfd_open, c->init, 0);
        }
        if (used + (size_t) n == sizeof(c->status_text) - 1)
                c->status = fd_close(c->status); /* no more is of interest */
}

void container_read(Container *c, int *fd) {
        char chunk[16384];
        ssize_t n;

        if (fd == &c->status) {
                status_read(c);
                return;
        }
        n = read(*fd, chunk, sizeof(chunk));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (fd == &c->started) {
                c->running = c->running || n > 0;
                *fd = fd_close(*fd);
        } else if (n > 0)
                lines_feed(&c->lines, &c->streams[fd == &c->err], chunk, (size_t) n);
        else
                *fd = fd_close(*fd);
}

/* Reads what is left in the pipes; a process that holds one open has been killed by now. */
static void container_drain(Container *c) {
        for (int i = 0; c->started >= 0 && i < 2; i++)
                container_read(c, &c->started);
        for (int i = 0; c->out >= 0 && i < 16; i++)
                container_read(c, &c->out);
        for (int i = 0; c->err >= 0 && i < 16; i++)
                container_read(c, &c->err);
        lines_flush(&c->lines, &c->streams[0]);
        lines_flush(&c->lines, &c->streams[1]);
        container_close(c);
}

static const char *exit_format(int status, char buf[static 96]) {
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

        if (code > 128 && code < 128 + NSIG)
                snprintf(buf, 96, "was ended by signal %d (%s)%s", code - 128,
                         strsignal(code - 128),
                         code - 128 == SIGKILL ? ", perhaps for its use of memory" : "");
        else
                snprintf(buf, 96, "exited with code %d", code);
        return buf;
}

static void fail_exit(Container *c, const char *what) {
        Keeper *k = c->keeper;
        auto_cleanup(freep) char *tail = NULL;

        (void) lines_tail_text(k->logs_fd, c->name, LIMIT_PROCESS_LOG_TAIL, "  ", &tail);
        keeper_fail(k, "invalid", "%s '%s' %s%s%s",
                    k->role == KEEPER_BUILD ? "The build of" : "Container",
                    k->role == KEEPER_BUILD
                            ? json_string_value(json_object_get(k->spec, "hostname"))
                            : c->name,
                    what, tail && *tail ? "; its last lines:\n" : " and wrote nothing",
                    tail ? tail : "");
}

/* Everything of the container has ended. */
static void container_ended(Container *c) {
        Keeper *k = c->keeper;
        char text[96];
        int64_t now = now_ms();
        bool clean = WIFEXITED(c->exit_status) && WEXITSTATUS(c->exit_status) == 0;
        int code = WIFEXITED(c->exit_status) ? WEXITSTATUS(c->exit_status) : -1;

        probe_cancel(c);
        container_drain(c);
        c->state = CONTAINER_WAITING;
        c->healthy = false;
        if (k->state == KEEPER_STOPPING || k->state == KEEPER_FAILED) {
                c->state = CONTAINER_STOPPED;
                return;
        }
        exit_format(c->exit_status, text);
        if (c->completes && clean && c->running) {
                c->state = CONTAINER_DONE;
                lines_say(&c->lines, "ended as it should");
                return;
        }
        if (k->state == KEEPER_STARTING &&
            (c->completes || !c->running || code == 126 || code == 127 ||
             ++c->quick_exits > LIMIT_PROCESS_QUICK_EXITS)) {
                fail_exit(c, text);
                return;
        }
        if (now - c->started_ms > LIMIT_PROCESS_RESTART_MAX_MS)
                c->delay_ms = 0;
        c->delay_ms = c->delay_ms ? c->delay_ms * 2 : LIMIT_PROCESS_RESTART_FIRST_MS;
        if (c->delay_ms > LIMIT_PROCESS_RESTART_MAX_MS)
                c->delay_ms = LIMIT_PROCESS_RESTART_MAX_MS;
        c->next_start_ms = now + c->delay_ms;
        c->running = false;
        c->restarts++;
        k->ports_open = false;
        k->ports_next_ms = k->ports_delay_ms = 0;
        lines_say(&c->lines, "%s; starts again in %lld ms", text, (long long) c->delay_ms);
        if (k->state == KEEPER_READY)
                keeper_move(k, KEEPER_UNREADY);
}

bool container_on_exit(Container *c, pid_t pid, int status) {
        if (pid == c->probe) {
                c->probe = 0;
                probe_on_exit(c, status);
                return true;
        }
        if (pid == c->pid) {
                if (c->status >= 0 && c->init == 0)
                        status_read(c); /* it may have ended before we looked */
                c->pid = 0;
                c->exit_status = status;
                /* What bubblewrap leaves behind is our child now; what it has reaped is gone. */
                if (c->init > 0 && kill(c->init, SIGKILL) < 0 && errno == ESRCH)
                        c->init = 0;
        } else if (pid == c->init)
                c->init = 0;
        else
                return false;
        if (!container_alive(c))
                container_ended(c);
        return true;
}
