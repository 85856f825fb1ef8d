/* The daemon's ProviderOps: provider programs as child processes of the loop. One call is one process in
 * a process group of its own: the request goes to its standard input, JSON lines come from its standard
 * output, what it says on standard error is kept (its tail) for the message when it dies.
 *
 * A call ends when its process ended. Overdue, cancelled, oversized or talking nonsense, the group gets
 * SIGTERM and, LIMIT_PROVIDER_GRACE_MS later, SIGKILL; the reply is then TRANSIENT and unknown. A call
 * also ends with the daemon, so that a new daemon never races an old one's call. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/engine/provider.h"
#include "orchestrator/glue/loop.h"
#include "orchestrator/spec/config.h"

typedef struct Runner Runner;

typedef struct RunnerSetup {
        Loop *loop;
        const char *state_dir; /* absolute; providers get STATE/providers/NAME */
        const Config *config;  /* borrowed; NULL: every provider is where it is installed */
        ProviderEvents events;
} RunnerSetup;

int runner_new(const RunnerSetup *setup, Runner **ret, Error *reterr);
/* Ends the calls under way without a reply: their intents stay open. */
Runner *runner_free(Runner *r);
ProviderOps runner_ops(Runner *r);
void runner_set_config(Runner *r, const Config *config);

/* The program of a provider: its "path" in the configuration, else mayfly-provider-NAME in
 * $MAYFLY_PROVIDERS_DIR (there or in a folder NAME), else where it is installed. -ENOENT says where it
 * was looked for. */
int runner_program(const Config *config, const char *provider, char **ret, Error *reterr);

DEFINE_CLEANUP(Runner *, runner_free)
