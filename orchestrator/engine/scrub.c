#include "orchestrator/engine/scrub.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/str.h"

/* Shorter ones are taken out only as whole words, the shortest not at all: they would take ordinary
 * sentences apart, and hide nothing that could not be guessed. */
#define SECRET_WORD 6
#define SECRET_MIN  3
/* Lines of one with several lines, such as a key: programs print those alone. */
#define SECRET_LINE 8

static const char *const no_secrets[] = { "true", "false", "yes", "off", "null", "none" };

void scrub_done(Scrub *s) {
        for (size_t i = 0; i < s->n; i++) {
                explicit_bzero(s->secrets[i], strlen(s->secrets[i]));
                free(s->secrets[i]);
        }
        free(s->secrets);
        *s = (Scrub){ 0 };
}

static void add_text(Scrub *s, const char *text, size_t size) {
        char **grown;

        for (size_t i = 0; i < N_ELEMENTS(no_secrets); i++)
                if (size == strlen(no_secrets[i]) && memcmp(text, no_secrets[i], size) == 0)
                        return;
        for (size_t i = 0; i < s->n; i++)
                if (strlen(s->secrets[i]) == size && memcmp(text, s->secrets[i], size) == 0)
                        return;
        if (size < SECRET_MIN || s->broken)
                return;
        grown = reallocarray(s->secrets, s->n + 1, sizeof(char *));
        if (grown)
                s->secrets = grown;
        if (!grown || !(s->secrets[s->n] = strndup(text, size))) {
                s->broken = true;
                return;
        }
        s->n++;
}

/* As a string in JSON, without its quotes: requests are often printed whole. */
static void add_escaped(Scrub *s, const json_t *value) {
        static const size_t ways[] = { JSON_ENCODE_ANY, JSON_ENCODE_ANY | JSON_ENSURE_ASCII,
                                       JSON_ENCODE_ANY | JSON_ESCAPE_SLASH };

        for (size_t i = 0; i < N_ELEMENTS(ways); i++) {
                auto_cleanup(freep) char *text = json_dumps(value, ways[i]);
                size_t size = text ? strlen(text) : 0;

                if (!text) {
                        s->broken = true;
                        return;
                }
                if (size > 2 && (size - 2 != json_string_length(value) ||
                                 memcmp(text + 1, json_string_value(value), size - 2) != 0))
                        add_text(s, text + 1, size - 2);
                explicit_bzero(text, size);
        }
}

static void add_string(Scrub *s, const json_t *value) {
        const char *text = json_string_value(value);

        add_text(s, text, strlen(text));
        add_escaped(s, value);
        if (!strpbrk(text, "\r\n"))
                return;
        while (*text) {
                size_t n = strcspn(text, "\r\n");

                if (n >= SECRET_LINE)
                        add_text(s, text, n);
                text += n + (text[n] != 0);
        }
}

void scrub_add(Scrub *s, const json_t *value) {
        const char *key;
        json_t *member;
        size_t i;

        if (json_is_string(value))
                add_string(s, value);
        else if (json_is_number(value)) {
                auto_cleanup(freep) char *text = json_dumps(value, JSON_ENCODE_ANY);

                if (text)
                        add_text(s, text, strlen(text));
                else
                        s->broken = true;
        }
        json_object_foreach((json_t *) value, key, member)
                scrub_add(s, member);
        json_array_foreach(value, i, member)
                scrub_add(s, member);
}

void scrub_add_result(Scrub *s, const json_t *result) {
        json_t *outputs = json_object_get(result, "outputs"),
               *list = json_object_get(result, "secret"), *name;
        bool sound = !list || json_is_array(list);
        size_t i;

        json_array_foreach(list, i, name)
                sound = sound && json_object_get(outputs, json_string_value(name));
        if (!sound)
                scrub_add(s, outputs);
        json_array_foreach(list, i, name)
                scrub_add(s, json_object_get(outputs, json_string_value(name)));
}

static int longer_first(const void *a, const void *b) {
        size_t n = strlen(*(char *const *) a), m = strlen(*(char *const *) b);

        return n < m ? 1 : n > m ? -1 : 0;
}

static bool in_word(char c) {
        return isalnum((unsigned char) c) || c == '_' || (unsigned char) c >= 0x80;
}

static char *without(const char *text, const char *secret) {
        const char *begin = text, *from = text, *at;
        size_t size = strlen(secret);
        auto_strbuf b = { 0 };

        while ((at = strstr(from, secret))) {
                from = at + 1;
                if (size < SECRET_WORD && ((at > begin && in_word(at[-1])) || in_word(at[size])))
                        continue;
                strbuf_addn(&b, text, (size_t) (at - text));
                strbuf_add(&b, "***");
                from = text = at + size;
        }
        strbuf_add(&b, text);
        return strbuf_take(&b);
}

char *scrub_text(Scrub *s, const char *text) {
        char *clean = s->broken ? NULL : strdup(text);

        if (s->n > 1) /* one may be the beginning of another */
                qsort(s->secrets, s->n, sizeof(char *), longer_first);
        for (size_t i = 0; clean && i < s->n; i++)
                if (strstr(clean, s->secrets[i])) {
                        char *less = without(clean, s->secrets[i]);

                        explicit_bzero(clean, strlen(clean));
                        free(clean);
                        clean = less;
                }
        return clean;
}
