/* A backup takes the ledger's place (backups: ledger_backup()). */
#pragma once

#include <stdint.h>

#include "orchestrator/base/error.h"

/* In the state folder while it is being checked; a kill leaves it there. */
#define LEDGER_RESTORING "ledger.restoring"

typedef struct LedgerRestored {
        int64_t until_ms; /* its newest event; 0: there is none */
        char *held;       /* why the next start removes nothing; NULL: it goes on as ever */
        char *kept;       /* the folder that has the former ledger; NULL: there was none */
} LedgerRestored;

/* Puts a backup in the place of the ledger of a state folder that nobody uses (the caller has its lock). The
 * folder must have the key that the backup was made with. What was there gets another name. A backup that
 * does not open changes nothing: -EBADMSG, -ENOKEY, -EKEYREJECTED, -EINVAL, or as the system says. */
int ledger_restore(const char *folder, const char *backup, LedgerRestored *ret, Error *reterr);
void ledger_restored_done(LedgerRestored *r);
