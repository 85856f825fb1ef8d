/* What is left of a preview that is gone: the receipt, and whether it holds. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"

static void print_word(const char *name, const char *value) {
        if (!*value)
                return;
        printf("  %-10s ", name);
        cli_print_text(stdout, value);
        fputc('\n', stdout);
}

static void print_time(const char *name, int64_t ms, int64_t now) {
        char text[TIME_TEXT_MAX], when[TIME_TEXT_MAX * 2];

        if (ms > 0)
                printf("  %-10s %s (%s)\n", name, time_format(ms, text), cli_when(ms, now, when));
}

static void print_things(const char *word, const json_t *list) {
        const json_t *thing;
        size_t i;

        json_array_foreach(list, i, thing) {
                printf("    %-8s %s ", i == 0 ? word : "", cli_string(thing, "kind"));
                cli_print_text(stdout, cli_string(thing, "name"));
                fputc('\n', stdout);
        }
}

static void print_resource(Cli *cli, const json_t *one) {
        int64_t generation = cli_integer(one, "generation"), more = cli_integer(one, "more");
        bool lost = cli_integer(one, "attempts") > cli_integer(one, "answers");
        char when[TIME_TEXT_MAX];

        printf("\n  %s%s%s, ", cli_color(cli, CLI_BOLD), cli_string(one, "key"),
               cli_color(cli, CLI_PLAIN));
        if (generation > 0)
                printf("generation %lld, ", (long long) generation);
        printf("by %s; seen absent %s\n", cli_string(one, "provider"),
               time_format(cli_integer(one, "absent_ms"), when));
        print_things("removed", json_object_get(one, "removed"));
        print_things("absent", json_object_get(one, "absent"));
        if (lost && json_array_size(json_object_get(one, "absent")) > 0)
                printf("    absent, or removed by an attempt whose answer was lost (%lld of %lld)\n",
                       (long long) (cli_integer(one, "attempts") - cli_integer(one, "answers")),
                       (long long) cli_integer(one, "attempts"));
        if (json_array_size(json_object_get(one, "removed")) +
                    json_array_size(json_object_get(one, "absent")) ==
            0)
                printf("    %s\n", lost ? "it was absent, or an attempt whose answer was lost "
                                          "removed it"
                                   : cli_integer(one, "answers") > 0
                                           ? "nothing of it is a thing in the world"
                                           : "it was absent before anything was removed");
        if (more > 0)
                printf("    and %lld more that its provider named\n", (long long) more);
}

static void print_route(const json_t *route) {
        const char *answer = cli_string(route, "answer");

        printf("  %-10s %s ", "address", cli_string(route, "host"));
        if (streq(answer, "gone"))
                printf("says that it is gone\n");
        else if (*cli_string(route, "environment"))
                printf("belongs to a newer one, %s\n", cli_string(route, "environment"));
        else
                printf("is %s\n", answer);
}

static void print_others(const json_t *answer) {
        const json_t *others = json_object_get(answer, "others"), *other;
        char when[TIME_TEXT_MAX];
        size_t i;

        if (json_array_size(others) > 0)
                printf("\nOthers of this name are gone too; 'mayfly receipt ID' shows each:\n");
        json_array_foreach(others, i, other) {
                printf("  %s  %s\n", cli_string(other, "id"),
                       time_format(cli_integer(other, "ended_ms"), when));
        }
        if (json_is_true(json_object_get(answer, "others_cut")))
                printf("  and perhaps more: only the newest %zu are listed\n",
                       json_array_size(others));
}

static void print_later(const json_t *later) {
        const json_t *e;
        char when[TIME_TEXT_MAX];
        size_t i;

        if (json_array_size(later) > 0)
                printf("\nFound of it later, when the receipt had been written:\n");
        json_array_foreach(later, i, e) {
                printf("  %s  ", time_format(cli_integer(e, "time_ms"), when));
                cli_print_text(stdout, cli_string(e, "text"));
                fputc('\n', stdout);
        }
}

static void print_living(const json_t *answer) {
        const json_t *living = json_object_get(answer, "living");

        if (*cli_string(living, "id"))
                printf("A newer one of this name is %s: %s. This is the receipt of the one before.\n",
                       cli_string(living, "state"), cli_string(living, "id"));
}

static void print_receipt(Cli *cli, const json_t *answer) {
        const json_t *receipt = json_object_get(answer, "receipt"), *one;
        const json_t *e = json_object_get(receipt, "environment");
        int64_t now = clock_wall_ms(&clock_system), left_out = cli_integer(receipt, "left_out");
        size_t i;

        printf("%s%s%s is gone\n", cli_color(cli, CLI_BOLD), cli_string(answer, "label"),
               cli_color(cli, CLI_PLAIN));
        print_living(answer);
        print_word("id", cli_string(answer, "id"));
        print_word("project", cli_string(e, "project"));
        print_word("branch", cli_string(e, "branch"));
        print_word("commit", cli_string(e, "commit"));
        print_word("owner", cli_string(e, "owner"));
        print_time("created", cli_integer(e, "created_ms"), now);
        print_word("removed by", cli_string(e, "by"));
        print_word("because", cli_string(e, "why"));
        print_time("begun", cli_integer(e, "deleted_ms"), now);
        print_time("ended", cli_integer(receipt, "ended_ms"), now);
        print_route(json_object_get(receipt, "route"));
        json_array_foreach(json_object_get(receipt, "resources"), i, one)
                print_resource(cli, one);
        if (left_out > 0)
                printf("\n  and %lld older ones for which there was no room\n",
                       (long long) left_out);
        if (cli_integer(receipt, "never_made") > 0)
                printf("\n  %lld more were planned, and given up before anything was asked for\n",
                       (long long) cli_integer(receipt, "never_made"));
        print_later(json_object_get(answer, "later"));
        print_others(answer);
}

static int tell_signature(Cli *cli, const json_t *answer) {
        if (json_is_true(json_object_get(answer, "holds"))) {
                printf("\n%sThe signature holds.%s\n", cli_color(cli, CLI_GREEN),
                       cli_color(cli, CLI_PLAIN));
                return CLI_OK;
        }
        return cli_fail(cli, CLI_FAILED, "The signature does not hold: %s",
                        cli_string(answer, "fault"));
}

/* ---- held against the world ---- */

static void print_look(const json_t *one) {
        printf("  %s, by %s: %s", cli_string(one, "key"), cli_string(one, "provider"),
               streq(cli_string(one, "seen"), "present") ? "it is there" : "nobody knows");
        if (*cli_string(one, "detail")) {
                printf(" (");
                cli_print_text(stdout, cli_string(one, "detail"));
                fputc(')', stdout);
        }
        fputc('\n', stdout);
}

/* How many of the lists are complete and have nothing of it. */
static size_t print_lists(const json_t *lists) {
        const json_t *one, *uid;
        size_t i, k, n_clean = 0;

        json_array_foreach(lists, i, one) {
                bool complete = json_is_true(json_object_get(one, "complete"));

                json_array_foreach(json_object_get(one, "found"), k, uid)
                        printf("  %s lists %s\n", cli_string(one, "provider"),
                               json_string_value(uid) ?: "");
                if (!complete) {
                        printf("  the list of %s is not complete", cli_string(one, "provider"));
                        if (*cli_string(one, "detail")) {
                                printf(": ");
                                cli_print_text(stdout, cli_string(one, "detail"));
                        }
                        fputc('\n', stdout);
                }
                n_clean += complete && json_array_size(json_object_get(one, "found")) == 0;
        }
        return n_clean;
}

static void print_world(Cli *cli, const json_t *world) {
        const json_t *lists = json_object_get(world, "lists"), *one;
        size_t i, n = 0, n_clean;

        json_array_foreach(json_object_get(world, "looks"), i, one) {
                const char *seen = cli_string(one, "seen");

                n += streq(seen, "absent") || streq(seen, "taken");
                if (!streq(seen, "absent") && !streq(seen, "taken"))
                        print_look(one);
        }
        n_clean = print_lists(lists);
        if (!json_is_true(json_object_get(world, "route_gone")))
                printf("  its address answers '%s'\n",
                       cli_string(json_object_get(world, "route"), "answer"));
        printf("Looked again: %zu of %zu are absent, in %zu of %zu lists there is nothing more of "
               "it.\n",
               n, json_array_size(json_object_get(world, "looks")), n_clean,
               json_array_size(lists));
        if (cli_integer(world, "only_listed") > 0)
                printf("%lld older ones were looked for in the lists only.\n",
                       (long long) cli_integer(world, "only_listed"));
}

/* The gateway itself, from where visitors stand: one of its own pages, or the newer preview's answer. */
static int ask_gateway(Cli *cli, const json_t *answer) {
        const json_t *route = json_object_get(json_object_get(answer, "world"), "route");
        auto_cleanup(http_client_freep) HttpClient *visitor = NULL;
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        auto_cleanup(freep) char *gateway = NULL, *url = NULL;
        json_t *status = NULL;
        int r;

        if (*cli_string(route, "environment") &&
            !streq(cli_string(route, "environment"), cli_string(answer, "id")))
                return CLI_OK; /* another one has the address */
        if (cli_request(cli, "GET", "/v1/status", NULL, &status) != CLI_OK)
                return CLI_FAILED;
        gateway = strdup(cli_string(status, "gateway"));
        json_decref(status);
        url = str_format("http://%s/", cli_string(route, "host"));
        r = url && gateway ? http_client_new(NULL, &visitor, NULL) : -ENOMEM;
        if (r == 0)
                r = http_client_call(visitor,
                                     &(HttpCall){ .method = "GET",
                                                  .url = url,
                                                  .max = 1024 * 1024,
                                                  .timeout_ms = 15000,
                                                  .connect_to = gateway,
                                                  .user_agent = "mayfly-check" },
                                     &reply, NULL);
        if (r < 0)
                return cli_fail(cli, CLI_FAILED, "The gateway could not be asked: %s",
                                strerror(-r));
        if (!reply.page)
                return cli_fail(cli, CLI_FAILED, "Something answers at its address");
        return CLI_OK;
}

static int verify(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "/verify");
        json_t *answer = NULL, *world;
        int status = cli_request(cli, "POST", path, json_object(), &answer), asked;

        if (status != CLI_OK)
                return status;
        world = json_object_get(answer, "world");
        asked = ask_gateway(cli, answer);
        (void) json_object_set_new(world, "visit_gone", json_boolean(asked == CLI_OK));
        if (asked != CLI_OK)
                (void) json_object_set_new(answer, "verified", json_false());
        if (cli->json) {
                cli_print_json(answer);
        } else {
                printf("%s, %s\n", cli_string(answer, "label"), cli_string(answer, "id"));
                print_world(cli, world);
                status = tell_signature(cli, answer);
        }
        if (!json_is_true(json_object_get(answer, "verified")))
                status = CLI_FAILED;
        if (status == CLI_OK)
                status = asked;
        if (!cli->json && cli_integer(world, "left") > 0)
                status = cli_fail(cli, CLI_FAILED,
                                  "Something of it is there; 'mayfly orphans --look' "
                                  "lists what the ledger does not know");
        else if (!cli->json && cli_integer(world, "unknown") > 0)
                status = cli_fail(cli, CLI_FAILED, "Not all of it could be looked at");
        json_decref(answer);
        return status;
}

int command_receipt(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "/receipt");
        json_t *answer = NULL;
        int status;

        if (cli_option(cli, "verify"))
                return verify(cli);
        status = cli_request(cli, "GET", path, NULL, &answer);

        if (status != CLI_OK)
                return status;
        if (cli->json) {
                cli_print_json(answer);
                status = json_is_true(json_object_get(answer, "holds")) ? CLI_OK : CLI_FAILED;
        } else {
                print_receipt(cli, answer);
                status = tell_signature(cli, answer);
        }
        json_decref(answer);
        return status;
}
