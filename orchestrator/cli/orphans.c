/* orphans: what is in the world and not in the ledger, or the other way round, and what to do about it. */
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

#define WAIT_MS  (5 * MS_PER_MINUTE)
#define AGAIN_US 200000

static int print_strays(const char *title, const json_t *list, Error *reterr) {
        static const char *const columns[] = { "UID",  "TYPE",    "PROVIDER", "ENVIRONMENT", "SEEN",
                                               "FROM", "VERDICT", "WHY",      NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        int64_t now = clock_wall_ms(&clock_system);
        const json_t *s;
        size_t i;
        int r;

        if (json_array_size(list) == 0)
                return 0;
        printf("%s\n", title);
        r = table_new(columns, &t, reterr);
        json_array_foreach(list, i, s) {
                char since[TIME_TEXT_MAX * 2], times[32];
                const char *cells[] = { cli_string(s, "uid"),
                                        cli_string(s, "type"),
                                        cli_string(s, "provider"),
                                        cli_string(s, "environment"),
                                        times,
                                        cli_when(cli_integer(s, "first_ms"), now, since),
                                        cli_string(s, "verdict"),
                                        cli_string(s, "text") };

                snprintf(times, sizeof(times), "%lld times", (long long) cli_integer(s, "times"));
                if (r == 0)
                        r = table_add(t, cells, reterr);
        }
        return r == 0 ? table_print(t, stdout, reterr) : r;
}

static int show_known(Cli *cli, const json_t *answer) {
        const json_t *orphans = json_object_get(answer, "orphans");
        const json_t *ghosts = json_object_get(answer, "ghosts");
        auto_error error = { 0 };
        int r;

        if (cli->json) {
                cli_print_json(answer);
                return CLI_OK;
        }
        if (json_array_size(orphans) + json_array_size(ghosts) == 0)
                printf("None is known: ledger and world agree, as far as was looked\n");
        r = print_strays("Orphans: in the world, not in the ledger", orphans, &error);
        if (r == 0 && json_array_size(orphans) > 0 && json_array_size(ghosts) > 0)
                fputc('\n', stdout);
        if (r == 0)
                r = print_strays("Ghosts: in the ledger, not in the world", ghosts, &error);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}

static int list_orphans(Cli *cli) {
        bool look = cli_option(cli, "look") != NULL;
        json_t *answer = NULL;
        int status =
                cli_request(cli, look ? "POST" : "GET", look ? "/v1/orphans/look" : "/v1/orphans",
                            look ? json_object() : NULL, &answer);

        if (status == CLI_OK)
                status = show_known(cli, answer);
        json_decref(answer);
        return status;
}

/* ---- removing and adopting ---- */

static void print_chosen(Cli *cli, const json_t *answer, bool adopt) {
        bool dry = json_is_true(json_object_get(answer, "dry_run"));
        const json_t *s;
        size_t i, n = 0;

        json_array_foreach(json_object_get(answer, "orphans"), i, s) {
                bool chosen = json_is_true(json_object_get(s, "chosen"));
                const char *what = !chosen ? "stays" : adopt ? "is adopted" : "is removed";

                n += chosen;
                printf("%s%s%s %s %s%s (%s): ", cli_color(cli, CLI_BOLD), cli_string(s, "uid"),
                       cli_color(cli, CLI_PLAIN), cli_string(s, "type"),
                       dry && chosen ? "would: " : "", what, cli_string(s, "verdict"));
                cli_print_text(stdout, cli_string(s, "text"));
                fputc('\n', stdout);
        }
        if (n == 0)
                printf("Nothing %s to be %s\n", dry ? "would have" : "has",
                       adopt ? "adopted" : "removed");
        if (dry)
                printf("Nothing was changed.\n");
}

static const json_t *find(const json_t *list, const char *uid) {
        const json_t *s;
        size_t i;

        json_array_foreach(list, i, s) {
                if (streq(cli_string(s, "uid"), uid))
                        return s;
        }
        return NULL;
}

/* How many of those chosen are still known; -1: the daemon cannot say. */
static int still_there(Cli *cli, const json_t *chosen, const json_t **ret_stuck, json_t **now) {
        const json_t *s, *known;
        size_t i;
        int n = 0;

        json_decref(*now);
        *now = NULL;
        if (cli_request(cli, "GET", "/v1/orphans", NULL, now) != CLI_OK)
                return -1;
        json_array_foreach(chosen, i, s) {
                known = json_is_true(json_object_get(s, "chosen"))
                                ? find(json_object_get(*now, "orphans"), cli_string(s, "uid"))
                                : NULL;
                n += known != NULL;
                if (known && !streq(cli_string(known, "verdict"), "removing") &&
                    *cli_string(known, "cause"))
                        *ret_stuck = known;
        }
        return n;
}

static int wait_for_end(Cli *cli, const json_t *chosen) {
        int64_t end = clock_boot_ms(&clock_system) + cli_option_duration(cli, "timeout", WAIT_MS);
        const json_t *stuck = NULL;
        json_t *now = NULL;
        int n, status = CLI_OK;

        while ((n = still_there(cli, chosen, &stuck, &now)) > 0 && !stuck) {
                if (clock_boot_ms(&clock_system) > end)
                        break;
                usleep(AGAIN_US);
        }
        if (n < 0)
                status = CLI_FAILED; /* its words are out */
        else if (stuck)
                status = cli_fail(cli, CLI_FAILED, "%s is still there: %s",
                                  cli_string(stuck, "uid"), cli_string(stuck, "cause"));
        else if (n > 0)
                status = cli_fail(cli, CLI_TIMEOUT, "%d are still being removed", n);
        json_decref(now);
        return status;
}

static int change_orphans(Cli *cli, bool adopt) {
        bool all = cli_option(cli, "all") != NULL, dry = cli_option(cli, "dry-run") != NULL;
        json_t *uids = json_array(), *body, *answer = NULL;
        int status;

        for (unsigned i = 0; i < cli->n_args; i++)
                (void) json_array_append_new(uids, json_string(cli->args[i]));
        body = json_pack("{s:o, s:b}", "uids", uids, "dry_run", dry);
        if (!body)
                return cli_fail(cli, CLI_FAILED, "out of memory");
        if (!adopt) {
                (void) json_object_set_new(body, "all", json_boolean(all));
                (void) json_object_set_new(body, "young",
                                           json_boolean(cli_option(cli, "young") != NULL));
        }
        status = cli_request(cli, "POST", adopt ? "/v1/orphans/adopt" : "/v1/orphans/remove", body,
                             &answer);
        if (status != CLI_OK)
                return status;
        if (cli->json)
                cli_print_json(answer);
        else
                print_chosen(cli, answer, adopt);
        fflush(stdout);
        if (!adopt && !dry && cli_option(cli, "wait"))
                status = wait_for_end(cli, json_object_get(answer, "orphans"));
        json_decref(answer);
        return status;
}

int command_orphans(Cli *cli) {
        bool remove = cli_option(cli, "remove") != NULL, adopt = cli_option(cli, "adopt") != NULL;
        bool all = cli_option(cli, "all") != NULL;

        if (remove && adopt)
                return cli_usage(cli, "Either --remove or --adopt");
        if (!remove && !adopt)
                return cli->n_args > 0 || all
                               ? cli_usage(cli, "Say what to do with it: --remove or --adopt")
                               : list_orphans(cli);
        if (adopt && all)
                return cli_usage(cli, "Orphans are adopted one by one: say which");
        if (all == (cli->n_args > 0))
                return cli_usage(cli, "Say which, or --all");
        if (all && cli_option(cli, "young"))
                return cli_usage(cli, "--young is for those that you name");
        return change_orphans(cli, adopt);
}
