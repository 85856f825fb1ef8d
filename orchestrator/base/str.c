#include "orchestrator/base/str.h"

#include <errno.h>
#include <stdio.h>

static bool strbuf_room(StrBuf *b, size_t more) {
        size_t room;
        char *text;

        if (b->broken)
                return false;
        if (more >= SIZE_MAX / 4 - b->size) {
                b->broken = true;
                return false;
        }
        if (b->size + more + 1 <= b->room)
                return true;

        room = b->room ? b->room * 2 : 64;
        if (room < b->size + more + 1)
                room = b->size + more + 1;
        text = realloc(b->text, room);
        if (!text) {
                b->broken = true;
                return false;
        }
        b->text = text;
        b->room = room;
        return true;
}

void strbuf_addn(StrBuf *b, const void *data, size_t size) {
        if (!strbuf_room(b, size))
                return;
        if (size > 0)
                memcpy(b->text + b->size, data, size);
        b->size += size;
        b->text[b->size] = 0;
}

void strbuf_add(StrBuf *b, const char *s) {
        strbuf_addn(b, s, strlen(s));
}

void strbuf_addc(StrBuf *b, char c) {
        strbuf_addn(b, &c, 1);
}

void strbuf_addv(StrBuf *b, const char *fmt, va_list args) {
        va_list again;
        int n;

        va_copy(again, args);
        n = vsnprintf(NULL, 0, fmt, again);
        va_end(again);
        if (n < 0) {
                b->broken = true;
                return;
        }
        if (!strbuf_room(b, (size_t) n))
                return;
        vsnprintf(b->text + b->size, (size_t) n + 1, fmt, args);
        b->size += (size_t) n;
}

void strbuf_addf(StrBuf *b, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        strbuf_addv(b, fmt, args);
        va_end(args);
}

char *strbuf_take(StrBuf *b) {
        char *text;

        strbuf_addn(b, "", 0);
        if (b->broken) {
                strbuf_done(b);
                return NULL;
        }
        text = b->text;
        *b = (StrBuf){ 0 };
        return text;
}

void strbuf_done(StrBuf *b) {
        free(b->text);
        *b = (StrBuf){ 0 };
}

const char *str_after(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

bool str_ends_with(const char *s, const char *suffix) {
        size_t n = strlen(s), m = strlen(suffix);

        return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int str_replace(char **p, const char *s) {
        char *copy = NULL;

        if (s) {
                copy = strdup(s);
                if (!copy)
                        return -ENOMEM;
        }
        free(*p);
        *p = copy;
        return 0;
}

char *str_format(const char *fmt, ...) {
        char *s;
        va_list args;
        int r;

        va_start(args, fmt);
        r = vasprintf(&s, fmt, args);
        va_end(args);
        return r < 0 ? NULL : s;
}

int str_to_u64(const char *s, uint64_t max, uint64_t *ret) {
        uint64_t value = 0;

        if (!*s || (s[0] == '0' && s[1]))
                return -EINVAL;
        for (; *s; s++) {
                unsigned digit = (unsigned) (*s - '0');

                if (*s < '0' || *s > '9')
                        return -EINVAL;
                if (value > (UINT64_MAX - digit) / 10)
                        return -ERANGE;
                value = value * 10 + digit;
        }
        if (value > max)
                return -ERANGE;
        *ret = value;
        return 0;
}

/* Bytes in the sequence that begins at s, or 0 when it is not valid. */
static size_t utf8_sequence(const unsigned char *s, size_t size) {
        size_t n;

        if (s[0] < 0x80)
                return 1;
        if (s[0] < 0xc2 || s[0] > 0xf4)
                return 0;
        n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
        if (n > size)
                return 0;
        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
            (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
                return 0;
        return n;
}

bool utf8_valid(const char *s, size_t size) {
        size_t i = 0;

        while (i < size) {
                size_t n = utf8_sequence((const unsigned char *) s + i, size - i);

                if (n == 0)
                        return false;
                i += n;
        }
        return true;
}

char *utf8_repair(char *s) {
        size_t size = strlen(s), kept = 0;

        for (size_t i = 0; i < size;) {
                size_t n = utf8_sequence((const unsigned char *) s + i, size - i);

                memmove(s + kept, s + i, n);
                kept += n;
                i += n > 0 ? n : 1;
        }
        s[kept] = 0;
        return s;
}

size_t utf8_length(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += ((unsigned char) *s & 0xc0) != 0x80;
        return n;
}

static unsigned min3(unsigned a, unsigned b, unsigned c) {
        unsigned least = a < b ? a : b;

        return least < c ? least : c;
}

/* Exact up to max; beyond it any number above max: no later row can come below both rows before it. */
static unsigned distance_within(const char *a, size_t n, const char *b, size_t m, unsigned max) {
        unsigned row[3][65], least_last = 0;

        for (size_t j = 0; j <= m; j++)
                row[0][j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *older = row[(i + 1) % 3];
                unsigned least = (unsigned) i;

                now[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned best = min3(last[j - 1] + (a[i - 1] != b[j - 1]), last[j] + 1,
                                             now[j - 1] + 1);

                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                            older[j - 2] + 1 < best)
                                best = older[j - 2] + 1;
                        now[j] = best;
                        least = best < least ? best : least;
                }
                if (least > max && least_last > max)
                        return max + 1;
                least_last = least;
        }
        return row[n % 3][m];
}

unsigned str_distance(const char *a, const char *b) {
        size_t n = strlen(a), m = strlen(b);

        return n > 64 || m > 64 ? 64 : distance_within(a, n, b, m, 64);
}

char **strv_free(char **v) {
        if (v)
                for (char **s = v; *s; s++)
                        free(*s);
        free(v);
        return NULL;
}

size_t strv_length(char *const *v) {
        size_t n = 0;

        while (v && v[n])
                n++;
        return n;
}

int strv_add(char ***v, const char *s) {
        size_t n = strv_length(*v);
        char **grown, *copy;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;
        grown = reallocarray(*v, n + 2, sizeof(char *));
        if (!grown) {
                free(copy);
                return -ENOMEM;
        }
        grown[n] = copy;
        grown[n + 1] = NULL;
        *v = grown;
        return 0;
}

bool strv_contains(char *const *v, const char *s) {
        for (; v && *v; v++)
                if (streq(*v, s))
                        return true;
        return false;
}

const char *strv_nearest(const char *const *v, const char *s) {
        const char *best = NULL;
        size_t n = strlen(s);
        unsigned distance, nearest = n < 6 ? (unsigned) n / 3 + 1 : 3;

        for (; v && *v && n <= 64; v++) {
                size_t m = strlen(*v);

                /* each byte of difference in length is one step at least */
                if (m > 64 || (m > n ? m - n : n - m) > nearest)
                        continue;
                distance = distance_within(*v, m, s, n, nearest);
                if (distance <= nearest && (!best || distance < nearest)) {
                        nearest = distance;
                        best = *v;
                }
        }
        return best;
}
