/* Strings: a growing buffer, lists of strings, and the small tests that C lacks. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "orchestrator/base/cleanup.h"

/* A growing, always terminated buffer. Zero-initialise it; the first failed allocation makes it
 * "broken" and every later call a no-op, so callers check once, in strbuf_take(). */
typedef struct StrBuf {
        char *text; /* owned, NULL while empty */
        size_t size, room;
        bool broken;
} StrBuf;

void strbuf_add(StrBuf *b, const char *s);
void strbuf_addn(StrBuf *b, const void *data, size_t size);
void strbuf_addc(StrBuf *b, char c);
void strbuf_addf(StrBuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_addv(StrBuf *b, const char *fmt, va_list args) __attribute__((format(printf, 2, 0)));
/* Hands over the text ("" when nothing was added) and empties the buffer; NULL when broken. */
char *strbuf_take(StrBuf *b);
void strbuf_done(StrBuf *b);

#define auto_strbuf auto_cleanup(strbuf_done) StrBuf

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* Equal, where NULL equals only NULL. */
static inline bool streq_null(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

/* The rest of s after prefix, or NULL when s does not begin with it. */
const char *str_after(const char *s, const char *prefix);
bool str_ends_with(const char *s, const char *suffix);
/* Sets *p to an owned copy of s (NULL stays NULL); 0 or -ENOMEM, *p untouched on failure. */
int str_replace(char **p, const char *s);
/* An owned formatted string or NULL. */
char *str_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* An unsigned decimal number without sign, space or leading zeros; 0, -EINVAL or -ERANGE. */
int str_to_u64(const char *s, uint64_t max, uint64_t *ret);
/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms) over size bytes; NUL is allowed. */
bool utf8_valid(const char *s, size_t size);
/* Takes out what is not UTF-8, in place: a text cut by bytes may end inside a character. Returns s. */
char *utf8_repair(char *s);
/* Code points in a valid UTF-8 string. */
size_t utf8_length(const char *s);
/* Edits (insert, delete, replace, swap neighbours) that turn a into b; for "did you mean". */
unsigned str_distance(const char *a, const char *b);

/* A list of owned strings that ends with NULL. */
char **strv_free(char **v);
size_t strv_length(char *const *v);
/* Appends a copy; 0 or -ENOMEM. *v may be NULL. */
int strv_add(char ***v, const char *s);
bool strv_contains(char *const *v, const char *s);
/* The element nearest to s when it is near enough to be a typing error, else NULL. */
const char *strv_nearest(const char *const *v, const char *s);

static inline void strv_freep(char ***v) {
        strv_free(*v);
}
