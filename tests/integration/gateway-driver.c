/* The real gateway and ledger in a loop, without the engine: commands on standard input, one a line,
 * are what the engine would do; visits and refusals are printed.
 *   put HOST ENVIRONMENT ANSWER ENDPOINTS-JSON [FACTS-JSON]   "ok"
 *   remove HOST                                               "ok"
 *   many COUNT ADDRESS PORT        puts hosts site-N.preview.localhost in one commit; "ok"
 *   activity HOST ENVIRONMENT      "activity KNOWN LAST-VISIT-AGE-MS|never OPEN"
 *   stop-haproxy | quit            end of standard input is quit
 * Usage: gateway-driver DIR LISTEN HAPROXY-LISTEN|-    prints "port N" when it is ready
 * HOLD_MS: how long a request is held */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/gateway/gateway.h"

typedef struct Driver {
        Loop *loop;
        Ledger *ledger;
        Gateway *gateway;
        char input[256 * 1024];
        size_t n_input;
} Driver;

__attribute__((noreturn)) static void die(const char *what, int r, const Error *e) {
        printf("failed %s: %s\n", what, error_text(e, r));
        fflush(stdout);
        _exit(1);
}

static void say(const char *what, const char *detail) {
        printf("%s %s\n", what, detail);
        fflush(stdout);
}

static void on_visit(void *userdata, const char *environment_id) {
        say("visit", environment_id);
}

static void on_refused(void *userdata, const char *environment_id) {
        say("refused", environment_id);
}

/* A route belongs to an environment, and that to a project. */
static int environment_make(Driver *d, char *id, Error *reterr) {
        auto_cleanup(environment_done) Environment known = { 0 };
        auto_cleanup(project_done) Project project = { 0 };
        Environment e = {
                .id = id, .branch = id, .label = id, .trace = (char *) "", .due_ms = INT64_MAX
        };
        auto_error unknown = { 0 };
        int r;

        if (ledger_environment_get(d->ledger, id, &known, &unknown) == 0)
                return 0;
        error_done(&unknown);
        e.project_id = e.project = e.commit = e.trust = (char *) "p";
        if (ledger_project_get(d->ledger, "p", &project, &unknown) < 0) {
                Project p = { .id = e.project_id, .name = e.project, .repository = e.project };

                r = ledger_project_insert(d->ledger, &p, reterr);
                if (r < 0)
                        return r;
        }
        return ledger_environment_insert(d->ledger, &e, reterr);
}

static void put(Driver *d, Route *route) {
        auto_error error = { 0 };
        int r;

        route->changed_ms = clock_wall_ms(&clock_system);
        r = environment_make(d, route->environment_id, &error);
        if (r == 0)
                r = ledger_route_put(d->ledger, route, &error);
        if (r < 0)
                die("put", r, &error);
}

static void commit(Driver *d) {
        auto_error error = { 0 };
        int r = ledger_commit(d->ledger, &error);

        if (r < 0)
                die("commit", r, &error);
}

static void changed(Driver *d, const char *host) {
        FrontOps front = gateway_front(d->gateway);

        front.host_changed(front.userdata, host);
}

static void on_put(Driver *d, char **word) {
        Route route = { word[1], word[2], word[3], word[4], word[5] ? word[5] : (char *) "{}", 0 };

        put(d, &route);
        commit(d);
        changed(d, route.host);
        say("ok", "put");
}

static void on_remove(Driver *d, char **word) {
        auto_error error = { 0 };
        int r = ledger_route_remove(d->ledger, word[1], &error);

        if (r < 0)
                die("remove", r, &error);
        commit(d);
        changed(d, word[1]);
        say("ok", "remove");
}

static void on_many(Driver *d, char **word) {
        int n = atoi(word[1]);

        for (int pass = 0; pass < 2; pass++) {
                for (int i = 0; i < n; i++) {
                        auto_cleanup(freep) char *host = str_format("site-%d.preview.localhost", i);
                        auto_cleanup(freep) char *id = str_format("e%019d", i);
                        auto_cleanup(freep) char *endpoints =
                                str_format("[{\"path\":\"/\",\"address\":\"%s\",\"port\":%s}]",
                                           word[2], word[3]);
                        Route route = { host, id, (char *) "direct", endpoints, (char *) "{}", 0 };

                        if (pass == 0)
                                put(d, &route);
                        else
                                changed(d, host);
                }
                if (pass == 0)
                        commit(d);
        }
        say("ok", "many");
}

static void on_activity(void *userdata, const char *environment_id, const FrontActivity *a) {
        char text[128];

        snprintf(text, sizeof(text), "%d %lld %u", a->known,
                 a->last_visit_ms ? (long long) (clock_wall_ms(&clock_system) - a->last_visit_ms)
                                  : -1LL,
                 a->open);
        say("activity", text);
}

static void on_command(Driver *d, char *line) {
        char *word[7] = { 0 }, *save = NULL;
        int n = 0;

        for (char *w = strtok_r(line, "\t", &save); w && n < 6; w = strtok_r(NULL, "\t", &save))
                word[n++] = w;
        if (n >= 5 && streq(word[0], "put")) {
                on_put(d, word);
        } else if (n == 2 && streq(word[0], "remove")) {
                on_remove(d, word);
        } else if (n == 4 && streq(word[0], "many")) {
                on_many(d, word);
        } else if (n == 3 && streq(word[0], "activity")) {
                FrontOps front = gateway_front(d->gateway);

                front.activity(front.userdata, word[2], word[1], on_activity, d);
        } else if (n == 1 && streq(word[0], "stop-haproxy")) {
                gateway_stop_haproxy(d->gateway);
                say("ok", "stop-haproxy");
        } else if (n == 1 && streq(word[0], "quit")) {
                loop_exit(d->loop, 0);
        } else {
                say("unknown", line);
        }
}

static void on_input(void *userdata, int fd, uint32_t events) {
        Driver *d = userdata;
        ssize_t n = read(fd, d->input + d->n_input, sizeof(d->input) - d->n_input);
        char *end;

        if (n <= 0) {
                loop_exit(d->loop, 0);
                return;
        }
        d->n_input += (size_t) n;
        while ((end = memchr(d->input, '\n', d->n_input))) {
                size_t size = (size_t) (end + 1 - d->input);

                *end = 0;
                on_command(d, d->input);
                d->n_input -= size;
                memmove(d->input, d->input + size, d->n_input);
        }
}

/* Marked pages, so that a test sees which it got; the real ones have tests of their own. */
static int page(void *userdata, const Route *route, const char *host, int *ret_status,
                char **ret_html, char **ret_plain, Error *reterr) {
        static const struct {
                const char *answer;
                int status;
        } statuses[] = { { "asleep", 503 }, { "waking", 503 }, { "building", 503 },
                         { "failed", 502 }, { "gone", 410 },   { "direct", 502 } };
        const char *answer = route ? route->answer : "unknown";

        *ret_status = 404;
        for (size_t i = 0; i < N_ELEMENTS(statuses); i++)
                if (streq(statuses[i].answer, answer))
                        *ret_status = statuses[i].status;
        *ret_html = str_format("<p>page %s for %s</p>", answer, host);
        *ret_plain = str_format("page %s for %s\n", answer, host);
        return *ret_html && *ret_plain ? 0 : -ENOMEM;
}

static Driver driver;

int main(int argc, char **argv) {
        Driver *d = &driver;
        auto_error error = { 0 };
        auto_cleanup(loop_source_freep) LoopSource *input = NULL;
        auto_cleanup(freep) char *db = NULL, *key = NULL;
        struct rlimit files;
        GatewaySetup setup;
        int r;

        if (argc != 4)
                return 2;
        signal(SIGPIPE, SIG_IGN);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &files);
        }
        db = path_join(argv[1], "ledger.db");
        key = path_join(argv[1], "key");
        r = loop_new(&d->loop, &error);
        if (r == 0)
                r = ledger_open(&(LedgerOptions){ db, key, NULL, &random_system, true }, &d->ledger,
                                &error);
        if (r < 0)
                die("start", r, &error);
        setup = (GatewaySetup){
                .loop = d->loop,
                .ledger = d->ledger,
                .clock = &clock_system,
                .listen = argv[2],
                .domain = "preview.localhost",
                .haproxy_listen = streq(argv[3], "-") ? NULL : argv[3],
                .run_dir = argv[1],
                .hold_ms = getenv("HOLD_MS") ? atoi(getenv("HOLD_MS")) : 0,
                .page = page,
                .events = { on_visit, on_refused, d },
        };
        r = gateway_new(&setup, &d->gateway, &error);
        if (r == 0)
                r = loop_add_io(d->loop, 0, EPOLLIN, "commands", on_input, d, &input, &error);
        if (r < 0)
                die("start", r, &error);
        printf("port %u\n", gateway_port(d->gateway));
        fflush(stdout);
        r = loop_run(d->loop, &error);
        input = loop_source_free(input);
        gateway_free(d->gateway);
        ledger_close(d->ledger);
        loop_free(d->loop);
        return r < 0;
}
