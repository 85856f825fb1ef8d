/* Writing the files of a commit, and of its submodules, into an empty folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "providers/git/mirror.h"

typedef struct Filling {
        SdkCall *call;
        const char *tree, *index;
        const Url *top;
        int64_t bytes_max;
        bool submodules;
        bool member; /* the branch is a member's: its submodules may use what the admin gave */

        int64_t n_bytes, n_entries; /* so far, over all submodules */
        unsigned n_submodules;
} Filling;

int filling_run(Filling *f, const char *commit, Error *reterr);
