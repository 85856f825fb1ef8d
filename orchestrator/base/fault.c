#include "orchestrator/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "orchestrator/base/str.h"

static struct {
        const char *kind;
        unsigned n, times;
        bool fired;
} armed;

static struct {
        bool ready;
        const char *name; /* into the environment; NULL when no crash is wanted */
        size_t name_size;
        unsigned countdown;
        int trace_fd;
} point = { .trace_fd = -1 };

static void point_init(void) {
        const char *wish = getenv("MAYFLY_CRASH"), *trace = getenv("MAYFLY_POINTS");
        const char *colon = wish ? strrchr(wish, ':') : NULL;

        point.ready = true;
        if (colon) {
                point.name = wish;
                point.name_size = (size_t) (colon - wish);
                point.countdown = (unsigned) strtoul(colon + 1, NULL, 10);
        }
        if (trace)
                point.trace_fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

/* True in the one process that comes first, where only one is to die; without that wish, always. */
static bool point_first(void) {
        const char *once = getenv("MAYFLY_CRASH_ONCE");
        int fd;

        if (!once)
                return true;
        fd = open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return false;
        close(fd);
        return true;
}

void crash_point(const char *name) {
        if (!point.ready)
                point_init();
        if (point.trace_fd >= 0)
                dprintf(point.trace_fd, "%s\n", name);
        if (point.name && strlen(name) == point.name_size &&
            memcmp(name, point.name, point.name_size) == 0 && point.countdown > 0 &&
            --point.countdown == 0 && point_first())
                raise(SIGKILL);
}

void fault_arm(const char *kind, unsigned n, unsigned times) {
        armed.kind = kind;
        armed.n = n;
        armed.times = times;
        armed.fired = false;
}

bool fault_hit(const char *kind) {
        if (!armed.kind || armed.times == 0 || !streq(kind, armed.kind))
                return false;
        if (armed.n > 1) {
                armed.n--;
                return false;
        }
        armed.times--;
        armed.fired = true;
        return true;
}

bool fault_fired(void) {
        return armed.fired;
}
