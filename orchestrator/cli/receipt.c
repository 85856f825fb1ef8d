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
        char when[TIME_TEXT_MAX];

        printf("\n  %s%s%s, ", cli_color(cli, CLI_BOLD), cli_string(one, "key"),
               cli_color(cli, CLI_PLAIN));
        if (generation > 0)
                printf("generation %lld, ", (long long) generation);
        printf("by %s; seen absent %s\n", cli_string(one, "provider"),
               time_format(cli_integer(one, "absent_ms"), when));
        print_things("removed", json_object_get(one, "removed"));
        print_things("absent", json_object_get(one, "absent"));
        if (json_array_size(json_object_get(one, "removed")) +
                    json_array_size(json_object_get(one, "absent")) ==
            0)
                printf("    %s\n", cli_integer(one, "answers") > 0
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

static void print_others(const json_t *others) {
        const json_t *other;
        char when[TIME_TEXT_MAX];
        size_t i;

        if (json_array_size(others) > 0)
                printf("\nOthers of this name are gone too:\n");
        json_array_foreach(others, i, other) {
                printf("  %s  %s\n", cli_string(other, "id"),
                       time_format(cli_integer(other, "ended_ms"), when));
        }
}

static void print_receipt(Cli *cli, const json_t *answer) {
        const json_t *receipt = json_object_get(answer, "receipt"), *one;
        const json_t *e = json_object_get(receipt, "environment");
        int64_t now = clock_wall_ms(&clock_system), left_out = cli_integer(receipt, "left_out");
        size_t i;

        printf("%s%s%s is gone\n", cli_color(cli, CLI_BOLD), cli_string(answer, "label"),
               cli_color(cli, CLI_PLAIN));
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
        print_others(json_object_get(answer, "others"));
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

int command_receipt(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "/receipt");
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", path, NULL, &answer);

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
