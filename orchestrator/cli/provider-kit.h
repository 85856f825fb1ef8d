/* The rules of "mayfly provider check": what every provider must do, whoever wrote it. A rule is a row
 * of a table; it makes calls through the kit and says in a few words what it saw. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "orchestrator/base/id.h"
#include "orchestrator/cli/provider-call.h"

typedef enum Verdict {
        VERDICT_OK,
        VERDICT_NOT_OK,
        VERDICT_SKIPPED,
} Verdict;

typedef struct Kit {
        const char *program;
        char *state_dir;  /* owned: a folder of the kit's own, removed at the end */
        json_t *config;   /* owned: from --config, completed */
        json_t *cases;    /* owned: from --params, by type; may be NULL */
        json_t *describe; /* owned: the answer to describe */
        char installation[ID_SIZE];
        int64_t patience_ms; /* deadline of every call */
        StrBuf seen;         /* the words of the current rule */
        bool broken;         /* the program cannot even be started */
        char *form_fault;    /* owned: the first answer that broke the protocol, or NULL */
} Kit;

/* A type under test. */
typedef struct Subject {
        const char *type;
        const json_t *described; /* its entry in describe */
        const json_t *given;     /* its entry in cases, or NULL */
        json_t *params;          /* owned: with what its needs gave filled in */
        json_t *environment;     /* owned */
        json_t *needs;           /* owned: array of the resources made for it, to remove */
        json_t *resource;        /* owned: the one that the rules share */
        json_t *outputs, *state; /* owned: of its first provision */
        json_t *secrets;         /* owned: array of secret values */
        StrBuf words;            /* all that was said that is no answer */
        size_t n_bytes;          /* of the first answer */
        int64_t took_ms;         /* for the first provision */
        bool computed;
} Subject;

typedef Verdict (*ProviderRule)(Kit *kit);
typedef Verdict (*TypeRule)(Kit *kit, Subject *subject);

typedef struct KitRule {
        const char *name;
        ProviderRule of_provider;
        TypeRule of_type;
} KitRule;

extern const KitRule kit_provider_rules[]; /* end with a NULL name */
extern const KitRule kit_type_rules[];

/* Calls verb on a resource (NULL: none). Form faults are noted in the kit. */
Answer kit_call(Kit *kit, Subject *subject, const char *verb, const json_t *environment,
                const json_t *resource, Interrupt interrupt);
Answer kit_ask(Kit *kit, Subject *subject, const char *verb, const json_t *resource);
/* The same, when the answer is of no interest: cleaning up. */
void kit_tell(Kit *kit, Subject *subject, const char *verb, const json_t *resource);
/* A new resource of the subject, owned, with a uid of its own. */
json_t *kit_resource(const Kit *kit, const Subject *subject);

/* Note what was seen and return the verdict. */
Verdict kit_ok(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
Verdict kit_not_ok(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
Verdict kit_skipped(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "" when the object has no such text. */
const char *kit_text(const json_t *object, const char *key);
bool kit_offers(const Subject *subject, const char *verb);
/* The requests that an engine would send, as an owned object. */
json_t *kit_request(const Kit *kit, const char *verb, const json_t *environment,
                    const json_t *resource);
