#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/glue/table.h"

static void print_line(const char *name, const char *value) {
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

static void print_pin(const json_t *pinned, int64_t now) {
        int64_t until = cli_integer(pinned, "until_ms");
        char when[TIME_TEXT_MAX * 2];

        if (!json_is_object(pinned))
                return;
        printf("  %-10s by %s%s%s, ends %s\n", "pinned", cli_string(pinned, "by"),
               *cli_string(pinned, "reason") ? ": " : "", cli_string(pinned, "reason"),
               until > 0 ? cli_when(until, now, when) : "when unpinned");
}

static void print_head(Cli *cli, const json_t *e, int64_t now) {
        const char *word = cli_state_word(e);
        char numbers[64];

        printf("%s%s%s  %s%s%s\n", cli_color(cli, CLI_BOLD), cli_string(e, "label"),
               cli_color(cli, CLI_PLAIN), cli_color(cli, cli_state_color(word)), word,
               cli_color(cli, CLI_PLAIN));
        print_line("address", cli_string(e, "url"));
        print_line("project", cli_string(e, "project"));
        print_line("branch", cli_string(e, "branch"));
        print_line("commit", cli_string(e, "commit"));
        snprintf(numbers, sizeof(numbers), "%lld wanted, %lld serving",
                 (long long) cli_integer(e, "wanted_generation"),
                 (long long) cli_integer(e, "live_generation"));
        print_line("generation", numbers);
        print_line("owner", cli_string(e, "owner"));
        print_line("team", cli_string(e, "team"));
        print_line("cause", cli_string(e, "cause"));
        print_line("gone by", cli_string(json_object_get(e, "gone"), "by"));
        print_line("gone why", cli_string(json_object_get(e, "gone"), "why"));
        print_time("created", cli_integer(e, "created_ms"), now);
        print_time("used", cli_integer(e, "used_ms"), now);
        print_time("asleep", cli_integer(e, "asleep_ms"), now);
        print_time("closed", cli_integer(e, "closed_ms"), now);
        print_time("deleted", cli_integer(e, "deleted_ms"), now);
        print_time("extended", cli_integer(e, "extended_until_ms"), now);
        print_pin(json_object_get(e, "pinned"), now);
        print_time("due", cli_integer(e, "due_ms"), now);
        print_line("trace", cli_string(e, "trace"));
}

static int print_resources(const json_t *resources, Error *reterr) {
        static const char *const columns[] = { "RESOURCE", "GENERATION", "PROVIDER",
                                               "STATE",    "CAUSE",      NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        json_t *x;
        size_t i;
        int r = table_new(columns, &t, reterr);

        json_array_foreach(resources, i, x) {
                char number[32];
                const char *cause = cli_string(x, "cause");
                const char *cells[] = { cli_string(x, "key"), number, cli_string(x, "provider"),
                                        cli_string(x, "state"),
                                        cause && *cause ? cause : cli_string(x, "detail") };

                snprintf(number, sizeof(number), "%lld", (long long) cli_integer(x, "generation"));
                if (cli_integer(x, "generation") == 0)
                        strcpy(number, "all");
                if (r == 0)
                        r = table_add(t, cells, reterr);
        }
        fputc('\n', stdout);
        return r == 0 ? table_print(t, stdout, reterr) : r;
}

/* What was asked for and could not be had, such as limits without cgroups. */
static void print_notes(Cli *cli, const json_t *resources) {
        const json_t *x, *note;
        size_t i, k;

        json_array_foreach(resources, i, x) {
                json_array_foreach(json_object_get(x, "notes"), k, note) {
                        printf("  %snote%s  %s: ", cli_color(cli, CLI_YELLOW),
                               cli_color(cli, CLI_PLAIN), cli_string(x, "key"));
                        cli_print_text(stdout, json_string_value(note) ?: "");
                        fputc('\n', stdout);
                }
        }
}

int command_show(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "");
        auto_error error = { 0 };
        json_t *answer = NULL;
        int status = cli_request(cli, "GET", path, NULL, &answer), r = 0;

        if (status != CLI_OK)
                return status;
        if (cli->json) {
                cli_print_json(answer);
        } else {
                print_head(cli, answer, cli_now(answer));
                if (json_array_size(json_object_get(answer, "resources")) > 0)
                        r = print_resources(json_object_get(answer, "resources"), &error);
                print_notes(cli, json_object_get(answer, "resources"));
        }
        json_decref(answer);
        return r < 0 ? cli_fail(cli, CLI_FAILED, "%s", error_text(&error, r)) : CLI_OK;
}
