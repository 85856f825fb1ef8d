#include <string.h>
#include <unistd.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"

/* logs and exec: lines {"item":{...}} as the workload writes, at the end {"result":{...}} or
 * {"error":{"class","message"}}. What a workload writes is printed as it is when it goes to a file or
 * pipe, and without escape sequences on a terminal. */

typedef struct Output {
        Cli *cli;
        char *source; /* "workload/container" of the last line */
        int status;
} Output;

static void put(Output *o, FILE *out, const char *text, size_t size) {
        bool terminal = isatty(fileno(out)) > 0;

        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char) text[i];

                fputc(terminal && (c < 0x20 || c == 0x7f) && c != '\t' && c != '\n' ? '?' : c, out);
        }
}

/* The end of either stream; true when line was one. */
static bool output_end(Output *o, const json_t *line) {
        const json_t *error = json_object_get(line, "error"),
                     *result = json_object_get(line, "result");

        if (json_is_object(error))
                o->status = cli_fail(o->cli, CLI_FAILED, "%s", cli_string(error, "message"));
        else if (json_object_get(result, "exit_code"))
                o->status = (int) cli_integer(result, "exit_code") & 0xff;
        return json_is_object(error) || json_is_object(result);
}

static int on_log(void *userdata, json_t *line) {
        Output *o = userdata;
        const json_t *item = json_object_get(line, "item");
        const json_t *text = json_object_get(item, "text");
        auto_cleanup(freep) char *source = NULL;

        if (o->cli->json) {
                (void) json_dumpf(line, stdout, JSON_COMPACT);
                fputc('\n', stdout);
        }
        if (output_end(o, line) || !json_is_string(text) || o->cli->json)
                return fflush(stdout) == 0 ? 0 : -EIO;
        source = str_format("%s/%s", cli_string(item, "workload"), cli_string(item, "container"));
        if (source && !cli_option(o->cli, "container"))
                printf("%s%s%s | ", cli_color(o->cli, CLI_DIM), source,
                       cli_color(o->cli, CLI_PLAIN));
        put(o, stdout, json_string_value(text), json_string_length(text));
        fputc('\n', stdout);
        return fflush(stdout) == 0 ? 0 : -EIO;
}

/* "&name=value" when there is a value; owned. */
static char *query_part(const char *name, const char *value) {
        auto_cleanup(freep) char *escaped = value ? http_escape(value) : NULL;

        return value ? (escaped ? str_format("&%s=%s", name, escaped) : NULL) : strdup("");
}

int command_logs(Cli *cli) {
        auto_cleanup(freep) char *workload = query_part("workload", cli_option(cli, "workload"));
        auto_cleanup(freep) char *container = query_part("container", cli_option(cli, "container"));
        auto_cleanup(freep) char *tail = NULL, *path = NULL;
        Output o = { .cli = cli };
        CliStream stream = { .on_line = on_log, .userdata = &o };
        int status;

        tail = str_format("/logs?lines=%llu%s%s%s",
                          (unsigned long long) cli_option_number(cli, "lines", 100, 100000),
                          cli_option(cli, "follow") ? "&follow=1" : "", workload ?: "",
                          container ?: "");
        path = tail ? cli_path("environments", cli->args[0], tail) : NULL;
        status = cli_stream(cli, "GET", path, NULL, &stream);
        return status != CLI_OK ? status : o.status;
}

static int on_exec(void *userdata, json_t *line) {
        Output *o = userdata;
        const json_t *item = json_object_get(line, "item");
        const json_t *text = json_object_get(item, "text");
        FILE *out = streq(cli_string(item, "stream"), "err") ? stderr : stdout;

        if (o->cli->json) {
                (void) json_dumpf(line, stdout, JSON_COMPACT);
                fputc('\n', stdout);
        }
        if (output_end(o, line) || !json_is_string(text) || o->cli->json)
                return fflush(stdout) == 0 ? 0 : -EIO;
        put(o, out, json_string_value(text), json_string_length(text)); /* as it came, in pieces */
        return fflush(out) == 0 ? 0 : -EIO;
}

int command_exec(Cli *cli) {
        auto_cleanup(freep) char *path = cli_path("environments", cli->args[0], "/exec");
        json_t *command = json_array();
        json_t *body;
        Output o = { .cli = cli };
        CliStream stream = { .on_line = on_exec, .userdata = &o };
        int status;

        for (char **word = cli->trailing; *word; word++)
                if (json_array_append_new(command, json_string(*word)) < 0) {
                        json_decref(command);
                        return cli_fail(cli, CLI_USAGE, "'%s' is not valid UTF-8", *word);
                }
        body = json_pack("{s:o, s:s*, s:s*}", "command", command, "workload",
                         cli_option(cli, "workload"), "container", cli_option(cli, "container"));
        if (!body)
                return cli_fail(cli, CLI_USAGE, "An argument is not valid UTF-8");
        status = cli_stream(cli, "POST", path, body, &stream);
        return status != CLI_OK ? status : o.status;
}
