/* Comparisons of a project's environments with its repository's branches, at start and after pushes:
 * what a lost hook did not tell is found by the next one. Never on a timer of its own. */
#pragma once

#include "orchestrator/api/manager.h"

int compare_start(Manager *m, Error *reterr);
void compare_stop(Manager *m);
/* Soon, once, however often it is asked for. */
void compare_soon(Manager *m, const char *project);
