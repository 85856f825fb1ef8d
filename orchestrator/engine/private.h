/* Inside of the engine. Three kinds of memory, all of which may be lost at any moment:
 *
 * Look  what an environment's next look should know (a visit, an answer of the front). Created on
 *       demand. Being in the queue of dirty looks is what makes the engine look at an environment.
 * Call  a provider call under way. Those that change the world have an intent in the ledger.
 * View  one environment with its open generations and living resources, read from the ledger for the
 *       length of one look. All decisions are made on a View.
 *
 * Nothing that has to survive is kept here: after a restart the ledger alone leads to the same end. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/engine/clock.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/engine/event.h"
#include "orchestrator/engine/scrub.h"
#include "orchestrator/engine/stray.h"
#include "orchestrator/glue/crypto.h"
#include "reaper/reaper.h"

typedef enum LookWait {
        LOOK_WAITS_NOT,
        LOOK_WAITS_FOR_PLACE,
        LOOK_WAITS_FOR_BUILD, /* only for one: of the calls that are builds */
        _LOOK_WAIT_MAX,
} LookWait;

typedef struct Look {
        char *id; /* of the environment */
        struct Look *next;
        bool queued;      /* in the dirty queue */
        LookWait waiting; /* wants to start calls and no place is free */
        bool visited;     /* a visitor came, not handled yet */
        bool visit_taken; /* handled in this turn; comes back when the turn fails */
        bool looked;      /* looked at in this turn */
        bool asking;      /* the front was asked and has not answered */
        bool uncertain;   /* it was said that nobody knows whether it is in use */
        bool answered;    /* activity holds the answer to the present question */
        FrontActivity activity;
        Scrub gone;       /* secrets that no row has any more, while calls that may know them run */
        int64_t again_ms; /* look again then; 0: no such time */
        int64_t asked_ms;
        int64_t pushed_ms; /* when a push or a deletion of its branch was told of; 0: not lately */
        unsigned failures; /* looks in a row that ended in an error */
        uint64_t ticket; /* its place among those that wait, kept until it got something; 0: none */
} Look;

typedef enum CallState {
        CALL_QUEUED, /* starts after this turn's commit */
        CALL_RUNNING,
        CALL_REPLIED, /* its reply is applied in this turn; dropped after the commit */
        CALL_DONE,
} CallState;

typedef enum CallKind {
        CALL_RESOURCE, /* provision, inspect, deprovision, sleep, wake */
        CALL_LIST,
        CALL_WATCH,
        CALL_STREAM, /* logs, exec */
        CALL_ORPHAN, /* inspect, deprovision of what has no row (orphan.c) */
        CALL_VERIFY, /* inspect, list for a receipt (verify.c) */
} CallKind;

/* Of what a provider says while it works: the last lines. */
typedef struct Said {
        struct {
                char *text;    /* owned; whole words only, or NULL */
                bool progress; /* it says how far it has come */
        } lines[LIMIT_PROVIDER_SAID];
        unsigned n; /* said; line i is in place i % LIMIT_PROVIDER_SAID */
} Said;

typedef struct Call Call;
struct Call {
        char id[ID_SIZE];
        CallKind kind;
        CallState state;
        char *uid, *environment_id; /* of CALL_RESOURCE and CALL_STREAM */
        char *provider, *verb;
        char *node;         /* of a provision: the node that it applies */
        int64_t generation; /* of a provision: the generation it serves */
        bool intent;        /* has an intent in the ledger */
        bool build;         /* may take long */
        bool cancel;        /* cancel after this turn's commit */
        bool overtaken;     /* a watch told of a change that its answer may not know yet */
        bool cancelled;
        json_t *request; /* until it is started; may hold secrets */
        int64_t deadline_ms, started_ms;
        struct ListRun *list;
        EngineStream *stream;
        EngineVerify *verify; /* NULL: nobody waits for it any more */
        size_t check;         /* which of its checks */
        Said said;

        /* the reply, kept until the commit that applies it */
        bool replied;
        int64_t replied_boot_ms;
        ProviderClass class;
        char *message;
        json_t *result;
        int64_t retry_after_ms;
        bool unknown;
        Call *next_reply;
};

typedef struct Waiter {
        void (*done)(void *userdata, int r, const Error *error);
        void *userdata;
} Waiter;

typedef struct Follower {
        void (*func)(void *userdata);
        void *userdata;
} Follower;

typedef struct LateAnswer LateAnswer; /* reap.c */

struct Engine {
        EngineSetup setup;
        Ledger *ledger;
        const Config *config;

        /* time, read once per turn; now_ms is the trusted one (clock.c) */
        bool turn;
        int64_t now_ms, wall_ms, boot_ms, awake_ms, offset_ms;
        int64_t last_wall_ms, last_boot_ms, last_awake_ms, high_ms;
        int64_t drift_ms, drift_boot_ms; /* small steps, since when */
        int64_t jumped_ms;   /* of trusted time in this turn, because a clock was accepted */
        int64_t accepted_ms; /* trusted time is ahead of the wall clock by this, and a person knows */
        int64_t hold_until_ms; /* nothing is slept or deleted by the reaper before */
        ClockNews news;

        /* What holds destructive work until somebody releases it (freeze.c). Each JSON value is NULL when
         * there is none; frozen is true while it is not known. */
        bool frozen, frozen_by_clock; /* frozen_by_clock: by nothing else */
        bool held; /* the ledger was put back and nobody has released it (held.c) */
        json_t *freeze_row, *freeze_clock, *freeze_held;
        char *freeze_reason;                 /* of all of them */
        ReaperMove moves[LIMIT_CLOCK_MOVES]; /* oldest first */
        size_t n_moves;
        LateAnswer *late;        /* questions to the front whose answer nobody waits for any more */
        int64_t unwell_until_ms; /* the ledger could not be written: nothing destructive before */
        char *unwell_why;
        int64_t again_ms;       /* the whole turn again */
        int64_t retried_ms;     /* what was to be tried again until then has been looked at */
        char *boot;             /* which boot of the machine this is; "" when not known */
        bool marking;           /* clock.mark is written in this turn */
        int64_t marked_boot_ms; /* when clock.mark was last written */

        Map *looks;
        Look *dirty, *dirty_last;
        struct {
                Look *first, *last;
        } waiting[_LOOK_WAIT_MAX];
        uint64_t last_ticket;

        Look *asking; /* the front is being asked about it just now */

        Map *calls;    /* id -> Call, owned */
        Map *busy;     /* resource uid -> Call, borrowed */
        Map *slow;     /* provider -> Slow, owned */
        Map *patience; /* uid -> Patience, owned (trouble.c) */
        Map *sound;    /* uids of networks that were proved since the start */
        Map *looked;  /* uid -> int64_t, owned: boot time when a removal last saw it (resource.c) */
        Map *refused; /* uid -> Refused, owned (refused.c) */
        Map *watches; /* provider -> Watch, owned */
        Map *lists;   /* provider -> ListEnd, owned */
        Map *parsed;  /* parsed.c */
        struct Parsed *replaced;
        size_t parsed_bytes;
        Call *replies, *replies_last;
        unsigned n_running, n_builds, n_streams;

        EngineVerify *verifies;
        Waiter *lookers; /* wait for the lists under way */
        size_t n_lookers;
        int64_t relooked_ms, pruned_ms;

        char **hosts; /* changed in this turn */
        Waiter *waiters;
        size_t n_waiters;
        Follower *followers;
        size_t n_followers;
        bool events_added, started, resumed;
};

/* One resource in a View. */
typedef struct Part {
        Resource row;
        GraphNode *node; /* borrowed, see parsed.c; NULL until asked for */
        json_t *outputs; /* opened, may hold secrets; NULL until asked for */
        enum {
                ORDER_UNKNOWN,
                ORDER_ASKED,
                ORDER_FREE,
                ORDER_WAITS
        } order; /* to wake: level.c */
} Part;

typedef struct View {
        Engine *e;
        Look *look;
        Environment env;
        bool changed;     /* env differs from its row */
        bool again;       /* something moved: look once more in this turn */
        Generation *gens; /* open ones */
        Graph **graphs;   /* beside them; borrowed, NULL until asked for */
        size_t n_gens;
        Part **parts; /* living resources, and those removed in this look */
        size_t n_parts;
} View;

/* ---- parsed.c ---- */
/* Borrowed until the end of the turn. */
int parsed_graph(Engine *e, const char *environment_id, int64_t number, const char *text,
                 Graph **ret, Error *reterr);
int parsed_node(Engine *e, const char *uid, const char *text, GraphNode **ret, Error *reterr);
/* At the end of a turn; all: nothing is kept. */
void parsed_forget(Engine *e, bool all);

/* ---- refused.c ---- */
void refused_visitor(Engine *e, const char *environment_id);
/* Its inspection says that it is ready, and visitors were refused before and after: true once. */
bool refused_in_vain(Engine *e, const char *uid);

/* ---- view.c ---- */
int view_load(Engine *e, Look *look, View *ret, Error *reterr);
void view_done(View *v);
Generation *view_generation(View *v, int64_t number);
int view_graph(View *v, int64_t number, Graph **ret,
               Error *reterr); /* borrowed; NULL when unknown */
/* The resource that a node of this generation means: its own, or the environment's. */
Part *view_find(View *v, const char *key, int64_t generation);
int view_node(View *v, Part *p, GraphNode **ret, Error *reterr);
int view_params(View *v, const GraphNode *node, int64_t generation, json_t **ret, Error *reterr);
Call *view_call(View *v, const Part *p); /* under way, or NULL */
/* The values of the environment's secret outputs; -EBADMSG when one cannot be read. */
int view_secrets(View *v, Scrub *ret);
/* Its secrets are about to leave the ledger; who was told them may still say them. -ENOMEM. */
int view_secret_ends(View *v, Part *p);
/* An owned copy of a provider's words without them. */
char *view_scrub(View *v, const char *text);
bool part_alive(const Part *p);
int part_move(View *v, Part *p, ResState to, Error *reterr);
int part_save(View *v, Part *p, Error *reterr);
int view_add_part(View *v, const GraphNode *node, int64_t generation, Part **ret, Error *reterr);
static inline bool view_wants(const View *v, int64_t generation) {
        return v->env.state != ENV_DELETING && v->env.state != ENV_GONE &&
               (generation == 0 || generation == v->env.live_generation ||
                (generation == v->env.wanted_generation && v->env.closed_ms == 0));
}
static inline bool generation_under_way(const Generation *g) {
        return g &&
               (g->state == GEN_WANTED || g->state == GEN_CHECKOUT || g->state == GEN_PROVISIONING);
}
/* The wanted generation when it is under way and still wanted, or NULL. */
Generation *view_under_way(View *v);

/* ---- look.c: which environments are worth a look ---- */
Look *look_get(Engine *e, const char *environment_id); /* NULL when out of memory */
void look_mark(Engine *e, const char *environment_id);
void look_mark_all(Engine *e);
void look_wait(Engine *e, Look *look, LookWait what);
void look_release_waiting(Engine *e, LookWait what, unsigned n);
void look_again_at(Look *look, int64_t ms);
void look_free(void *look);
int64_t look_next_time(Engine *e);
int look_run_dirty(Engine *e, Error *reterr);
void look_turn_failed(Engine *e);
void look_turn_done(Engine *e);

/* ---- environment.c, generation.c, resource.c, level.c, route.c ---- */
int environment_step(View *v, Error *reterr);
int environment_delete(View *v, const char *who, const char *why, Error *reterr);
int environment_fail(View *v, const char *cause, Error *reterr);
int generation_step(View *v, Error *reterr);
int generation_fail(View *v, Generation *g, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* Moves the resource one step nearer to being ready, asleep or removed; starts at most one call. */
int resource_provision(View *v, Part *p, const GraphNode *target, int64_t generation,
                       Error *reterr);
int resource_remove(View *v, Part *p, Error *reterr);
int resource_repair(View *v, Part *p, const char *why, Error *reterr);
int resource_inspect(View *v, Part *p, Error *reterr);
int resource_made_again(View *v, const Part *p, Error *reterr);
bool resource_needed_by(View *v, const Part *p);
bool resource_depends_ready(View *v, const GraphNode *node, int64_t generation);
int removal_step(View *v, Error *reterr);
/* The inspection has shown that it is ours, or absent: it may be deprovisioned now. -ENOMEM. */
int removal_looked(Engine *e, const Call *inspection);
int level_step(View *v, Error *reterr);
int level_visit(View *v, Error *reterr);
/* Whether what is live is built on this resource. */
int level_counts(View *v, const Part *p, bool *ret, Error *reterr);
int route_step(View *v, Error *reterr);

/* ---- trouble.c: what a failure means ---- */
const char *part_title(const Part *p); /* its name for people */
/* Notes the failure on the row (not saved). 1 when there is no sense in trying again. */
int trouble(View *v, Part *p, Call *c, Error *reterr);
/* An answer that makes no sense: nobody knows what was done. As trouble(). */
int nonsense(View *v, Part *p, Call *c, Error *reterr);
/* Not tried again: for the generation that needed it this is the end. Saves. */
int give_up(View *v, Part *p, Call *c, Error *reterr);
void part_calm(Part *p); /* no trouble is noted any more; not saved */
void patience_end(Engine *e, const char *uid);

/* ---- outcome.c: what a reply means ---- */
int outcome_apply(View *v, Part *p, Call *c, Error *reterr);

typedef enum Seen {
        SEEN_OURS,
        SEEN_FOREIGN,
        SEEN_ABSENT,
        SEEN_UNCERTAIN,
        SEEN_NONSENSE
} Seen;
Seen reply_seen(const Call *c, const char *marker); /* what an inspect says */

/* ---- result.c: what a result says of its resource, into the row ---- */
/* State and outputs. 0 stored, 1 the answer makes no sense: nothing is. */
int result_store(View *v, Part *p, const json_t *result, Error *reterr);
/* What could not be done as asked. A provision without notes did all of it. */
int result_store_notes(View *v, Part *p, const Call *c);

/* ---- receipt.c ---- */
int receipt_note_attempt(View *v, const Part *p, Error *reterr); /* a removal that begins */
/* What a removal answered; one that failed may say what it did until then. */
int receipt_note(View *v, Part *p, const Call *c, Error *reterr);
/* In the turn that ends the environment; digest: of what was signed, for the event. */
int receipt_write(View *v, char digest[static SHA256_HEX], Error *reterr);

/* ---- reap.c, policy.c ---- */
int reap_step(View *v, Error *reterr);
int reap_due(Engine *e, Error *reterr);
void late_answers_free(Engine *e);
void policy_of(Engine *e, const Environment *env, const Project *project, ReaperPolicy *ret);
int policy_refresh(View *v, Error *reterr);

/* ---- prune.c ---- */
int prune_step(Engine *e, Error *reterr);

/* ---- event.c ---- */
static inline EventWhere event_of(const View *v) {
        return (EventWhere){ .environment_id = v->env.id,
                             .project_id = v->env.project_id,
                             .actor = "engine",
                             .trace = v->env.trace };
}
static inline EventWhere event_by(const View *v, const char *actor) {
        EventWhere where = event_of(v);

        where.actor = actor;
        return where;
}
static inline EventWhere event_traced(const View *v, const char *trace) {
        EventWhere where = event_of(v);

        where.trace = trace;
        return where;
}
/* An owned copy of a text from outside: valid UTF-8, one line, bounded. */
char *text_clean(const char *text);

/* ---- input.c ---- */
typedef struct Input {
        Engine *e;
        char trace[TRACE_SIZE];
        const char *who;
} Input;
int input_begin(Engine *e, const EngineActor *a, Input *ret, Error *reterr);
int input_end(Input *i, int r, Error *reterr);
int down_input(Input *in, Environment *env, const char *why, Error *reterr);
int down_change(Input *in, Environment *env, const void *userdata, Error *reterr);
int generation_want(Input *in, Environment *env, const char *commit, Error *reterr);
int push_input(Input *in, const Project *project, const char *branch, const char *commit,
               char **ret_environment, Error *reterr);
int generation_is_under_way(Engine *e, const Environment *env, bool *ret);
int input_environment(Input *i, const char *name, Environment *ret, Error *reterr);

static inline int64_t time_add(int64_t ms, int64_t length) {
        return ms > INT64_MAX - length ? INT64_MAX : ms + length;
}

#include "orchestrator/engine/calls.h"
