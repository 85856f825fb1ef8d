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

static int freeze(Cli *cli, bool on, const char *words) {
        json_t *body =
                json_pack("{s:b, s:s*}", "on", on, "reason", on ? cli_option(cli, "reason") : NULL);
        json_t *answer = NULL;
        int status;

        if (!body)
                return cli_fail(cli, CLI_USAGE, "The reason is not valid UTF-8");
        status = cli_request(cli, "POST", "/v1/freeze", body, &answer);
        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                printf("%s\n", words);
        json_decref(answer);
        return CLI_OK;
}

int command_freeze(Cli *cli) {
        return freeze(cli, true,
                      "Frozen: no clock puts anything to sleep or removes it until 'mayfly "
                      "unfreeze'");
}

int command_unfreeze(Cli *cli) {
        return freeze(cli, false, "The clocks count again");
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
