#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"

const char *cli_color(const Cli *cli, CliColor color) {
        static const char *const sequences[] = {
                [CLI_PLAIN] = "\033[0m", [CLI_BOLD] = "\033[1m",   [CLI_DIM] = "\033[2m",
                [CLI_RED] = "\033[31m",  [CLI_GREEN] = "\033[32m", [CLI_YELLOW] = "\033[33m",
        };

        return cli->color ? sequences[color] : "";
}

const char *cli_string(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key)) ?: "";
}

int64_t cli_integer(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

/* What a person calls it. While it is ready, the level says more. */
const char *cli_state_word(const json_t *environment) {
        static const struct {
                const char *level, *word;
        } levels[] = {
                { "falling", "falling asleep" },
                { "stopped", "asleep" },
                { "waking", "waking" },
        };
        const char *state = cli_string(environment, "state");

        if (!streq(state, "ready"))
                return state;
        for (size_t i = 0; i < N_ELEMENTS(levels); i++)
                if (streq(cli_string(environment, "level"), levels[i].level))
                        return levels[i].word;
        return state;
}

CliColor cli_state_color(const char *word) {
        static const struct {
                const char *word;
                CliColor color;
        } colors[] = {
                { "ready", CLI_GREEN },     { "live", CLI_GREEN },
                { "failed", CLI_RED },      { "stuck", CLI_RED },
                { "building", CLI_YELLOW }, { "wanted", CLI_YELLOW },
                { "waking", CLI_YELLOW },   { "provisioning", CLI_YELLOW },
                { "removing", CLI_YELLOW }, { "deleting", CLI_YELLOW },
                { "asleep", CLI_DIM },      { "gone", CLI_DIM },
                { "removed", CLI_DIM },
        };

        for (size_t i = 0; i < N_ELEMENTS(colors); i++)
                if (streq(colors[i].word, word))
                        return colors[i].color;
        return CLI_PLAIN;
}

int64_t cli_now(const json_t *answer) {
        int64_t now = cli_integer(answer, "now_ms");

        return now > 0 ? now : clock_wall_ms(&clock_system);
}

char *cli_when(int64_t ms, int64_t now_ms, char *buf) {
        char text[TIME_TEXT_MAX];
        int64_t apart = ms > now_ms ? ms - now_ms : now_ms - ms;

        if (ms <= 0) {
                strcpy(buf, "never");
                return buf;
        }
        if (apart < MS_PER_SECOND) {
                strcpy(buf, "now");
                return buf;
        }
        if (apart >= MS_PER_MINUTE) /* nobody wants the seconds of an hour */
                apart -= apart % MS_PER_MINUTE;
        else
                apart -= apart % MS_PER_SECOND;
        duration_format(apart, text);
        if (ms > now_ms)
                snprintf(buf, TIME_TEXT_MAX * 2, "in %s", text);
        else
                snprintf(buf, TIME_TEXT_MAX * 2, "%s ago", text);
        return buf;
}

void cli_print_json(const json_t *json) {
        (void) json_dumpf(json, stdout,
                          JSON_INDENT(2)); /* a full disk is found at the last flush */
        fputc('\n', stdout);
}

void cli_print_text(FILE *out, const char *text) {
        for (; *text; text++)
                fputc((unsigned char) *text < 0x20 && *text != '\t' && *text != '\n' ? '?' : *text,
                      out);
}

char *cli_commit(const char *commit, char *buf) {
        snprintf(buf, 16, "%.10s", commit);
        return buf;
}
