#include "orchestrator/cli/provider-call.h"

#include <ctype.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/child.h"

DEFINE_CLEANUP(DIR *, closedir)

static const char *const classes[] = { "invalid",   "denied",        "gone",
                                       "conflict",  "dependency",    "throttled",
                                       "transient", "unrecoverable", NULL };

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
        free(answer->fault);
        *answer = (Answer){ 0 };
}

const char *answer_class(const Answer *answer) {
        const char *class = json_string_value(json_object_get(answer->error, "class"));

        return class ? class : "";
}

char *answer_words(const Answer *answer, char *buf) {
        const char *message = json_string_value(json_object_get(answer->error, "message"));
        char how[64];

        if (answer->fault)
                snprintf(buf, 256, "%s", answer->fault);
        else if (answer->error)
                snprintf(buf, 256, "%s: %s", answer_class(answer), message ? message : "");
        else if (answer->result)
                snprintf(buf, 256, "a result");
        else
                snprintf(buf, 256, "no answer; it %s", child_status_format(answer->status, how));
        return buf;
}

static void fault_set(Answer *answer, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault_set(Answer *answer, const char *fmt, ...) {
        auto_strbuf text = { 0 };
        va_list args;

        if (answer->fault)
                return;
        va_start(args, fmt);
        strbuf_addv(&text, fmt, args);
        va_end(args);
        answer->fault = strbuf_take(&text);
}

static void error_check(Answer *answer) {
        const char *message = json_string_value(json_object_get(answer->error, "message"));

        if (!strv_contains((char *const *) classes, answer_class(answer)))
                fault_set(answer, "an error of the unknown class '%s'", answer_class(answer));
        if (!message || !*message)
                fault_set(answer, "an error without a message");
}

static void line_read(Answer *answer, const char *line, size_t size) {
        json_auto_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
        json_t *item = json_object_get(object, "item"), *result = json_object_get(object, "result"),
               *error = json_object_get(object, "error");

        if (answer->result || answer->error)
                fault_set(answer, "a line after the answer");
        if (size > LIMIT_PROVIDER_LINE_BYTES)
                fault_set(answer, "a line longer than %d bytes", LIMIT_PROVIDER_LINE_BYTES);
        if (!json_is_object(object)) {
                fault_set(answer, "a line that is no JSON object: '%.*s'",
                          (int) (size > 60 ? 60 : size), line);
                return;
        }
        if (!!item + !!result + !!error + !!json_object_get(object, "log") +
                    !!json_object_get(object, "progress") !=
            1)
                fault_set(answer,
                          "a line that is not one of log, progress, item, result and error");
        if (!result) {
                strbuf_addn(&answer->words, line, size);
                strbuf_addc(&answer->words, '\n');
        }
        if (item)
                json_array_append(answer->items, item);
        if (json_is_object(result) && !answer->result)
                answer->result = json_incref(result);
        if (json_is_object(error) && !answer->error) {
                answer->error = json_incref(error);
                error_check(answer);
        }
}

/* Form is demanded of an answer that nobody interrupted. */
static void lines_read(Answer *answer, const StrBuf *out) {
        const char *at = out->text, *end = out->text + out->size;

        while (at && at < end) {
                const char *newline = memchr(at, '\n', (size_t) (end - at));

                if (!newline && answer->interrupted)
                        return;
                if (!newline)
                        fault_set(answer, "a last line without a newline");
                if (!newline)
                        newline = end;
                if (newline > at)
                        line_read(answer, at, (size_t) (newline - at));
                at = newline + 1;
        }
        if (answer->interrupted || answer->overdue)
                return;
        if (!answer->result && !answer->error)
                fault_set(answer, "no answer");
        if (answer->status != 0) {
                char how[64];

                fault_set(answer, "it %s", child_status_format(answer->status, how));
        }
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
                fault_set(answer, "it wrote more than %zu bytes", max);
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

static int wait_time(const Running *run, int64_t now_ms) {
        int64_t until = run->until_ms;

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

                interrupt_maybe(run, now_ms);
                fds[1].fd = run->child.out;
                if (now_ms >= run->until_ms) {
                        run->answer->overdue = true;
                        return;
                }
                if (poll(fds, N_ELEMENTS(fds), wait_time(run, now_ms)) <= 0)
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

/* A process other than the leader whose process group is pid; 0 when there is none. */
static int group_remnant(pid_t group) {
        auto_cleanup(closedirp) DIR *dir = opendir("/proc");
        struct dirent *entry;

        while (dir && (entry = readdir(dir))) {
                auto_cleanup(freep) char *path = NULL, *text = NULL;
                const char *rest;
                char state;
                int pgrp;

                if (!isdigit((unsigned char) *entry->d_name) || atoi(entry->d_name) == group)
                        continue;
                path = str_format("/proc/%s/stat", entry->d_name);
                if (!path || read_file(path, 4096, &text, NULL, NULL) < 0)
                        continue;
                rest = strrchr(text, ')');
                if (rest && sscanf(rest + 1, " %c %*d %d", &state, &pgrp) == 2 && pgrp == group &&
                    state != 'Z')
                        return atoi(entry->d_name);
        }
        return 0;
}

/* What was told to end with its leader gets the time for it that the daemon gives. */
static int group_outlived(pid_t group) {
        const struct timespec pause = { .tv_nsec = 10000000 };
        int64_t until = clock_boot_ms(&clock_system) + LIMIT_PROVIDER_GRACE_MS;
        int pid;

        while ((pid = group_remnant(group)) && clock_boot_ms(&clock_system) < until)
                nanosleep(&pause, NULL);
        return pid;
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
        if (interrupt.signal == SIGTERM)
                ret->left_behind = group_outlived(run.child.pid);
        (void) child_reap(&run.child, &ret->status); /* an overdue one is killed below */
        child_done(&run.child);

        ret->n_bytes = run.out.size;
        lines_read(ret, &run.out);
        if (run.err.size > 0)
                strbuf_addn(&ret->words, run.err.text, run.err.size);
        strbuf_done(&run.out);
        strbuf_done(&run.err);
        if (ret->overdue)
                fault_set(ret, "it did not end within %lld ms", (long long) patience_ms);
        return 0;
}
