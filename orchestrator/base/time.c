#include "orchestrator/base/time.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "orchestrator/base/fault.h"

static int64_t read_clock(clockid_t id) {
        struct timespec ts;

        clock_gettime(id, &ts);
        return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_wall_ms(void *userdata) {
        return read_clock(CLOCK_REALTIME) + fault_clock_ms();
}

static int64_t system_boot_ms(void *userdata) {
        return read_clock(CLOCK_BOOTTIME);
}

static int64_t system_awake_ms(void *userdata) {
        return read_clock(CLOCK_MONOTONIC);
}

/* Only reads, which needs no privilege. */
static int system_synced(void *userdata) {
        struct timex now = { 0 };

        if (adjtimex(&now) < 0)
                return -errno;
        return (now.status & STA_UNSYNC) == 0;
}

const Clock clock_system = { .wall_ms = system_wall_ms,
                             .boot_ms = system_boot_ms,
                             .awake_ms = system_awake_ms,
                             .synced = system_synced };

int64_t clock_wall_ms(const Clock *c) {
        return c->wall_ms(c->userdata);
}

int64_t clock_boot_ms(const Clock *c) {
        return c->boot_ms(c->userdata);
}

int64_t clock_awake_ms(const Clock *c) {
        return c->awake_ms ? c->awake_ms(c->userdata) : -1;
}

int clock_synced(const Clock *c) {
        return c->synced ? c->synced(c->userdata) : -ENOTSUP;
}

char *time_format(int64_t ms, char *buf) {
        time_t seconds = (time_t) (ms / 1000 - (ms % 1000 < 0));
        struct tm tm;

        if (!gmtime_r(&seconds, &tm) ||
            strftime(buf, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                snprintf(buf, TIME_TEXT_MAX, "%" PRId64 "ms", ms);
        return buf;
}

/* From the largest to the smallest; "ms" stands before "m" so that a prefix match finds it first. */
static const struct {
        const char *name;
        int64_t ms;
} units[] = {
        { "w", 7 * MS_PER_DAY }, { "d", MS_PER_DAY },    { "h", MS_PER_HOUR }, { "ms", 1 },
        { "m", MS_PER_MINUTE },  { "s", MS_PER_SECOND },
};

char *duration_format(int64_t ms, char *buf) {
        static const struct {
                const char *name;
                int64_t ms;
        } steps[] = {
                { "d", MS_PER_DAY },
                { "h", MS_PER_HOUR },
                { "m", MS_PER_MINUTE },
                { "s", MS_PER_SECOND },
        };
        const char *sign = ms < 0 ? "-" : "";
        uint64_t left = ms < 0 ? -(uint64_t) ms : (uint64_t) ms;

        if (left < 1000) {
                snprintf(buf, TIME_TEXT_MAX, "%s%" PRIu64 "ms", sign, left);
                return buf;
        }
        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                uint64_t step = (uint64_t) steps[i].ms, n = left / step, rest;

                if (n == 0)
                        continue;
                rest = i + 1 < N_ELEMENTS(steps) ? left % step / (uint64_t) steps[i + 1].ms : 0;
                if (rest > 0)
                        snprintf(buf, TIME_TEXT_MAX, "%s%" PRIu64 "%s %" PRIu64 "%s", sign, n,
                                 steps[i].name, rest, steps[i + 1].name);
                else
                        snprintf(buf, TIME_TEXT_MAX, "%s%" PRIu64 "%s", sign, n, steps[i].name);
                break;
        }
        return buf;
}

static int one_part(const char **s, int64_t *total) {
        int64_t n = 0;
        size_t digits = 0;

        for (; **s >= '0' && **s <= '9'; (*s)++, digits++) {
                n = n * 10 + (**s - '0');
                if (n > 3650 * MS_PER_DAY)
                        return -ERANGE;
        }
        if (digits == 0)
                return -EINVAL;

        for (size_t i = 0; i < N_ELEMENTS(units); i++) {
                size_t length = strlen(units[i].name);

                if (strncmp(*s, units[i].name, length) != 0)
                        continue;
                *s += length;
                if (n > 3650 * MS_PER_DAY / units[i].ms)
                        return -ERANGE;
                *total += n * units[i].ms;
                return *total > 3650 * MS_PER_DAY ? -ERANGE : 0;
        }
        return -EINVAL;
}

int duration_parse(const char *s, int64_t *ret_ms, Error *reterr) {
        const char *at = s;
        int64_t total = 0;
        int r;

        do {
                while (at != s && *at == ' ')
                        at++;
                r = one_part(&at, &total);
                if (r == -ERANGE)
                        return error_set(reterr, r, "'%.40s' is longer than ten years", s);
                if (r < 0)
                        return error_set(
                                reterr, r,
                                "'%.40s' is not a duration; write one like 30m, 1h30m or 7d", s);
        } while (*at);

        *ret_ms = total;
        return 0;
}
