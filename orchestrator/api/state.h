/* The state folder: one daemon at a time, modes that keep secrets in and let sandboxes pass through. */
#pragma once

#include "orchestrator/api/manager.h"

int state_start(Manager *m, Error *reterr);
void state_stop(Manager *m);
