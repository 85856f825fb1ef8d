/* Time. Two clocks, one meaning each: wall time (UTC milliseconds) for promises to people, boot time
 * for measuring. The engine reads both through a Clock, once per turn, so that tests own time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

#define MS_PER_SECOND INT64_C(1000)
#define MS_PER_MINUTE (60 * MS_PER_SECOND)
#define MS_PER_HOUR   (60 * MS_PER_MINUTE)
#define MS_PER_DAY    (24 * MS_PER_HOUR)

typedef struct Clock {
        int64_t (*wall_ms)(void *userdata); /* UTC milliseconds since 1970 */
        int64_t (*boot_ms)(void *userdata); /* milliseconds since boot, suspend included */
        /* The same without suspend; NULL: not known. */
        int64_t (*awake_ms)(void *userdata);
        /* Whether the kernel says that something keeps wall time right: 1 or 0; NULL, negative: not known. */
        int (*synced)(void *userdata);
        void *userdata;
} Clock;

/* The machine's own clocks. */
extern const Clock clock_system;

int64_t clock_wall_ms(const Clock *c);
int64_t clock_boot_ms(const Clock *c);
int64_t clock_awake_ms(const Clock *c); /* -1: not known */
int clock_synced(const Clock *c);       /* negative: not known */

/* "2026-11-20T10:44:38Z"; buf holds at least TIME_TEXT_MAX bytes. Returns buf. */
#define TIME_TEXT_MAX 64
char *time_format(int64_t ms, char *buf);

/* A duration for people: "30m", "1h 5m", "7d", "850ms". buf holds at least TIME_TEXT_MAX bytes. */
char *duration_format(int64_t ms, char *buf);

/* Reads "30m", "1h", "7d", "45s", "500ms", "2w" or sums such as "1h30m"; a bare number is refused,
 * as it does not say its unit. 0, -EINVAL or -ERANGE (beyond ten years). */
int duration_parse(const char *s, int64_t *ret_ms, Error *reterr);
