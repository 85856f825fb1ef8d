#include "orchestrator/base/id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void system_fill(void *userdata, void *buf, size_t size) {
        char *at = buf;

        while (size > 0) {
                ssize_t n = getrandom(at, size, 0);

                if (n < 0)
                        continue; /* only EINTR can happen for small requests */
                at += n;
                size -= (size_t) n;
        }
}

const Random random_system = { .fill = system_fill };

uint64_t random_u64(const Random *random) {
        uint64_t value;

        random->fill(random->userdata, &value, sizeof(value));
        return value;
}

uint64_t random_below(const Random *random, uint64_t n) {
        uint64_t limit = UINT64_MAX - UINT64_MAX % n, value;

        do
                value = random_u64(random);
        while (value >= limit);
        return value % n;
}

void id_make(const Random *random, char kind, char buf[static ID_SIZE]) {
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

        buf[0] = kind;
        for (size_t i = 1; i < ID_SIZE - 1; i++)
                buf[i] = digits[random_below(random, 36)];
        buf[ID_SIZE - 1] = 0;
}

bool id_possible(const char *text, char kind) {
        size_t size = strnlen(text, ID_SIZE);

        return size > 1 && size < ID_SIZE && *text == kind &&
               strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz") == size;
}

void trace_make(const Random *random, char buf[static TRACE_SIZE]) {
        uint64_t high, low;

        high = random_u64(random);
        do
                low = random_u64(random);
        while (low == 0);
        snprintf(buf, TRACE_SIZE, "%016llx%016llx", (unsigned long long) high,
                 (unsigned long long) low);
}
