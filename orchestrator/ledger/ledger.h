/* The ledger: one SQLite file that says what is wanted, what was tried and what came of it. WAL,
 * synchronous=FULL, foreign keys, STRICT tables, one writer (the engine). This is the only place with
 * SQL. Rows come out as structs that own their strings; lists are read row by row through callbacks, so
 * memory does not grow with the ledger.
 *
 * A write begins the turn's transaction when none is open; ledger_commit() ends it. Reads see the open
 * transaction. After a failed commit everything of the turn is rolled back.
 * Times are UTC milliseconds; 0 in a time column means "not". JSON columns are text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/id.h"

typedef struct Ledger Ledger;

typedef struct LedgerOptions {
        const char *path;     /* "STATE/ledger.db" */
        const char *key_path; /* key for secret outputs, made with mode 0600 when absent; beside it
                               * "KEY.signing" for receipts */
        const char *vfs;      /* NULL: the system's */
        const Random *random; /* for the installation id of a new ledger */
        bool fast;            /* tests only: synchronous=OFF */
        struct Db *db; /* tests only: path, open already, with its pragmas; it stays so. Or NULL */
        const char *anchor_path; /* NULL: "STATE/ledger.anchor"; with fast, none */
        bool new_signing_key;    /* a person said that the one in use may be replaced */
        bool read_only; /* to look at one that may be in use: nothing is made, brought along or held */
        int64_t now_ms; /* wall clock, for what is noticed now; 0: not known */
} LedgerOptions;

int ledger_open(const LedgerOptions *options, Ledger **ret, Error *reterr);
Ledger *ledger_close(Ledger *l);
int ledger_commit(Ledger *l, Error *reterr); /* 0 also when nothing was written */
void ledger_rollback(Ledger *l);
/* Why this ledger was found not to be the newest one (a backup was put back) when it was opened; NULL when
 * all is well. Of one that is only read: why its next start will find that. It has then set the value "frozen", as the engine's freeze does, and "held" (JSON: reason,
 * since_ms, from_ms: what it knows ends there, gap_ms, missing: number of events), which stays for people to
 * read; the release adds released_ms. */
const char *ledger_held(const Ledger *l);
/* Why it is held, now or since an earlier start: owned; -ENOENT when it is not, or was released. */
int ledger_hold(Ledger *l, char **ret, Error *reterr);
/* True when the turn has written something. */
bool ledger_is_open(const Ledger *l);
/* A part of the turn that can be undone on its own; parts do not nest. */
int ledger_savepoint(Ledger *l, Error *reterr);
int ledger_savepoint_keep(Ledger *l, Error *reterr);
int ledger_savepoint_undo(Ledger *l, Error *reterr);
/* This installation's id: part of every marker. */
const char *ledger_installation(const Ledger *l);
/* PEM of the key that receipts are checked with; *ret is owned. */
int ledger_public_key(const Ledger *l, char **ret);

/* ---- states ---- */

typedef enum EnvState {
        ENV_WANTED,   /* a generation is wanted, none serves yet */
        ENV_BUILDING, /* its first generation is being provisioned */
        ENV_READY,    /* a generation serves (a newer one may be under way) */
        ENV_FAILED,   /* the newest generation failed and none serves */
        ENV_DELETING, /* its resources are being removed */
        ENV_GONE,     /* nothing is left of it in the world */
        _ENV_STATE_MAX,
        _ENV_STATE_INVALID = -EINVAL,
} EnvState;

typedef enum EnvLevel { /* of an environment that is ready */
        LEVEL_AWAKE,
        LEVEL_FALLING, /* its workloads are being stopped */
        LEVEL_STOPPED,
        LEVEL_WAKING,
        _LEVEL_MAX,
        _LEVEL_INVALID = -EINVAL,
} EnvLevel;

typedef enum GenState {
        GEN_WANTED,       /* written, nothing done */
        GEN_CHECKOUT,     /* checkout and network are being made */
        GEN_PROVISIONING, /* the graph is known, its resources are being made */
        GEN_LIVE,         /* its route serves */
        GEN_FAILED,       /* will not serve; its resources are being or were removed */
        GEN_RETIRING,     /* replaced, cancelled or unwanted: its resources are being removed */
        GEN_REMOVED,      /* nothing is left of it */
        _GEN_STATE_MAX,
        _GEN_STATE_INVALID = -EINVAL,
} GenState;

typedef enum ResState {
        RES_PLANNED,      /* the row exists, nothing was tried */
        RES_PROVISIONING, /* an intent to provision is open or will be tried again */
        RES_READY,
        RES_FALLING, /* an intent to sleep is open */
        RES_ASLEEP,
        RES_WAKING,
        RES_FAILED,   /* will not be tried again for this generation */
        RES_REMOVING, /* an intent to deprovision is open or will be tried again */
        RES_STUCK,    /* removal failed for good: listed, retried daily */
        RES_REMOVED,  /* was confirmed absent */
        _RES_STATE_MAX,
        _RES_STATE_INVALID = -EINVAL,
} ResState;

const char *env_state_to_string(EnvState s);
EnvState env_state_from_string(const char *s);
bool env_state_may_become(EnvState from, EnvState to);
const char *env_level_to_string(EnvLevel l);
EnvLevel env_level_from_string(const char *s);
bool env_level_may_become(EnvLevel from, EnvLevel to);
const char *gen_state_to_string(GenState s);
GenState gen_state_from_string(const char *s);
bool gen_state_may_become(GenState from, GenState to);
const char *res_state_to_string(ResState s);
ResState res_state_from_string(const char *s);
bool res_state_may_become(ResState from, ResState to);

/* ---- rows ---- */

typedef struct Project {
        char *id, *name;  /* name: label of [a-z0-9-], unique among living projects */
        char *repository; /* path or URL of the Git repository */
        char *base_branch;
        char *team, *owner;
        char *clocks; /* JSON object: clock name -> milliseconds, what this project overrides */
        int64_t created_ms, removed_ms;
        int64_t compared_ms; /* last complete comparison with the repository's branches */
} Project;

typedef struct Environment {
        char *id, *project_id, *project; /* project: its name, joined in */
        char *branch, *commit;           /* commit: the newest wanted one */
        char *label; /* "feature-login--shop", unique among those neither deleting nor gone */
        char *owner, *team, *trust;
        char *trace;  /* correlation id of the newest trigger */
        int64_t slot; /* small, unique among living environments, from 1 */
        EnvState state;
        EnvLevel level;
        int64_t wanted_generation, live_generation; /* numbers; live 0: none */
        char *cause;              /* why failed or stuck, one sentence for its owner; NULL */
        char *gone_by, *gone_why; /* who and why, when deleting or gone */
        int64_t created_ms, used_ms, asleep_ms, closed_ms, deleted_ms;
        int64_t pinned_until_ms; /* INT64_MAX: until unpinned */
        char *pinned_by, *pin_reason;
        int64_t extended_until_ms;
        int64_t due_ms; /* next time the reaper must look; INT64_MAX: never by time */
        bool wake_wanted, sleep_wanted;
        char *lease; /* JSON object: wishes of the live graph, clock name -> ms */
        char *clocks; /* JSON object: the clock lengths in force, name -> ms; NULL before it was ready */
        int64_t policy_ms; /* when they were last changed; 0: never */
} Environment;

typedef struct Generation {
        char *environment_id;
        int64_t number;
        char *commit, *trace;
        GenState state;
        char *graph; /* JSON of graph_to_json(), NULL before it is known */
        char *cause; /* why it failed; NULL */
        int64_t created_ms, ready_ms, ended_ms;
} Generation;

typedef struct Resource {
        char *uid, *environment_id;
        int64_t generation; /* 0: belongs to the environment across generations */
        char *key, *type, *class, *id, *name, *workload; /* workload may be NULL */
        char *marker;                                    /* "INSTALLATION/ENVIRONMENT/UID" */
        char *provider;
        int64_t slot; /* small, unique among living resources, from 1 */
        ResState state;
        char *node;      /* JSON of its GraphNode (params are templates: no secrets) */
        char *live;      /* JSON: the provider's "state" as last returned, NULL */
        char *outputs;   /* JSON object without the secret ones, NULL before the first */
        char **secret;   /* names of the secret outputs */
        char **notes;    /* what its provider could not do as asked, sentences for people */
        int64_t applied; /* generation it was last provisioned for; 0: none, or not known */
        bool inspect;    /* an outcome is unknown: inspect before anything else */
        bool touched;    /* a provider was ever asked to make it */
        bool emptied; /* a removal succeeded; that it is absent is still to be confirmed, or was */
        int64_t tries, retry_ms; /* attempts so far; not before this time */
        char *cause;             /* last failure, one sentence */
        char *cause_class;
        int64_t created_ms, ready_ms, removed_ms;
} Resource;

typedef struct Intent {
        char *id; /* the call id */
        char *resource_uid, *environment_id;
        char *verb, *provider;
        int64_t attempt, created_ms, deadline_ms; /* deadline: length of the call */
        char *outcome;                            /* class name, NULL while open */
        char *message;
        int64_t ended_ms;
} Intent;

typedef struct Event {
        int64_t number, time_ms;
        char *environment_id, *project_id; /* may be NULL */
        char *kind;                        /* "environment.ready", "resource.failed" ... */
        char *actor, *trace, *text;
        char *data; /* JSON object, never a secret; may be NULL */
} Event;

/* What a host answers now. One row per living label, and for gone ones while they are remembered. */
typedef struct Route {
        char *host; /* "feature-login--shop.preview.localhost" */
        char *environment_id;
        char *answer;    /* "direct", "asleep", "waking", "building", "failed", "gone" */
        char *endpoints; /* JSON array, longest path first: {"path","address","port"}; "[]" */
        char *facts; /* JSON object for the page: project, branch, commit, cause, who, when, url */
        int64_t changed_ms;
} Route;

/* What an environment leaves: body says what was removed and what was found absent. */
typedef struct Receipt {
        char *environment_id, *label;
        int64_t ended_ms;
        char *body; /* canonical JSON: sorted keys, no spaces; these very bytes are signed */
        char *public_key, *signature; /* Ed25519, base64; chosen by ledger_receipt_add() */
} Receipt;

/* Seen on one side only: in the world ("orphan") or in the ledger ("ghost"). */
typedef struct Stray {
        char *uid, *kind, *provider, *type, *marker;
        char *environment_id;             /* as its marker says; may be unknown */
        char *detail;                     /* the provider's words; NULL */
        int64_t first_ms, last_ms, times; /* in complete lists */
        /* of an orphan that a person wants removed */
        bool removing, emptied; /* emptied: a removal succeeded, its absence is to be confirmed */
        char *actor, *trace;
        char *intent;            /* id of the removal under way; NULL */
        int64_t tries, retry_ms; /* not before this time */
        char *cause;             /* why the last try failed */
} Stray;

typedef struct OutboxItem {
        int64_t number;
        char *target, *kind, *body; /* body: JSON */
        int64_t created_ms, not_before_ms, tries, delivered_ms;
} OutboxItem;

void project_done(Project *p);
void environment_done(Environment *e);
void generation_done(Generation *g);
void resource_done(Resource *r);
void intent_done(Intent *i);
void event_done(Event *e);
void route_done(Route *r);
void receipt_done(Receipt *r);
void stray_done(Stray *s);
void outbox_item_done(OutboxItem *o);

/* ---- reading: 0, -ENOENT, or another negative errno. A callback returns 0 to go on, else its value
 * ends the walk and is returned. The row of a callback is the walk's, unless it is taken. ---- */

/* Makes the row of a callback the caller's; what is left of it is empty. */
void generation_take(const Generation *row, Generation *ret);
void resource_take(const Resource *row, Resource *ret);

int ledger_project_get(Ledger *l, const char *name_or_id, Project *ret, Error *reterr);
int ledger_project_each(Ledger *l, int (*func)(void *userdata, const Project *p), void *userdata,
                        Error *reterr);
/* By id, label, or "project/branch"; the living one, else the newest of those deleting or gone. */
int ledger_environment_get(Ledger *l, const char *which, Environment *ret, Error *reterr);
int ledger_environment_by_branch(Ledger *l, const char *project_id, const char *branch,
                                 Environment *ret, Error *reterr); /* neither deleting nor gone */
/* project_id NULL: all; gone: also those. Oldest first. */
int ledger_environment_each(Ledger *l, const char *project_id, bool gone,
                            int (*func)(void *userdata, const Environment *e), void *userdata,
                            Error *reterr);
/* Smallest due_ms among living environments; INT64_MAX when there is none (a partial index). */
int ledger_environment_next_due(Ledger *l, int64_t *ret, Error *reterr);
int ledger_environment_each_due(Ledger *l, int64_t now_ms,
                                int (*func)(void *userdata, const Environment *e), void *userdata,
                                Error *reterr);
int ledger_generation_get(Ledger *l, const char *environment_id, int64_t number, Generation *ret,
                          Error *reterr);
int ledger_generation_each(Ledger *l, const char *environment_id,
                           int (*func)(void *userdata, const Generation *g), void *userdata,
                           Error *reterr);
/* The same without removed and failed ones. */
int ledger_generation_each_open(Ledger *l, const char *environment_id,
                                int (*func)(void *userdata, const Generation *g), void *userdata,
                                Error *reterr);
int ledger_resource_get(Ledger *l, const char *uid, Resource *ret, Error *reterr);
/* environment_id NULL: those of all environments, without rows that cannot be read (told of once), so nothing
 * may be concluded from a row that does not come; removed: also removed ones. */
int ledger_resource_each(Ledger *l, const char *environment_id, bool removed,
                         int (*func)(void *userdata, const Resource *r), void *userdata,
                         Error *reterr);
/* Living ones whose retry_ms has come since then, until now; the smallest retry_ms after now_ms, INT64_MAX
 * for none. */
int ledger_resource_each_retry(Ledger *l, int64_t since_ms, int64_t now_ms,
                               int (*func)(void *userdata, const Resource *r), void *userdata,
                               Error *reterr);
int ledger_resource_next_retry(Ledger *l, int64_t now_ms, int64_t *ret, Error *reterr);
/* The outputs with the secret ones opened, as JSON text; for provider calls only, never stored. */
int ledger_resource_outputs(Ledger *l, const Resource *r, char **ret, Error *reterr);
int ledger_intent_each_open(Ledger *l, int (*func)(void *userdata, const Intent *i), void *userdata,
                            Error *reterr);
int ledger_event_each(Ledger *l, int64_t after, const char *environment_id, size_t max,
                      int (*func)(void *userdata, const Event *e), void *userdata, Error *reterr);
/* The number after which the newest n events come; 0 when there are no more than n. With n = 0 it is
 * the newest event's own. */
int ledger_event_before_last(Ledger *l, const char *environment_id, size_t n, int64_t *ret,
                             Error *reterr);
/* Time of the newest event, 0 when there is none. */
int ledger_event_last_ms(Ledger *l, int64_t *ret, Error *reterr);
int ledger_route_get(Ledger *l, const char *host, Route *ret, Error *reterr);
int ledger_route_each(Ledger *l, int (*func)(void *userdata, const Route *r), void *userdata,
                      Error *reterr);
int ledger_receipt_get(Ledger *l, const char *environment_id, Receipt *ret, Error *reterr);
/* Those of one label, newest first. */
int ledger_receipt_each(Ledger *l, const char *label, size_t max,
                        int (*func)(void *userdata, const Receipt *r), void *userdata,
                        Error *reterr);
/* Does the log of events say that this environment left a receipt? 1 or 0. */
int ledger_receipt_expected(Ledger *l, const char *environment_id, Error *reterr);
/* 0 when the signature holds, is this installation's, and the receipt is the one of its environment that the
 * log of events names; else -EBADMSG or -EKEYREJECTED and why. */
int ledger_receipt_check(Ledger *l, const Receipt *receipt, Error *reterr);
int ledger_stray_get(Ledger *l, const char *uid, Stray *ret, Error *reterr);
/* provider NULL: of all. Longest seen first. */
int ledger_stray_each(Ledger *l, const char *provider, int (*func)(void *userdata, const Stray *s),
                      void *userdata, Error *reterr);
/* Orphans whose removal can go on now; the first time after now_ms at which another can. */
int ledger_stray_each_removing(Ledger *l, int64_t now_ms,
                               int (*func)(void *userdata, const Stray *s), void *userdata,
                               Error *reterr);
int ledger_stray_next(Ledger *l, int64_t now_ms, int64_t *ret, Error *reterr);
/* When the orphan that was seen longest ago was seen; INT64_MAX: there is none. */
int ledger_stray_oldest_look(Ledger *l, int64_t *ret, Error *reterr);
/* Hosts that say "gone" since before this time, and whose environment is gone; at most n. */
int ledger_routes_gone(Ledger *l, int64_t before_ms, int64_t n, char ***ret, Error *reterr);
/* Small values: "frozen", "clock.high" ... -ENOENT when absent. */
int ledger_value_get(Ledger *l, const char *name, char **ret, Error *reterr);

/* ---- writing: only the engine calls these ---- */

int ledger_project_insert(Ledger *l, const Project *p, Error *reterr);
int ledger_project_update(Ledger *l, const Project *p, Error *reterr);
int ledger_environment_insert(Ledger *l, Environment *e, Error *reterr); /* chooses slot */
/* The door for states checks the move and compares: -EPERM when not allowed, -ESTALE when the row is no
 * longer in the state that e says. Other columns are written as they are in e. */
int ledger_environment_update(Ledger *l, const Environment *e, Error *reterr);
int ledger_environment_move(Ledger *l, Environment *e, EnvState to, Error *reterr);
int ledger_environment_move_level(Ledger *l, Environment *e, EnvLevel to, Error *reterr);
int ledger_generation_insert(Ledger *l, const Generation *g, Error *reterr);
int ledger_generation_update(Ledger *l, const Generation *g, Error *reterr);
int ledger_generation_move(Ledger *l, Generation *g, GenState to, Error *reterr);
int ledger_resource_insert(Ledger *l, Resource *r, Error *reterr); /* chooses slot */
int ledger_resource_update(Ledger *l, const Resource *r, Error *reterr);
int ledger_resource_move(Ledger *l, Resource *r, ResState to, Error *reterr);
/* Stores what a provider returned; secret names are sealed apart from the others. */
int ledger_resource_set_outputs(Ledger *l, Resource *r, const char *outputs_json,
                                char *const *secret, Error *reterr);
int ledger_intent_insert(Ledger *l, const Intent *i, Error *reterr);
int ledger_intent_end(Ledger *l, const char *id, const char *outcome, const char *message,
                      int64_t now_ms, Error *reterr);
int ledger_event_add(Ledger *l, const Event *e,
                     Error *reterr); /* number is chosen, chain is linked */
int ledger_route_put(Ledger *l, const Route *r, Error *reterr);
int ledger_route_remove(Ledger *l, const char *host, Error *reterr);
int ledger_receipt_add(Ledger *l, const Receipt *receipt, Error *reterr); /* signs it */
int ledger_stray_put(Ledger *l, const Stray *s, Error *reterr);
int ledger_stray_remove(Ledger *l, const char *uid, Error *reterr);
/* Drops the oldest ended intents before this time; at most n. How many it were. */
int ledger_prune_intents(Ledger *l, int64_t before_ms, int64_t n, Error *reterr);
int ledger_value_set(Ledger *l, const char *name, const char *value,
                     Error *reterr); /* NULL: drops */
int ledger_outbox_add(Ledger *l, const OutboxItem *o, Error *reterr);
int ledger_outbox_each_due(Ledger *l, int64_t now_ms,
                           int (*func)(void *userdata, const OutboxItem *o), void *userdata,
                           Error *reterr);
int ledger_outbox_next(Ledger *l, int64_t *ret,
                       Error *reterr); /* smallest not_before_ms, INT64_MAX */
int ledger_outbox_update(Ledger *l, const OutboxItem *o, Error *reterr);

/* Checks the event chain from its beginning, and its end against the anchor: 0 when it holds; 1 when it does
 * not, then *ret_first_bad is the number of the first event that is wrong or missing. */
int ledger_verify_events(Ledger *l, int64_t *ret_first_bad, Error *reterr);
/* The same and everything else that can be checked, also what was noticed before: one sentence for each thing
 * that does not hold. Returns their number. */
int ledger_verify(Ledger *l, void (*found)(void *userdata, const char *sentence), void *userdata,
                  Error *reterr);
/* Writes what is committed, as one file, while the ledger is in use; replaces path as a whole. */
int ledger_backup(Ledger *l, const char *path, Error *reterr);
/* The same for a ledger that another process has open. */
int ledger_copy(const char *ledger, const char *vfs, const char *path, Error *reterr);

DEFINE_CLEANUP(Ledger *, ledger_close)
