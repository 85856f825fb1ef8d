/* The simulation: the real engine, ledger and reaper; clock, chance, providers, front, files and people
 * from one seed. Nothing here reads the machine's clock or its random numbers, so a seed replays
 * exactly. */
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

/* One thing in the simulated world. */
typedef struct Thing {
        char *uid, *marker, *type, *provider, *environment;
        bool foreign; /* somebody else's, under a name like one of ours */
        bool awake, ready, half;
        int64_t port; /* of a workload */
        char *params; /* what it was last asked to be */
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
} Fault;

/* A provider call under way. */
typedef struct Work {
        struct Work *next;
        char *id, *verb, *provider, *uid;
        json_t *request;
        Fault fault;
        int64_t due_boot_ms; /* when it answers */
        bool cancelled, stream;
} Work;

/* What people were told is done, for one branch. */
typedef struct Promise {
        char commit[48]; /* newest commit acknowledged; "" none */
        bool closed;
        bool down; /* a deletion was acknowledged after the last push */
} Promise;

typedef struct Acknowledgement Acknowledgement;

#define N_BRANCHES    4
#define N_EVENTS_KEPT 40

typedef struct Sim {
        uint64_t seed, state;    /* chance of the scenario */
        uint64_t engine_state;   /* chance handed to the engine */
        bool trace, quiet_world; /* quiet_world: no more faults */
        unsigned step, n_violations;
        char first_violation[512];

        int64_t boot_ms, wall_ms, start_wall_ms;
        int64_t true_ms;     /* what a good clock would say */
        int64_t arm_boot_ms; /* when the engine's timer fires; INT64_MAX: off */
        bool wanted;
        unsigned boots;
        char boot_id[24], db[64], dir[32], key[64];

        Config *config;
        Ledger *ledger, *anchor;
        Engine *engine;
        Map *things;       /* uid -> Thing */
        Map *lied;         /* uids about which a provider told a lie that nobody can see through */
        Map *foreign_seen; /* uids whose inspection showed somebody else's marker */
        Work *work;
        int64_t next_port;
        unsigned fault_percent;
        unsigned n_commits; /* pushes so far: names of commits */

        bool dead;      /* the daemon was killed inside the turn: nothing more happens in it */
        int dead_after; /* effects until then; -1: not planned */

        Promise promises[N_BRANCHES];
        Acknowledgement *acknowledgements;
        bool frozen; /* a person's freeze was acknowledged */
        Map *held_until; /* environment id -> int64: an acknowledged pin or extension, in trusted time */
        Clock clock;
        Random random;
        int64_t rest_boot_ms;
        Map *deleting; /* environments whose deletion was seen to begin */
        int64_t last_event_ms;
        Map *good;       /* environments that once had a live generation */
        uint64_t digest; /* of everything that happened, to compare two runs */
        struct {
                unsigned calls, deprovisions, crashes, pushes, live, gone, failed;
        } count;
} Sim;

/* chance */
uint64_t sim_random(Sim *s);
unsigned sim_below(Sim *s, unsigned n);
bool sim_percent(Sim *s, unsigned percent);
void sim_say(Sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sim_violation(Sim *s, const char *invariant, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* Sets the daemon's wall clock to the true time, and lets it notice. */
void sim_right_clock(Sim *s);

/* world.c */
ProviderOps world_providers(Sim *s);
FrontOps world_front(Sim *s);
EngineFiles world_files(Sim *s);
int64_t world_next(const Sim *s);
void world_answer_due(Sim *s);
void world_crash(Sim *s);
void world_reboot(Sim *s);
void world_chaos(Sim *s);
void world_done(Sim *s);
Map *world_things(void);
void world_check_files(Sim *s);
unsigned world_ours(const Sim *s, const char *environment);

/* people.c */
void people_act(Sim *s);
void people_lost(Sim *s); /* a crash: what was not acknowledged is not promised */
void people_push(Sim *s, unsigned branch);
void people_down_all(Sim *s);
void people_release(Sim *s);
void people_done(Sim *s);
const char *people_branch(unsigned branch);

/* check.c */
void check_everything(Sim *s);
void check_at_rest(Sim *s);
void check_at_end(Sim *s);
void check_call(Sim *s, const ProviderCall *call);
