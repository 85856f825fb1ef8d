#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

static const char *note_of(const json_t *e) {
        if (*cli_string(e, "cause"))
                return cli_string(e, "cause");
        if (*cli_string(json_object_get(e, "gone"), "why"))
                return cli_string(json_object_get(e, "gone"), "why");
        return cli_string(e, "url");
}

static int add_row(Table *t, const json_t *e, int64_t now, Error *reterr) {
        char commit[16], used[TIME_TEXT_MAX * 2], due[TIME_TEXT_MAX * 2];
        int64_t due_ms = cli_integer(e, "due_ms");
        const char *cells[] = { cli_string(e, "label"),
                                cli_state_word(e),
                                cli_commit(cli_string(e, "commit"), commit),
                                cli_when(cli_integer(e, "used_ms"), now, used),
                                due_ms > 0 ? cli_when(due_ms, now, due) : "",
                                note_of(e) };

        return table_add(t, cells, reterr);
}

static int print_environments(Cli *cli, const json_t *answer) {
        const json_t *environments = json_object_get(answer, "environments");
        static const char *const columns[] = { "ENVIRONMENT", "STATE",   "COMMIT", "USED",
                                               "DUE",         "ADDRESS", NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        auto_error error = { 0 };
        int64_t now = cli_now(answer);
        json_t *e;
        size_t i;
        int r = table_new(columns, &t, &error);

        if (json_array_size(environments) == 0) {
                fprintf(stderr, "No previews. 'mayfly up PROJECT BRANCH' makes one.\n");
                return CLI_OK;
        }
        json_array_foreach(environments, i, e) {
                if (r == 0)
                        r = add_row(t, e, now, &error);
        }
        if (r == 0)
                r = table_print(t, stdout, &error);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}

int command_list(Cli *cli) {
        auto_cleanup(freep) char *project = http_escape(cli->n_args > 0 ? cli->args[0] : "");
        auto_cleanup(freep) char *path =
                str_format("/v1/environments?%s%s%s", cli->n_args > 0 ? "project=" : "",
                           project ?: "", cli_option(cli, "all") ? "&gone=1" : "");
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", path, NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                status = print_environments(cli, answer);
        json_decref(answer);
        return status;
}
