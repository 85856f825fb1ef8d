#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"

static void print_counts(const char *name, const json_t *counts) {
        const char *key;
        const json_t *n;
        bool first = true;

        printf("  %-13s", name);
        json_object_foreach((json_t *) counts, key, n) {
                if (json_integer_value(n) == 0)
                        continue;
                printf("%s%lld %s", first ? "" : ", ", (long long) json_integer_value(n), key);
                first = false;
        }
        printf("%s\n", first ? "none" : "");
}

static void print_status(Cli *cli, const json_t *s) {
        const json_t *frozen = json_object_get(s, "frozen");
        const json_t *config = json_object_get(s, "config");
        char when[TIME_TEXT_MAX * 2];

        printf("mayflyd %s, process %lld, started %s\n", cli_string(s, "version"),
               (long long) cli_integer(s, "pid"),
               cli_when(cli_integer(s, "started_ms"), cli_integer(s, "now_ms"), when));
        printf("  %-13s%s\n", "address", cli_string(s, "address"));
        printf("  %-13s%s (%s)\n", "front", cli_string(s, "front"), cli_string(s, "gateway"));
        printf("  %-13s%s\n", "state", cli_string(s, "state_dir"));
        printf("  %-13s%lld\n", "projects", (long long) cli_integer(s, "projects"));
        print_counts("environments", json_object_get(s, "environments"));
        print_counts("resources", json_object_get(s, "resources"));
        if (*cli_string(config, "fault"))
                printf("  %-13s%s%s%s\n", "config", cli_color(cli, CLI_RED),
                       cli_string(config, "fault"), cli_color(cli, CLI_PLAIN));
        if (json_is_object(frozen))
                printf("  %-13s%s%s%s; 'mayfly unfreeze' releases it%s\n", "frozen",
                       cli_color(cli, CLI_YELLOW),
                       *cli_string(frozen, "reason") ? cli_string(frozen, "reason") : "yes",
                       cli_color(cli, CLI_PLAIN),
                       json_is_true(json_object_get(frozen, "clock")) ? ", when the clock is right"
                                                                      : "");
}

int command_status(Cli *cli) {
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", "/v1/status", NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                print_status(cli, answer);
        json_decref(answer);
        return CLI_OK;
}
