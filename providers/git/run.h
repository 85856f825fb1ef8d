/* Running git with nothing of the machine's or the branch's configuration, no prompt, and only the
 * protocols that url.h accepts. */
#pragma once

#include <stdbool.h>

#include "orchestrator/base/error.h"
#include "providers/sdk/sdk.h"

typedef struct Git {
        const SdkCall *call;
        const char *git_dir;
        const char *work_tree, *index; /* NULL: none */
        bool anonymous;                /* without the admin's keys and passwords */
} Git;

/* Ends argv with NULL; argv[0] is "git". 0 and the output (owned, at most max bytes; ret_out may be NULL),
 * or the meaning of the failure (git_meaning) with git's words in reterr. */
int git_run(const Git *git, const char *const *argv, size_t max, char **ret_out, Error *reterr);
