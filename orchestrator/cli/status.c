#include <stdio.h>
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

/* ---- what holds sleeping and removing, and what to do about it ---- */

static void print_hold(const Cli *cli, const char *name, const json_t *why, const char *key,
                       const char *advice) {
        const char *reason = cli_string(why, key);

        printf("  %-13s%s%s%s; %s\n", name, cli_color(cli, CLI_YELLOW), *reason ? reason : "yes",
               cli_color(cli, CLI_PLAIN), advice);
}

static void print_held(const Cli *cli, const json_t *held) {
        char from[TIME_TEXT_MAX];

        if (!json_is_object(held) || cli_integer(held, "released_ms") > 0)
                return;
        print_hold(cli, "held", held, "reason", "nothing is removed");
        if (cli_integer(held, "from_ms") > 0)
                printf("  %-13swhat was renewed, pinned or made since %s is not known\n", "",
                       time_format(cli_integer(held, "from_ms"), from));
        printf("  %-13s'mayfly orphans --look', renew what must stay, then 'mayfly unfreeze'\n",
               "");
}

static void print_holds(const Cli *cli, const json_t *s) {
        const json_t *frozen = json_object_get(s, "frozen"), *held = json_object_get(s, "held");
        const json_t *clock = json_object_get(json_object_get(s, "clock"), "frozen");
        const json_t *unwell = json_object_get(s, "unwell");
        int64_t now = cli_integer(s, "now_ms"), until = cli_integer(s, "hold_until_ms");
        bool open = json_is_object(held) && cli_integer(held, "released_ms") == 0;
        char when[TIME_TEXT_MAX * 2], advice[TIME_TEXT_MAX * 4];

        if (json_is_object(frozen) && !json_is_true(json_object_get(frozen, "clock")) &&
            !(open && streq(cli_string(frozen, "by"), "ledger"))) {
                snprintf(advice, sizeof(advice), "%s; 'mayfly unfreeze' releases it",
                         cli_string(frozen, "by"));
                print_hold(cli, "frozen", frozen, "reason", advice);
        }
        print_held(cli, held);
        if (json_is_object(clock))
                print_hold(cli, "clock", clock, "reason",
                           "'mayfly unfreeze' releases it, when the clock is right");
        if (until > 0)
                printf("  %-13snothing is slept or removed by the clocks before %s, %s: the machine was "
                       "away or its clock taken over; 'mayfly unfreeze' releases it sooner\n",
                       "waits", cli_when(until, now, when), time_format(until, advice));
        if (json_is_object(unwell)) {
                snprintf(advice, sizeof(advice), "nothing destructive before %s",
                         cli_when(cli_integer(unwell, "until_ms"), now, when));
                print_hold(cli, "ledger", unwell, "error", advice);
        }
}

static void print_status(Cli *cli, const json_t *s) {
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
        print_holds(cli, s);
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
