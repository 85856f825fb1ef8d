/* GET /v1/backup: a copy of the ledger, as bytes. Where it goes is the client's business: the daemon
 * writes only in its own folder. */
#pragma once

#include "orchestrator/api/manager.h"

int backup_start(Manager *m, Error *reterr); /* removes what a killed daemon left */
void backup_stop(Manager *m);
/* What the daemon starts itself for (mayflyd --copy-ledger PATH): copies and says in one line on standard
 * output what came of it. Returns the exit status. */
int backup_copy(const char *state, const char *path);
