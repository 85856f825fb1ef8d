/* Waiting for an environment: the event stream says when to look, a look says whether it is done. */
#pragma once

#include "orchestrator/cli/cli.h"

/* Looks at the environment as the API shows it now: negative to go on, else the exit status to end
 * with. event is NULL when only time passed. */
typedef int (*WaitFunc)(void *userdata, const json_t *environment, const json_t *event);

/* Calls func at once, after every event of the environment, and every second. A daemon that restarts
 * meanwhile is waited for. CLI_TIMEOUT, in words too, after timeout_ms. */
int cli_wait(Cli *cli, const char *environment_id, int64_t timeout_ms, WaitFunc func,
             void *userdata);
