/* A pattern is a list of elements: "*", or a set of bytes of which one must come. Two patterns overlap
 * when a walk through both lists at once reaches both ends; matching a name is the same walk with a
 * list of one-byte sets, so the two answers cannot disagree. */
#include "orchestrator/spec/pattern.h"

#include <string.h>

typedef struct Element {
        bool star;
        unsigned char set[32]; /* one bit for each byte */
} Element;

typedef struct Pattern {
        Element elements[PATTERN_MAX];
        size_t n;
} Pattern;

static void set_add(unsigned char *set, unsigned char c) {
        set[c / 8] |= (unsigned char) (1u << (c % 8));
}

/* Reads the inside of "[...]"; returns the place after "]" or NULL. */
static const char *set_read(unsigned char *set, const char *at) {
        bool not = *at == '!' || *at == '^';
        const char *first;

        at += not ;
        for (first = at; *at && (*at != ']' || at == first); at++) {
                unsigned char from, to;

                if (*at == '[' && (at[1] == ':' || at[1] == '.' || at[1] == '='))
                        return NULL;
                if (*at == '\\' && !*++at)
                        return NULL;
                from = to = (unsigned char) *at;
                if (at[1] == '-' && at[2] && at[2] != ']') {
                        at += 2;
                        if (*at == '[' || (*at == '\\' && !*++at))
                                return NULL;
                        to = (unsigned char) *at;
                }
                for (unsigned c = from; c <= to; c++)
                        set_add(set, (unsigned char) c);
        }
        if (!*at)
                return NULL;
        for (size_t i = 0; not &&i < sizeof(((Element *) 0)->set); i++)
                set[i] = (unsigned char) ~set[i];
        return at + 1;
}

static int pattern_read(const char *text, Pattern *ret, Error *reterr) {
        const char *at = text;

        ret->n = 0;
        while (*at) {
                Element *e = &ret->elements[ret->n];

                if (ret->n == PATTERN_MAX)
                        return error_set(reterr, -EINVAL, "The pattern has more than %d elements",
                                         PATTERN_MAX);
                *e = (Element){ .star = *at == '*' };
                if (*at == '\\' && !at[1])
                        return error_set(reterr, -EINVAL, "The pattern '%s' ends with '\\'", text);
                if (*at == '[') {
                        at = set_read(e->set, at + 1);
                        if (!at)
                                return error_set(reterr, -EINVAL,
                                                 "The pattern '%s' has a '[' that is not closed or "
                                                 "holds a class such as [:alpha:]",
                                                 text);
                } else if (*at == '*' || *at == '?') {
                        memset(e->set, 0xff, sizeof(e->set));
                        at++;
                } else {
                        at += *at == '\\';
                        set_add(e->set, (unsigned char) *at++);
                }
                ret->n++;
        }
        return 0;
}

static bool sets_meet(const Element *a, const Element *b) {
        for (size_t i = 0; i < sizeof(a->set); i++)
                if (a->set[i] & b->set[i])
                        return true;
        return false;
}

/* Row by row: reached[j] says whether the first i elements of a and the first j of b can have matched
 * the same text. */
static bool lists_meet(const Pattern *a, const Element *b, size_t n_b, bool *row, bool *next) {
        memset(row, 0, n_b + 1);
        row[0] = true;
        for (size_t i = 0;; i++) {
                const Element *e = i < a->n ? &a->elements[i] : NULL;

                memset(next, 0, n_b + 1);
                for (size_t j = 0; j <= n_b; j++) {
                        if (!row[j])
                                continue;
                        if (j < n_b && (b[j].star || (e && e->star)))
                                row[j + 1] = true;
                        if (e && (e->star || (j < n_b && b[j].star)))
                                next[j] = true;
                        if (e && j < n_b && !e->star && !b[j].star && sets_meet(e, &b[j]))
                                next[j + 1] = true;
                }
                if (!e)
                        return row[n_b];
                memcpy(row, next, n_b + 1);
        }
}

int pattern_check(const char *pattern, Error *reterr) {
        Pattern p;

        return pattern_read(pattern, &p, reterr);
}

bool pattern_is_exact(const char *pattern) {
        return !pattern[strcspn(pattern, "*?[\\")];
}

bool pattern_matches(const char *pattern, const char *name) {
        Element bytes[256];
        bool rows[2][257];
        size_t n = strlen(name);
        Pattern p;

        if (n > 255 || pattern_read(pattern, &p, NULL) < 0)
                return false;
        for (size_t i = 0; i < n; i++) {
                bytes[i] = (Element){ 0 };
                set_add(bytes[i].set, (unsigned char) name[i]);
        }
        return lists_meet(&p, bytes, n, rows[0], rows[1]);
}

bool pattern_overlaps(const char *a, const char *b) {
        bool rows[2][PATTERN_MAX + 1];
        Pattern p, q;

        if (pattern_read(a, &p, NULL) < 0 || pattern_read(b, &q, NULL) < 0)
                return true; /* unknown: treated as a tie rather than overlooked */
        return lists_meet(&p, q.elements, q.n, rows[0], rows[1]);
}
