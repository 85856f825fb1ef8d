#include "orchestrator/cli/cli.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

#include "config.h"

/* Options may stand before, between and after arguments; "--" ends them. Long ones may be written
 * --name=value or --name value, as getopt_long(3) has it, but from the command's own table, so that
 * --help, the man page's test and the completion read the same words. */

static const CliOption common_options[] = {
        { "json", 0, NULL, "print JSON instead of words" },
        { "socket", 0, "PATH",
          "the daemon's socket (default: $MAYFLY_SOCKET, $MAYFLY_STATE/api.sock, "
          "/run/mayfly/api.sock)" },
        { "help", 'h', NULL, "explain this command" },
        { 0 },
};

typedef struct Common {
        const char *json, *socket, *help;
} Common;

static const char **common_value(Common *common, size_t at) {
        const char **const values[] = { &common->json, &common->socket, &common->help };

        return values[at];
}

/* ---- complaints ---- */

__attribute__((format(printf, 1, 0))) static void complain(const char *fmt, va_list args) {
        auto_strbuf text = { 0 };

        strbuf_addv(&text, fmt, args);
        fputs("mayfly: ", stderr);
        cli_print_text(stderr, text.text ?: "out of memory");
        fputc('\n', stderr);
}

int cli_fail(const Cli *cli, CliExit status, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        complain(fmt, args);
        va_end(args);
        return status;
}

int cli_usage(const Cli *cli, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        complain(fmt, args);
        va_end(args);
        fprintf(stderr, "See 'mayfly %s%s--help'.\n", cli->command ? cli->command->name : "",
                cli->command ? " " : "");
        return CLI_USAGE;
}

/* ---- options ---- */

static size_t options_count(const CliOption *options) {
        size_t n = 0;

        while (options && options[n].name)
                n++;
        return n;
}

const char *cli_option(const Cli *cli, const char *name) {
        for (size_t i = 0; i < options_count(cli->command->options); i++)
                if (streq(cli->command->options[i].name, name))
                        return cli->values[i];
        return NULL;
}

uint64_t cli_option_number(const Cli *cli, const char *name, uint64_t def, uint64_t max) {
        const char *text = cli_option(cli, name);
        uint64_t value = def;

        if (text && str_to_u64(text, max, &value) < 0)
                exit(cli_usage(cli, "--%s wants a whole number of at most %llu, not '%s'", name,
                               (unsigned long long) max, text));
        return value;
}

int64_t cli_duration(const Cli *cli, const char *text) {
        auto_error error = { 0 };
        int64_t ms;
        int r = duration_parse(text, &ms, &error);

        if (r < 0)
                exit(cli_usage(cli, "%s", error_text(&error, r)));
        return ms;
}

int64_t cli_option_duration(const Cli *cli, const char *name, int64_t def) {
        const char *text = cli_option(cli, name);

        return text ? cli_duration(cli, text) : def;
}

/* Finds an option by long name (of that many bytes) or letter in one table; its index or -1. */
static int option_find(const CliOption *options, const char *name, size_t size, char letter) {
        for (size_t i = 0; i < options_count(options); i++) {
                if (letter && options[i].letter == letter)
                        return (int) i;
                if (!letter && strlen(options[i].name) == size &&
                    strncmp(options[i].name, name, size) == 0)
                        return (int) i;
        }
        return -1;
}

typedef struct Words {
        char **argv;
        int argc, at;
} Words;

static int option_store(Cli *cli, Words *w, const CliOption *option, const char **value,
                        const char *attached) {
        if (!option->value) {
                if (attached)
                        return cli_usage(cli, "--%s takes no value", option->name);
                *value = "";
                return CLI_OK;
        }
        if (!attached) {
                if (w->at >= w->argc)
                        return cli_usage(cli, "--%s wants a value: %s", option->name,
                                         option->value);
                attached = w->argv[w->at++];
        }
        *value = attached;
        return CLI_OK;
}

/* Takes "--name", "--name=value" or "-x" (already read as word). */
static int option_take(Cli *cli, Words *w, const char *word, Common *common) {
        const char *name = word + 2, *equals = strchr(word, '=');
        size_t size = equals ? (size_t) (equals - name) : strlen(name);
        bool is_long = word[1] == '-';
        char letter = is_long ? 0 : word[1];
        const char *attached = is_long ? (equals ? equals + 1 : NULL) : (word[2] ? word + 2 : NULL);
        int at;

        at = option_find(common_options, name, size, letter);
        if (at >= 0)
                return option_store(cli, w, &common_options[at], common_value(common, (size_t) at),
                                    attached);
        at = cli->command ? option_find(cli->command->options, name, size, letter) : -1;
        if (at >= 0)
                return option_store(cli, w, &cli->command->options[at], &cli->values[at], attached);
        if (cli->command && cli->command->trailing)
                return cli_usage(
                        cli, "There is no option '%s'; write '--' before the command to run", word);
        return cli_usage(cli, "There is no option '%s'", word);
}

static int cli_parse(Cli *cli, Words *w, Common *common) {
        while (w->at < w->argc) {
                const char *word = w->argv[w->at++];
                int status;

                if (streq(word, "--")) {
                        cli->trailing = w->argv + w->at;
                        break;
                }
                if (word[0] == '-' && word[1]) {
                        status = option_take(cli, w, word, common);
                        if (status != CLI_OK)
                                return status;
                        continue;
                }
                if (cli->n_args >= cli->command->max_args)
                        return cli_usage(cli, "There is one argument too many: '%s'", word);
                cli->args[cli->n_args++] = word;
        }
        if (common->help)
                return CLI_OK;
        if (cli->n_args < cli->command->min_args)
                return cli_usage(cli, "'mayfly %s' wants: %s", cli->command->name,
                                 cli->command->args);
        if (cli->trailing && !cli->command->trailing && cli->trailing[0])
                return cli_usage(cli, "Nothing may follow '--' here");
        if (cli->command->trailing && (!cli->trailing || !cli->trailing[0]))
                return cli_usage(cli, "Say the command to run after '--'");
        return CLI_OK;
}

/* ---- help ---- */

static void help_options(const CliOption *options) {
        for (size_t i = 0; i < options_count(options); i++) {
                char left[64];
                char letter[8] = "    ";

                if (options[i].letter)
                        snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
                snprintf(left, sizeof(left), "%s--%s%s%s", letter, options[i].name,
                         options[i].value ? " " : "", options[i].value ?: "");
                printf("  %-26s %s\n", left, options[i].help);
        }
}

static int help_command(const CliCommand *c) {
        printf("mayfly %s%s%s%s%s\n\n%s\n", c->name,
               options_count(c->options) ? " [OPTION...]" : "", *c->args ? " " : "", c->args,
               c->trailing ? " -- COMMAND..." : "", c->summary);
        if (c->help)
                printf("\n%s\n", c->help);
        printf("\n");
        help_options(c->options);
        help_options(common_options);
        return CLI_OK;
}

static int help_all(void) {
        printf("mayfly gives every branch its own running preview, and takes it away again.\n\n"
               "mayfly COMMAND [OPTION...] [ARGUMENT...]\n\n");
        for (const CliCommand *c = cli_commands; c->name; c++) {
                char left[64];

                snprintf(left, sizeof(left), "%s %s", c->name, c->args);
                printf("  %-34s %s\n", left, c->summary);
        }
        printf("\n'mayfly COMMAND --help' explains one. Exit status: 0 done, 1 failed or no, 2 wrong usage,\n"
               "3 no daemon, 4 not found, 5 refused, 6 not in time. More: mayfly(1)\n");
        return CLI_OK;
}

/* ---- choosing the command ---- */

/* Matches "project add" against the words; the number of words it takes, 0 when it does not match. */
static int command_match(const CliCommand *c, int argc, char **argv) {
        const char *space = strchr(c->name, ' ');

        if (!space)
                return argc >= 1 && streq(argv[0], c->name) ? 1 : 0;
        return argc >= 2 && strlen(argv[0]) == (size_t) (space - c->name) &&
                               strncmp(argv[0], c->name, (size_t) (space - c->name)) == 0 &&
                               streq(argv[1], space + 1)
                       ? 2
                       : 0;
}

static const CliCommand *command_find(int argc, char **argv, int *ret_words) {
        for (const CliCommand *c = cli_commands; c->name; c++) {
                *ret_words = command_match(c, argc, argv);
                if (*ret_words > 0)
                        return c;
        }
        return NULL;
}

/* "mayfly project": the noun is there but not its verb; help: that is no mistake. */
static int command_complete(const Cli *cli, const char *noun, bool help) {
        const char *nearest = NULL;
        unsigned best = 3;
        size_t size = strlen(noun);
        bool found = false;

        for (const CliCommand *c = cli_commands; c->name; c++) {
                if (strncmp(c->name, noun, size) == 0 && c->name[size] == ' ') {
                        if (!found && !help)
                                fprintf(stderr, "mayfly: '%s' wants one of:\n", noun);
                        found = true;
                        fprintf(help ? stdout : stderr, "  %s %s\n", c->name, c->args);
                }
                if (str_distance(noun, c->name) < best) {
                        best = str_distance(noun, c->name);
                        nearest = c->name;
                }
        }
        if (found)
                return help ? CLI_OK : CLI_USAGE;
        if (nearest)
                return cli_usage(cli, "There is no command '%s'; did you mean '%s'?", noun,
                                 nearest);
        return cli_usage(cli, "There is no command '%s'", noun);
}

static int find_socket(Cli *cli, const char *option) {
        const char *path = option ?: getenv("MAYFLY_SOCKET"), *state = getenv("MAYFLY_STATE");

        if (path && *path)
                cli->socket_path = strdup(path);
        else if (state && *state)
                cli->socket_path = str_format("%s/api.sock", state);
        else
                cli->socket_path = strdup("/run/mayfly/api.sock");
        return cli->socket_path ? CLI_OK : cli_fail(cli, CLI_FAILED, "out of memory");
}

static int cli_run(Cli *cli, Words *w) {
        Common common = { 0 };
        int status;

        if (cli->command->offline) /* its own argv[0], options and --help */
                return cli->command->offline(w->argc - w->at + 1, w->argv + w->at - 1);
        status = cli_parse(cli, w, &common);
        if (status == CLI_OK && common.help)
                return help_command(cli->command);
        if (status == CLI_OK)
                status = find_socket(cli, common.socket);
        if (status != CLI_OK)
                return status;
        cli->json = common.json != NULL;
        cli->terminal = isatty(STDOUT_FILENO) > 0;
        cli->color = cli->terminal && !getenv("NO_COLOR") && !streq_null(getenv("TERM"), "dumb");
        status = cli->command->func(cli);
        if (fflush(stdout) != 0 && status == CLI_OK)
                status = cli_fail(cli, CLI_FAILED, "Cannot write: %s", strerror(errno));
        return status;
}

int cli_main(int argc, char **argv) {
        Cli cli = { .program = argc > 0 ? argv[0] : "mayfly" };
        Words words = { .argv = argv, .argc = argc, .at = 1 };
        int n_words, status;

        signal(SIGPIPE, SIG_IGN); /* a reader that leaves is an error of a write */
        if (argc < 2)
                return (void) help_all(), CLI_USAGE;
        if (streq(argv[1], "--help") || streq(argv[1], "-h") || streq(argv[1], "help")) {
                cli.command = argc > 2 ? command_find(argc - 2, argv + 2, &n_words) : NULL;
                return cli.command ? help_command(cli.command) : help_all();
        }
        if (streq(argv[1], "--version")) {
                printf("mayfly %s\n", MAYFLY_VERSION);
                return CLI_OK;
        }
        cli.command = command_find(argc - 1, argv + 1, &n_words);
        if (!cli.command)
                return command_complete(&cli, argv[1], argc > 2 && streq(argv[2], "--help"));
        words.at += n_words;
        status = cli_run(&cli, &words);
        http_client_free(cli.client);
        free(cli.socket_path);
        return status;
}
