/* The shape of a Score file as tables, in the order and with the names of its JSON Schema. What a table
 * cannot say is a function beside it. Used by score-schema.c only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum RuleKind {
        RULE_ANY,     /* anything that JSON can hold */
        RULE_TEXT,    /* min to max code points, pattern, choices */
        RULE_INTEGER, /* min to max */
        RULE_BOOLEAN,
        RULE_LIST,   /* of items */
        RULE_MAP,    /* free keys (keys) to items, at least min of them */
        RULE_FIELDS, /* fields; others only when open */
} RuleKind;

typedef struct Rule Rule;

typedef struct Field {
        const char *name;
        const Rule *rule;
        bool required;
        const char *hint; /* when it is missing, or there with nothing behind it */
} Field;

/* A key that people write here by mistake, and what they may have meant. */
typedef struct Mistake {
        const char *key, *hint;
} Mistake;

struct Rule {
        RuleKind kind;
        const char *noun;  /* "a container" */
        const char *hint;  /* what would be right */
        unsigned min, max; /* 0: not limited */
        bool (*pattern)(const char *s);
        const char *const *choices; /* ends with NULL */
        const Rule *keys, *items;
        const Field *fields; /* ends with a NULL name */
        bool open;
        const char *const *exactly_one, *const *at_least_one; /* of these fields, ends with NULL */
        const Mistake *mistakes;                              /* ends with a NULL key */
};

extern const Rule score_rule;

/* What may have been meant by a name that is no LABEL ("Web_1": "web-1"), owned, or NULL. */
char *score_suggest_label(const char *s);
