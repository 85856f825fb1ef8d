#include "orchestrator/ledger/name.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"

#define HASH_MARK   'x'
#define HASH_DIGITS 10 /* of 5 bits each */
#define HASH_LENGTH (1 + HASH_DIGITS)

static_assert(LIMIT_PROJECT_NAME + 2 + HASH_LENGTH <= LIMIT_LABEL,
              "the hash of any branch must fit beside the longest project name");

/* Crockford's base 32: no i, l, o, u, so that a hash read aloud or typed is not mistaken. */
static const char hash_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static bool is_plain_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* [a-z0-9] with single inner '-'. */
static bool is_plain(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!is_plain_char(s[i]) &&
                    (s[i] != '-' || i == 0 || i + 1 == n || s[i - 1] == '-'))
                        return false;
        return n > 0;
}

/* Ends like a hashed name, or is nothing but such an end. */
static bool is_like_hashed(const char *s, size_t n) {
        const char *end = s + n - HASH_LENGTH;

        if (n < HASH_LENGTH || *end != HASH_MARK || (n > HASH_LENGTH && end[-1] != '-'))
                return false;
        return strspn(end + 1, hash_digits) == HASH_DIGITS;
}

/* Writes the readable part of s, at most room characters, and returns how many. */
static size_t write_readable(const char *s, size_t room, char *to) {
        size_t n = 0;

        for (; *s && n < room; s++) {
                char c = *s >= 'A' && *s <= 'Z' ? (char) (*s - 'A' + 'a') : *s;

                if (is_plain_char(c))
                        to[n++] = c;
                else if (n > 0 && to[n - 1] != '-')
                        to[n++] = '-';
        }
        while (n > 0 && to[n - 1] == '-')
                n--;
        return n;
}

static int write_hash(const char *branch, char to[static HASH_LENGTH]) {
        uint8_t digest[SHA256_BYTES];
        uint64_t bits = 0;
        int r;

        r = sha256(branch, strlen(branch), digest);
        if (r < 0)
                return r;
        for (size_t i = 0; i < sizeof(bits); i++)
                bits = bits << 8 | digest[i];
        to[0] = HASH_MARK;
        for (size_t i = 1; i < HASH_LENGTH; i++, bits >>= 5)
                to[i] = hash_digits[bits & 31];
        return 0;
}

int name_label(const char *branch, const char *project, char ret[static LIMIT_LABEL + 1]) {
        size_t n = strlen(branch), n_project = strlen(project), room;
        char label[LIMIT_LABEL + 1];
        int r;

        if (n == 0 || n > LIMIT_BRANCH_BYTES || project_name_check(project, NULL) < 0)
                return -EINVAL;

        room = LIMIT_LABEL - strlen("--") - n_project;
        if (n <= room && is_plain(branch, n) && !is_like_hashed(branch, n) &&
            !streq(branch, "xn")) {
                memcpy(label, branch, n);
        } else {
                n = write_readable(branch, room > HASH_LENGTH ? room - HASH_LENGTH - 1 : 0, label);
                if (n > 0)
                        label[n++] = '-';
                r = write_hash(branch, label + n);
                if (r < 0)
                        return r;
                n += HASH_LENGTH;
        }
        memcpy(label + n, "--", 2);
        memcpy(label + n + 2, project, n_project + 1);
        memcpy(ret, label, n + 2 + n_project + 1);
        return 0;
}

int project_name_check(const char *name, Error *reterr) {
        size_t n = strlen(name);

        if (n > LIMIT_PROJECT_NAME)
                return error_set(reterr, -EINVAL,
                                 "The project name has %zu characters; at most %d are allowed", n,
                                 LIMIT_PROJECT_NAME);
        if (!is_plain(name, n))
                return error_set(reterr, -EINVAL,
                                 "A project name consists of a-z, 0-9 and single '-' between them");
        return 0;
}
