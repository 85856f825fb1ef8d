/* mayflyd.yaml as the daemon holds it: read at start and at SIGHUP. A file with faults never replaces
 * one without. */
#pragma once

#include "orchestrator/api/manager.h"

int settings_start(Manager *m, Error *reterr);
void settings_stop(Manager *m);
void settings_reload(Manager *m);
/* For --check-config: 0, or prints the faults and returns -EINVAL. */
int settings_check(const char *path, Error *reterr);
