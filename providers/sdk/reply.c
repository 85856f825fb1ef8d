/* Standard output of a provider. Every line is one write of a whole object, with the deadline's signal
 * held back, so that the last line of an overdue call never lands inside another one. */
#include "providers/sdk/reply.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

/* One process answers one call, so what it said so far is the state of the process. */
static struct { bool ended, item_lost; } output;

static const char *const class_names[] = {
        [SDK_OK] = "unrecoverable", /* no class for a failure is a fault of the program */
        [SDK_INVALID] = "invalid",
        [SDK_DENIED] = "denied",
        [SDK_GONE] = "gone",
        [SDK_CONFLICT] = "conflict",
        [SDK_DEPENDENCY] = "dependency",
        [SDK_THROTTLED] = "throttled",
        [SDK_TRANSIENT] = "transient",
        [SDK_UNRECOVERABLE] = "unrecoverable",
};

json_t *reply_text(const char *s) {
        auto_cleanup(freep) char *copy = strdup(s);
        json_t *text = copy ? json_string(copy) : NULL;

        if (text || !copy)
                return text;
        for (char *c = copy; *c; c++)
                if ((unsigned char) *c >= 0x80)
                        *c = '?';
        return json_string(copy);
}

static int reply_write(const char *text, size_t size) {
        sigset_t alarm_only, old;
        int r;

        sigemptyset(&alarm_only);
        sigaddset(&alarm_only, SIGALRM);
        sigprocmask(SIG_BLOCK, &alarm_only, &old);
        r = output.ended ? -ESHUTDOWN : write_all(STDOUT_FILENO, text, size);
        sigprocmask(SIG_SETMASK, &old, NULL);
        return r;
}

int reply_line(json_t *object) {
        json_auto_t *owned = object;
        auto_cleanup(freep) char *text = NULL;
        char *grown;
        size_t size;

        text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        size = strlen(text);
        if (size + 1 > LIMIT_PROVIDER_LINE_BYTES)
                return -E2BIG;
        grown = realloc(text, size + 2);
        if (!grown)
                return -ENOMEM;
        text = grown;
        text[size++] = '\n';
        text[size] = 0;
        return reply_write(text, size);
}

/* The last resort needs no memory. */
static void reply_last_line(const char *line) {
        (void) !reply_write(line, strlen(line)); /* nobody is left to be told */
        output.ended = true;
}

void reply_error(SdkClass class, const char *message, int64_t retry_after_ms, const json_t *did) {
        json_auto_t *error =
                json_pack("{s:s, s:o, s:O*, s:O*}", "class", class_names[class], "message",
                          reply_text(message), "removed", json_object_get(did, "removed"), "absent",
                          json_object_get(did, "absent"));
        int r;

        if (error && retry_after_ms > 0)
                json_object_set_new(error, "retry_after_ms", json_integer(retry_after_ms));
        r = reply_line(error ? json_pack("{s:O}", "error", error) : NULL);
        if (r == -E2BIG) {
                (void) json_object_del(error, "removed"); /* the message is bounded by itself */
                (void) json_object_del(error, "absent");
                r = reply_line(json_pack("{s:O}", "error", error));
        }
        if (r < 0)
                reply_last_line("{\"error\":{\"class\":\"transient\",\"message\":\"The answer "
                                "could not be written\"}}\n");
        output.ended = true;
}

void reply_result(json_t *result) {
        int r = reply_line(result ? json_pack("{s:o}", "result", result) : NULL);

        if (r == -E2BIG)
                reply_last_line(
                        "{\"error\":{\"class\":\"unrecoverable\",\"message\":\"The answer is "
                        "longer than a line of the protocol may be\"}}\n");
        else if (r < 0)
                reply_last_line(
                        "{\"error\":{\"class\":\"transient\",\"message\":\"The answer could "
                        "not be written\"}}\n");
        output.ended = true;
}

bool reply_item_lost(void) {
        return output.item_lost;
}

void sdk_log(const char *fmt, ...) {
        auto_strbuf text = { 0 };
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&text, fmt, args);
        va_end(args);
        if (text.broken || !text.text)
                return;
        if (text.size > LIMIT_EVENT_TEXT_BYTES)
                text.text[LIMIT_EVENT_TEXT_BYTES] = 0;
        (void) reply_line(json_pack("{s:o}", "log", reply_text(text.text))); /* words only */
}

void sdk_progress(int64_t done, int64_t total, const char *text) {
        (void) reply_line(json_pack("{s:{s:I, s:I, s:o}}", "progress", "done", (json_int_t) done,
                                    "total", (json_int_t) total, "text", reply_text(text)));
}

void sdk_item(json_t *item) {
        if (reply_line(json_pack("{s:o}", "item", item)) < 0)
                output.item_lost = true;
}

/* What was started in our group ends with us; a keeper has a session of its own by then. */
static void on_deadline(int signal_number) {
        static const char line[] =
                "{\"error\":{\"class\":\"transient\",\"message\":\"The deadline of "
                "the call passed\"}}\n";

        if (!output.ended)
                (void) !write(STDOUT_FILENO, line, sizeof(line) - 1);
        if (getpgrp() == getpid()) {
                signal(SIGTERM, SIG_IGN);
                kill(0, SIGTERM);
        }
        _exit(0);
}

void reply_arm_deadline(int64_t ms) {
        struct sigaction action = { .sa_handler = on_deadline, .sa_flags = SA_RESTART };
        struct itimerval timer = {
                .it_value = { .tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000 },
        };

        if (ms <= 0)
                return;
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &timer, NULL);
}
