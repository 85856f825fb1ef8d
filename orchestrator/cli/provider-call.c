#include "orchestrator/cli/provider-call.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/child.h"

DEFINE_CLEANUP(DIR *, closedir)

/* Set by a signal, for the length of the program; looked at between two waits. */
static volatile sig_atomic_t stop_asked;
static bool stop_ignored;
static sigset_t while_waiting;

static void on_stop(int number) {
        stop_asked = number;
}

void calls_prepare(void) {
        static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
        struct sigaction action = { .sa_handler = on_stop };
        sigset_t held;

        sigemptyset(&held);
        for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
                sigaddset(&held, ends[i]);
                sigaction(ends[i], &action, NULL);
        }
        sigprocmask(SIG_BLOCK, &held, &while_waiting); /* they come while a call is waited for */
        /* What a provider leaves behind becomes ours, and is found. */
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
}

bool calls_stopped(void) {
        sigset_t pending;

        if (!stop_asked && sigpending(&pending) == 0 &&
            (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1 ||
             sigismember(&pending, SIGHUP) == 1))
                stop_asked = SIGINT;
        return stop_asked && !stop_ignored;
}

void calls_for_cleaning(void) {
        stop_ignored = true;
}

/* For what a call has started to end after it, when nobody asked it to: the daemon kills it at once. */
#define REMNANT_MS 100

typedef struct Running {
        Child child;
        const char *input;
        size_t n_input;
        StrBuf out, err;
        Interrupt interrupt;
        int64_t started_ms, until_ms;
        Answer *answer;
} Running;

void answer_done(Answer *answer) {
        json_decref(answer->items);
        json_decref(answer->result);
        json_decref(answer->error);
        strbuf_done(&answer->words);
        strbuf_done(&answer->states);
        free(answer->fault);
        *answer = (Answer){ 0 };
}

static void collect(int *fd, StrBuf *text, size_t max, Answer *answer) {
        char chunk[16384];
        ssize_t n = read(*fd, chunk, sizeof(chunk));

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n > 0 && text->size + (size_t) n <= max) {
                strbuf_addn(text, chunk, (size_t) n);
                return;
        }
        if (n > 0)
                answer_fault(answer, "it wrote more than %zu bytes", max);
        *fd = fd_close(*fd);
}

static void interrupt_maybe(Running *run, int64_t now_ms) {
        const Interrupt *i = &run->interrupt;

        if (run->answer->interrupted ||
            !((i->at_byte >= 0 && run->out.size >= (size_t) i->at_byte) ||
              (i->at_ms >= 0 && now_ms - run->started_ms >= i->at_ms)))
                return;
        run->answer->interrupted = true;
        if (i->signal)
                (void) child_kill(&run->child, i->signal);
        else
                run->child.out = fd_close(run->child.out);
}

/* As the daemon ends a call: SIGTERM to the group, and a little time. */
static void stop_maybe(Running *run, int64_t now_ms) {
        if (run->answer->stopped || !calls_stopped())
                return;
        run->answer->stopped = true;
        (void) child_kill(&run->child, SIGTERM);
        if (run->until_ms > now_ms + LIMIT_PROVIDER_GRACE_MS)
                run->until_ms = now_ms + LIMIT_PROVIDER_GRACE_MS;
}

/* Ended children that are not the call's: what it had left behind. Somebody may wait for them to go. */
static void orphans_reap(pid_t except) {
        siginfo_t info = { 0 };

        while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0 &&
               info.si_pid != except) {
                (void) waitpid(info.si_pid, NULL, WNOHANG);
                info.si_pid = 0;
        }
}

/* Waits in short steps, so that orphans do not stay zombies for long. */
static int wait_time(const Running *run, int64_t now_ms) {
        int64_t until = run->until_ms < now_ms + 100 ? run->until_ms : now_ms + 100;

        if (!run->answer->interrupted && run->interrupt.at_ms >= 0 &&
            run->started_ms + run->interrupt.at_ms < until)
                until = run->started_ms + run->interrupt.at_ms;
        return until > now_ms ? (int) (until - now_ms) : 0;
}

/* Bytes of the answer are taken one at a time while an interrupt counts them. */
static void out_read(Running *run) {
        ssize_t n;
        char byte;

        if (run->interrupt.at_byte < 0 || run->answer->interrupted) {
                collect(&run->child.out, &run->out, LIMIT_PROVIDER_REPLY_BYTES, run->answer);
                return;
        }
        n = read(run->child.out, &byte, 1);
        if (n == 1)
                strbuf_addc(&run->out, byte);
        else if (n == 0 || errno != EAGAIN)
                run->child.out = fd_close(run->child.out);
}

static void input_write(Running *run) {
        ssize_t n = run->n_input ? write(run->child.in, run->input, run->n_input) : 0;

        if (n > 0) {
                run->input += n;
                run->n_input -= (size_t) n;
        }
        if (run->n_input == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
                run->child.in = fd_close(run->child.in);
}

static void pump(Running *run) {
        for (;;) {
                struct pollfd fds[4] = {
                        { .fd = run->child.in, .events = POLLOUT },
                        { .fd = run->child.out, .events = POLLIN },
                        { .fd = run->child.err, .events = POLLIN },
                        { .fd = run->child.pidfd, .events = POLLIN },
                };
                int64_t now_ms = clock_boot_ms(&clock_system);
                struct timespec timeout;
                int wait_ms;

                interrupt_maybe(run, now_ms);
                stop_maybe(run, now_ms);
                orphans_reap(run->child.pid);
                fds[1].fd = run->child.out;
                if (now_ms >= run->until_ms) {
                        run->answer->overdue = !run->answer->stopped;
                        return;
                }
                wait_ms = wait_time(run, now_ms);
                timeout = (struct timespec){ .tv_nsec = wait_ms * 1000000L };
                if (ppoll(fds, N_ELEMENTS(fds), &timeout, &while_waiting) <= 0)
                        continue;
                if (fds[0].revents)
                        input_write(run);
                if (fds[1].revents)
                        out_read(run);
                if (fds[2].revents)
                        collect(&run->child.err, &run->err, LIMIT_PROVIDER_STDERR_BYTES,
                                run->answer);
                if (fds[3].revents && !fds[1].revents && !fds[2].revents)
                        return;
        }
}

/* A process of this group other than its leader, or (group 0) a child of ours; 0 when there is none. */
static int process_find(pid_t group) {
        auto_cleanup(closedirp) DIR *dir = opendir("/proc");
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                auto_cleanup(freep) char *path = NULL, *text = NULL;
                const char *rest;
                char state;
                int pgrp, parent;

                if (!isdigit((unsigned char) *entry->d_name) || atoi(entry->d_name) == group)
                        continue;
                path = str_format("/proc/%s/stat", entry->d_name);
                if (!path || read_file(path, 4096, &text, NULL, NULL) < 0)
                        continue;
                rest = strrchr(text, ')');
                if (rest && sscanf(rest + 1, " %c %d %d", &state, &parent, &pgrp) == 3 &&
                    (group ? pgrp == group : parent == getpid()) && state != 'Z')
                        return atoi(entry->d_name);
        }
        return 0;
}

/* What was told to end with its leader gets the time for it that the daemon gives. */
static int outlived(pid_t group, int64_t patience_ms) {
        const struct timespec pause = { .tv_nsec = 10000000 };
        int64_t until = clock_boot_ms(&clock_system) + patience_ms;
        int pid;

        while ((pid = process_find(group)) && clock_boot_ms(&clock_system) < until) {
                orphans_reap(group);
                nanosleep(&pause, NULL);
        }
        return pid;
}

int calls_left_behind(void) {
        orphans_reap(0);
        return outlived(0, LIMIT_PROVIDER_GRACE_MS);
}

int provider_call(const char *program, const char *text, size_t size, Interrupt interrupt,
                  int64_t patience_ms, Answer *ret, Error *reterr) {
        char *argv[] = { (char *) program, NULL };
        Running run = { .child = CHILD_NONE,
                        .input = text,
                        .n_input = size,
                        .interrupt = interrupt,
                        .answer = ret };
        int r;

        *ret = (Answer){ .items = json_array() };
        if (!ret->items)
                return -ENOMEM;
        r = child_start(argv, NULL, CHILD_IN | CHILD_OUT | CHILD_ERR, &run.child, reterr);
        if (r < 0)
                return r;
        run.started_ms = clock_boot_ms(&clock_system);
        run.until_ms = run.started_ms + patience_ms;
        pump(&run);
        ret->took_ms = clock_boot_ms(&clock_system) - run.started_ms;
        if (!ret->overdue && !ret->stopped && interrupt.signal != SIGKILL)
                ret->left_behind = outlived(run.child.pid, interrupt.signal == SIGTERM
                                                                   ? LIMIT_PROVIDER_GRACE_MS
                                                                   : REMNANT_MS);
        (void) child_reap(&run.child, &ret->status); /* an overdue one is killed below */
        child_done(&run.child);

        ret->n_bytes = run.out.size;
        answer_read(ret, &run.out);
        if (run.err.size > 0)
                strbuf_addn(&ret->words, run.err.text, run.err.size);
        strbuf_done(&run.out);
        strbuf_done(&run.err);
        if (ret->stopped)
                answer_fault(ret, "it was ended, as the check was");
        if (ret->left_behind && !interrupt.signal)
                answer_fault(ret, "it left process %d of its group behind", ret->left_behind);
        if (ret->overdue)
                answer_fault(ret, "it did not end within %lld ms", (long long) patience_ms);
        return 0;
}
