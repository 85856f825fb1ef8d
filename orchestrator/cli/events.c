#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"

static void print_event(Cli *cli, const json_t *e) {
        char when[TIME_TEXT_MAX];

        printf("%s%s%s  %-23s %-24s ", cli_color(cli, CLI_DIM),
               time_format(cli_integer(e, "time_ms"), when), cli_color(cli, CLI_PLAIN),
               cli_string(e, "kind"), cli_string(e, "environment"));
        cli_print_text(stdout, cli_string(e, "text"));
        if (*cli_string(e, "actor"))
                printf(" %s(%s)%s", cli_color(cli, CLI_DIM), cli_string(e, "actor"),
                       cli_color(cli, CLI_PLAIN));
        fputc('\n', stdout);
}

static int on_event(void *userdata, json_t *line) {
        Cli *cli = userdata;

        if (!json_object_get(line, "number"))
                return 0; /* "following" */
        if (cli->json) {
                (void) json_dumpf(line, stdout, JSON_COMPACT);
                fputc('\n', stdout);
        } else {
                print_event(cli, line);
        }
        return fflush(stdout) == 0 ? 0 : -EIO;
}

int command_events(Cli *cli) {
        auto_cleanup(freep) char *environment = http_escape(cli->n_args > 0 ? cli->args[0] : "");
        auto_cleanup(freep) char *path = NULL;
        CliStream stream = { .on_line = on_event, .userdata = cli };
        uint64_t lines = cli_option_number(cli, "lines", 50, LIMIT_API_EVENTS_PAGE);
        json_t *answer = NULL, *e;
        size_t i;
        int status;

        path = str_format("/v1/events?last=%llu%s%s%s", (unsigned long long) lines,
                          cli_option(cli, "follow") ? "&follow=1" : "",
                          cli->n_args > 0 ? "&environment=" : "", environment ?: "");
        if (cli_option(cli, "follow"))
                return cli_stream(cli, "GET", path, NULL, &stream);
        status = cli_request(cli, "GET", path, NULL, &answer);
        if (status != CLI_OK)
                return status;
        if (cli->json) {
                cli_print_json(answer);
        } else {
                json_array_foreach(json_object_get(answer, "events"), i, e)
                        print_event(cli, e);
        }
        json_decref(answer);
        return CLI_OK;
}
