/* reap, freeze, unfreeze, compare: the reaper by hand, for all environments. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

static int print_verdicts(const json_t *answer, Error *reterr) {
        const json_t *verdicts = json_object_get(answer, "environments");
        static const char *const columns[] = { "ENVIRONMENT", "VERDICT", "GATE",
                                               "NEXT",        "REASON",  NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        int64_t now = cli_now(answer);
        json_t *v;
        size_t i;
        int r = table_new(columns, &t, reterr);

        json_array_foreach(verdicts, i, v) {
                int64_t next = cli_integer(v, "next_ms");
                char when[TIME_TEXT_MAX * 2];
                const char *cells[] = { cli_string(v, "environment"), cli_string(v, "action"),
                                        cli_string(v, "gate"),
                                        next > 0 ? cli_when(next, now, when) : "-",
                                        cli_string(v, "reason") };

                if (r == 0)
                        r = table_add(t, cells, reterr);
        }
        return r == 0 ? table_print(t, stdout, reterr) : r;
}

int command_reap(Cli *cli) {
        bool dry = cli_option(cli, "dry-run") != NULL;
        json_t *body = json_pack("{s:b, s:s*}", "dry_run", dry, "environment",
                                 cli->n_args > 0 ? cli->args[0] : NULL);
        auto_error error = { 0 };
        json_t *answer = NULL;
        int status = cli_request(cli, "POST", "/v1/reap", body, &answer), r = 0;

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                r = print_verdicts(answer, &error);
        if (r == 0 && dry && !cli->json)
                printf("Nothing was changed.\n");
        json_decref(answer);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}

/* Asks for it and leaves the answer, printed already for a program that reads. */
static int freeze(Cli *cli, json_t *body, json_t **ret) {
        int status;

        if (!body)
                return cli_fail(cli, CLI_USAGE, "The reason is not valid UTF-8");
        status = cli_request(cli, "POST", "/v1/freeze", body, ret);
        if (status == CLI_OK && cli->json)
                cli_print_json(*ret);
        return status;
}

int command_freeze(Cli *cli) {
        json_t *body = json_pack("{s:b, s:s*}", "on", 1, "reason", cli_option(cli, "reason"));
        json_auto_t *answer = NULL;
        int status = freeze(cli, body, &answer);

        if (status == CLI_OK && !cli->json)
                printf("Frozen: no clock puts anything to sleep and nothing is removed until 'mayfly "
                       "unfreeze'\n");
        return status;
}

static void print_released(const json_t *answer) {
        static const char *const words[][2] = {
                { "freeze", "the freeze" },
                { "held", "the ledger that was put back" },
                { "clock", "what the machine's clock held" },
                { "hold", "the hour after an absence" },
        };
        const json_t *list = json_object_get(answer, "released"), *name;
        int64_t moved = cli_integer(answer, "moved_ms"),
                until = cli_integer(answer, "hold_until_ms");
        char text[TIME_TEXT_MAX * 2];
        size_t i;

        if (json_array_size(list) == 0) {
                printf("Nothing was held\n");
                return;
        }
        printf("Released: ");
        json_array_foreach((json_t *) list, i, name)
                for (size_t k = 0; k < N_ELEMENTS(words); k++)
                        if (streq_null(json_string_value(name), words[k][0]))
                                printf("%s%s", i > 0 ? ", " : "", words[k][1]);
        printf("\n");
        if (moved > 0)
                printf("All deadlines are later by %s\n", duration_format(moved, text));
        if (until > 0)
                printf("Nothing is slept or removed by the clocks for an hour, until %s\n",
                       time_format(until, text));
        else
                printf("The clocks count again\n");
}

int command_unfreeze(Cli *cli) {
        json_t *body = json_pack("{s:b, s:b}", "on", 0, "accept_clock",
                                 cli_option(cli, "accept-clock") != NULL);
        json_auto_t *answer = NULL;
        int status = freeze(cli, body, &answer);

        if (status == CLI_OK && !cli->json)
                print_released(answer);
        return status;
}

static void print_names(const json_t *report, const char *key) {
        const json_t *name;
        size_t i;

        json_array_foreach(json_object_get(report, key), i, name)
                printf("  %-8s %s\n", key, json_string_value(name) ?: "");
}

int command_compare(Cli *cli) {
        static const char *const keys[] = { "created", "updated", "closed", "skipped" };
        auto_cleanup(freep) char *path = cli_path("projects", cli->args[0], "/compare");
        json_t *answer = NULL, *report;
        int status = cli_request(cli, "POST", path, json_object(), &answer);

        if (status != CLI_OK)
                return status;
        report = json_object_get(answer, "report");
        if (cli->json) {
                cli_print_json(answer);
        } else {
                printf("%s: %lld branches%s\n", cli->args[0],
                       (long long) cli_integer(answer, "branches"),
                       json_is_true(json_object_get(answer, "complete"))
                               ? ""
                               : "; this list is no evidence that any is gone, so nothing is closed");
                for (size_t i = 0; i < N_ELEMENTS(keys); i++)
                        print_names(report, keys[i]);
        }
        json_decref(answer);
        return CLI_OK;
}
