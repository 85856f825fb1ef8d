/* The command line: what every command shares. A command is a row of the table in commands.c: its name,
 * arguments, options and words for --help, and a function that gets them checked. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "orchestrator/base/error.h"
#include "orchestrator/glue/http-client.h"

/* Exit statuses, documented in mayfly(1). */
typedef enum CliExit {
        CLI_OK = 0,
        CLI_FAILED = 1,      /* it did not succeed, or the answer to a question is no */
        CLI_USAGE = 2,       /* the command line is wrong */
        CLI_UNREACHABLE = 3, /* no daemon answers at the socket */
        CLI_NOT_FOUND = 4,   /* no such project or environment */
        CLI_REFUSED = 5,     /* not allowed: by who asks, or by the state of what is asked about */
        CLI_TIMEOUT = 6,     /* it did not happen in the time given */
        CLI_INTERRUPTED = 130,
} CliExit;

typedef struct CliOption {
        const char *name;  /* "commit" for --commit */
        char letter;       /* 'n' for -n; 0: none */
        const char *value; /* what it takes, for --help: "COMMIT"; NULL: nothing */
        const char *help;
} CliOption;

#define CLI_OPTIONS_MAX 16
#define CLI_ARGS_MAX    100

typedef struct Cli Cli;

typedef struct CliCommand {
        const char *name;    /* "list", "project add" */
        const char *args;    /* "ENVIRONMENT", "[PROJECT] BRANCH"; "" for none */
        const char *summary; /* one line */
        const char *help;    /* more, or NULL */
        unsigned min_args, max_args;
        bool trailing;            /* takes a command after "--" */
        const CliOption *options; /* ends with a NULL name; NULL: none */
        int (*func)(Cli *cli);    /* returns a CliExit */
        int (*offline)(int argc,
                       char **argv); /* instead: reads its own arguments, needs no daemon */
} CliCommand;

struct Cli {
        const CliCommand *command;
        const char *program; /* argv[0] */
        const char *args[CLI_ARGS_MAX];
        unsigned n_args;
        char **trailing;                     /* what came after "--"; NULL when nothing did */
        const char *values[CLI_OPTIONS_MAX]; /* in the order of command->options */
        char *socket_path;
        bool json;
        bool color;    /* standard output is a terminal and nobody minds */
        bool terminal; /* standard output is a terminal */
        HttpClient *client;
};

extern const CliCommand cli_commands[]; /* ends with a NULL name */

int cli_main(int argc, char **argv);
/* The value of an option ("" for one that takes none), or NULL when it was not given. */
const char *cli_option(const Cli *cli, const char *name);
/* A whole number of an option, or def; a bad one ends the program with CLI_USAGE. */
uint64_t cli_option_number(const Cli *cli, const char *name, uint64_t def, uint64_t max);
int64_t cli_option_duration(const Cli *cli, const char *name, int64_t def);
int64_t cli_duration(const Cli *cli, const char *text);
/* "mayfly: ..." on standard error; returns status. */
int cli_fail(const Cli *cli, CliExit status, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* The same and "See 'mayfly COMMAND --help'." */
int cli_usage(const Cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- talking to the daemon (request.c) ---- */

/* "/v1/environments/" + escaped name + tail; owned, NULL when out of memory. */
char *cli_path(const char *noun, const char *name, const char *tail);
/* Sends, waits, reads. body is taken over, may be NULL. CLI_OK and *ret (owned, may be NULL when the
 * caller does not care), or another status with its words already on standard error. */
int cli_request(Cli *cli, const char *method, const char *path, json_t *body, json_t **ret);
/* The same without words: the reason is left in reterr. */
int cli_request_quiet(Cli *cli, const char *method, const char *path, json_t *body, json_t **ret,
                      Error *reterr);
/* What came of a call made with cli->client: CLI_OK, or another status with its words on standard error. */
int cli_reply_check(Cli *cli, int r, const HttpReply *reply, Error *error);
typedef struct CliStream {
        int (*on_line)(void *userdata, json_t *line); /* borrowed; a negative value ends it */
        int (*on_tick)(void *userdata);
        void *userdata;
        int64_t timeout_ms;
        bool quiet; /* leave the words to the caller: -EPIPE and friends come back in *ret_error */
        int *ret_error;
} CliStream;
/* JSON lines as they come. CLI_OK also when on_line ended it. */
int cli_stream(Cli *cli, const char *method, const char *path, json_t *body,
               const CliStream *stream);
/* Sets cli->client; every request does it. */
int cli_connect(Cli *cli);

/* ---- words (output.c) ---- */

typedef enum CliColor {
        CLI_PLAIN,
        CLI_BOLD,
        CLI_DIM,
        CLI_RED,
        CLI_GREEN,
        CLI_YELLOW,
} CliColor;

/* The escape sequence, or "" without colours. */
const char *cli_color(const Cli *cli, CliColor color);
/* "ready", "asleep", "building": one word for what state and level are together. */
const char *cli_state_word(const json_t *environment);
CliColor cli_state_color(const char *word);
/* "in 28m", "2h 5m ago", "now", "never" for null; buf of TIME_TEXT_MAX * 2 bytes. */
/* The daemon's time when it gave this answer: what its times are to be compared with. */
int64_t cli_now(const json_t *answer);
char *cli_when(int64_t ms, int64_t now_ms, char *buf);
void cli_print_json(const json_t *json);
/* Text that came from outside, without control characters. */
void cli_print_text(FILE *out, const char *text);
const char *cli_string(const json_t *object, const char *key); /* "" when absent or null */
int64_t cli_integer(const json_t *object, const char *key);    /* 0 when absent or null */
/* The first 10 digits of a commit; buf of 16 bytes. */
char *cli_commit(const char *commit, char *buf);
