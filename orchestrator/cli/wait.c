#include "orchestrator/cli/wait.h"

#include <string.h>
#include <unistd.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

#define RESTART_MS 15000 /* how long a daemon may be away */

typedef struct Wait {
        Cli query; /* a connection of its own: the other one is busy with the stream */
        char *path;
        WaitFunc func;
        void *userdata;
        int64_t until_ms, heard_ms;
        int status; /* negative until it is known */
        bool timed_out;
} Wait;

static int wait_look(Wait *w, const json_t *event) {
        auto_error error = { 0 };
        json_t *environment = NULL;
        int64_t now = clock_boot_ms(&clock_system);
        int status = cli_request_quiet(&w->query, "GET", w->path, NULL, &environment, &error);

        if (status == CLI_OK) {
                w->heard_ms = now;
                w->status = w->func(w->userdata, environment, event);
                json_decref(environment);
        } else if (status != CLI_UNREACHABLE || now - w->heard_ms > RESTART_MS) {
                w->status = cli_fail(&w->query, status, "%s", error_text(&error, -EIO));
        }
        if (w->status < 0 && now > w->until_ms)
                w->timed_out = true;
        return w->status >= 0 || w->timed_out ? -ECANCELED : 0;
}

static int wait_on_line(void *userdata, json_t *line) {
        return wait_look(userdata, json_object_get(line, "number") ? line : NULL);
}

static int wait_on_tick(void *userdata) {
        return wait_look(userdata, NULL);
}

int cli_wait(Cli *cli, const char *environment_id, int64_t timeout_ms, WaitFunc func,
             void *userdata) {
        auto_cleanup(freep) char *path = cli_path("environments", environment_id, "");
        auto_cleanup(freep) char *events =
                str_format("/v1/events?follow=1&environment=%s", environment_id);
        int64_t now = clock_boot_ms(&clock_system);
        Wait w = { .query = *cli,
                   .path = path,
                   .func = func,
                   .userdata = userdata,
                   .heard_ms = now,
                   .until_ms = now + timeout_ms,
                   .status = -1 };
        int failure;
        CliStream stream = { .on_line = wait_on_line,
                             .on_tick = wait_on_tick,
                             .userdata = &w,
                             .quiet = true,
                             .ret_error = &failure };

        w.query.client = NULL;
        while (w.status < 0 && !w.timed_out && path && events) {
                (void) cli_stream(cli, "GET", events, NULL, &stream);
                if (w.status >= 0 || w.timed_out)
                        break;
                /* The stream broke: a daemon that restarts. */
                if (wait_look(&w, NULL) == 0)
                        usleep(200000);
        }
        http_client_free(w.query.client);
        if (w.timed_out)
                return cli_fail(cli, CLI_TIMEOUT,
                                "It is not done after %lld s; it goes on, 'mayfly show' "
                                "says how far it is",
                                (long long) (timeout_ms / MS_PER_SECOND));
        return w.status < 0 ? cli_fail(cli, CLI_FAILED, "out of memory") : w.status;
}
