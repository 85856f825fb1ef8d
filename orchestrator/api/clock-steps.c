#include "orchestrator/api/clock-steps.h"

#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include "orchestrator/base/log.h"

/* The timer itself is set so far ahead that it never fires; its cancellation is the message. */
static int clock_steps_arm(int fd) {
        struct itimerspec far = { .it_value.tv_sec = INT32_MAX };

        if (sizeof(time_t) > 4)
                far.it_value.tv_sec = (time_t) 1 << 40;
        return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, NULL) < 0
                       ? -errno
                       : 0;
}

static void clock_steps_on_set(void *userdata, int fd, uint32_t events) {
        Manager *m = userdata;
        uint64_t n;

        if (read(fd, &n, sizeof(n)) < 0 && errno == ECANCELED)
                log_notice("The wall clock was set; deadlines are computed again");
        (void) clock_steps_arm(fd); /* else the next deadline's own timer notices, later */
        manager_want_turn(m);
}

int clock_steps_start(Manager *m, Error *reterr) {
        int r;

        m->clock_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        if (m->clock_fd < 0)
                return error_set(reterr, -errno, "Cannot watch the clock: %s", strerror(errno));
        r = clock_steps_arm(m->clock_fd);
        if (r < 0)
                return error_set(reterr, r, "Cannot watch the clock: %s", strerror(-r));
        return loop_add_io(m->loop, m->clock_fd, EPOLLIN, "wall clock", clock_steps_on_set, m,
                           &m->clock_steps, reterr);
}

void clock_steps_stop(Manager *m) {
        m->clock_steps = loop_source_free(m->clock_steps);
        m->clock_fd = fd_close(m->clock_fd);
}
