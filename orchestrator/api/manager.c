#include "orchestrator/api/backup.h"
#include "orchestrator/api/manager.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/clock-steps.h"
#include "orchestrator/api/compare.h"
#include "orchestrator/api/files.h"
#include "orchestrator/api/pages.h"
#include "orchestrator/api/settings.h"
#include "orchestrator/api/state.h"
#include "orchestrator/api/streams.h"
#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/engine/runner.h"
#include "orchestrator/glue/journal.h"

#define TURN_RETRY_USEC 5000000 /* after a turn that could not be committed */
#define TRIM_USEC       3000000 /* of quiet, before memory is given back */
#define DEADLINE_MAX_MS (24 * MS_PER_HOUR)

void manager_tell(LogLevel level, const char *message_id, const char *fmt, ...) {
        auto_strbuf text = { 0 };
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&text, fmt, args);
        va_end(args);
        if (text.broken || !text.text || journal_record((int) level, message_id, text.text) > 0)
                return;
        log_line(level, "%s", text.text);
}

/* ---- turns ---- */

void manager_want_turn(Manager *m) {
        if (m->turn)
                (void) loop_turn_end_set(m->turn);
}

static void manager_on_turn(void *userdata) {
        Manager *m = userdata;
        auto_error error = { 0 };
        int r;

        if (!m->engine)
                return;
        r = engine_turn(m->engine, &error);
        if (r < 0) {
                manager_tell(LOG_LEVEL_ERROR, JOURNAL_COMMIT_FAILED,
                             "A turn failed and is tried again: %s", error_text(&error, r));
                (void) loop_timer_arm_after(m->retry, TURN_RETRY_USEC);
        }
        (void) loop_timer_arm_after(m->trim, TRIM_USEC);
}

static void manager_on_time(void *userdata) {
        manager_want_turn(userdata);
}

static void manager_on_quiet(void *userdata) {
        malloc_trim(0);
}

static void manager_wanted(void *userdata) {
        manager_want_turn(userdata);
}

/* A deadline is a promise on the wall clock, the timer runs on the boot clock. The wall clock may be
 * set meanwhile: clock-steps.c asks for a turn then, and the turn arms again. */
static void manager_arm(void *userdata, int64_t wall_ms) {
        Manager *m = userdata;
        int64_t after = wall_ms - clock_wall_ms(&clock_system);

        if (wall_ms == INT64_MAX) {
                loop_timer_disarm(m->deadline);
                return;
        }
        if (after < 0)
                after = 0;
        if (after > DEADLINE_MAX_MS)
                after = DEADLINE_MAX_MS;
        (void) loop_timer_arm_after(m->deadline, (uint64_t) after * 1000);
}

/* ---- signals ---- */

static void manager_on_signal(void *userdata, int number) {
        Manager *m = userdata;

        if (number == SIGHUP) {
                settings_reload(m);
                return;
        }
        manager_tell(LOG_LEVEL_NOTICE, JOURNAL_STOPPING, "Stopping (%s); previews go on",
                     strsignal(number));
        loop_exit(m->loop, 0);
}

static int start_loop(Manager *m, Error *reterr) {
        static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
        int r;

        signal(SIGPIPE, SIG_IGN);
        r = loop_new(&m->loop, reterr);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(numbers); i++)
                r = loop_add_signal(m->loop, numbers[i], manager_on_signal, m, &m->signals[i],
                                    reterr);
        if (r == 0)
                r = loop_add_turn_end(m->loop, "engine turn", manager_on_turn, m, &m->turn, reterr);
        if (r == 0)
                r = loop_add_timer(m->loop, "next deadline", manager_on_time, m, &m->deadline,
                                   reterr);
        if (r == 0)
                r = loop_add_timer(m->loop, "turn again", manager_on_time, m, &m->retry, reterr);
        if (r == 0)
                r = loop_add_timer(m->loop, "memory", manager_on_quiet, m, &m->trim, reterr);
        return r;
}

static void stop_loop(Manager *m) {
        m->turn = loop_source_free(m->turn);
        m->deadline = loop_source_free(m->deadline);
        m->retry = loop_source_free(m->retry);
        m->trim = loop_source_free(m->trim);
        for (size_t i = 0; i < N_ELEMENTS(m->signals); i++)
                m->signals[i] = loop_source_free(m->signals[i]);
        m->loop = loop_free(m->loop);
}

/* ---- ledger ---- */

static int start_ledger(Manager *m, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(m->state_dir, "ledger.db");
        auto_cleanup(freep) char *key = path_join(m->state_dir, "key");
        LedgerOptions options = { .path = path,
                                  .key_path = key,
                                  .random = &random_system,
                                  .now_ms = clock_wall_ms(&clock_system) };

        if (!path || !key)
                return -ENOMEM;
        return ledger_open(&options, &m->ledger, reterr);
}

static void stop_ledger(Manager *m) {
        m->ledger = ledger_close(m->ledger);
}

/* ---- below the engine: each is made first and speaks to it through these ---- */

static void on_provider_line(void *userdata, const char *call_id, const json_t *line) {
        Manager *m = userdata;
        ProviderEvents events;

        if (!m->engine)
                return;
        events = engine_provider_events(m->engine);
        events.on_line(events.userdata, call_id, line);
}

static void on_provider_reply(void *userdata, const ProviderReply *reply) {
        Manager *m = userdata;
        ProviderEvents events;

        if (!m->engine)
                return;
        events = engine_provider_events(m->engine);
        events.on_reply(events.userdata, reply);
        manager_want_turn(m);
}

static void on_visit(void *userdata, const char *environment_id) {
        Manager *m = userdata;
        FrontEvents events;

        if (!m->engine)
                return;
        events = engine_front_events(m->engine);
        events.on_visit(events.userdata, environment_id);
        manager_want_turn(m);
}

static void on_refused(void *userdata, const char *environment_id) {
        Manager *m = userdata;
        FrontEvents events;

        if (!m->engine)
                return;
        events = engine_front_events(m->engine);
        events.on_refused(events.userdata, environment_id);
        manager_want_turn(m);
}

static int start_runner(Manager *m, Error *reterr) {
        RunnerSetup setup = {
                .loop = m->loop,
                .config = m->config,
                .state_dir = m->state_dir,
                .events = { .on_line = on_provider_line,
                            .on_reply = on_provider_reply,
                            .userdata = m },
        };

        return runner_new(&setup, &m->runner, reterr);
}

static void stop_runner(Manager *m) {
        m->runner = runner_free(m->runner);
}

static int start_gateway(Manager *m, Error *reterr) {
        auto_cleanup(freep) char *run_dir = path_join(m->state_dir, "gateway");
        bool haproxy = streq(m->config->front, "haproxy");
        GatewaySetup setup = {
                .loop = m->loop,
                .ledger = m->ledger,
                .clock = &clock_system,
                .listen = m->config->listen,
                .beyond_loopback = m->config->front_beyond_loopback,
                .domain = m->config->domain,
                .haproxy_listen = haproxy ? m->config->front_listen : NULL,
                .run_dir = run_dir,
                .page = pages_render,
                .page_userdata = m,
                .events = { .on_visit = on_visit, .on_refused = on_refused, .userdata = m },
        };
        int r;

        if (!run_dir)
                return -ENOMEM;
        r = gateway_new(&setup, &m->gateway, reterr);
        if (r < 0)
                return r;
        m->front_url = str_format("http://%%s.%s:%u", m->config->domain, gateway_port(m->gateway));
        return m->front_url ? 0 : -ENOMEM;
}

static void stop_gateway(Manager *m) {
        m->gateway = gateway_free(m->gateway);
}

/* ---- the engine ---- */

static void on_engine_events(void *userdata) {
        streams_on_events(userdata);
}

/* Which boot this is (random(4)): boot times of another one say nothing. NULL when not known. */
static char *boot_id_read(void) {
        char *id = NULL;

        if (read_file("/proc/sys/kernel/random/boot_id", 64, &id, NULL, NULL) < 0)
                return NULL;
        id[strcspn(id, "\n")] = '\0';
        return id;
}

static int start_engine(Manager *m, Error *reterr) {
        auto_cleanup(freep) char *boot_id = boot_id_read();
        EngineSetup setup = {
                .ledger = m->ledger,
                .config = m->config,
                .clock = &clock_system,
                .random = &random_system,
                .providers = runner_ops(m->runner),
                .front = gateway_front(m->gateway),
                .files = checkout_files,
                .state_dir = m->state_dir,
                .boot_id = boot_id,
                .front_url = m->front_url,
                .wanted = manager_wanted,
                .arm = manager_arm,
                .userdata = m,
        };
        int r = engine_new(&setup, &m->engine, reterr);

        if (r < 0)
                return r;
        engine_on_events(m->engine, on_engine_events, m);
        return engine_start(m->engine, reterr);
}

static void stop_engine(Manager *m) {
        m->stopping = true;
        m->engine = engine_free(m->engine);
}

/* ---- ready ---- */

static int start_ready(Manager *m, Error *reterr) {
        int r = loop_enable_watchdog(m->loop);

        if (r < 0)
                return error_set(reterr, r, "Cannot feed the watchdog: %s", strerror(-r));
        loop_notify("READY=1");
        manager_tell(LOG_LEVEL_NOTICE, JOURNAL_READY, "Previews are at http://BRANCH--PROJECT%s",
                     str_after(m->front_url, "http://%s"));
        manager_want_turn(m);
        return 0;
}

static void stop_ready(Manager *m) {
        loop_notify("STOPPING=1");
}

/* ---- the list ---- */

static const struct {
        const char *name;
        int (*start)(Manager *m, Error *reterr);
        void (*stop)(Manager *m); /* also of what was started by half */
} manager_parts[] = {
        { "state folder", state_start, state_stop },
        { "configuration", settings_start, settings_stop },
        { "ledger", start_ledger, stop_ledger },
        { "event loop", start_loop, stop_loop },
        { "clock", clock_steps_start, clock_steps_stop },
        { "providers", start_runner, stop_runner },
        { "API", api_start, api_stop },
        { "gateway", start_gateway, stop_gateway },
        { "engine", start_engine, stop_engine },
        { "streams", NULL, streams_stop },
        { "backups", backup_start, backup_stop },
        { "comparisons", compare_start, compare_stop },
        { "readiness", start_ready, stop_ready },
};

int manager_start(const ManagerOptions *options, Manager **ret, Error *reterr) {
        auto_cleanup(manager_freep) Manager *m = calloc(1, sizeof(Manager));
        int r;

        if (!m)
                return -ENOMEM;
        m->options = options;
        m->lock_fd = m->clock_fd = -1;
        m->started_boot_ms = clock_boot_ms(&clock_system);
        for (size_t i = 0; i < N_ELEMENTS(manager_parts); i++) {
                r = manager_parts[i].start ? manager_parts[i].start(m, reterr) : 0;
                if (r < 0) {
                        error_set(reterr, r, "The %s cannot be started: %s", manager_parts[i].name,
                                  strerror(-r));
                        return r;
                }
                crash_point("start");
        }
        *ret = TAKE(m);
        return 0;
}

int manager_run(Manager *m, Error *reterr) {
        return loop_run(m->loop, reterr);
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        for (size_t i = N_ELEMENTS(manager_parts); i-- > 0;)
                manager_parts[i].stop(m);
        free(m->front_url);
        free(m);
        return NULL;
}

char *manager_url(const Manager *m, const char *label) {
        const char *rest = str_after(m->front_url, "http://%s");

        return str_format("http://%s%s", label, rest ?: "");
}
