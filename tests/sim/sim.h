/* The simulation: the real engine, ledger and reaper; clock, chance, providers, front, files, forge and
 * people from one seed. Nothing here reads the machine's clock or its random numbers, so a scenario
 * replays exactly.
 *
 * A scenario is a seed and a list of steps. What happens in a step comes from the seed and the step's
 * number alone, so a step can be left out and the others stay what they were: that is how a failing
 * scenario is shrunk (shrink.c). */
#pragma once

#undef NDEBUG
#include <assert.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/engine/engine.h"
#include "reaper/reaper.h"
#include "tests/sim/store.h"

/* ---- scenarios (scenario.c) ---- */

typedef struct Step {
        unsigned number; /* from 1 */
        bool kind;       /* nothing goes wrong in the world while it lasts */
} Step;

typedef struct Scenario {
        uint64_t seed;
        Step *steps;
        size_t n;
} Scenario;

#define SCENARIO_STEPS_MAX 10000

void scenario_whole(Scenario *s, uint64_t seed, unsigned steps); /* 1 to steps */
/* "361 3,5-8,9k,12": seed and steps, k for kind. False: it is no such text. */
bool scenario_parse(const char *text, Scenario *ret);
char *scenario_format(const Scenario *s);
void scenario_done(Scenario *s);

/* ---- the world ---- */

/* One thing in the simulated world. */
typedef struct Thing {
        char *uid, *marker, *type, *provider, *environment;
        bool foreign; /* somebody else's, under a name like one of ours */
        bool orphan;  /* ours by its marker, and not in the ledger, which nobody can help */
        bool shown;   /* an orphan, in a list that was whole */
        bool awake, ready, half;
        int64_t port; /* of a workload */
        char *params; /* what it was last asked to be */
        int64_t made_ms, removed_ms;
} Thing;

typedef enum Fault {
        FAULT_NONE,
        FAULT_CLASS, /* an error before anything was done */
        FAULT_AFTER, /* done, and an error all the same */
        FAULT_HALF,  /* half of it made, then an error */
        FAULT_HANG,  /* no answer before the deadline */
        FAULT_DIE,   /* ends without an answer, perhaps after doing it */
        FAULT_LIE,   /* says that it was done */
        FAULT_NONSENSE,
        FAULT_TWICE,
        _FAULT_MAX,
        FAULT_STORM = _FAULT_MAX, /* "too many requests", of every call for a while */
} Fault;

/* What goes wrong on purpose in a quiet world. */
typedef enum Plan {
        PLAN_NONE,
        PLAN_ONCE_EACH,    /* the first provision of each name */
        PLAN_VOLUMES_FAIL, /* every provision of a volume, for good */
} Plan;

/* A provider call under way. */
typedef struct Work {
        struct Work *next;
        char *id, *verb, *provider, *uid;
        json_t *request;
        Fault fault;
        int64_t due_boot_ms; /* when it answers */
        bool cancelled, stream;
} Work;

/* An answer that comes once more, when nobody waits for it. */
typedef struct Echo {
        struct Echo *next;
        char *id;
        ProviderClass class;
        json_t *result;
        int64_t due_boot_ms;
} Echo;

/* What people were told is done, for one branch. */
typedef struct Promise {
        char commit[48]; /* newest commit acknowledged; "" none */
        bool closed;
        bool down; /* a deletion was acknowledged after the last push */
} Promise;

/* What the ledger says of a branch: its living environment, else the newest. */
typedef struct Standing {
        char environment[24]; /* "": it has none */
        char commit[48];
        EnvState state;
        bool by_reaper; /* it goes, and so does whose wish that is */
        bool closed;
} Standing;

/* One environment's hold on life by what the simulation itself did and saw, in promised time. What was not
 * acknowledged is not here. 0: not. */
typedef struct Lease {
        int64_t created_ms, used_ms, asleep_ms, closed_ms;
        bool closed_unsure;                       /* when it was noticed is not known */
        bool use_unsure;                          /* a use was perhaps noticed */
        int64_t pinned_ms, extended_ms;           /* until */
        int64_t lost_pinned_ms, lost_extended_ms; /* the same, before an old ledger was put back */
        int64_t lengths_ms[_REAPER_CLOCK_KIND_MAX]; /* of its clocks */
        int64_t policy_ms;                          /* they changed; 0: never */
        int64_t live;                               /* generation */
        EnvState state;
        EnvLevel level;
        bool sleep_asked; /* by a person, and it has not slept since */
        bool unsure;      /* an answer was lost: it may live longer than this says */
        bool rightly;     /* the reaper deletes it, and its clock had ended */
} Lease;

typedef enum AckKind {
        ACK_PUSH,
        ACK_CLOSE,
        ACK_DOWN,
        ACK_PIN, /* and unpin: until 0 */
        ACK_EXTEND,
        ACK_USE,
        ACK_WAKE,
        ACK_SLEEP,
        ACK_FREEZE,
        ACK_UNFREEZE,
        ACK_ORPHAN, /* environment: its uid */
        _ACK_MAX,
} AckKind;

/* What began at at_ms or before ends by_ms later. */
typedef struct Moves {
        struct {
                int64_t by_ms, at_ms;
        } items[16];
        size_t n;
} Moves;

/* An input that waits for its commit. */
typedef struct Acknowledgement {
        struct Sim *sim;
        struct Acknowledgement *next;
        AckKind kind;
        unsigned branch;
        Promise promise;      /* of that branch, after it */
        char environment[24]; /* "": the newest of the branch */
        int64_t at_ms, until_ms, by_ms;
        int64_t told_ms; /* at_ms in the engine's time */
        bool alive;      /* it was neither deleting nor gone */
        bool accept;     /* the clock as it is */
} Acknowledgement;

/* A webhook: the branch is at this commit; "": it is gone. */
typedef struct Trigger {
        unsigned branch;
        char commit[48];
} Trigger;

/* Small clock steps are followed, so promised time may be off by this much. */
#define CLOCK_SLACK_MS (15 * MS_PER_MINUTE)

#define N_BRANCHES 4
#define N_TRIGGERS 8

typedef struct Forge {
        char commit[N_BRANCHES][48]; /* what it has; "": no such branch */
        char stale[N_BRANCHES][48];  /* what it had a while ago */
        int64_t stale_ms;            /* when it had that, in the engine's time */
        char earlier[N_BRANCHES][48];
        char closed[N_BRANCHES][48];   /* where it was when it was deleted */
        int64_t pushed_ms[N_BRANCHES]; /* the last push, in the engine's time */
        Trigger late[N_TRIGGERS];      /* not delivered yet */
        unsigned n_late;
        Trigger delivered[N_TRIGGERS]; /* a ring: any may come again */
        unsigned n_delivered;
        unsigned n_commits; /* so far: names of commits */
} Forge;

/* Scenarios that were kept before admins were about have smaller seeds, and stay as they were. */
#define WIDE_SEEDS 5000000

typedef struct Sim {
        uint64_t seed, state;               /* chance of the present step */
        uint64_t engine_state;              /* chance handed to the engine */
        bool trace, quiet_world, kind_step; /* quiet_world: no more faults */
        unsigned step, n_violations;
        const char *invariant; /* the first one that did not hold */
        char first_violation[512];

        int64_t boot_ms, wall_ms, start_wall_ms;
        int64_t true_ms;     /* what a good clock would say */
        int64_t shift_ms;    /* what people said the time is, less that */
        int64_t drift_ms;    /* all steps that are too small to be noticed */
        int64_t step_ms;     /* of the wall clock, no turn has seen it */
        unsigned step_turns; /* until one has */
        int64_t base_ms;     /* trusted time less the true one, since a clock ahead was accepted */
        int64_t accepted_ms; /* the last clock that was accepted, less true time */
        bool base_unsure;
        int64_t down_ms;       /* for how long the daemon was, the last time */
        int64_t away_until_ms; /* until then the clocks wait: nobody could have visited */
        bool stepped;          /* a turn has seen one, and nobody has released it */
        int64_t arm_boot_ms;   /* when the engine's timer fires; INT64_MAX: off */
        bool wanted;
        unsigned boots;
        char boot_id[24], anchor[96];

        struct Store *store, *copy; /* the database; an old copy of it */
        struct CopyFacts *copy_facts;
        Config *config;
        Ledger *ledger;
        Engine *engine;
        Map *things; /* uid -> Thing */
        Map *removing,
                *removed;     /* uids that a removal really removed; it is committed that it did */
        Map *foreign_seen;    /* uids whose inspection showed somebody else's marker */
        Map *wished, *asked;  /* uids of orphans: somebody wished them away; it was acknowledged */
        EngineVerify *verify; /* under way */
        char verifying[ID_SIZE];
        json_t *verified; /* the last report; owned */
        ConfigClocks usual_clocks;
        bool wide;         /* admins are about */
        int64_t behind_ms; /* readings are so old */
        Map *faded;        /* uid -> Thing: what readings still show (stale.c) */
        Map *looked;       /* uids that were inspected since something was last done to them */
        Work *work;
        Echo *echoes;
        int64_t next_port;
        unsigned fault_percent;
        Plan plan;
        Map *tried;     /* uids that were to be provisioned under PLAN_ONCE_EACH */
        char storm[16]; /* provider */
        int64_t storm_until_boot_ms;

        bool dead;      /* the daemon was killed inside the turn: nothing more happens in it */
        int dead_after; /* effects until then; -1: not planned */

        Forge forge;
        Promise promises[N_BRANCHES];
        Acknowledgement *acknowledgements;
        bool frozen;          /* a person's freeze was acknowledged */
        bool held;            /* an old copy was put back and nobody has released it */
        int64_t held_from_ms; /* what that copy knows ends there */
        bool releasing;       /* somebody just does */
        Map *leases;          /* environment id -> Lease */
        int64_t died_ms;      /* when it was killed, while that is looked at; 0: at no other time */
        Moves moves;          /* of deadlines, in promised time */
        bool moved_unsure;    /* a release was not acknowledged */
        Map *front;           /* host -> string: where the front leads it */
        Map *left_ms; /* "environment id/clock" -> int64: what was left in the copy put back */
        int64_t released_true_ms;
        Map *in_use; /* environment id -> itself: the front's last word was "in use" or "not known" */
        Clock clock;
        Random random;
        int64_t rest_boot_ms;
        int64_t last_event, last_event_ms;
        int64_t checked; /* the database's version then */
        uint64_t digest; /* of everything that happened, to compare two runs */
        struct {
                uint64_t calls, deprovisions, crashes, pushes, live, reaped, put_back, steps, turns,
                        stale;
        } count;
} Sim;

/* ---- sim.c: the life of one simulated daemon ---- */
uint64_t sim_random(Sim *s);
unsigned sim_below(Sim *s, unsigned n);
bool sim_percent(Sim *s, unsigned percent);
/* The same, for what goes wrong in the world. */
bool sim_trouble(Sim *s, unsigned percent);
void sim_say(Sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_violation(Sim *s, const char *invariant, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
void sim_step_clock(Sim *s, int64_t by_ms); /* the daemon's wall clock */
/* Sets the daemon's wall clock to the true time, and lets it notice. */
void sim_right_clock(Sim *s);
/* The time in which promises stand: the true one, unless people said that it is another. */
int64_t sim_now(const Sim *s);
int64_t sim_happened(
        const Sim *s);  /* now, or when it was killed: perhaps in the turn that did not end */
void sim_turn(Sim *s);  /* when one is wanted */
void sim_turns(Sim *s); /* as long as they are */
void sim_crash(Sim *s); /* kill -9, and another start */
void sim_advance(Sim *s, int64_t ms);
/* The next answer or the timer, whichever comes first; false when nothing comes so soon. */
bool sim_time_brings(Sim *s, int64_t at_most_ms);
/* A scenario that computes for this long does not end: from here on SIGPROF ends the process. */
#define SCENARIO_SECONDS 60
void sim_watch(void);
void sim_set_up(Sim *s, uint64_t seed, bool trace);
void sim_run(Sim *s, const Scenario *scenario);
void sim_tear_down(Sim *s);
int64_t sim_days(const Sim *s);
/* Stops the daemon, orderly or as kill -9 does, and starts it again. */
void sim_stop(Sim *s, bool killed);
void sim_start(Sim *s);

/* ---- steps.c: what may happen ---- */
void steps_one(Sim *s);
void steps_come_to_rest(Sim *s, bool restarts);

/* ---- rest.c: what people do at rest ---- */
void rest_people(Sim *s);

/* ---- world.c, answer.c ---- */
ProviderOps world_providers(Sim *s);
FrontOps world_front(Sim *s);
int64_t world_next(const Sim *s);
void world_answer_due(Sim *s);
void world_crash(Sim *s);
void world_reboot(Sim *s);
void world_chaos(Sim *s);
void world_done(Sim *s);
Map *world_things(void);
unsigned world_ours(const Sim *s, const char *environment);
bool world_foreign(const Sim *s,
                   const char *environment); /* somebody else's thing is in its place */
void world_orphan_all(Sim *s);               /* after an old copy was put back */
void world_answer(Sim *s, const Work *w);
void world_effect(Sim *s, const Work *w);
void world_half_effect(Sim *s, const Work *w);
Thing *world_make(Sim *s, const Work *w);
bool world_weightless(const char *type); /* nothing in the world: it only computes */
const char *world_text(const json_t *object, const char *key);
const json_t *world_resource(const Work *w);

/* ---- stale.c: readings that are behind ---- */
#define STALE_SEEDS UINT64_C(6000000) /* from this one on; kept scenarios stay as they were */
void stale_set_up(Sim *s);
void stale_done(Sim *s);
void stale_made(Sim *s, Thing *t);
void stale_removed(Sim *s, const Thing *t);
bool stale_hides(Sim *s, const Thing *t);         /* no reading has it yet */
const char *stale_shows(Sim *s, const char *uid); /* marker of what is not there any more */
const Thing *stale_next(Sim *s, size_t *at);      /* each of what lists still have */

/* ---- files.c ---- */
#define N_FILES 7
EngineFiles files_of(Sim *s);
void files_check(void);
int64_t files_wish(const char *commit, ReaperClockKind kind); /* a clock's length; 0: none */
bool files_good(const char *commit);

/* ---- people.c, forge.c ---- */
void people_act(Sim *s);
void people_down_all(Sim *s);
void people_release(Sim *s);
void people_visit(Sim *s, const Environment *env);
void people_retry(Sim *s, const Environment *env);
extern const EngineActor people_actor;
const char *people_branch(unsigned branch);
void forge_set_up(Sim *s);
void forge_push(Sim *s, unsigned branch);
void forge_push_files(Sim *s, unsigned branch, unsigned files); /* a new commit of these */
void forge_close(Sim *s, unsigned branch);
void forge_deliver_late(Sim *s);
void forge_deliver_again(Sim *s);
void forge_compare(Sim *s);
void forge_catch_up(Sim *s); /* all that is late arrives, and the lists are whole */

/* ---- admin.c ---- */
void admin_act(Sim *s, unsigned branch);
void orphans_put_back(Sim *s);
void check_orphan_call(Sim *s, const ProviderCall *call, const char *uid);
void check_orphans_at_rest(Sim *s);
void policy_back(Sim *s); /* as it was at first */
void check_verified(Sim *s);

/* ---- acknowledge.c ---- */
void acknowledge(Sim *s, Acknowledgement a);
void acknowledge_of(Sim *s, AckKind kind, const char *environment);
void acknowledge_branch(Sim *s, AckKind kind, unsigned branch, Promise promise);
void acknowledge_lost(Sim *s);             /* a crash */
Promise promised(Sim *s, unsigned branch); /* when all that waits is committed */

/* ---- copy.c: an old copy of the database is put back ---- */
void copy_take(Sim *s);
void copy_put_back(Sim *s);
void copy_free(Sim *s);

/* ---- check*.c: the invariants ---- */
extern const char *const invariants[];
size_t invariants_count(void);
void check_everything(Sim *s);
void check_turn(Sim *s);         /* the cheap ones */
void check_environments(Sim *s); /* check-environment.c */
/* check-promise.c; standing: N_BRANCHES of them */
void promise_stands(Standing *standing, const Environment *env);
void check_promises(Sim *s, const Standing *standing);

/* check-reach.c: what the world has, at rest */
char **check_reach(Sim *s, bool say); /* environments whose routes lead nowhere; owned */
void check_awake(Sim *s);
void check_ready(Sim *s);
bool check_nothing_pends(Sim *s);
json_t *check_live_nodes(Sim *s, const Environment *env);
bool check_in_graph(const json_t *nodes, const char *key);

/* check-receipt.c: what is left of an environment */
void check_receipt(Sim *s, const Environment *env);
void receipt_told(Sim *s);
void receipt_forget(Sim *s, bool all); /* what was not committed; all: the ledger is another one */
void check_no_secret(Sim *s, const char *where, const char *text);
void check_secrets(Sim *s);

/* check-clock.c: "deadlines are promises" when the wall clock is set */
void check_step_seen(Sim *s);   /* a turn was committed */
void check_step_missed(Sim *s); /* the machine starts anew */
void check_away(Sim *s);        /* after a start */
void check_clock_right(Sim *s);
void clock_accepted(Sim *s);

/* check-front.c: the addresses, and the front that has a copy of them */
void check_addresses(Sim *s);
void check_routes(Sim *s);
void check_front_leaves(Sim *s, const char *verb, const char *uid); /* before a call */
void front_copy(Sim *s, const char *host);
void front_copy_all(Sim *s);

/* check-lease.c: when things may end, and when they must */
Lease *lease_get(Sim *s, const char *environment); /* begins one */
int64_t lease_held(const Lease *l);                /* by a pin or an extension, until */
Map *leases_copy(const Map *leases);
void leases_lose(Sim *s, Map *before); /* an old ledger was put back, with these */
void lease_follow_policy(Sim *s, Lease *lease, const Environment *env);
void leases_move(Sim *s, int64_t by_ms);
void check_lease(Sim *s, Lease *lease, const Environment *env);
void check_at_rest(Sim *s);
void check_at_end(Sim *s);
void check_call(Sim *s, const ProviderCall *call);
/* The ledger is another one now: what was seen in the one before does not bind it. */
void check_forget(Sim *s);

/* ---- shrink.c ---- */
/* The invariant that a scenario breaks, in a process of its own; NULL: none. */
const char *shrink_try(const Scenario *s);
/* Leaves out steps and faults as long as the same invariant breaks. */
void shrink(Scenario *s, const char *invariant);

/* ---- report.c ---- */
typedef struct Totals {
        uint64_t seeds, pushes, live, reaped, calls, deprovisions, crashes, put_back, steps, stale,
                stale_seeds, violations;
        int64_t days;
        uint64_t broken[64]; /* by invariant */
} Totals;
void totals_add(Totals *t, const Sim *s);
void totals_print(const Totals *t, unsigned steps);
bool totals_hollow(const Totals *t); /* something that they are for never happened */
int totals_junit(const Totals *t, const char *path);
