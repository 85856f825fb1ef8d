/* orphans: what is in the world and not in the ledger, or the other way round, and what to do about it. */
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

#define WAIT_MS  (10 * MS_PER_MINUTE)
#define AGAIN_US 200000

/* Those whose marker names the environment, in the place of all; owned by the answer as before. */
static void keep_of(json_t *answer, const char *key, const char *environment) {
        json_t *list = json_object_get(answer, key);

        for (size_t i = 0; environment && i < json_array_size(list);)
                if (streq(cli_string(json_array_get(list, i), "environment"), environment))
                        i++;
                else
                        (void) json_array_remove(list, i);
}

static int print_strays(const char *title, const json_t *list, Error *reterr) {
        static const char *const columns[] = { "UID",  "TYPE", "PROVIDER", "ENVIRONMENT", "SEEN",
                                               "FROM", "WHAT", "VERDICT",  "WHY",         NULL };
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
                                        cli_string(s, "detail"),
                                        cli_string(s, "verdict"),
                                        cli_string(s, "text") };

                snprintf(times, sizeof(times), "%lld times", (long long) cli_integer(s, "times"));
                if (r == 0)
                        r = table_add(t, cells, reterr);
        }
        return r == 0 ? table_print(t, stdout, reterr) : r;
}

/* Whether every list that was made says that it is all. */
static bool lists_tell(Cli *cli, const json_t *lists, bool print) {
        const json_t *one;
        bool all = true;
        size_t i;

        json_array_foreach(lists, i, one) {
                bool complete = json_is_true(json_object_get(one, "complete"));
                bool cut = json_is_true(json_object_get(one, "cut"));

                all = all && complete && !cut;
                if (print && !complete) {
                        printf("%sThe list of %s is not complete%s: ", cli_color(cli, CLI_YELLOW),
                               cli_string(one, "provider"), cli_color(cli, CLI_PLAIN));
                        cli_print_text(stdout, cli_string(one, "detail"));
                        fputc('\n', stdout);
                }
                if (print && cut)
                        printf("%s has more than is kept; remove some of these, then look again\n",
                               cli_string(one, "provider"));
        }
        return all;
}

static void print_none(bool whole, const char *environment, size_t n_lists) {
        if (!whole)
                printf("None is known, and nobody knows what is missing in these lists\n");
        else if (environment)
                printf("None is known of %s\n", environment);
        else if (n_lists == 0)
                printf("None is known; no provider was asked since the daemon started\n");
        else
                printf("None is known: ledger and world agree\n");
}

static int show_known(Cli *cli, json_t *answer, bool looked) {
        const char *environment = cli_option(cli, "environment");
        const json_t *orphans = json_object_get(answer, "orphans");
        const json_t *ghosts = json_object_get(answer, "ghosts");
        const json_t *lists = json_object_get(answer, "lists");
        bool whole = lists_tell(cli, lists, !cli->json);
        auto_error error = { 0 };
        int r;

        keep_of(answer, "orphans", environment);
        keep_of(answer, "ghosts", environment);
        if (cli->json) {
                cli_print_json(answer);
                return looked && !whole ? CLI_FAILED : CLI_OK;
        }
        if (json_array_size(orphans) + json_array_size(ghosts) == 0)
                print_none(whole, environment, json_array_size(lists));
        r = print_strays("Orphans: in the world, not in the ledger", orphans, &error);
        if (r == 0 && json_array_size(orphans) > 0 && json_array_size(ghosts) > 0)
                fputc('\n', stdout);
        if (r == 0)
                r = print_strays("Ghosts: in the ledger, not in the world", ghosts, &error);
        if (r < 0)
                return cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r));
        return looked && !whole ? CLI_FAILED : CLI_OK;
}

static int list_orphans(Cli *cli) {
        bool look = cli_option(cli, "look") != NULL;
        json_t *answer = NULL;
        int status =
                cli_request(cli, look ? "POST" : "GET", look ? "/v1/orphans/look" : "/v1/orphans",
                            look ? json_object() : NULL, &answer);

        if (status == CLI_OK)
                status = show_known(cli, answer, look);
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
                const char *what = !chosen ? "stays"
                                   : adopt ? (dry ? "be adopted" : "is adopted")
                                   : dry   ? "be removed"
                                           : "is to be removed";

                n += chosen;
                printf("%s%s%s %s %s%s (%s): ", cli_color(cli, CLI_BOLD), cli_string(s, "uid"),
                       cli_color(cli, CLI_PLAIN), cli_string(s, "type"),
                       dry && chosen ? "would " : "", what, cli_string(s, "verdict"));
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

/* Those that are named, or whose markers name the preview. */
static int which(Cli *cli, json_t *uids) {
        const char *environment = cli_option(cli, "environment");
        json_t *known = NULL;
        const json_t *s;
        size_t i;
        int status;

        for (unsigned n = 0; n < cli->n_args; n++)
                (void) json_array_append_new(uids, json_string(cli->args[n]));
        if (!environment)
                return CLI_OK;
        status = cli_request(cli, "GET", "/v1/orphans", NULL, &known);
        if (status != CLI_OK)
                return status;
        json_array_foreach(json_object_get(known, "orphans"), i, s) {
                if (streq(cli_string(s, "environment"), environment) &&
                    !streq(cli_string(s, "verdict"), "removing"))
                        (void) json_array_append_new(uids, json_string(cli_string(s, "uid")));
        }
        json_decref(known);
        return json_array_size(uids) > 0
                       ? CLI_OK
                       : cli_fail(cli, CLI_NOT_FOUND, "No orphan of '%s' is known", environment);
}

/* As the real run ends: of those that are named, one that may not go refuses all. */
static int dry_status(Cli *cli, const json_t *orphans) {
        const json_t *s;
        size_t i;

        json_array_foreach(orphans, i, s) {
                if (!json_is_true(json_object_get(s, "chosen")))
                        return cli_fail(cli, CLI_REFUSED, "%s would not be removed (%s): %s",
                                        cli_string(s, "uid"), cli_string(s, "verdict"),
                                        cli_string(s, "text"));
        }
        return CLI_OK;
}

static int await_removal(Cli *cli, const json_t *orphans) {
        int status = wait_for_end(cli, orphans);
        const json_t *s;
        size_t i;

        json_array_foreach(orphans, i, s) {
                if (status == CLI_OK && !cli->json && json_is_true(json_object_get(s, "chosen")))
                        printf("%s is removed\n", cli_string(s, "uid"));
        }
        return status;
}

static int change_orphans(Cli *cli, bool adopt) {
        bool all = cli_option(cli, "all") != NULL, dry = cli_option(cli, "dry-run") != NULL;
        json_t *uids = json_array(), *body, *answer = NULL;
        int status = which(cli, uids);

        if (status != CLI_OK) {
                json_decref(uids);
                return status;
        }
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
        if (!adopt && dry && !all)
                status = dry_status(cli, json_object_get(answer, "orphans"));
        if (!adopt && !dry && cli_option(cli, "wait"))
                status = await_removal(cli, json_object_get(answer, "orphans"));
        json_decref(answer);
        return status;
}

/* Options that mean something for one action only, each with the words for a misuse. */
static const char *misused(Cli *cli, bool remove, bool adopt) {
        static const char *const of_removal[] = { "all", "young", "wait", "timeout" };

        for (size_t i = 0; !remove && i < N_ELEMENTS(of_removal); i++)
                if (cli_option(cli, of_removal[i]))
                        return "--all, --young, --wait and --timeout are for --remove";
        if (!remove && !adopt && cli_option(cli, "dry-run"))
                return "--dry-run is for --remove and --adopt";
        if ((remove || adopt) && cli_option(cli, "look"))
                return "--look only lists; look first, then say what to do";
        if (!remove && !adopt && cli->n_args > 0)
                return "Say what to do with it: --remove or --adopt";
        return NULL;
}

int command_orphans(Cli *cli) {
        bool remove = cli_option(cli, "remove") != NULL, adopt = cli_option(cli, "adopt") != NULL;
        bool all = cli_option(cli, "all") != NULL;
        bool named = cli->n_args > 0, of = cli_option(cli, "environment") != NULL;
        const char *wrong = misused(cli, remove, adopt);

        if (remove && adopt)
                return cli_usage(cli, "Either --remove or --adopt");
        if (wrong)
                return cli_usage(cli, "%s", wrong);
        if (!remove && !adopt)
                return list_orphans(cli);
        if (all + named + of != 1)
                return cli_usage(cli, adopt ? "Say which, or --environment"
                                            : "Say which, or --environment, or --all");
        if (all && cli_option(cli, "young"))
                return cli_usage(cli, "--young is for those that you name");
        return change_orphans(cli, adopt);
}
