/* State machines as tables: names for SQL, JSON and the journal, and the allowed moves. */
#pragma once

#include <stdbool.h>

#include "orchestrator/ledger/ledger.h"

typedef struct StateInfo {
        const char *name;
        unsigned next; /* bit set of states it may become */
} StateInfo;

typedef struct StateMachine {
        const char *noun; /* "environment" */
        const StateInfo *states;
        int n_states;
} StateMachine;

extern const StateMachine machine_environment, machine_level, machine_generation, machine_resource;

const char *state_name(const StateMachine *m, int state);
int state_from_name(const StateMachine *m, const char *name); /* -EINVAL when there is none */
bool state_may_become(const StateMachine *m, int from, int to);
