/* sleep, wake, down, retry: one request, and the waiting for what it asked for. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/cli/wait.h"

#define WAIT_MS (10 * MS_PER_MINUTE)

typedef struct Wish {
        Cli *cli;
        const char *verb;
        const char *level, *state; /* what is waited for; NULL: not this */
        const char *asked, *done;  /* words: "%s falls asleep" */
} Wish;

static int wish_look(void *userdata, const json_t *e, const json_t *event) {
        const Wish *w = userdata;
        const char *state = cli_string(e, "state");

        if (w->state && streq(state, w->state))
                return CLI_OK;
        if (w->level && streq(state, "ready") && streq(cli_string(e, "level"), w->level))
                return CLI_OK;
        if (w->level && !streq(state, "ready"))
                return cli_fail(w->cli, CLI_FAILED, "%s is %s now%s%s", cli_string(e, "label"),
                                state, *cli_string(e, "cause") ? ": " : "", cli_string(e, "cause"));
        return -1;
}

static int wish(const Wish *w) {
        Cli *cli = w->cli;
        auto_cleanup(freep) char *tail = str_format("/%s", w->verb);
        auto_cleanup(freep) char *path = tail ? cli_path("environments", cli->args[0], tail) : NULL;
        json_t *answer = NULL, *e;
        const char *label;
        int status = cli_request(cli, "POST", path, json_object(), &answer);
        bool waits = false;

        if (status != CLI_OK)
                return status;
        e = json_object_get(answer, "environment");
        label = *cli_string(e, "label") ? cli_string(e, "label") : cli->args[0];
        if ((w->level || w->state) && cli_option(cli, "wait")) {
                waits = true;
                status = cli_wait(cli, cli_string(e, "id"),
                                  cli_option_duration(cli, "timeout", WAIT_MS), wish_look,
                                  (void *) w);
        }
        if (status == CLI_OK && cli->json)
                cli_print_json(answer);
        else if (status == CLI_OK)
                printf("%s %s\n", label, waits ? w->done : w->asked);
        json_decref(answer);
        return status;
}

int command_sleep(Cli *cli) {
        return wish(&(Wish){ .cli = cli,
                             .verb = "sleep",
                             .level = "stopped",
                             .done = "sleeps",
                             .asked = "falls asleep; the next visit wakes it" });
}

int command_wake(Cli *cli) {
        return wish(&(Wish){ .cli = cli,
                             .verb = "wake",
                             .level = "awake",
                             .done = "is awake",
                             .asked = "wakes" });
}

int command_down(Cli *cli) {
        return wish(&(Wish){ .cli = cli,
                             .verb = "down",
                             .state = "gone",
                             .done = "is gone, with everything it had",
                             .asked = "is being removed" });
}

int command_retry(Cli *cli) {
        return wish(&(Wish){ .cli = cli, .verb = "retry", .asked = "is tried again" });
}
