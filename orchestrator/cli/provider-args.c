#include "orchestrator/cli/provider-args.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/id.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

const char provider_help[] =
        "Usage: mayfly provider check PROGRAM [OPTION...]\n\n"
        "Tests a provider program against the rules that all providers keep (providers.md), and prints\n"
        "a line for each. PROGRAM is a path; a name without a slash is looked up in PATH. Exit status:\n"
        "0 all kept, 1 one is broken, 2 it could not be tested, or not to the end.\n\n"
        "  --config FILE    JSON object: the provider's config, as an admin would write it\n"
        "  --params FILE    JSON object: for each type {\"params\", \"environment\", \"needs\"} to test it with\n"
        "  --type TYPE      only this type\n"
        "  --rule WORDS     only rules whose name holds these words, or that have this number;\n"
        "                   may be given up to eight times\n"
        "  --timeout MS     how long one call may take (default 30000)\n"
        "  --seed NUMBER    where calls are cut off, as an earlier check did it\n"
        "  --json           one JSON object instead of lines\n"
        "  --help           this\n";

int provider_args_parse(int argc, char **argv, ProviderArgs *ret) {
        const char *timeout = NULL, *seed = NULL, *rule = NULL;
        ProviderArgs args = { .timeout_ms = 30000 };
        struct {
                const char *name;
                const char **value;
        } options[] = {
                { "--config", &args.config }, { "--params", &args.params },
                { "--type", &args.type },     { "--rule", &rule },
                { "--timeout", &timeout },    { "--seed", &seed },
        };
        uint64_t ms = 0;

        for (int i = argc > 1 && streq(argv[1], "check") ? 2 : 1; i < argc; i++) {
                const char **value = NULL;

                for (size_t j = 0; j < N_ELEMENTS(options); j++)
                        if (streq(argv[i], options[j].name))
                                value = options[j].value;
                if (value && i + 1 >= argc)
                        return -EINVAL;
                if (value == &rule && args.n_rules == N_ELEMENTS(args.rules))
                        return -EINVAL;
                if (value) {
                        *value = argv[++i];
                        if (value == &rule)
                                args.rules[args.n_rules++] = rule;
                } else if (streq(argv[i], "--json"))
                        args.json = true;
                else if (streq(argv[i], "--help"))
                        args.help = true;
                else if (!args.program && *argv[i] != '-')
                        args.program = argv[i];
                else
                        return -EINVAL;
        }
        if (timeout && (str_to_u64(timeout, 3600000, &ms) < 0 || ms == 0))
                return -EINVAL;
        if (timeout)
                args.timeout_ms = (int64_t) ms;
        args.seed = random_below(&random_system, 1000000000);
        if ((seed && str_to_u64(seed, UINT64_MAX, &args.seed) < 0) || (!args.program && !args.help))
                return -EINVAL;
        *ret = args;
        return 0;
}

static char *path_search(const char *name) {
        const char *path = getenv("PATH");

        for (const char *at = path ? path : "/usr/bin:/bin"; at; at = strchr(at, ':')) {
                auto_cleanup(freep) char *folder = NULL, *program = NULL;
                struct stat st;

                at += *at == ':';
                folder = strndup(at, strcspn(at, ":"));
                program = folder && *folder ? path_join(folder, name) : NULL;
                if (program && stat(program, &st) == 0 && S_ISREG(st.st_mode) &&
                    access(program, X_OK) == 0)
                        return TAKE(program);
        }
        return NULL;
}

int provider_program_find(const char *given, char **ret, Error *reterr) {
        auto_cleanup(freep) char *program = strchr(given, '/') ? strdup(given) : path_search(given);
        struct stat st;

        if (!program && stat(given, &st) == 0)
                return error_set(reterr, -ENOENT,
                                 "There is no '%s' in PATH; for the one in this folder say './%s'",
                                 given, given);
        if (!program)
                return error_set(reterr, -ENOENT, "There is no program '%s' in PATH", given);
        if (stat(program, &st) < 0)
                return error_set(reterr, -errno, "Cannot run '%s': %s", program, strerror(errno));
        if (S_ISDIR(st.st_mode))
                return error_set(reterr, -EISDIR, "'%s' is a folder, not a program", program);
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, -EACCES, "'%s' is no file that can be run", program);
        if (access(program, X_OK) < 0)
                return error_set(reterr, -EACCES, "'%s' may not be run; try 'chmod +x'", program);
        if (!strchr(given, '/'))
                fprintf(stderr, "mayfly: testing '%s', as found in PATH\n", program);
        *ret = TAKE(program);
        return 0;
}
