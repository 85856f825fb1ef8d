/* mayflyd --restore FILE: a backup takes the ledger's place while no daemon runs. */
#pragma once

/* Says what came of it. Returns the exit status. */
int restore_run(const char *state, const char *file);
