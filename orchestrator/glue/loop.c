#include "orchestrator/glue/loop.h"

#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

struct Loop {
        sd_event *event;
};

struct LoopSource {
        sd_event_source *source;
        union {
                LoopIoFunc io;
                LoopFunc plain;
                LoopSignalFunc signal;
        } func;
        void *userdata;
};

int loop_new(Loop **ret, Error *reterr) {
        auto_cleanup(loop_freep) Loop *loop = calloc(1, sizeof(Loop));
        int r;

        if (!loop)
                return -ENOMEM;
        r = sd_event_new(&loop->event);
        if (r < 0)
                return error_set(reterr, r, "Cannot make an event loop: %s", strerror(-r));
        *ret = TAKE(loop);
        return 0;
}

Loop *loop_free(Loop *loop) {
        if (!loop)
                return NULL;
        sd_event_unref(loop->event);
        free(loop);
        return NULL;
}

int loop_run(Loop *loop, Error *reterr) {
        int r = sd_event_loop(loop->event);

        return r < 0 ? error_set(reterr, r, "The event loop failed: %s", strerror(-r)) : r;
}

void loop_exit(Loop *loop, int code) {
        (void) sd_event_exit(loop->event, code); /* fails only when it is already exiting */
}

LoopSource *loop_source_free(LoopSource *source) {
        if (!source)
                return NULL;
        sd_event_source_disable_unref(source->source);
        free(source);
        return NULL;
}

/* Common end of every loop_add_...: names the source and hands it over. */
static int source_finish(LoopSource *source, int r, const char *description, LoopSource **ret,
                         Error *reterr) {
        if (r >= 0)
                r = sd_event_source_set_description(source->source, description);
        if (r < 0) {
                loop_source_free(source);
                return error_set(reterr, r, "Cannot watch %s: %s", description, strerror(-r));
        }
        *ret = source;
        return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *userdata) {
        LoopSource *source = userdata;

        source->func.io(source->userdata, fd, events);
        return 0;
}

int loop_add_io(Loop *loop, int fd, uint32_t events, const char *description, LoopIoFunc func,
                void *userdata, LoopSource **ret, Error *reterr) {
        LoopSource *source = calloc(1, sizeof(LoopSource));

        if (!source)
                return -ENOMEM;
        source->func.io = func;
        source->userdata = userdata;
        return source_finish(
                source, sd_event_add_io(loop->event, &source->source, fd, events, on_io, source),
                description, ret, reterr);
}

int loop_source_set_events(LoopSource *source, uint32_t events) {
        return sd_event_source_set_io_events(source->source, events);
}

int loop_source_set_background(LoopSource *source) {
        return sd_event_source_set_priority(source->source, SD_EVENT_PRIORITY_IDLE + 10);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        LoopSource *source = userdata;

        source->func.plain(source->userdata);
        return 0;
}

int loop_add_timer(Loop *loop, const char *description, LoopFunc func, void *userdata,
                   LoopSource **ret, Error *reterr) {
        LoopSource *source = calloc(1, sizeof(LoopSource));
        int r;

        if (!source)
                return -ENOMEM;
        source->func.plain = func;
        source->userdata = userdata;
        r = sd_event_add_time(loop->event, &source->source, CLOCK_BOOTTIME, 0, 1, on_timer, source);
        if (r >= 0)
                r = sd_event_source_set_enabled(source->source, SD_EVENT_OFF);
        return source_finish(source, r, description, ret, reterr);
}

int loop_timer_arm(LoopSource *timer, uint64_t boot_usec) {
        int r = sd_event_source_set_time(timer->source, boot_usec);

        return r < 0 ? r : sd_event_source_set_enabled(timer->source, SD_EVENT_ONESHOT);
}

int loop_timer_arm_after(LoopSource *timer, uint64_t usec) {
        return loop_timer_arm(timer, loop_boot_usec() + usec);
}

void loop_timer_disarm(LoopSource *timer) {
        if (timer)
                (void) sd_event_source_set_enabled(timer->source, SD_EVENT_OFF);
}

uint64_t loop_boot_usec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int on_turn_end(sd_event_source *s, void *userdata) {
        LoopSource *source = userdata;

        source->func.plain(source->userdata);
        return 0;
}

int loop_add_turn_end(Loop *loop, const char *description, LoopFunc func, void *userdata,
                      LoopSource **ret, Error *reterr) {
        LoopSource *source = calloc(1, sizeof(LoopSource));
        int r;

        if (!source)
                return -ENOMEM;
        source->func.plain = func;
        source->userdata = userdata;
        r = sd_event_add_defer(loop->event, &source->source, on_turn_end, source);
        if (r >= 0)
                r = sd_event_source_set_priority(source->source, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_source_set_enabled(source->source, SD_EVENT_OFF);
        return source_finish(source, r, description, ret, reterr);
}

int loop_turn_end_set(LoopSource *source) {
        return sd_event_source_set_enabled(source->source, SD_EVENT_ONESHOT);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata) {
        LoopSource *source = userdata;

        source->func.signal(source->userdata, (int) info->ssi_signo);
        return 0;
}

int loop_add_signal(Loop *loop, int signal, LoopSignalFunc func, void *userdata, LoopSource **ret,
                    Error *reterr) {
        LoopSource *source;
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, signal);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return error_set(reterr, -errno, "Cannot block a signal: %s", strerror(errno));
        source = calloc(1, sizeof(LoopSource));
        if (!source)
                return -ENOMEM;
        source->func.signal = func;
        source->userdata = userdata;
        return source_finish(
                source,
                sd_event_add_signal(loop->event, &source->source, signal, on_signal, source),
                strsignal(signal), ret, reterr);
}

int loop_enable_watchdog(Loop *loop) {
        int r = sd_event_set_watchdog(loop->event, 1);

        return r < 0 ? r : 0;
}

void loop_notify(const char *state) {
        (void) sd_notify(0, state); /* no service manager is a normal case */
}

int loop_listen_fds(void) {
        return sd_listen_fds(1);
}
