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
        char *folder;     /* owned: of the kit's own, removed at the end; only state_dir is in it */
        char *state_dir;  /* owned */
        json_t *config;   /* owned: from --config, completed */
        json_t *cases;    /* owned: from --params, by type; may be NULL */
        json_t *describe; /* owned: the answer to describe */
        json_t *made;     /* owned: array of {"resource","environment"} that may be in the world */
        json_t *secrets;  /* owned: array of every secret value that was handed out */
        StrBuf words, states; /* of all answers, see Answer */
        char installation[ID_SIZE];
        char canary[ID_SIZE +
                    8];        /* is in the config, the environment's values and in wrong params */
        uint64_t seed, chance; /* where chance began, and where it is */
        int64_t patience_ms;   /* deadline of every call */
        StrBuf seen;           /* the words of the current rule */
        bool broken;           /* the program cannot even be started */
        char *overdue; /* owned: the verb that did not end in time, after which nothing is asked */
        char *form_fault; /* owned: the first answer that broke the protocol, or NULL */
} Kit;

/* What one undisturbed call of a verb took. */
typedef struct Took {
        int64_t ms;
        size_t n_bytes;
} Took;

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
        Took provision;          /* the first one */
        bool computed;
} Subject;

typedef Verdict (*ProviderRule)(Kit *kit);
typedef Verdict (*TypeRule)(Kit *kit, Subject *subject);

typedef struct KitRule {
        const char *name;
        unsigned number; /* of the rule in providers.md that explains it */
        ProviderRule of_provider;
        TypeRule of_type;
} KitRule;

extern const KitRule kit_provider_rules[]; /* end with a NULL name */
extern const KitRule kit_type_rules[];

/* Calls verb on a resource (NULL: none). Form faults are noted in the kit. */
Answer kit_call(Kit *kit, const char *verb, const json_t *environment, const json_t *resource,
                Interrupt interrupt);
Answer kit_ask(Kit *kit, const Subject *subject, const char *verb, const json_t *resource);
/* The same, when the answer is of no interest: cleaning up. */
void kit_tell(Kit *kit, const Subject *subject, const char *verb, const json_t *resource);
/* No further rule: somebody wants it to end, or the program can or will not answer. */
bool kit_is_over(const Kit *kit);
/* A new resource of the subject, owned, with a uid of its own. */
json_t *kit_resource(Kit *kit, const Subject *subject);
/* What the daemon knows of a thing when it has lost everything but its uid, type and marker; both owned. */
json_t *kit_forgotten(const json_t *resource);
json_t *kit_forgotten_environment(const json_t *environment);
/* Removes all that the check has made, newest first, and what is listed still; the array of what remains,
 * owned: [{"uid","type","marker"}]. */
json_t *kit_sweep(Kit *kit);

/* Note what was seen and return the verdict. */
Verdict kit_ok(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
Verdict kit_not_ok(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
Verdict kit_skipped(Kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "" when the object has no such text. */
const char *kit_text(const json_t *object, const char *key);
bool kit_offers(const Subject *subject, const char *verb);
/* Below n, from the seed. */
uint64_t kit_chance(Kit *kit, uint64_t n);
/* The requests that an engine would send, as an owned object. */
json_t *kit_request(const Kit *kit, const char *verb, const json_t *environment,
                    const json_t *resource);

/* ---- provider-subject.c ---- */
/* Makes what the type needs first. Negative: it cannot be tested, and kit->seen says why. */
int subject_init(Kit *kit, const json_t *described, Subject *subject);
void subject_done(Subject *s);
/* Without a case for it a type can be tested only when its schema asks for nothing. */
bool subject_can_be_tested(const Subject *subject);
void needs_remove(Kit *kit, Subject *subject);
