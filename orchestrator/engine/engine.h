/* The engine moves environments and their resources from what is to what is wanted. It is
 * level-triggered: every message only marks an environment as worth a look, and engine_turn() looks,
 * commits what it intends, and acts after the commit. The only writer of the ledger.
 *
 * A turn: the daemon (or the simulation) delivers any number of inputs (the functions below, provider
 * replies, front events, the timer), then calls engine_turn() once. All changes of the turn are one
 * transaction. What must happen after the commit (provider calls, route changes, API answers) happens
 * at the end of engine_turn(). When the commit fails, none of it happens and every waiting answer gets
 * the failure. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/id.h"
#include "orchestrator/base/time.h"
#include "orchestrator/ledger/front.h"
#include "orchestrator/engine/provider.h"
#include "orchestrator/ledger/ledger.h"
#include "orchestrator/spec/plan.h"

typedef struct Engine Engine;

/* How the engine reads files of a checkout, given its outputs: the daemon opens folders, the
 * simulation has them in memory. */
typedef struct EngineFiles {
        int (*open)(void *userdata, const json_t *checkout_outputs, SpecReader *ret, Error *reterr);
        void (*close)(void *userdata, SpecReader *reader);
        void *userdata;
} EngineFiles;

typedef struct EngineSetup {
        Ledger *ledger;       /* borrowed */
        const Config *config; /* borrowed; engine_set_config() replaces it */
        const Clock *clock;
        const Random *random;
        ProviderOps providers;
        FrontOps front;
        EngineFiles files;
        const char *state_dir; /* handed to providers in their config */
        const char *boot_id;   /* which boot of the machine this is; NULL: not known */
        const char *
                front_url; /* "http://%s.preview.localhost:8150": what people open; %s is the label */
        /* A turn is wanted soon (input arrived) or at a time on the wall clock; may be called often. */
        void (*wanted)(void *userdata);
        void (*arm)(void *userdata, int64_t wall_ms); /* REAPER_NEVER: disarm */
        void *userdata;
} EngineSetup;

int engine_new(const EngineSetup *setup, Engine **ret, Error *reterr);
Engine *engine_free(Engine *e); /* leaves everything in the world running */

/* After opening the ledger: takes up every intent without outcome (inspect first) and compares. */
int engine_start(Engine *e, Error *reterr);
int engine_turn(Engine *e, Error *reterr);
void engine_set_config(Engine *e, const Config *config);

/* Inputs from below. */
ProviderEvents engine_provider_events(Engine *e);
FrontEvents engine_front_events(Engine *e);

/* Inputs from people and triggers. Each checks, changes the open transaction and returns; the answer to
 * a person must wait for engine_after_commit(). actor is who ("uid:1000", "hook", "reaper"). trace may
 * be NULL: a new one is made. ret ids are owned by the caller. */
typedef struct EngineActor {
        const char *who;
        const char *trace; /* 32 hex digits or NULL */
} EngineActor;

int engine_project_add(Engine *e, const EngineActor *a, const json_t *project, char **ret_id,
                       Error *reterr);
int engine_project_remove(Engine *e, const EngineActor *a, const char *name, Error *reterr);
/* The branch is at commit now (full name), or gone when commit is NULL. Late and repeated pushes are
 * harmless. ret_environment may be NULL; it is set to NULL when there is none. */
int engine_push(Engine *e, const EngineActor *a, const char *project, const char *branch,
                const char *commit, char **ret_environment, Error *reterr);
/* What the forge or repository lists now: branches are closed that are missing, but only when the list
 * is complete and not empty. branches: [{"name","commit"}]. */
int engine_compare(Engine *e, const EngineActor *a, const char *project, const json_t *branches,
                   bool complete, json_t **ret_report, Error *reterr);
/* The same for a list that took a while: it was begun at began_ms of engine_now_ms(), and says nothing about
 * branches that were pushed since. */
int engine_compare_begun(Engine *e, const EngineActor *a, const char *project,
                         const json_t *branches, bool complete, int64_t began_ms,
                         json_t **ret_report, Error *reterr);
/* environment is an id or a name ("feature-login--shop"). */
int engine_down(Engine *e, const EngineActor *a, const char *environment, Error *reterr);
int engine_sleep(Engine *e, const EngineActor *a, const char *environment, Error *reterr);
int engine_wake(Engine *e, const EngineActor *a, const char *environment, Error *reterr);
int engine_extend(Engine *e, const EngineActor *a, const char *environment, int64_t by_ms,
                  Error *reterr);
int engine_pin(Engine *e, const EngineActor *a, const char *environment, int64_t until_ms,
               const char *reason, Error *reterr);
int engine_unpin(Engine *e, const EngineActor *a, const char *environment, Error *reterr);
int engine_retry(Engine *e, const EngineActor *a, const char *environment, Error *reterr);
/* Judges all environments (or one); without dry_run the due ones are acted on. One code path. */
int engine_reap(Engine *e, const EngineActor *a, const char *environment, bool dry_run,
                json_t **ret_report, Error *reterr);
int engine_why(Engine *e, const char *environment, json_t **ret, Error *reterr);
/* Holds all destructive work. Off: engine_unfreeze() without accept_clock. */
int engine_freeze(Engine *e, const EngineActor *a, bool on, const char *reason, Error *reterr);
/* What was released, all false: nothing was held. */
typedef struct EngineReleased {
        bool freeze, held, clock, hold;
        int64_t moved_ms;      /* all deadlines are later by this */
        int64_t hold_until_ms; /* a new one, because a clock was accepted; 0: none */
} EngineReleased;
/* Releases whatever holds. While the machine's clock is not as trusted time is, only with accept_clock,
 * else -EPERM: then the clock as it is is taken for right, and no deadline comes nearer by that. */
int engine_unfreeze(Engine *e, const EngineActor *a, bool accept_clock, EngineReleased *ret,
                    Error *reterr);
/* What holds destructive work: {"frozen","clock","hold_until_ms","unwell"}, see packaging/doc/api.md. */
int engine_holds(Engine *e, json_t **ret, Error *reterr);
/* Somebody is given a copy of the ledger: noted, for whoever asks later where copies are. */
int engine_backup_made(Engine *e, const EngineActor *a, int64_t size, const char *digest,
                       Error *reterr);

/* What complete lists showed on one side only: {"orphans":[...],"ghosts":[...]}. */
int engine_orphans(Engine *e, json_t **ret, Error *reterr);
/* Asks the providers now; done comes after the commit that stores what was found. */
int engine_orphans_look(Engine *e, void (*done)(void *userdata, int r, const Error *error),
                        void *userdata, Error *reterr);
void engine_orphans_forget(Engine *e, void *userdata); /* no done afterwards */
typedef struct OrphanWish {
        bool dry_run;
        bool young; /* a person looked at it: it need not have been seen for a day */
} OrphanWish;
/* uids NULL: all that may be removed. Explicit ones that may not are an error. */
int engine_orphans_remove(Engine *e, const EngineActor *a, char *const *uids, OrphanWish wish,
                          json_t **ret, Error *reterr);
int engine_orphans_adopt(Engine *e, const EngineActor *a, char *const *uids, OrphanWish wish,
                         json_t **ret, Error *reterr);

/* Looks again for all that a receipt says is gone; changes nothing. report is taken over by done, which
 * never comes from inside engine_verify(). */
typedef struct EngineVerify EngineVerify;
int engine_verify(Engine *e, const Receipt *receipt, void (*done)(void *userdata, json_t *report),
                  void *userdata, EngineVerify **ret, Error *reterr);
void engine_verify_cancel(EngineVerify *v); /* no done afterwards */

/* Streams: logs and exec of an environment's workloads. on_line gets the provider's lines; on_end
 * comes exactly once. The call is not in the ledger: it changes nothing. */
typedef struct EngineStream EngineStream;
typedef struct EngineStreamEvents {
        void (*on_line)(void *userdata, const json_t *line);
        void (*on_end)(void *userdata, ProviderClass class, const char *message,
                       const json_t *result);
        void *userdata;
} EngineStreamEvents;
int engine_stream(Engine *e, const char *environment, const char *workload, const char *verb,
                  json_t *params, int64_t deadline_ms, const EngineStreamEvents *events,
                  EngineStream **ret, Error *reterr);
void engine_stream_cancel(EngineStream *s); /* no on_end afterwards */

/* The time in which all deadlines and records stand: the wall clock's, unless that was set and nobody
 * has said yet that it is right. */
int64_t engine_now_ms(const Engine *e);

/* Calls done after the commit of the turn under way (or at once in the next turn), with 0 or the
 * failure of the commit. */
void engine_after_commit(Engine *e, void (*done)(void *userdata, int r, const Error *error),
                         void *userdata);
/* Calls func after every commit that added events; for followers. */
void engine_on_events(Engine *e, void (*func)(void *userdata), void *userdata);

DEFINE_CLEANUP(Engine *, engine_free)
