/* Texts of a Compose file: variables, command lines and amounts. */
#include "orchestrator/base/str.h"
#include "orchestrator/spec/compose-internal.h"

/* ---- variables ---- */

#define NEST_MAX 8

static size_t name_length(const char *s) {
        size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

        return n > 0 && (*s < '0' || *s > '9') ? n : 0;
}

/* The "}" that closes what was opened before at, "${" inside counted; NULL when there is none. */
static const char *closing(const char *at) {
        unsigned depth = 0;

        for (; *at; at++) {
                if (at[0] == '$' && at[1] == '{' && ++depth)
                        at++;
                else if (*at == '}' && depth-- == 0)
                        return at;
        }
        return NULL;
}

static int interpolate(const char *text, size_t size, unsigned depth, StrBuf *b, char **missing,
                       Error *reterr);

static int miss(char **missing, const char *name, size_t size) {
        if (*missing)
                return 0;
        *missing = strndup(name, size);
        return *missing ? 0 : -ENOMEM;
}

/* What stands between "${" and "}": no variable is ever set. */
static int braced(const char *at, const char *end, unsigned depth, StrBuf *b, char **missing,
                  Error *reterr) {
        size_t n = name_length(at);
        const char *op = at + n;

        if (n == 0 || op > end)
                return error_set(reterr, -EINVAL, "'${%.*s}' is not a variable", (int) (end - at),
                                 at);
        if (op == end)
                return miss(missing, at, n);
        op += *op == ':';
        if (op < end && *op == '-')
                return interpolate(op + 1, (size_t) (end - op - 1), depth + 1, b, missing, reterr);
        if (op < end && *op == '+')
                return 0;
        if (op < end && *op == '?')
                return error_set(reterr, -EINVAL, "The variable '%.*s' is required: %.*s", (int) n,
                                 at, (int) (end - op - 1), op + 1);
        return error_set(reterr, -EINVAL, "'${%.*s}' is not a variable", (int) (end - at), at);
}

static int interpolate(const char *text, size_t size, unsigned depth, StrBuf *b, char **missing,
                       Error *reterr) {
        const char *at = text, *end = text + size, *close;
        size_t n;
        int r;

        if (depth > NEST_MAX)
                return error_set(reterr, -EINVAL, "Defaults of variables are nested too deeply");
        while (at < end) {
                n = (size_t) (end - at);
                if (*at != '$') {
                        const char *dollar = memchr(at, '$', n);

                        strbuf_addn(b, at, dollar ? (size_t) (dollar - at) : n);
                        at = dollar ? dollar : end;
                } else if (n > 1 && at[1] == '$') {
                        strbuf_addc(b, '$');
                        at += 2;
                } else if (n > 1 && at[1] == '{') {
                        close = closing(at + 2);
                        if (!close || close >= end)
                                return error_set(reterr, -EINVAL, "A '${' is not closed");
                        r = braced(at + 2, close, depth, b, missing, reterr);
                        if (r < 0)
                                return r;
                        at = close + 1;
                } else if (n > 1 && (n = name_length(at + 1)) > 0) {
                        r = miss(missing, at + 1, n);
                        if (r < 0)
                                return r;
                        at += 1 + n;
                } else {
                        return error_set(reterr, -EINVAL,
                                         "A single '$' means a variable in Compose: write '$$'");
                }
        }
        return 0;
}

int compose_interpolate(const char *text, char **ret, char **ret_missing, Error *reterr) {
        auto_cleanup(freep) char *missing = NULL;
        auto_strbuf b = { 0 };
        int r;

        r = interpolate(text, strlen(text), 0, &b, &missing, reterr);
        if (r < 0)
                return r;
        *ret = strbuf_take(&b);
        if (!*ret)
                return -ENOMEM;
        *ret_missing = TAKE(missing);
        return 0;
}

char *compose_text(Compose *c, const YamlNode *node, const char *path) {
        auto_cleanup(freep) char *missing = NULL;
        auto_error error = { 0 };
        char *text = NULL;
        int r;

        if (node->kind == YAML_KIND_LIST || node->kind == YAML_KIND_MAP ||
            node->kind == YAML_KIND_NULL)
                return NULL;
        if (node->kind != YAML_KIND_STRING)
                text = strdup(node->text);
        else if ((r = compose_interpolate(node->text, &text, &missing, &error)) == -EINVAL) {
                if (path)
                        compose_say(c, node->place, path, REFUSED, "%s", error_text(&error, r));
                return strdup("");
        }
        if (!text)
                c->no_memory = true;
        if (missing && path)
                compose_say(
                        c, node->place, path, CHANGED,
                        "The variable '%s' is empty: no environment is read, and it has no default",
                        missing);
        return text;
}

json_t *compose_texts(Compose *c, const YamlNode *node, const char *path) {
        auto_cleanup(json_decrefp) json_t *list = json_array();
        size_t n = node->kind == YAML_KIND_LIST ? node->n_items : 1;

        for (size_t i = 0; i < n; i++) {
                const YamlNode *item = node->kind == YAML_KIND_LIST ? node->items[i] : node;
                auto_cleanup(freep) char *text = compose_text(c, item, path);

                if (!text) {
                        compose_say(c, item->place, path, REFUSED, "This must be text, not %s",
                                    yaml_kind_to_string(item->kind));
                        return NULL;
                }
                if (json_array_append_new(list, json_string(text)) < 0)
                        c->no_memory = true;
        }
        return TAKE(list);
}

/* ---- command lines ---- */

/* One word into b; returns the place after it, NULL when a quote is open. */
static const char *word_read(const char *at, StrBuf *b) {
        char quote = 0;

        for (; *at && (quote || !strchr(" \t\n", *at)); at++) {
                if (quote ? *at == quote : *at == '\'' || *at == '"') {
                        quote = quote ? 0 : *at;
                } else if (*at == '\\' && quote != '\'') {
                        if (!at[1])
                                return NULL;
                        if (quote && !strchr("\"\\$`", at[1]))
                                strbuf_addc(b, '\\');
                        strbuf_addc(b, *++at);
                } else {
                        strbuf_addc(b, *at);
                }
        }
        return quote ? NULL : at;
}

int compose_split(const char *line, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *words = json_array();
        const char *at = line + strspn(line, " \t\n");

        if (!words)
                return -ENOMEM;
        while (*at) {
                auto_cleanup(freep) char *word = NULL;
                auto_strbuf b = { 0 };

                at = word_read(at, &b);
                if (!at)
                        return -EINVAL;
                word = strbuf_take(&b);
                if (!word || json_array_append_new(words, json_string(word)) < 0)
                        return -ENOMEM;
                at += strspn(at, " \t\n");
        }
        *ret = TAKE(words);
        return 0;
}

/* ---- amounts ---- */

int compose_bytes(const char *text, int64_t *ret) {
        static const struct {
                const char *unit;
                unsigned shift;
        } units[] = {
                { "", 0 },    { "b", 0 },  { "k", 10 },  { "kb", 10 }, { "m", 20 },
                { "mb", 20 }, { "g", 30 }, { "gb", 30 }, { "t", 40 },  { "tb", 40 },
        };
        size_t n = strspn(text, "0123456789");
        char digits[20] = "";
        uint64_t value;

        if (n == 0 || n >= sizeof(digits))
                return -EINVAL;
        memcpy(digits, text, n);
        if (str_to_u64(digits, INT64_MAX, &value) < 0)
                return -EINVAL;
        for (size_t i = 0; i < N_ELEMENTS(units); i++)
                if (strcasecmp(text + n, units[i].unit) == 0 &&
                    value <= (uint64_t) INT64_MAX >> units[i].shift) {
                        *ret = (int64_t) (value << units[i].shift);
                        return 0;
                }
        return -EINVAL;
}

int compose_cpus(const char *text, int64_t *ret) {
        size_t n = strspn(text, "0123456789"), m;
        int64_t milli = 0;

        m = text[n] == '.' ? strspn(text + n + 1, "0123456789") : 0;
        if (n > 6 || n + m == 0 || text[n + (text[n] == '.') + m])
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                milli = milli * 10 + (text[i] - '0');
        for (size_t i = 0; i < 3; i++)
                milli = milli * 10 + (i < m ? text[n + 1 + i] - '0' : 0);
        *ret = milli;
        return 0;
}
