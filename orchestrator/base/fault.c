#include "orchestrator/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/str.h"

static struct {
        const char *kind;
        unsigned n, times;
        bool fired;
} armed;

static struct {
        bool ready;
        const char *wishes; /* into the environment; NULL when no crash is wanted */
        const char *count;  /* into the environment; NULL: every process counts for itself */
        unsigned passes;    /* of this process */
        int trace_fd;
} point = { .trace_fd = -1 };

static void point_init(void) {
        const char *trace = getenv("MAYFLY_POINTS");

        point.ready = true;
        point.wishes = getenv("MAYFLY_CRASH");
        point.count = getenv("MAYFLY_CRASH_COUNT");
        if (trace)
                point.trace_fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static unsigned passes_so_far(void) {
        struct stat st;

        if (!point.count)
                return point.passes;
        return stat(point.count, &st) == 0 ? (unsigned) st.st_size : 0;
}

/* Counts one more pass and says which it is. */
static unsigned passes_add(void) {
        int fd;
        off_t n = 0;

        if (!point.count)
                return ++point.passes;
        fd = open(point.count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return 0;
        if (write(fd, ".", 1) == 1)
                n = lseek(fd, 0, SEEK_CUR); /* after our byte, wherever others wrote theirs */
        close(fd);
        return (unsigned) n;
}

/* True when this pass is the one that the next open wish names. */
static bool point_is_due(const char *name) {
        unsigned so_far = passes_so_far(), sum = 0;
        size_t size = strlen(name);

        for (const char *wish = point.wishes; wish; wish = strchr(wish, ',')) {
                const char *colon;

                wish += *wish == ',';
                colon = strchr(wish, ':');
                if (!colon)
                        return false;
                sum += (unsigned) strtoul(colon + 1, NULL, 10);
                if (so_far < sum) /* those before it have come true */
                        return (size_t) (colon - wish) == size && memcmp(wish, name, size) == 0 &&
                               passes_add() == sum;
        }
        return false;
}

void crash_point(const char *name) {
        if (!point.ready)
                point_init();
        if (point.trace_fd >= 0)
                dprintf(point.trace_fd, "%s\n", name);
        if (point.wishes && point_is_due(name))
                raise(SIGKILL);
}

void crash_point_call(const char *when, const char *verb) {
        char name[64];

        if (snprintf(name, sizeof(name), "call.%s.%s", verb, when) < (int) sizeof(name))
                crash_point(name);
}

int64_t fault_clock_ms(void) {
        const char *path = getenv("MAYFLY_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        char text[32] = "";
        ssize_t n;

        if (fd < 0)
                return 0;
        n = read(fd, text, sizeof(text) - 1);
        close(fd);
        return n > 0 ? strtoll(text, NULL, 10) : 0;
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
