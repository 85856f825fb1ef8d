#include "orchestrator/glue/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void write_string(StrBuf *b, const char *s, size_t size) {
        static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

        strbuf_addc(b, '"');
        for (size_t i = 0; i < size; i++) {
                const char *special = s[i] ? strchr(escaped, s[i]) : NULL;

                if (special) {
                        strbuf_addc(b, '\\');
                        strbuf_addc(b, letters[special - escaped]);
                } else if ((unsigned char) s[i] < 0x20) {
                        strbuf_addf(b, "\\u%04x", (unsigned char) s[i]);
                } else {
                        strbuf_addc(b, s[i]);
                }
        }
        strbuf_addc(b, '"');
}

/* The shortest digits that read back as the same number, and where their point stands: 0.DIGITS times
 * ten to the power of *ret_point. */
static void shortest_digits(double value, char digits[static 32], int *ret_point) {
        char text[64];
        char *e;
        int precision, n = 0;

        for (precision = 0; precision < 17; precision++) {
                snprintf(text, sizeof(text), "%.*e", precision, value);
                if (strtod(text, NULL) == value)
                        break;
        }
        e = strchr(text, 'e');
        *ret_point = e ? atoi(e + 1) + 1 : 1;
        for (char *c = text; c < e; c++)
                if (*c >= '0' && *c <= '9')
                        digits[n++] = *c;
        while (n > 1 && digits[n - 1] == '0')
                n--;
        digits[n] = 0;
}

static void write_real(StrBuf *b, double value) {
        char digits[32];
        int point, n;

        if (!isfinite(value)) {
                strbuf_add(b, "null");
                return;
        }
        if (value < 0)
                strbuf_addc(b, '-');
        shortest_digits(fabs(value), digits, &point);
        n = (int) strlen(digits);
        if (value == 0) {
                strbuf_addc(b, '0');
        } else if (point < -5 || point > 21) {
                strbuf_addc(b, digits[0]);
                if (n > 1)
                        strbuf_addf(b, ".%s", digits + 1);
                strbuf_addf(b, "e%+d", point - 1);
        } else if (point <= 0) {
                strbuf_addf(b, "0.%.*s%s", -point, "00000", digits);
        } else if (point >= n) {
                strbuf_add(b, digits);
                for (int i = n; i < point; i++)
                        strbuf_addc(b, '0');
        } else {
                strbuf_addf(b, "%.*s.%s", point, digits, digits + point);
        }
}

static int compare_keys(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static void write_break(StrBuf *b, unsigned indent, unsigned level) {
        if (indent == 0)
                return;
        strbuf_addc(b, '\n');
        for (unsigned i = 0; i < indent * level; i++)
                strbuf_addc(b, ' ');
}

static void write_value(StrBuf *b, const json_t *value, unsigned indent, unsigned level);

static void write_object(StrBuf *b, const json_t *object, unsigned indent, unsigned level) {
        size_t n = json_object_size(object), i = 0;
        auto_cleanup(freep) const char **keys = calloc(n + 1, sizeof(char *));
        const char *key;
        json_t *value;

        if (!keys) {
                b->broken = true;
                return;
        }
        json_object_foreach((json_t *) object, key, value)
                keys[i++] = key;
        qsort(keys, n, sizeof(char *), compare_keys);
        strbuf_addc(b, '{');
        for (i = 0; i < n; i++) {
                if (i > 0)
                        strbuf_addc(b, ',');
                write_break(b, indent, level + 1);
                write_string(b, keys[i], strlen(keys[i]));
                strbuf_add(b, indent ? ": " : ":");
                write_value(b, json_object_get(object, keys[i]), indent, level + 1);
        }
        if (n > 0)
                write_break(b, indent, level);
        strbuf_addc(b, '}');
}

static void write_array(StrBuf *b, const json_t *array, unsigned indent, unsigned level) {
        size_t n = json_array_size(array);

        strbuf_addc(b, '[');
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        strbuf_addc(b, ',');
                write_break(b, indent, level + 1);
                write_value(b, json_array_get(array, i), indent, level + 1);
        }
        if (n > 0)
                write_break(b, indent, level);
        strbuf_addc(b, ']');
}

static void write_value(StrBuf *b, const json_t *value, unsigned indent, unsigned level) {
        switch (json_typeof(value)) {
        case JSON_OBJECT:
                write_object(b, value, indent, level);
                break;
        case JSON_ARRAY:
                write_array(b, value, indent, level);
                break;
        case JSON_STRING:
                write_string(b, json_string_value(value), json_string_length(value));
                break;
        case JSON_INTEGER:
                strbuf_addf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
                break;
        case JSON_REAL:
                write_real(b, json_real_value(value));
                break;
        case JSON_TRUE:
                strbuf_add(b, "true");
                break;
        case JSON_FALSE:
                strbuf_add(b, "false");
                break;
        case JSON_NULL:
                strbuf_add(b, "null");
                break;
        }
}

void json_write(StrBuf *b, const json_t *value, unsigned indent) {
        write_value(b, value, indent, 0);
}

char *json_compact(const json_t *value) {
        auto_strbuf b = { 0 };

        json_write(&b, value, 0);
        return strbuf_take(&b);
}

static int text_add(const char *text, size_t size, void *userdata) {
        StrBuf *b = userdata;

        strbuf_addn(b, text, size);
        return b->broken ? -1 : 0;
}

char *json_text(const json_t *value) {
        auto_strbuf b = { 0 };

        if (json_dump_callback(value, text_add, &b, JSON_COMPACT | JSON_ENCODE_ANY) < 0)
                return NULL;
        return strbuf_take(&b);
}

void json_pointer_add(StrBuf *b, const char *key) {
        strbuf_addc(b, '/');
        for (; *key; key++)
                if (*key == '~')
                        strbuf_add(b, "~0");
                else if (*key == '/')
                        strbuf_add(b, "~1");
                else
                        strbuf_addc(b, *key);
}
