/* Starting a keeper: out of the provider's session and process group, as process 1 of a new process
 * namespace, with nothing inherited but what run.h and keeper.h say. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/keeper.h"
#include "providers/process/run.h"

/* What a failed child tells through the report pipe. */
typedef struct Report {
        int code;
        char step[60];
} Report;

typedef struct Spawn {
        const KeeperPlan *plan;
        const char *program;
        const char *marker;
        int spec, log, boot, run, lock, null, report;
} Spawn;

__attribute__((noreturn)) static void spawn_fail(const Spawn *s, const char *step) {
        Report report = { .code = -errno };

        snprintf(report.step, sizeof(report.step), "%s", step);
        (void) !write(s->report, &report, sizeof(report));
        _exit(1);
}

static int text_write(const char *path, const char *text) {
        auto_cleanup(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd < 0 ? -errno : write_all(fd, text, strlen(text));
}

/* A user namespace in which we are root, and a network of its own. */
static void namespaces_make(const Spawn *s) {
        unsigned uid = geteuid(), gid = getegid();
        char map[64];

        if (unshare(CLONE_NEWUSER) < 0)
                spawn_fail(s, "make a user namespace");
        (void) text_write("/proc/self/setgroups", "deny");
        snprintf(map, sizeof(map), "0 %u 1", uid);
        if (text_write("/proc/self/uid_map", map) < 0)
                spawn_fail(s, "map the user");
        snprintf(map, sizeof(map), "0 %u 1", gid);
        if (text_write("/proc/self/gid_map", map) < 0)
                spawn_fail(s, "map the group");
        if (unshare(CLONE_NEWNET) < 0)
                spawn_fail(s, "make a network namespace");
}

__attribute__((noreturn)) static void keeper_exec(const Spawn *s) {
        const KeeperPlan *p = s->plan;
        int fds[KEEPER_FD_LISTENERS + LIMIT_PROCESS_PORTS] = {
                s->spec,
                s->log,
                s->log,
                s->boot,
                s->run,
                s->lock,
                p->netns_fd < 0 ? s->null : p->netns_fd
        };
        size_t n = KEEPER_FD_LISTENERS + p->n_listeners;
        char *argv[] = { (char *) "mayfly-keeper", (char *) s->marker, NULL };
        char *env[] = { (char *) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *) "LANG=C.UTF-8",
                        NULL };
        int report;

        memcpy(fds + KEEPER_FD_LISTENERS, p->listeners, p->n_listeners * sizeof(int));
        /* First out of the way, then into place. */
        for (size_t i = 0; i < n; i++) {
                fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, (int) N_ELEMENTS(fds));
                if (fds[i] < 0)
                        spawn_fail(s, "arrange descriptors");
        }
        report = fcntl(s->report, F_DUPFD_CLOEXEC, (int) N_ELEMENTS(fds));
        for (size_t i = 0; i < n; i++)
                if (dup2(fds[i], (int) i) < 0)
                        spawn_fail(s, "arrange descriptors");
        (void) syscall(SYS_close_range, (unsigned) n, ~0U, CLOSE_RANGE_CLOEXEC);
        setsid();
        (void) !chdir("/"); /* wherever we are, it is not a folder that must go */
        execve(s->program, argv, env);
        spawn_fail(&(Spawn){ .report = report }, "run mayfly-keeper");
}

/* The middle process: into the namespaces, then on to process 1 of the new one. */
__attribute__((noreturn)) static void middle_run(const Spawn *s) {
        sigset_t none;
        pid_t pid;

        setsid();
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        for (int i = 1; i < 32; i++)
                signal(i, SIG_DFL);
        if (s->plan->holds)
                namespaces_make(s);
        if (s->plan->holder_pidfd >= 0 &&
            setns(s->plan->holder_pidfd,
                  CLONE_NEWUSER | (s->plan->host_network ? 0 : CLONE_NEWNET)) < 0)
                spawn_fail(s, "enter the network's namespaces");
        if (unshare(CLONE_NEWPID) < 0)
                spawn_fail(s, "make a process namespace");
        pid = fork();
        if (pid < 0)
                spawn_fail(s, "fork");
        if (pid == 0)
                keeper_exec(s);
        _exit(0);
}

static int spec_file(const json_t *spec, int *ret_fd, Error *reterr) {
        auto_cleanup(freep) char *text = json_dumps(spec, JSON_COMPACT);
        auto_cleanup(closep) int fd = memfd_create("spec", MFD_CLOEXEC);

        if (!text)
                return -ENOMEM;
        if (fd < 0 || write_all(fd, text, strlen(text)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
                return error_set(reterr, -EIO, "Cannot make a memory file: %s", strerror(errno));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int spawn_wait(pid_t pid, int report_fd, Error *reterr) {
        Report report = { 0 };
        ssize_t n;

        do
                n = read(report_fd, &report, sizeof(report));
        while (n < 0 && errno == EINTR);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        if (n == 0)
                return 0;
        return error_set(reterr, report.code < 0 ? report.code : -EIO, "Cannot %s: %s",
                         n == sizeof(report) ? report.step : "start the keeper",
                         strerror(-report.code));
}

int keeper_spawn(const Run *run, const KeeperPlan *plan, int lock_fd, int *ret_fd, Error *reterr) {
        auto_cleanup(freep) char *program = NULL;
        auto_cleanup(closep) int spec = -1, log = -1, ours = -1, theirs = -1, dir = -1, null = -1,
                                 report = -1, reports = -1;
        int pair[2], pipes[2], r;
        pid_t pid;

        r = program_beside("mayfly-keeper", &program, reterr);
        if (r == 0)
                r = spec_file(plan->spec, &spec, reterr);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        report = pipes[0];
        reports = pipes[1];
        log = openat(run->dir_fd, "keeper.log",
                     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        /* Another opening: locks belong to openings. */
        dir = openat(run->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (log < 0 || dir < 0 || null < 0)
                return error_set(reterr, -errno, "Cannot open a file for the keeper: %s",
                                 strerror(errno));

        pid = fork();
        if (pid == 0) {
                Spawn s = { .plan = plan,
                            .program = program,
                            .marker = run->call->marker,
                            .spec = spec,
                            .log = log,
                            .boot = theirs,
                            .run = dir,
                            .lock = lock_fd,
                            .null = null,
                            .report = reports };

                middle_run(&s);
        }
        if (pid < 0)
                return error_set(reterr, -errno, "Cannot fork: %s", strerror(errno));
        reports = fd_close(reports);
        theirs = fd_close(theirs);
        r = spawn_wait(pid, report, reterr);
        if (r < 0)
                return r;
        crash_point("process.spawned");
        *ret_fd = TAKE_FD(ours);
        return 0;
}
