/* What the targets with the engine's world share: worlds whose ledger begins as a copy of one that was made
 * once in the process, in memory, and ledgers that somebody spoils. */
#pragma once

#include "tests/unit/engine-world.h"

#include <stdint.h>

#include "orchestrator/glue/db.h"
#include "tests/sim/store.h"

/* The daemon runs and knows the project "shop"; the same each time. Ends with tear_down(). */
Fixture *lent_world(void);

/* A ledger with rows of all kinds: one environment that is ready, one under way, one gone. Its tables take
 * everything. Made once; to be copied. */
const Store *spoilt_template(void);
/* For the world of such a ledger, before its daemon. */
Fixture *spoilt_world(Store *store);

/* The numbers are those of the corpus. */
enum {
        TABLE_ENVIRONMENT,
        TABLE_GENERATION,
        TABLE_RESOURCE,
        TABLE_INTENT,
        TABLE_EVENT,
        TABLE_ROUTE,
        TABLE_PROJECT,
        TABLE_VALUE,
        TABLE_RECEIPT,
        TABLE_STRAY,
        TABLE_OUTBOX,
};

/* Sets columns:
 *
 *   TABLE COLUMN ROW KIND value... 0x1e      (KIND modulo 4: text, number as text, blob, NULL)
 *
 * Gives the tables in which it did, as bits. */
unsigned spoil(Db *db, const uint8_t *data, size_t size);
