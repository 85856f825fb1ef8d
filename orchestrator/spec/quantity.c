#include "orchestrator/spec/quantity.h"

#include <stdbool.h>
#include <string.h>

#include "orchestrator/base/str.h"

static const char digits[] = "0123456789";

/* INTEGER[.FRACTION] times multiplier, rounded up. The fraction is multiplied digit by digit from its
 * end, as on paper: what falls off below the point only decides about rounding. */
static int64_t scale(const char *integer, size_t n_integer, const char *fraction, size_t n_fraction,
                     uint64_t multiplier) {
        unsigned __int128 value = 0, most = INT64_MAX;
        uint64_t carry = 0;
        bool rest = false;

        for (size_t i = 0; i < n_integer; i++) {
                value = value * 10 + (unsigned) (integer[i] - '0');
                if (value > most)
                        return INT64_MAX;
        }
        for (size_t i = n_fraction; i > 0; i--) {
                uint64_t product = (uint64_t) (fraction[i - 1] - '0') * multiplier + carry;

                rest = rest || product % 10 != 0;
                carry = product / 10;
        }
        value = value * multiplier + carry + rest;
        return value > most ? INT64_MAX : (int64_t) value;
}

int quantity_cpu_milli(const char *s, int64_t *ret) {
        size_t n = strspn(s, digits), n_fraction = 0;
        const char *rest = s + n;

        if (n == 0)
                return -EINVAL;
        if (streq(rest, "m")) {
                *ret = scale(s, n, NULL, 0, 1);
                return 0;
        }
        if (*rest == '.') {
                n_fraction = strspn(rest + 1, digits);
                if (n_fraction == 0 || rest[1 + n_fraction])
                        return -EINVAL;
        } else if (*rest) {
                return -EINVAL;
        }
        *ret = scale(s, n, rest + 1, n_fraction, 1000);
        return 0;
}

static int unit_of(const char *s, uint64_t *ret) {
        static const char units[] = "KMGTPE";
        const char *unit;
        uint64_t base = 1000;

        *ret = 1;
        if (!*s)
                return 0;
        unit = strchr(units, *s);
        if (!unit || (s[1] && !streq(s + 1, "i")))
                return -EINVAL;
        if (s[1])
                base = 1024;
        for (const char *u = units; u <= unit; u++)
                *ret *= base;
        return 0;
}

int quantity_memory_bytes(const char *s, int64_t *ret) {
        size_t n = strspn(s, digits), n_fraction = 0;
        const char *rest = s + n;
        uint64_t multiplier;

        if (*rest == '.') {
                n_fraction = strspn(rest + 1, digits);
                if (n_fraction == 0)
                        return -EINVAL;
                rest += 1 + n_fraction;
        }
        /* "0.5" but not "0" and not "00.5" or "012" */
        if (n == 0 || (s[0] == '0' && (n > 1 || n_fraction == 0)) || unit_of(rest, &multiplier) < 0)
                return -EINVAL;
        *ret = scale(s, n, s + n + 1, n_fraction, multiplier);
        return 0;
}
