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

typedef struct Pending {
        struct Pending *next;
        char *id, *verb, *type, *uid, *commit;
        json_t *request;
        bool cancelled;
} Pending;

typedef struct Fixture {
        char dir[32], db[64], key[64];
        int64_t now_ms, boot_ms, armed_ms;
        bool wanted;
        Clock clock;
        Config *config;
        Ledger *ledger;
        Engine *engine;
        Map *things; /* uids that exist */
        Pending *first;
        unsigned n_started[5]; /* by verb, see verb_number() */
        unsigned n_cancelled, n_front;
        bool hold; /* answer nothing by itself */
        const char *fail_verb, *fail_type, *fail_message;
        ProviderClass fail_class;
        unsigned fail_times;
        FrontActivity activity;
        const char *foreign; /* uid in whose place somebody else's thing stands */
        char foreign_uid[ID_SIZE];
        unsigned n_foreign_touched;
} Fixture;

int set_up(void **state);
int tear_down(void **state);
void daemon_up(Fixture *f);
void daemon_killed(Fixture *f); /* as kill -9 leaves it: what was not committed never was */

unsigned verb_number(const char *verb);
const char *text(const json_t *object, const char *key); /* "" when it is not there */
/* The uid of a thing of this type that exists, in ret; NULL when there is none. */
const char *uid_of(Fixture *f, const char *type, char ret[ID_SIZE]);

void pass(Fixture *f, int64_t ms);
void turns(Fixture *f);
bool answer_first(Fixture *f); /* false: no call waits for an answer */
void settle(Fixture *f);
void settle_for(Fixture *f,
                int64_t ms); /* until nothing is left to be tried again, at most so long */

void push(Fixture *f, const char *branch, const char *commit);
void get(Fixture *f, const char *branch, Environment *ret); /* of the project "shop" */
void assert_answer(Fixture *f, const char *label, const char *expected);
