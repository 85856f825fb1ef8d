/* What the ledger is asked to do while its disk goes wrong. A scenario is a row of turns; each reads what
 * it needs from the ledger and writes, and the driver commits it. So a turn that failed can be asked for
 * again, and the ledger after turn n is always the same, whatever went wrong on the way. */
#pragma once

#include <stdbool.h>

#include "orchestrator/ledger/ledger.h"

typedef struct Scenario {
        const char *name;
        unsigned n_turns;
        int (*turn)(Ledger *l, unsigned i, Error *reterr);
        /* What is already there, committed, before the faults begin; NULL: a project, an environment. */
        int (*prepare)(Ledger *l, Error *reterr);
        bool empty;       /* begins with no file at all */
        bool hot;         /* begins with what a killed process left: a WAL that nobody took up */
        bool small_wal;   /* checkpoints every few pages instead of every thousand */
        bool reopen;      /* closed and opened again before each turn */
        bool small_cache; /* the page cache holds a few pages: changes go out before the commit */
} Scenario;

extern const Scenario scenarios[];
extern const unsigned n_scenarios;

int scenario_populate(Ledger *l, Error *reterr);
