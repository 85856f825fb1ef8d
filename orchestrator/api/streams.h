/* Answers that go on: events as they are committed, what workloads write, what a command inside one
 * says. JSON lines. */
#pragma once

#include "orchestrator/api/manager.h"

/* Tells the followers of events that there are more. */
void streams_on_events(Manager *m);
/* Ends them all, before the engine goes. */
void streams_stop(Manager *m);
void followers_stop(Manager *m);
