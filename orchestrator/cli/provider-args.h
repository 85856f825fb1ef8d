/* The command line of "mayfly provider check". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct ProviderArgs {
        const char *program, *config, *params, *type; /* NULL: not given */
        const char *rules[8];                         /* any of them; none: all */
        size_t n_rules;
        uint64_t seed;
        int64_t timeout_ms;
        bool json, help;
} ProviderArgs;

extern const char provider_help[];

/* -EINVAL: not understood. */
int provider_args_parse(int argc, char **argv, ProviderArgs *ret);
/* The program that is meant, by path or in PATH, owned; says why when there is none that can be run. */
int provider_program_find(const char *given, char **ret, Error *reterr);
