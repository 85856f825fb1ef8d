/* Holds a tree against the rules of score-rules.c. One value gives one fault at most, but every value
 * is looked at. */
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/score-parts.h"
#include "orchestrator/spec/score-rules.h"

typedef struct Checker {
        SpecFaults *faults;
        StrBuf pointer;
} Checker;

static void check(Checker *c, const Rule *rule, YamlNode *node, YamlPlace key);

static void fault(Checker *c, YamlPlace place, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

static void fault(Checker *c, YamlPlace place, const char *hint, const char *fmt, ...) {
        auto_cleanup(freep) char *text = NULL;
        va_list args;

        va_start(args, fmt);
        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        va_end(args);
        if (text && *text >= 'a' && *text <= 'z') /* "a container needs ..." begins a sentence */
                *text = (char) (*text - 'a' + 'A');
        spec_faults_add(c->faults, SPEC_STAGE_SCHEMA, place.file, place.line, place.column,
                        c->pointer.text ? c->pointer.text : "", hint, "%s",
                        text ? text : "Out of memory");
}

static size_t enter(Checker *c, const char *key) {
        size_t size = c->pointer.size;

        json_pointer_add(&c->pointer, key);
        return size;
}

static size_t enter_at(Checker *c, size_t at) {
        size_t size = c->pointer.size;

        strbuf_addf(&c->pointer, "/%zu", at);
        return size;
}

static void leave(Checker *c, size_t size) {
        if (c->pointer.text && !c->pointer.broken) {
                c->pointer.size = size;
                c->pointer.text[size] = 0;
        }
}

/* ---- text ---- */

/* A value as people know it from their file, in quotes, clipped. */
static char *quoted(const char *s) {
        return str_format("'%.*s%s'", yaml_clip(s), s, s[yaml_clip(s)] ? "..." : "");
}

static void fault_choice(Checker *c, const Rule *rule, const YamlNode *node) {
        auto_cleanup(freep) char *what = quoted(node->text), *hint = NULL;
        auto_strbuf list = { 0 };
        const char *near = strv_nearest(rule->choices, node->text);

        for (const char *const *choice = rule->choices; *choice; choice++) {
                strbuf_addf(&list, "%s%s",
                            choice == rule->choices ? ""
                            : choice[1]             ? ", "
                                                    : " or ",
                            *choice);
                if (strcasecmp(*choice, node->text) == 0)
                        near = *choice;
        }
        hint = near ? str_format("did you mean %s?", near) : str_format("write %s", list.text);
        fault(c, node->place, hint, "%s is not %s: %s", what, rule->noun, list.text);
}

static void fault_pattern(Checker *c, const Rule *rule, const char *text, YamlPlace place) {
        auto_cleanup(freep) char *what = quoted(text), *hint = NULL, *label = NULL;

        /* the rules for names are the ones with both lengths */
        if (rule->min == 2 && rule->max == 63)
                label = score_suggest_label(text);
        if (label && rule->pattern(label) && !streq(label, text))
                hint = str_format("did you mean '%s'? %s", label, rule->hint);
        if (!*text)
                fault(c, place, rule->hint, "%s must not be empty",
                      rule->noun ? rule->noun : "This");
        else
                fault(c, place, hint ? hint : rule->hint, "%s is not %s", what, rule->noun);
}

static void check_text_form(Checker *c, const Rule *rule, const char *text, YamlPlace place) {
        size_t n = utf8_length(text);

        if ((rule->pattern && !rule->pattern(text)) || n < rule->min ||
            (rule->max && n > rule->max)) {
                if (rule->noun)
                        fault_pattern(c, rule, text, place);
                else
                        fault(c, place, rule->hint, "This must not be empty");
        }
}

static void check_text(Checker *c, const Rule *rule, YamlNode *node) {
        if (rule->choices) {
                for (const char *const *choice = rule->choices; *choice; choice++)
                        if (streq(*choice, node->text))
                                return;
                fault_choice(c, rule, node);
                return;
        }
        check_text_form(c, rule, node->text, node->place);
}

/* ---- kinds ---- */

static const YamlKind wanted[] = {
        [RULE_TEXT] = YAML_KIND_STRING,     [RULE_INTEGER] = YAML_KIND_INTEGER,
        [RULE_BOOLEAN] = YAML_KIND_BOOLEAN, [RULE_LIST] = YAML_KIND_LIST,
        [RULE_MAP] = YAML_KIND_MAP,         [RULE_FIELDS] = YAML_KIND_MAP,
};

static void fault_kind(Checker *c, const Rule *rule, const YamlNode *node, YamlPlace place) {
        auto_cleanup(freep) char *what = quoted(node->text), *hint = NULL;
        const char *need = rule->kind == RULE_INTEGER ? "a whole number"
                                                      : yaml_kind_to_string(wanted[rule->kind]);
        bool word = node->plain && *node->text && node->kind != YAML_KIND_NULL;

        if (rule->kind == RULE_TEXT && word)
                hint = str_format("write \"%.*s\" in quotes", yaml_clip(node->text), node->text);
        else if (rule->kind == RULE_INTEGER && node->kind == YAML_KIND_STRING &&
                 strspn(node->text, "0123456789") == strlen(node->text) && *node->text)
                hint = str_format("write %.*s without quotes", yaml_clip(node->text), node->text);
        if (node->kind == YAML_KIND_NULL)
                fault(c, place, rule->hint, "There must be %s here, there is nothing", need);
        else if (word && node->kind != YAML_KIND_STRING)
                fault(c, place, hint ? hint : rule->hint, "There must be %s here, %s is %s", need,
                      what, yaml_kind_to_string(node->kind));
        else
                fault(c, place, hint ? hint : rule->hint, "There must be %s here, this is %s", need,
                      yaml_kind_to_string(node->kind));
}

/* JSON Schema counts 8080.0 as an integer; here it becomes one. */
static void integer_from_float(YamlNode *node) {
        if (node->kind != YAML_KIND_FLOAT || !isfinite(node->number) ||
            node->number != floor(node->number) || fabs(node->number) > 1e15)
                return;
        node->integer = (int64_t) node->number;
        node->kind = YAML_KIND_INTEGER;
}

static void check_integer(Checker *c, const Rule *rule, YamlNode *node) {
        if (node->integer < (int64_t) rule->min || node->integer > (int64_t) rule->max)
                fault(c, node->place, rule->hint, "%s is not %s", node->text, rule->noun);
}

/* Keys that YAML reads as something else than text make the map no JSON object. */
static bool check_odd_keys(Checker *c, const YamlNode *node) {
        for (size_t i = 0; node->odd_keys && i < node->n_entries; i++) {
                const YamlEntry *entry = &node->entries[i];
                auto_cleanup(freep) char *hint = NULL, *what = NULL;
                size_t size;

                if (!entry->odd)
                        continue;
                what = quoted(entry->key);
                hint = str_format("write \"%.*s\": in quotes", yaml_clip(entry->key), entry->key);
                size = enter(c, entry->key);
                fault(c, entry->place, hint, "The key %s is not text", what);
                leave(c, size);
        }
        return node->odd_keys;
}

/* ---- free content ---- */

static void check_any(Checker *c, const YamlNode *node, YamlPlace key) {
        size_t size;

        if (node->kind == YAML_KIND_MAP && !check_odd_keys(c, node)) {
                for (size_t i = 0; i < node->n_entries; i++) {
                        size = enter(c, node->entries[i].key);
                        check_any(c, node->entries[i].value, node->entries[i].place);
                        leave(c, size);
                }
        } else if (node->kind == YAML_KIND_LIST) {
                for (size_t i = 0; i < node->n_items; i++) {
                        size = enter_at(c, i);
                        check_any(c, node->items[i], key);
                        leave(c, size);
                }
        } else if (node->kind == YAML_KIND_TIMESTAMP ||
                   (node->kind == YAML_KIND_FLOAT && !isfinite(node->number))) {
                auto_cleanup(freep) char *hint =
                        str_format("write \"%.*s\" in quotes", yaml_clip(node->text), node->text);

                fault(c, node->place, hint, "'%.*s' is %s, which JSON does not have",
                      yaml_clip(node->text), node->text,
                      node->kind == YAML_KIND_TIMESTAMP ? "a date" : "a number");
        }
}

/* ---- maps and lists ---- */

static void check_list(Checker *c, const Rule *rule, const YamlNode *node, YamlPlace key) {
        for (size_t i = 0; i < node->n_items; i++) {
                size_t size = enter_at(c, i);

                check(c, rule->items, node->items[i], key);
                leave(c, size);
        }
}

static void check_map(Checker *c, const Rule *rule, const YamlNode *node, YamlPlace key) {
        if (node->n_entries < rule->min)
                fault(c, key, rule->hint, "There must be at least one entry in %s", rule->noun);
        for (size_t i = 0; i < node->n_entries; i++) {
                const YamlEntry *entry = &node->entries[i];
                size_t size = enter(c, entry->key);

                check_text_form(c, rule->keys, entry->key, entry->place);
                check(c, rule->items, entry->value, entry->place);
                leave(c, size);
        }
}

static const Field *field_find(const Rule *rule, const char *name) {
        for (const Field *field = rule->fields; field->name; field++)
                if (streq(field->name, name))
                        return field;
        return NULL;
}

static const char *mistake_hint(const Rule *rule, const char *key) {
        for (const Mistake *m = rule->mistakes; m && m->key; m++)
                if (streq(m->key, key))
                        return m->hint;
        return NULL;
}

static void fault_unknown(Checker *c, const Rule *rule, const YamlEntry *entry) {
        auto_cleanup(freep) char *what = NULL, *near_hint = NULL;
        const char *names[16] = { NULL }, *hint = mistake_hint(rule, entry->key), *near;
        auto_strbuf list = { 0 };
        size_t n = 0;

        if (c->faults->n_items >= LIMIT_SPEC_FAULTS) { /* no hints for what is not kept */
                c->faults->n_dropped++;
                return;
        }
        what = quoted(entry->key);
        for (const Field *field = rule->fields; field->name && n < N_ELEMENTS(names) - 1; field++) {
                names[n++] = field->name;
                strbuf_addf(&list, "%s%s", n > 1 ? ", " : "it may have ", field->name);
        }
        near = strv_nearest(names, entry->key);
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(names[i], entry->key) == 0)
                        near = names[i];
        if (near)
                near_hint = str_format("did you mean %s?", near);
        fault(c, entry->place,
              hint   ? hint
              : near ? near_hint
                     : list.text,
              "%s is not a key of %s", what, rule->noun);
}

static size_t count_present(const YamlNode *node, const char *const *names, char **ret_present) {
        auto_strbuf list = { 0 };
        size_t n = 0;

        for (; *names; names++)
                if (yaml_get(node, *names))
                        strbuf_addf(&list, "%s%s", n++ > 0 ? " and " : "", *names);
        *ret_present = strbuf_take(&list);
        return n;
}

static void check_one_of(Checker *c, const Rule *rule, const YamlNode *node, YamlPlace key) {
        const char *const *names = rule->exactly_one ? rule->exactly_one : rule->at_least_one;
        auto_cleanup(freep) char *present = NULL;
        auto_strbuf list = { 0 };
        size_t n;

        if (!names)
                return;
        n = count_present(node, names, &present);
        for (const char *const *name = names; *name; name++)
                strbuf_addf(&list, "%s%s", name == names ? "" : name[1] ? ", " : " or ", *name);
        if (n == 0)
                fault(c, key, rule->hint, "%s needs %s", rule->noun, list.text);
        else if (n > 1 && rule->exactly_one)
                fault(c, key, "keep one of them", "%s has %s, it takes one of them", rule->noun,
                      present);
}

static void check_field(Checker *c, const Field *field, const YamlEntry *entry) {
        Rule rule = *field->rule;

        /* a field that is there with nothing behind it gets the hint for a missing one */
        if (entry->value->kind == YAML_KIND_NULL && field->hint)
                rule.hint = field->hint;
        check(c, &rule, entry->value, entry->place);
}

static void check_fields(Checker *c, const Rule *rule, const YamlNode *node, YamlPlace key) {
        for (size_t i = 0; i < node->n_entries; i++) {
                const YamlEntry *entry = &node->entries[i];
                const Field *field = field_find(rule, entry->key);
                size_t size = enter(c, entry->key);

                if (field)
                        check_field(c, field, entry);
                else if (rule->open)
                        check_any(c, entry->value, entry->place);
                else
                        fault_unknown(c, rule, entry);
                leave(c, size);
        }
        for (const Field *field = rule->fields; field->name; field++)
                if (field->required && !yaml_get(node, field->name))
                        fault(c, key, field->hint, "%s needs '%s'", rule->noun, field->name);
        check_one_of(c, rule, node, key);
}

static void check(Checker *c, const Rule *rule, YamlNode *node, YamlPlace key) {
        YamlPlace place = node->kind == YAML_KIND_NULL || node->place.line == 0 ? key : node->place;

        if (rule->kind == RULE_ANY) {
                check_any(c, node, key);
                return;
        }
        if (rule->kind == RULE_INTEGER)
                integer_from_float(node);
        if (node->kind != wanted[rule->kind]) {
                fault_kind(c, rule, node, place);
                return;
        }
        switch (rule->kind) {
        case RULE_TEXT:
                check_text(c, rule, node);
                break;
        case RULE_INTEGER:
                check_integer(c, rule, node);
                break;
        case RULE_LIST:
                check_list(c, rule, node, key);
                break;
        case RULE_MAP:
                if (!check_odd_keys(c, node))
                        check_map(c, rule, node, key);
                break;
        case RULE_FIELDS:
                if (!check_odd_keys(c, node))
                        check_fields(c, rule, node, key);
                break;
        default:
                break;
        }
}

void score_check_schema(YamlNode *root, SpecFaults *faults) {
        Checker c = { .faults = faults };

        check(&c, &score_rule, root, root->place);
        strbuf_done(&c.pointer);
}
