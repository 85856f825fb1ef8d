/* The rules, in the order in which they are asked: a word from the table; a number that begins with a
 * dot; then timestamp, integer with any prefix, float. "_" may stand anywhere in a number after its
 * first character. What is none of these is text: yes, no, on, off, 12:30:00, 1.2.3. */
#include "orchestrator/glue/yaml-scalar.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "orchestrator/base/str.h"

static const struct {
        const char *text;
        YamlScalar value;
} words[] = {
        { "", { .kind = YAML_KIND_NULL } },
        { "~", { .kind = YAML_KIND_NULL } },
        { "null", { .kind = YAML_KIND_NULL } },
        { "Null", { .kind = YAML_KIND_NULL } },
        { "NULL", { .kind = YAML_KIND_NULL } },
        { "true", { .kind = YAML_KIND_BOOLEAN, .boolean = true } },
        { "True", { .kind = YAML_KIND_BOOLEAN, .boolean = true } },
        { "TRUE", { .kind = YAML_KIND_BOOLEAN, .boolean = true } },
        { "false", { .kind = YAML_KIND_BOOLEAN, .boolean = false } },
        { "False", { .kind = YAML_KIND_BOOLEAN, .boolean = false } },
        { "FALSE", { .kind = YAML_KIND_BOOLEAN, .boolean = false } },
        { ".nan", { .kind = YAML_KIND_FLOAT, .number = NAN } },
        { ".NaN", { .kind = YAML_KIND_FLOAT, .number = NAN } },
        { ".NAN", { .kind = YAML_KIND_FLOAT, .number = NAN } },
        { ".inf", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { ".Inf", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { ".INF", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { "+.inf", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { "+.Inf", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { "+.INF", { .kind = YAML_KIND_FLOAT, .number = INFINITY } },
        { "-.inf", { .kind = YAML_KIND_FLOAT, .number = -INFINITY } },
        { "-.Inf", { .kind = YAML_KIND_FLOAT, .number = -INFINITY } },
        { "-.INF", { .kind = YAML_KIND_FLOAT, .number = -INFINITY } },
};

/* ---- timestamps ---- */

/* One or two digits. */
static bool take_number(const char **s, int max, int *ret) {
        int n;

        if (!isdigit((unsigned char) **s))
                return false;
        n = *(*s)++ - '0';
        if (isdigit((unsigned char) **s))
                n = n * 10 + (*(*s)++ - '0');
        *ret = n;
        return n <= max;
}

static bool take_char(const char **s, char c) {
        if (**s != c)
                return false;
        (*s)++;
        return true;
}

static void take_fraction(const char **s) {
        if ((**s == '.' || **s == ',') && isdigit((unsigned char) (*s)[1]))
                for ((*s)++; isdigit((unsigned char) **s); (*s)++)
                        ;
}

/* "Z" or "+hh:mm", both parts of two digits. */
static bool take_zone(const char **s) {
        const char *z = *s;

        if (*z == 'Z') {
                (*s)++;
                return true;
        }
        if ((*z != '+' && *z != '-') || strlen(z) < 6 || z[3] != ':')
                return false;
        for (int i = 1; i < 6; i++)
                if (i != 3 && !isdigit((unsigned char) z[i]))
                        return false;
        *s += 6;
        return (z[1] - '0') * 10 + (z[2] - '0') <= 24 && (z[4] - '0') * 10 + (z[5] - '0') <= 60;
}

static bool date_exists(int year, int month, int day) {
        static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
        bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

        return month >= 1 && day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

/* 2001-12-14, 2001-12-14t21:59:43.10-05:00, 2001-12-14 21:59:43.10 */
static bool is_timestamp(const char *s) {
        int year = 0, month, day, n;
        bool zone;

        for (int i = 0; i < 4; i++, s++) {
                if (!isdigit((unsigned char) *s))
                        return false;
                year = year * 10 + (*s - '0');
        }
        if (!take_char(&s, '-') || !take_number(&s, 12, &month) || !take_char(&s, '-') ||
            !take_number(&s, 31, &day) || !date_exists(year, month, day))
                return false;
        if (!*s)
                return true;
        zone = *s != ' ';
        if (zone ? !take_char(&s, 'T') && !take_char(&s, 't') : !take_char(&s, ' '))
                return false;
        while (!zone && *s == ' ')
                s++;
        if (!take_number(&s, 23, &n) || !take_char(&s, ':') || !take_number(&s, 59, &n) ||
            !take_char(&s, ':') || !take_number(&s, 59, &n))
                return false;
        take_fraction(&s);
        return (!zone || take_zone(&s)) && !*s;
}

/* ---- numbers ---- */

/* Digits of a base up to the end; false also when there are none or too many for 64 bits. */
static bool digits_of(const char *s, unsigned base, uint64_t *ret) {
        uint64_t value = 0;

        if (!*s)
                return false;
        for (; *s; s++) {
                unsigned digit = 99;

                if (isdigit((unsigned char) *s))
                        digit = (unsigned) (*s - '0');
                else if (isxdigit((unsigned char) *s))
                        digit = (unsigned) (tolower((unsigned char) *s) - 'a' + 10);
                if (digit >= base || value > (UINT64_MAX - digit) / base)
                        return false;
                value = value * base + digit;
        }
        *ret = value;
        return true;
}

/* [+-] then 0x, 0b, 0o, 0 (octal) or decimal. */
static bool is_integer(const char *s, bool *ret_negative, uint64_t *ret) {
        static const char letters[] = "xbo";
        static const unsigned bases[] = { 16, 2, 8 };
        const char *letter;
        bool sign = *s == '-' || *s == '+';

        *ret_negative = *s == '-';
        if (sign)
                s++;
        if (*s != '0' || !s[1])
                return digits_of(s, 10, ret);
        letter = strchr(letters, tolower((unsigned char) s[1]));
        if (!letter)
                return digits_of(s + 1, 8, ret);
        if (digits_of(s + 2, bases[letter - letters], ret))
                return true;
        /* "0o-7": a sign behind the prefix is taken, for 0b and 0o without one before */
        if (sign || (s[1] != 'b' && s[1] != 'o') || (s[2] != '-' && s[2] != '+'))
                return false;
        *ret_negative = s[2] == '-';
        return digits_of(s + 3, bases[letter - letters], ret);
}

/* [+-]? ( .5 | 1 | 1. | 1.5 ) ( e[+-]?5 )? */
static bool has_float_form(const char *s) {
        size_t before, after = 0;

        if (*s == '-' || *s == '+')
                s++;
        before = strspn(s, "0123456789");
        s += before;
        if (*s == '.') {
                after = strspn(++s, "0123456789");
                s += after;
        }
        if (before == 0 && after == 0)
                return false;
        if (*s == 'e' || *s == 'E') {
                s++;
                if (*s == '-' || *s == '+')
                        s++;
                if (!*s)
                        return false;
                s += strspn(s, "0123456789");
        }
        return !*s;
}

static bool is_float(const char *s, double *ret) {
        static locale_t c_locale;
        double value;

        if (!has_float_form(s))
                return false;
        if (!c_locale)
                c_locale = newlocale(LC_ALL_MASK, "C", NULL);
        value = c_locale ? strtod_l(s, NULL, c_locale) : strtod(s, NULL);
        if (isinf(value))
                return false;
        *ret = value;
        return true;
}

static void set_integer(bool negative, uint64_t value, YamlScalar *ret) {
        if (value <= INT64_MAX || (negative && value == (uint64_t) INT64_MAX + 1)) {
                ret->kind = YAML_KIND_INTEGER;
                ret->integer = negative ? (int64_t) (0 - value) : (int64_t) value;
                ret->number = (double) ret->integer;
                return;
        }
        ret->kind = YAML_KIND_FLOAT;
        ret->number = (double) value;
}

static int resolve_number(const char *text, YamlScalar *ret) {
        auto_cleanup(freep) char *plain = NULL;
        bool negative, sign = *text == '-' || *text == '+';
        uint64_t value;

        if (strchr(text, '_')) {
                char *to = plain = malloc(strlen(text) + 1);

                if (!plain)
                        return -ENOMEM;
                for (const char *s = text; *s; s++)
                        if (*s != '_')
                                *to++ = *s;
                *to = 0;
                text = plain;
        }
        /* beyond int64_t only without a sign */
        if (is_integer(text, &negative, &value) &&
            (value <= INT64_MAX || (negative && value == (uint64_t) INT64_MAX + 1) || !sign))
                set_integer(negative, value, ret);
        else if (is_float(text, &ret->number))
                ret->kind = YAML_KIND_FLOAT;
        return 0;
}

static int resolve(const char *tag, const char *text, YamlScalar *ret) {
        *ret = (YamlScalar){ .kind = YAML_KIND_STRING };
        for (size_t i = 0; i < N_ELEMENTS(words); i++)
                if (streq(text, words[i].text)) {
                        *ret = words[i].value;
                        return 0;
                }
        if (*text == '.') {
                if (is_float(text, &ret->number))
                        ret->kind = YAML_KIND_FLOAT;
                return 0;
        }
        if (!isdigit((unsigned char) *text) && *text != '-' && *text != '+')
                return 0;
        if ((!tag || streq(tag, "!!timestamp")) && is_timestamp(text))
                ret->kind = YAML_KIND_TIMESTAMP;
        else
                return resolve_number(text, ret);
        return 0;
}

int yaml_scalar_resolve(const char *tag, const char *text, YamlScalar *ret) {
        static const struct {
                const char *tag;
                YamlKind kind;
        } tags[] = {
                { "!!null", YAML_KIND_NULL },           { "!!bool", YAML_KIND_BOOLEAN },
                { "!!int", YAML_KIND_INTEGER },         { "!!float", YAML_KIND_FLOAT },
                { "!!timestamp", YAML_KIND_TIMESTAMP },
        };
        YamlScalar value;

        for (size_t i = 0; tag && i < N_ELEMENTS(tags); i++) {
                if (!streq(tag, tags[i].tag))
                        continue;
                if (resolve(tag, text, &value) < 0)
                        return -ENOMEM;
                if (value.kind == YAML_KIND_INTEGER && tags[i].kind == YAML_KIND_FLOAT)
                        value.kind = YAML_KIND_FLOAT;
                if (value.kind != tags[i].kind)
                        return -EINVAL;
                *ret = value;
                return 0;
        }
        *ret = (YamlScalar){ .kind = YAML_KIND_STRING };
        return tag ? 0 : resolve(NULL, text, ret);
}

/* ---- !!binary ---- */

int yaml_binary_decode(const char *text, char **ret, size_t *ret_size) {
        static const char alphabet[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        auto_strbuf b = { 0 };
        size_t n = 0, pad = 0, size;
        uint32_t bits = 0;
        char *data;

        for (; *text; text++) {
                const char *found;

                if (*text == '\n' || *text == '\r')
                        continue;
                found = *text == '=' ? NULL : strchr(alphabet, *text);
                if (found ? pad > 0 : *text != '=' || n % 4 + pad < 2 || n % 4 + pad > 3)
                        return -EINVAL;
                if (!found) {
                        pad++;
                        continue;
                }
                bits = bits << 6 | (uint32_t) (found - alphabet);
                if (++n % 4 == 0)
                        for (int shift = 16; shift >= 0; shift -= 8)
                                strbuf_addc(&b, (char) (bits >> shift & 0xff));
        }
        if ((n + pad) % 4 != 0)
                return -EINVAL;
        if (n % 4 >= 2)
                strbuf_addc(&b, (char) (bits >> (n % 4 == 2 ? 4 : 10) & 0xff));
        if (n % 4 == 3)
                strbuf_addc(&b, (char) (bits >> 2 & 0xff));
        size = b.size;
        data = strbuf_take(&b);
        if (!data)
                return -ENOMEM;
        *ret_size = size;
        *ret = data;
        return 0;
}
