/* What `up` shows while it waits: one line for each resource. On a terminal the lines are redrawn in
 * place with the time each has taken; elsewhere a line comes when something changed. */
#pragma once

#include "orchestrator/cli/cli.h"

typedef struct Progress Progress;

int progress_new(Cli *cli, Progress **ret);
Progress *progress_free(Progress *p);
/* Shows this generation of the environment as the API has it. */
void progress_show(Progress *p, const json_t *environment, int64_t generation);
/* Leaves the lines as they are and goes below them. */
void progress_end(Progress *p);

DEFINE_CLEANUP(Progress *, progress_free)
