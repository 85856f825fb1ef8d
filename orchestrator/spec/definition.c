/* Which definition serves a resource, and what it makes of the resource's params. The rule of choice
 * stands in config.h. Each definition gets a rank, one bit for each thing it names; the heavier bit
 * outweighs all lighter ones together, so ranks compare as numbers, and equal ranks mean that two
 * definitions name the same things. */
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/graph.h"
#include "orchestrator/spec/pattern.h"
#include "orchestrator/spec/quantity.h"

enum {
        RANK_ADMIN = 1 << 0,
        RANK_CLASS = 1 << 1,
        RANK_ID = 1 << 2,
        RANK_BRANCH_PATTERN = 1 << 3,
        RANK_BRANCH = 1 << 4,
        RANK_PROJECT = 1 << 5,
        RANK_TRUST = 1 << 6,
};

static unsigned definition_rank(const Definition *d) {
        return (d->line > 0 ? RANK_ADMIN : 0) | (d->class ? RANK_CLASS : 0) |
               (d->id ? RANK_ID : 0) |
               (!d->branch                    ? 0
                : pattern_is_exact(d->branch) ? RANK_BRANCH
                                              : RANK_BRANCH_PATTERN) |
               (d->project ? RANK_PROJECT : 0) | (d->trust ? RANK_TRUST : 0);
}

/* Everything that a definition names, for sentences: "type 'x', class 'y'". */
static void definition_names(const Definition *d, StrBuf *b) {
        const struct {
                const char *word, *value;
        } named[] = {
                { "class", d->class },   { "id", d->id },       { "project", d->project },
                { "branch", d->branch }, { "trust", d->trust },
        };

        strbuf_addf(b, "type '%s'", d->type);
        for (size_t i = 0; i < N_ELEMENTS(named); i++)
                if (named[i].value)
                        strbuf_addf(b, ", %s '%s'", named[i].word, named[i].value);
}

static void definition_title(const Definition *d, StrBuf *b) {
        if (d->line > 0)
                strbuf_addf(b, "definition '%s' (line %u)", d->name, d->line);
        else
                strbuf_add(b, d->name);
}

/* ---- ties ---- */

static bool same_or_any(const char *a, const char *b) {
        return !a || !b || streq(a, b);
}

static bool definitions_overlap(const Definition *a, const Definition *b) {
        return streq(a->type, b->type) && same_or_any(a->class, b->class) &&
               same_or_any(a->id, b->id) && same_or_any(a->project, b->project) &&
               same_or_any(a->trust, b->trust) &&
               (!a->branch || !b->branch || pattern_overlaps(a->branch, b->branch));
}

int config_find_tie(const Config *c, const Definition **ret_a, const Definition **ret_b) {
        for (size_t i = 0; i < c->n_definitions; i++)
                for (size_t j = i + 1; j < c->n_definitions; j++) {
                        const Definition *a = &c->definitions[i], *b = &c->definitions[j];

                        if (!a->type || !b->type || definition_rank(a) != definition_rank(b) ||
                            !definitions_overlap(a, b))
                                continue;
                        *ret_a = a;
                        *ret_b = b;
                        return 1;
                }
        return 0;
}

/* ---- the choice ---- */

static bool type_is_implicit(const char *type) {
        return streq(type, "checkout") || streq(type, "network") || streq(type, "build") ||
               streq(type, "workload");
}

bool config_serves(const Config *c, const char *type) {
        for (size_t i = 0; i < c->n_definitions; i++)
                if (streq(c->definitions[i].type, type))
                        return true;
        return false;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static int served_types(const Config *c, char ***ret) {
        auto_cleanup(strv_freep) char **types = NULL;
        int r;

        for (size_t i = 0; i < c->n_definitions; i++) {
                const char *type = c->definitions[i].type;

                if (type_is_implicit(type) || strv_contains(types, type))
                        continue;
                r = strv_add(&types, type);
                if (r < 0)
                        return r;
        }
        qsort(types, strv_length(types), sizeof(char *), compare_strings);
        *ret = TAKE(types);
        return 0;
}

static int not_served(const Config *c, const char *type, Error *reterr) {
        auto_cleanup(strv_freep) char **types = NULL;
        auto_strbuf list = { 0 };
        const char *nearest;
        int r;

        r = served_types(c, &types);
        if (r < 0)
                return r;
        for (char **t = types; t && *t; t++)
                strbuf_addf(&list, "%s%s", list.size > 0 ? ", " : "", *t);
        nearest = strv_nearest((const char *const *) types, type);
        return error_set(reterr, -ENOENT,
                         "Nothing serves the resource type '%s'%s%s%s; served are: %s", type,
                         nearest ? " (did you mean '" : "", nearest ? nearest : "",
                         nearest ? "'?)" : "", list.broken || !list.text ? "none" : list.text);
}

/* The type is served, but not for this resource: list for which. */
static int not_served_here(const Config *c, const char *type, const char *class, const char *id,
                           const char *branch, const char *trust, Error *reterr) {
        auto_strbuf list = { 0 };

        for (size_t i = 0; i < c->n_definitions; i++) {
                if (!streq(c->definitions[i].type, type))
                        continue;
                strbuf_add(&list, list.size > 0 ? "; " : "");
                definition_names(&c->definitions[i], &list);
        }
        return error_set(
                reterr, -ENOENT,
                "Nothing serves '%s' of class '%s' and id '%s' for branch '%s' (%s); served "
                "are: %s",
                type, class, id, branch, trust, list.broken ? "" : list.text);
}

static char *why(const Definition *best, const Definition *second) {
        auto_strbuf b = { 0 };

        definition_title(best, &b);
        if (best->line > 0 || second) {
                strbuf_add(&b, ": ");
                definition_names(best, &b);
        }
        if (second) {
                strbuf_add(&b, "; before ");
                definition_title(second, &b);
        }
        return strbuf_take(&b);
}

int config_match(const Config *c, const char *type, const char *class, const char *id,
                 const char *project, const char *branch, const char *trust, const Definition **ret,
                 char **ret_why, Error *reterr) {
        const Definition *best = NULL, *second = NULL;

        class = class ? class : "default";
        for (size_t i = 0; i < c->n_definitions; i++) {
                const Definition *d = &c->definitions[i];

                if (!streq(d->type, type) || !same_or_any(d->class, class) ||
                    !same_or_any(d->id, id) || !same_or_any(d->project, project) ||
                    !same_or_any(d->trust, trust) ||
                    (d->branch && !pattern_matches(d->branch, branch)))
                        continue;
                if (!best || definition_rank(d) > definition_rank(best)) {
                        second = best;
                        best = d;
                } else if (!second || definition_rank(d) > definition_rank(second)) {
                        second = d;
                }
        }
        if (!best)
                return config_serves(c, type)
                               ? not_served_here(c, type, class, id, branch, trust, reterr)
                               : not_served(c, type, reterr);
        *ret_why = why(best, second);
        if (!*ret_why)
                return -ENOMEM;
        *ret = best;
        return 0;
}

/* ---- params ---- */

typedef enum AmountKind {
        AMOUNT_NONE,
        AMOUNT_NUMBER,
        AMOUNT_DURATION
} AmountKind;

/* "1Gi" and 1073741824 are the same amount; "30m" is a duration; "x" is neither. */
static AmountKind amount_of(const json_t *value, double *ret) {
        int64_t n;

        if (json_is_number(value)) {
                *ret = json_number_value(value);
                return AMOUNT_NUMBER;
        }
        if (!json_is_string(value))
                return AMOUNT_NONE;
        if (quantity_memory_bytes(json_string_value(value), &n) == 0) {
                *ret = (double) n;
                return AMOUNT_NUMBER;
        }
        if (duration_parse(json_string_value(value), &n, NULL) == 0) {
                *ret = (double) n;
                return AMOUNT_DURATION;
        }
        return AMOUNT_NONE;
}

static int edge_check(const Definition *d, const char *name, const json_t *value,
                      const json_t *edge, const char *word, int sign, Error *reterr) {
        auto_cleanup(freep) char *text = json_dumps(edge, JSON_ENCODE_ANY | JSON_COMPACT);
        double have, limit;
        AmountKind kind;

        if (!edge)
                return 0;
        kind = amount_of(edge, &limit);
        if (kind == AMOUNT_NONE || amount_of(value, &have) != kind)
                return error_set(reterr, -EINVAL,
                                 "'%s' cannot be compared with the bound %s %s of definition '%s'",
                                 name, word, text ? text : "", d->name);
        if (sign < 0 ? have < limit : have > limit)
                return error_set(reterr, -EINVAL, "'%s' must be at %s %s, says definition '%s'",
                                 name, sign < 0 ? "least" : "most", text ? text : "", d->name);
        return 0;
}

static int choice_check(const Definition *d, const char *name, const json_t *value,
                        const json_t *choices, Error *reterr) {
        auto_cleanup(freep) char *text = json_dumps(choices, JSON_ENCODE_ANY | JSON_COMPACT);
        const json_t *choice;
        size_t i;

        if (!choices)
                return 0;
        json_array_foreach(choices, i, choice)
                if (json_equal(choice, value))
                        return 0;
        return error_set(reterr, -EINVAL, "'%s' must be one of %s, says definition '%s'", name,
                         text ? text : "", d->name);
}

static int bounds_check(const Definition *d, const json_t *params, Error *reterr) {
        const char *name;
        json_t *bound;
        int r;

        json_object_foreach(d->bounds, name, bound) {
                const json_t *value = json_object_get(params, name);

                if (!value)
                        continue;
                r = choice_check(d, name, value, json_object_get(bound, "one_of"), reterr);
                if (r == 0)
                        r = edge_check(d, name, value, json_object_get(bound, "min"), "min", -1,
                                       reterr);
                if (r == 0)
                        r = edge_check(d, name, value, json_object_get(bound, "max"), "max", 1,
                                       reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

int definition_lay(const Definition *d, const json_t *params, json_t **ret, Error *reterr) {
        auto_cleanup(json_decrefp) json_t *laid = json_deep_copy(params);
        const char *name;
        json_t *value;
        int r;

        json_object_foreach(d->params, name, value) {
                auto_cleanup(json_decrefp) json_t *fixed = template_literal(value);
                const json_t *said = json_object_get(params, name);

                if (said && !json_equal(said, fixed)) {
                        auto_cleanup(freep) char *text = json_dumps(value, JSON_ENCODE_ANY);

                        return error_set(reterr, -EINVAL, "'%s' is fixed at %s by definition '%s'",
                                         name, text ? text : "", d->name);
                }
                if (json_object_set(laid, name, fixed) < 0)
                        return -ENOMEM;
        }
        json_object_foreach(d->defaults, name, value)
                if (!json_object_get(laid, name) &&
                    json_object_set_new(laid, name, template_literal(value)) < 0)
                        return -ENOMEM;
        r = bounds_check(d, laid, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(laid);
        return *ret ? 0 : -ENOMEM;
}
