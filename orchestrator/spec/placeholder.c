/* At a "$":
 *   ${ up to the next }    a reference
 *   $${ up to the next }   the same text without the first "$", not a reference
 *   $$                     one "$"
 *   anything else          the "$" itself
 */
#include "orchestrator/spec/placeholder.h"

#include <ctype.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"

/* The "}" that closes what opens at from, or NULL. */
static const char *closing(PlaceholderScan *scan, const char *from) {
        const char *brace = scan->no_more_braces ? NULL : strchr(from, '}');

        scan->no_more_braces = !brace;
        return brace;
}

bool placeholder_next(PlaceholderScan *scan, PlaceholderPart *ret) {
        const char *s = scan->string + scan->at, *brace, *end;

        if (!*s)
                return false;
        *ret = (PlaceholderPart){ .text = s, .offset = scan->at };
        if (s[0] == '$' && s[1] == '{' && (brace = closing(scan, s + 2))) {
                ret->reference = true;
                ret->text = s + 2;
                ret->size = (size_t) (brace - s - 2);
                end = brace + 1;
        } else if (s[0] == '$' && s[1] == '$' && s[2] == '{' && (brace = closing(scan, s + 3))) {
                ret->text = s + 1;
                ret->size = (size_t) (brace - s);
                end = brace + 1;
        } else if (s[0] == '$') {
                ret->size = 1;
                end = s + (s[1] == '$' ? 2 : 1);
        } else {
                ret->size = strcspn(s, "$");
                end = s + ret->size;
        }
        scan->at = (size_t) (end - scan->string);
        return true;
}

bool placeholder_in(const char *string) {
        PlaceholderScan scan = { .string = string };
        PlaceholderPart part;

        while (placeholder_next(&scan, &part))
                if (part.reference)
                        return true;
        return false;
}

char **placeholder_split(const char *reference, size_t size) {
        auto_cleanup(strv_freep) char **parts = NULL;
        auto_strbuf part = { 0 };

        for (size_t i = 0; i <= size; i++) {
                auto_cleanup(freep) char *done = NULL;

                if (i + 1 < size && reference[i] == '\\' && reference[i + 1] == '.') {
                        strbuf_addc(&part, reference[++i]);
                        continue;
                }
                if (i < size && reference[i] != '.') {
                        strbuf_addc(&part, reference[i]);
                        continue;
                }
                done = strbuf_take(&part);
                if (!done || strv_add(&parts, done) < 0)
                        return NULL;
        }
        return TAKE(parts);
}

/* ---- checking ---- */

/* Letters, digits, "_", "-", "/", and a dot when it was escaped. */
static bool part_valid(const char *s) {
        if (!*s)
                return false;
        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && !strchr("_-/.", *s))
                        return false;
        return true;
}

static const char *hint_for_malformed(const char *text, size_t size) {
        for (size_t i = 0; i + 1 < size; i++)
                if (text[i] == ':' && strchr("-=?+", text[i + 1]))
                        return "there are no default values; $${...} keeps the text for a shell";
        for (size_t i = 0; i < size; i++)
                if (isspace((unsigned char) text[i]))
                        return "write the reference without spaces; $${...} keeps the text as it is";
        return "write ${metadata.KEY} or ${resources.NAME.OUTPUT}; $${...} keeps the text as it is";
}

static const char *hint_for_root(const char *root) {
        static const struct {
                const char *root, *hint;
        } hints[] = {
                { "resource", "did you mean ${resources.NAME.OUTPUT}?" },
                { "externals", "did you mean ${resources.NAME.OUTPUT}?" },
                { "env",
                  "declare a resource of type environment and write ${resources.NAME.VARIABLE}" },
                { "environment",
                  "declare a resource of type environment and write ${resources.NAME.VARIABLE}" },
        };
        static const char *const roots[] = { "resources", "metadata", NULL };
        const char *near = strv_nearest(roots, root);

        for (size_t i = 0; i < N_ELEMENTS(hints); i++)
                if (streq(root, hints[i].root))
                        return hints[i].hint;
        if (near)
                return streq(near, "metadata") ? "did you mean ${metadata.KEY}?"
                                               : "did you mean ${resources.NAME.OUTPUT}?";
        return "a reference begins with 'metadata' or 'resources'; $${...} keeps the text as it is";
}

static int clip(size_t size) {
        return size > 80 ? 80 : (int) size;
}

int placeholder_check(const char *reference, size_t size, char ***ret_parts, const char **ret_hint,
                      Error *reterr) {
        auto_cleanup(strv_freep) char **parts = placeholder_split(reference, size);
        bool valid = true;

        if (!parts)
                return -ENOMEM;
        for (size_t i = 0; parts[i]; i++)
                valid = valid && part_valid(parts[i]);
        if (!valid || !parts[1]) {
                if (ret_hint)
                        *ret_hint = hint_for_malformed(reference, size);
                return error_set(reterr, -EINVAL, "'${%.*s}' is not a reference", clip(size),
                                 reference);
        }
        if (!streq(parts[0], "metadata") && !streq(parts[0], "resources")) {
                if (ret_hint)
                        *ret_hint = hint_for_root(parts[0]);
                return error_set(reterr, -EINVAL,
                                 "'${%.*s}' begins with '%.80s', which is not known", clip(size),
                                 reference, parts[0]);
        }
        if (ret_parts)
                *ret_parts = TAKE(parts);
        return 0;
}

/* ---- evaluating ---- */

static int walk(const char *reference, size_t size, char *const *steps, json_t *at, json_t **ret,
                Error *reterr) {
        for (; *steps; steps++) {
                if (!json_is_object(at))
                        return error_set(reterr, -EINVAL,
                                         "'${%.*s}': there is no '%s' in what is not a map",
                                         clip(size), reference, *steps);
                at = json_object_get(at, *steps);
                if (!at)
                        return error_set(reterr, -ENOENT, "'${%.*s}': there is no '%s'", clip(size),
                                         reference, *steps);
        }
        *ret = at;
        return 0;
}

int placeholder_value(const char *reference, size_t size, const json_t *metadata,
                      PlaceholderLookup lookup, void *userdata, json_t **ret, Error *reterr) {
        auto_cleanup(strv_freep) char **parts = placeholder_split(reference, size);
        json_t *outputs;

        if (!parts)
                return -ENOMEM;
        if (streq(parts[0], "metadata") && parts[1])
                return walk(reference, size, parts + 1, (json_t *) metadata, ret, reterr);
        if (!streq(parts[0], "resources") || !parts[1])
                return error_set(reterr, -EINVAL,
                                 "'${%.*s}' is not a reference: write ${metadata.KEY} or "
                                 "${resources.NAME.OUTPUT}, or $${...} for the text itself",
                                 clip(size), reference);
        outputs = lookup(userdata, parts[1]);
        if (!outputs)
                return error_set(reterr, -ENOENT,
                                 "'${%.*s}': there are no outputs of a resource '%s'", clip(size),
                                 reference, parts[1]);
        if (!parts[2])
                return error_set(reterr, -EINVAL, "'${%.*s}' names no output of '%s'", clip(size),
                                 reference, parts[1]);
        return walk(reference, size, parts + 2, outputs, ret, reterr);
}

int placeholder_substitute(const char *string, const json_t *metadata, PlaceholderLookup lookup,
                           void *userdata, char **ret, Error *reterr) {
        PlaceholderScan scan = { .string = string };
        PlaceholderPart part;
        auto_strbuf b = { 0 };
        json_t *value;
        char *text;
        int r;

        while (placeholder_next(&scan, &part)) {
                if (!part.reference) {
                        strbuf_addn(&b, part.text, part.size);
                        continue;
                }
                r = placeholder_value(part.text, part.size, metadata, lookup, userdata, &value,
                                      reterr);
                if (r < 0)
                        return r;
                if (json_is_string(value))
                        strbuf_addn(&b, json_string_value(value), json_string_length(value));
                else
                        json_write(&b, value, 0);
        }
        text = strbuf_take(&b);
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

int placeholder_whole_resource(const char *string, char **ret) {
        PlaceholderScan scan = { .string = string };
        auto_cleanup(strv_freep) char **parts = NULL;
        PlaceholderPart part;

        *ret = NULL;
        if (!placeholder_next(&scan, &part) || !part.reference || string[scan.at])
                return 0;
        parts = placeholder_split(part.text, part.size);
        if (!parts)
                return -ENOMEM;
        if (!streq(parts[0], "resources") || !parts[1] || !*parts[1] || parts[2])
                return 0;
        *ret = strdup(parts[1]);
        return *ret ? 0 : -ENOMEM;
}
