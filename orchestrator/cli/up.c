#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/cli/cli.h"
#include "orchestrator/cli/commands-online.h"
#include "orchestrator/cli/progress.h"
#include "orchestrator/cli/wait.h"
#include "orchestrator/glue/child.h"

/* up stores the wish, follows what comes of it, and believes only the preview's own answer through the
 * gateway: one of mayfly's own pages is not an answer. */

#define UP_WAIT_MS (10 * MS_PER_MINUTE)
#define PROBE_MS   15000

typedef struct Up {
        Cli *cli;
        Progress *progress;
        HttpClient *visitor;
        char *gateway; /* "127.0.0.1:8150": where the front listens */
        int64_t generation;
        char *url, *cause, *workload; /* workload: whose log may say more */
        json_t *notes;                /* {"resource","note"} of what serves */
        bool old_serves, woken, removed;
} Up;

static void up_done(Up *up) {
        progress_free(up->progress);
        http_client_free(up->visitor);
        free(up->gateway);
        free(up->url);
        free(up->cause);
        free(up->workload);
        json_decref(up->notes);
}

/* ---- Ctrl-C leaves the preview alone ---- */

static char interrupt_text[256];

static void on_interrupt(int number) {
        (void) !write(STDERR_FILENO, interrupt_text, strlen(interrupt_text));
        _exit(CLI_INTERRUPTED);
}

static void catch_interrupt(const char *label) {
        snprintf(
                interrupt_text, sizeof(interrupt_text),
                "\nNot waiting any longer. The preview goes on: 'mayfly show %s' says how far it is.\n",
                label);
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
}

/* ---- which project ---- */

static char *git_says(const char *const *arguments) {
        char *argv[8] = { (char *) "git" };
        char *out = NULL;
        int status;

        for (size_t i = 0; arguments[i] && i < 6; i++)
                argv[i + 1] = (char *) arguments[i];
        if (child_run(argv, NULL, NULL, 4096, 5000, &out, NULL, &status, NULL) < 0)
                return NULL;
        if (status != 0) {
                free(out);
                return NULL;
        }
        out[strcspn(out, "\n")] = '\0';
        return out;
}

/* The project whose repository is the one around the current folder, or that one's origin. */
static const char *project_here(const json_t *projects) {
        static const char *const top[] = { "rev-parse", "--show-toplevel", NULL };
        static const char *const common[] = { "rev-parse", "--path-format=absolute",
                                              "--git-common-dir", NULL };
        static const char *const origin[] = { "remote", "get-url", "origin", NULL };
        const char *const *const questions[] = { top, common, origin };
        const json_t *p;
        size_t i;

        for (size_t q = 0; q < N_ELEMENTS(questions); q++) {
                auto_cleanup(freep) char *said = git_says(questions[q]);
                auto_cleanup(freep) char *whole = said ? realpath(said, NULL) : NULL;

                json_array_foreach(projects, i, p) {
                        const char *repository = cli_string(p, "repository");

                        if ((said && streq(repository, said)) ||
                            (whole && streq(repository, whole)))
                                return cli_string(p, "name");
                }
        }
        return NULL;
}

static int choose_project(Cli *cli, char **ret) {
        json_t *answer = NULL, *projects;
        const char *name = NULL;
        int status = cli_request(cli, "GET", "/v1/projects", NULL, &answer);

        if (status != CLI_OK)
                return status;
        projects = json_object_get(answer, "projects");
        if (json_array_size(projects) == 1)
                name = cli_string(json_array_get(projects, 0), "name");
        else if (json_array_size(projects) > 1)
                name = project_here(projects);
        if (name)
                *ret = strdup(name);
        else if (json_array_size(projects) == 0)
                status = cli_fail(
                        cli, CLI_NOT_FOUND,
                        "There is no project yet; 'mayfly project add NAME REPOSITORY' makes one");
        else
                status = cli_usage(cli, "Say which project: mayfly up PROJECT BRANCH");
        json_decref(answer);
        return status;
}

/* ---- watching ---- */

static const json_t *generation_find(const json_t *environment, int64_t number) {
        const json_t *g;
        size_t i;

        json_array_foreach(json_object_get(environment, "generations"), i, g) {
                if (cli_integer(g, "number") == number)
                        return g;
        }
        return NULL;
}

static void keep(char **p, const char *text) {
        (void) str_replace(p, *text ? text : NULL); /* without memory the words are missing */
}

/* Remembers what failed, for the words at the end. */
static int up_failed(Up *up, const json_t *e, const char *cause) {
        const json_t *x;
        size_t i;

        keep(&up->cause, cause);
        up->old_serves = streq(cli_string(e, "state"), "ready");
        json_array_foreach(json_object_get(e, "resources"), i, x) {
                if (cli_integer(x, "generation") == up->generation && *cli_string(x, "cause") &&
                    *cli_string(x, "workload"))
                        keep(&up->workload, cli_string(x, "workload"));
        }
        return CLI_FAILED;
}

/* Visits the preview. True when it answered itself. */
static bool up_probe(Up *up) {
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        HttpCall call = { .method = "GET",
                          .url = up->url,
                          .max = 1024 * 1024,
                          .timeout_ms = PROBE_MS,
                          .connect_to = up->gateway,
                          .user_agent = "mayfly-check" /* counts as no visit */ };
        int r = http_client_call(up->visitor, &call, &reply, NULL);

        /* An answer that is larger than what is read is an answer. */
        return r == -EFBIG || (r == 0 && !reply.page);
}

/* A preview that sleeps was asked for: our own check is no visit and does not wake it. */
static void up_wake(Up *up, const json_t *e) {
        auto_cleanup(freep) char *path = cli_path("environments", cli_string(e, "id"), "/wake");
        Cli query = *up->cli;

        if (up->woken || !streq(cli_string(e, "level"), "stopped"))
                return;
        up->woken = true;
        query.client = NULL; /* the other connection is busy with the events */
        (void) cli_request_quiet(&query, "POST", path, json_object(), NULL, NULL);
        http_client_free(query.client);
}

/* What its providers could not do as asked. */
static void up_keep_notes(Up *up, const json_t *e) {
        const json_t *x, *note;
        size_t i, k;

        json_decref(up->notes);
        up->notes = json_array();
        json_array_foreach(json_object_get(e, "resources"), i, x) {
                int64_t generation = cli_integer(x, "generation");

                if (generation != 0 && generation != up->generation)
                        continue;
                json_array_foreach(json_object_get(x, "notes"), k, note)
                        (void) json_array_append_new(
                                up->notes, json_pack("{s:s, s:s}", "resource", cli_string(x, "key"),
                                                     "note", json_string_value(note) ?: ""));
        }
}

static void up_tell_notes(const Up *up) {
        const json_t *note;
        size_t i;

        json_array_foreach(up->notes, i, note) {
                fprintf(stderr, "Note: %s: ", cli_string(note, "resource"));
                cli_print_text(stderr, cli_string(note, "note"));
                fputc('\n', stderr);
        }
}

static int up_look(void *userdata, const json_t *e, const json_t *event) {
        Up *up = userdata;
        const char *state = cli_string(e, "state");
        const json_t *g;

        if (cli_integer(e, "wanted_generation") > up->generation)
                up->generation =
                        cli_integer(e, "wanted_generation"); /* a newer push: the same wish */
        keep(&up->url, cli_string(e, "url"));
        progress_show(up->progress, e, up->generation);
        up->removed = streq(state, "deleting") || streq(state, "gone");
        if (up->removed)
                return up_failed(up, e,
                                 *cli_string(json_object_get(e, "gone"), "why")
                                         ? cli_string(json_object_get(e, "gone"), "why")
                                         : "It was removed meanwhile");
        g = generation_find(e, up->generation);
        if (streq(cli_string(g, "state"), "failed") ||
            (streq(state, "failed") && !streq(cli_string(g, "state"), "live")))
                return up_failed(up, e,
                                 *cli_string(g, "cause") ? cli_string(g, "cause")
                                                         : cli_string(e, "cause"));
        if (cli_integer(e, "live_generation") != up->generation || !streq(state, "ready"))
                return -1;
        up_wake(up, e);
        up_keep_notes(up, e);
        return up_probe(up) ? CLI_OK : -1;
}

/* ---- the end ---- */

static int on_last_log(void *userdata, json_t *line) {
        const json_t *item = json_object_get(line, "item");

        if (json_is_string(json_object_get(item, "text"))) {
                fprintf(stderr, "  | ");
                cli_print_text(stderr, cli_string(item, "text"));
                fputc('\n', stderr);
        }
        return 0;
}

static int up_explain(Up *up, const char *id, const char *label) {
        Cli *cli = up->cli;
        auto_cleanup(freep) char *workload = up->workload ? http_escape(up->workload) : NULL;
        auto_cleanup(freep) char *tail =
                workload ? str_format("/logs?lines=20&workload=%s", workload) : NULL;
        auto_cleanup(freep) char *path = tail ? cli_path("environments", id, tail) : NULL;
        CliStream stream = { .on_line = on_last_log, .quiet = true, .timeout_ms = 5000 };

        fprintf(stderr, "%sThe preview %s:%s ", cli_color(cli, CLI_RED),
                up->removed ? "was removed meanwhile" : "failed", cli_color(cli, CLI_PLAIN));
        cli_print_text(stderr, up->cause ?: "no cause is known");
        fputc('\n', stderr);
        if (up->removed)
                return CLI_FAILED;
        /* The log of a workload is that of the generation that serves. There may be none any more. */
        if (path && !up->old_serves)
                (void) cli_stream(cli, "GET", path, NULL, &stream);
        if (up->old_serves)
                fprintf(stderr, "The last good commit keeps serving at %s\n",
                        up->url ?: "its address");
        fprintf(stderr,
                "Next: correct the branch and push, or 'mayfly retry %s'; 'mayfly show %s' has the rest\n",
                label, label);
        return CLI_FAILED;
}

static int up_finish(Up *up, const json_t *environment, int status) {
        const char *id = cli_string(environment, "id"), *label = cli_string(environment, "label");

        progress_end(up->progress);
        if (status == CLI_FAILED && up->cause)
                return up_explain(up, id, label);
        if (status != CLI_OK)
                return status;
        if (up->cli->json) {
                json_t *out = json_pack("{s:s, s:s, s:s*, s:I, s:O?}", "environment", id, "label",
                                        label, "url", up->url, "generation",
                                        (json_int_t) up->generation, "notes", up->notes);

                cli_print_json(out);
                json_decref(out);
        } else {
                up_tell_notes(up);
                printf("%s\n", up->url ?: "");
        }
        return CLI_OK;
}

static int up_prepare(Up *up, json_t **ret_status) {
        int status = cli_request(up->cli, "GET", "/v1/status", NULL, ret_status);

        if (status != CLI_OK)
                return status;
        keep(&up->gateway, cli_string(*ret_status, "gateway"));
        if (progress_new(up->cli, &up->progress) < 0 ||
            http_client_new(NULL, &up->visitor, NULL) < 0)
                return cli_fail(up->cli, CLI_FAILED, "out of memory");
        return CLI_OK;
}

static int up_follow(Up *up, json_t *environment) {
        Cli *cli = up->cli;
        const char *label = cli_string(environment, "label");
        char commit[16];
        int status;

        up->generation = cli_integer(environment, "wanted_generation");
        catch_interrupt(label);
        if (!cli->json)
                printf("%s%s%s at %s\n", cli_color(cli, CLI_BOLD), label, cli_color(cli, CLI_PLAIN),
                       cli_commit(cli_string(environment, "commit"), commit));
        fflush(stdout);
        status = cli_wait(cli, cli_string(environment, "id"),
                          cli_option_duration(cli, "timeout", UP_WAIT_MS), up_look, up);
        return up_finish(up, environment, status);
}

int command_up(Cli *cli) {
        auto_cleanup(up_done) Up up = { .cli = cli };
        auto_cleanup(freep) char *project = cli->n_args > 1 ? strdup(cli->args[0]) : NULL;
        json_t *answer = NULL, *status_json = NULL, *body, *environment;
        int status = project ? CLI_OK : choose_project(cli, &project);

        if (status != CLI_OK)
                return status;
        body = json_pack("{s:s?, s:s, s:s*}", "project", project, "branch",
                         cli->args[cli->n_args - 1], "commit", cli_option(cli, "commit"));
        if (!body)
                return cli_fail(cli, CLI_USAGE, "An argument is not valid UTF-8");
        status = cli_request(cli, "POST", "/v1/environments", body, &answer);
        if (status != CLI_OK)
                return status;
        environment = json_object_get(answer, "environment");
        if (cli_option(cli, "no-wait")) {
                if (cli->json)
                        cli_print_json(answer);
                else
                        printf("%s\n", cli_string(environment, "url"));
        } else {
                status = up_prepare(&up, &status_json);
                if (status == CLI_OK)
                        status = up_follow(&up, environment);
        }
        json_decref(status_json);
        json_decref(answer);
        return status;
}
