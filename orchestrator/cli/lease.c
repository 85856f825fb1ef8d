/* why, extend, pin, unpin: what holds an environment in life. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"

static void print_gates(Cli *cli, const json_t *gates) {
        const json_t *g;
        size_t i;

        json_array_foreach(gates, i, g) {
                bool keeps = json_is_true(json_object_get(g, "keeps"));

                printf("  %s%-5s%s %-11s %s\n", cli_color(cli, keeps ? CLI_GREEN : CLI_DIM),
                       keeps ? "keeps" : "-", cli_color(cli, CLI_PLAIN), cli_string(g, "name"),
                       cli_string(g, "text"));
        }
}

static void print_clocks(const json_t *clocks, int64_t now) {
        const json_t *c;
        size_t i;

        json_array_foreach(clocks, i, c) {
                int64_t due = cli_integer(c, "due_ms");
                char when[TIME_TEXT_MAX * 2];

                printf("  %-19s %-14s %s\n", cli_string(c, "name"),
                       due > 0 ? cli_when(due, now, when) : "-", cli_string(c, "text"));
        }
}

int command_why(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "/why");
        json_t *why = NULL;
        int status = cli_request(cli, "GET", path, NULL, &why);
        int64_t now, next;
        char when[TIME_TEXT_MAX * 2];

        if (status != CLI_OK)
                return status;
        if (cli->json) {
                cli_print_json(why);
                json_decref(why);
                return CLI_OK;
        }
        now = cli_now(why);
        next = cli_integer(why, "next_ms");
        printf("%s%s%s: %s, %s\n", cli_color(cli, CLI_BOLD), cli_string(why, "environment"),
               cli_color(cli, CLI_PLAIN), cli_string(why, "action"), cli_string(why, "reason"));
        printf("\nWhat was asked, in order:\n");
        print_gates(cli, json_object_get(why, "gates"));
        printf("\nClocks:\n");
        print_clocks(json_object_get(why, "clocks"), now);
        if (next > 0)
                printf("\nJudged again %s, and whenever something changes.\n",
                       cli_when(next, now, when));
        json_decref(why);
        return CLI_OK;
}

/* Posts and prints either the answer or one sentence about the environment in it. */
static int change(Cli *cli, const char *tail, json_t *body, const char *words) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], tail);
        json_t *answer = NULL;
        int status;

        if (!body)
                return cli_fail(cli, CLI_USAGE, "An argument is not valid UTF-8");
        status = cli_request(cli, "POST", path, body, &answer);
        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                printf("%s %s\n", cli_string(json_object_get(answer, "environment"), "label"),
                       words);
        json_decref(answer);
        return CLI_OK;
}

int command_extend(Cli *cli) {
        int64_t by = cli_duration(cli, cli->args[1]);
        auto_cleanup(freep) char *words = NULL;
        char text[TIME_TEXT_MAX];

        words = str_format("is kept for at least %s more", duration_format(by, text));
        return change(cli, "/extend", json_pack("{s:I}", "by_ms", (json_int_t) by), words ?: "");
}

int command_pin(Cli *cli) {
        int64_t length = cli_option_duration(cli, "for", 0);
        json_t *until = length > 0 ? json_integer(clock_wall_ms(&clock_system) + length) : NULL;

        return change(
                cli, "/pin",
                json_pack("{s:o*, s:s*}", "until_ms", until, "reason", cli_option(cli, "reason")),
                "is pinned: it stays awake and is not removed");
}

int command_unpin(Cli *cli) {
        return change(cli, "/unpin", json_object(), "is no longer pinned");
}
