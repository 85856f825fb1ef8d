/* The state folder: one daemon at a time, modes that keep secrets in and let sandboxes pass through. */
#pragma once

#include "orchestrator/api/manager.h"

/* Takes the lock of a state folder; *ret_fd holds it until it is closed. -EBUSY: a daemon has it. */
int state_lock(const char *folder, int *ret_fd, Error *reterr);
int state_start(Manager *m, Error *reterr);
void state_stop(Manager *m);
