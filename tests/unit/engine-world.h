/* The engine in a world without chance: a real ledger, a simulated clock, simulated providers. Every call
 * is answered well in the order in which it came, unless a test says otherwise.
 *
 * A test: push() and other inputs; turns() lets the engine work; settle() answers all calls as well, and
 * settle_for() lets time pass too. Then the ledger says what the engine believes, and things what is. */
#pragma once

#include "tests/unit/test.h"

#include <jansson.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/engine/engine.h"

#define A_COMMIT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B_COMMIT "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C_COMMIT "cccccccccccccccccccccccccccccccccccccccc" /* its file is no YAML */
#define D_COMMIT "dddddddddddddddddddddddddddddddddddddddd" /* it has a build */
#define E_COMMIT "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee" /* it has no volume */

typedef struct Pending {
        struct Pending *next;
        char *id, *verb, *type, *uid, *commit;
        json_t *request;
        bool cancelled;
} Pending;

/* A question to the front that is answered when the test likes. */
typedef struct Question {
        char *environment_id;
        void (*done)(void *userdata, const char *environment_id, const FrontActivity *activity);
        void *userdata;
} Question;

typedef struct Fixture {
        char dir[32], db[64], key[80];
        int64_t now_ms, boot_ms, armed_ms;
        int64_t suspended_ms; /* of boot_ms */
        const char *boot_id;
        int synced; /* whether the kernel says that its clock is kept right; negative: it says nothing */
        bool wanted;
        Clock clock;
        Config *config;
        Ledger *ledger;
        Engine *engine;
        Map *things; /* uids that exist */
        Pending *first;
        unsigned n_started[5]; /* by verb, see verb_number() */
        unsigned n_cancelled, n_front;
        const char *fail_verb, *fail_type, *fail_message;
        ProviderClass fail_class;
        unsigned fail_times;
        FrontActivity activity;
        const char *foreign; /* uid in whose place somebody else's thing stands */
        char foreign_uid[ID_SIZE];
        unsigned n_foreign_touched;
        const char *held_type[2]; /* calls for things of these types are not answered */
        const char *stays_type;   /* things of this type are said to be removed, and stay */
        char **log;               /* each call that was started: "VERB TYPE UID" */
        unsigned n_most;          /* most calls under way at the same time */
        json_t *listed; /* the items of the next lists, and whether they are all; NULL: none */
        bool list_complete;
        bool list_computed; /* they say that they compute all they give */
        unsigned n_lists;
        bool watch_dies;   /* every watch ends at once */
        bool front_late;   /* questions wait for front_answers() */
        Question question; /* the one that waits */
        bool anchored;     /* the ledger is synced and has its anchor */
        /* The file at a commit, "" for the usual score.yaml, NULL when there is none; NULL: the usual ones. */
        const char *(*file)(const char *commit, const char *path);
        struct Db *lent;   /* the ledger's database, open already; NULL: the file db */
        Random random;
} Fixture;

int set_up(void **state); /* the daemon runs and knows the project "shop" */
int set_up_anchored(void **state);
int tear_down(void **state);
Fixture *world_new(void); /* before its first daemon */
/* The same without a folder: its ledger lies in a database that is open and stays so. */
Fixture *world_new_lent(struct Db *lent, const char *db, const char *key);
void daemon_up(Fixture *f);
void project_known(Fixture *f);            /* its first daemon runs and knows "shop" */
int daemon_try(Fixture *f, Error *reterr); /* it may fail, when the ledger was spoilt */
void daemon_killed(Fixture *f); /* as kill -9 leaves it: what was not committed never was */

/* How many calls of this verb for this type were started; NULL: any. */
unsigned calls(Fixture *f, const char *verb, const char *type);
void calls_forget(Fixture *f);
unsigned verb_number(const char *verb);
const char *text(const json_t *object, const char *key); /* "" when it is not there */
/* The uid of a thing of this type that exists, in ret; NULL when there is none. */
const char *uid_of(Fixture *f, const char *type, char ret[ID_SIZE]);

void pass(Fixture *f, int64_t ms);
void turns(Fixture *f);
unsigned turns_until(Fixture *f, unsigned most); /* until nothing is wanted; how many it took */
bool answer_first(Fixture *f); /* false: no call waits for an answer */
/* The first call's provider wrote these bytes; did says whether the world did what was asked. */
void answer_first_with(Fixture *f, const char *bytes, size_t size, bool did);
/* The world does what the first call asks, and nobody hears of it. */
void do_first(Fixture *f);
void front_answers(Fixture *f, const FrontActivity *activity);
void settle(Fixture *f);
void spend(Fixture *f, int64_t ms); /* settles, and so long has passed then */
void settle_for(Fixture *f,
                int64_t ms); /* until nothing is left to be tried again, at most so long */

void push(Fixture *f, const char *branch, const char *commit);
void get(Fixture *f, const char *branch, Environment *ret); /* of the project "shop" */
void assert_answer(Fixture *f, const char *label, const char *expected);
