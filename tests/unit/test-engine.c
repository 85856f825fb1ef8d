#include "tests/unit/test.h"

#include <stdlib.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/engine/engine.h"
#include "reaper/reaper.h"

/* A world without chance: every call is answered well in the order in which it came, unless a test says
 * otherwise. */

#define A_COMMIT "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B_COMMIT "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C_COMMIT "cccccccccccccccccccccccccccccccccccccccc"

typedef struct Pending {
        struct Pending *next;
        char *id, *verb, *type, *uid, *commit;
        json_t *request;
        bool cancelled;
} Pending;

typedef struct Fixture {
        char dir[32], db[64], key[64];
        int64_t now_ms, boot_ms, armed_ms;
        bool wanted;
        Clock clock;
        Config *config;
        Ledger *ledger;
        Engine *engine;
        Map *things; /* uids that exist */
        Pending *first;
        unsigned n_started[5]; /* by verb, see verb_number() */
        unsigned n_cancelled, n_front;
        bool hold; /* answer nothing by itself */
        const char *fail_verb, *fail_type, *fail_message;
        ProviderClass fail_class;
        unsigned fail_times;
        FrontActivity activity;
        const char *foreign; /* uid in whose place somebody else's thing stands */
        char foreign_uid[ID_SIZE];
        unsigned n_foreign_touched;
} Fixture;

static const char *const verbs[] = { "provision", "inspect", "deprovision", "sleep", "wake" };

static unsigned verb_number(const char *verb) {
        for (unsigned i = 0; i < N_ELEMENTS(verbs); i++)
                if (streq(verbs[i], verb))
                        return i;
        return 0;
}

/* ---- what the engine is given ---- */

static int64_t wall(void *userdata) {
        return ((Fixture *) userdata)->now_ms;
}

static int64_t boot(void *userdata) {
        return ((Fixture *) userdata)->boot_ms;
}

static void wanted(void *userdata) {
        ((Fixture *) userdata)->wanted = true;
}

static void arm(void *userdata, int64_t wall_ms) {
        ((Fixture *) userdata)->armed_ms = wall_ms;
}

static const char *text(const json_t *object, const char *key) {
        const char *value = json_string_value(json_object_get(object, key));

        return value ? value : "";
}

static int start(void *userdata, const ProviderCall *call, Error *reterr) {
        const json_t *resource = json_object_get(call->request, "resource");
        Pending *p = calloc(1, sizeof(Pending)), **at;
        Fixture *f = userdata;

        p->id = strdup(call->id);
        p->verb = strdup(call->verb);
        p->type = strdup(text(resource, "type"));
        p->uid = strdup(text(resource, "uid"));
        p->commit = strdup(text(json_object_get(call->request, "environment"), "commit"));
        p->request = json_deep_copy(call->request);
        if (*p->uid)
                f->n_started[verb_number(call->verb)]++;
        for (at = &f->first; *at; at = &(*at)->next)
                ;
        *at = p;
        return 0;
}

static void cancel(void *userdata, const char *call_id) {
        Fixture *f = userdata;

        for (Pending *p = f->first; p; p = p->next)
                if (streq(p->id, call_id))
                        p->cancelled = true;
        f->n_cancelled++;
}

static void host_changed(void *userdata, const char *host) {
        ((Fixture *) userdata)->n_front++;
}

static void activity(void *userdata, const char *environment_id, const char *host,
                     void (*done)(void *, const char *, const FrontActivity *),
                     void *done_userdata) {
        done(done_userdata, environment_id, &((Fixture *) userdata)->activity);
}

static int file_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
        static const char good[] =
                "apiVersion: score.dev/v1b1\nmetadata:\n  name: web\nservice:\n  ports:\n    http:\n"
                "      port: 80\ncontainers:\n  main:\n    image: .\n    command: [run]\n    volumes:\n"
                "      /data:\n        source: ${resources.data}\nresources:\n  data:\n    type: volume\n";
        const char *content = streq(userdata, C_COMMIT) ? "metadata: [\n" : good;

        if (!streq(path, "score.yaml"))
                return error_set(reterr, -ENOENT, "No file '%s'", path);
        *ret = strdup(content);
        *ret_size = strlen(content);
        return 0;
}

static int files_open(void *userdata, const json_t *outputs, SpecReader *ret, Error *reterr) {
        *ret = (SpecReader){ .read = file_read, .userdata = strdup(text(outputs, "commit")) };
        return 0;
}

static void files_close(void *userdata, SpecReader *reader) {
        free(reader->userdata);
}

/* ---- the fixture ---- */

static void pending_free(Pending *p) {
        free(p->id);
        free(p->verb);
        free(p->type);
        free(p->uid);
        free(p->commit);
        json_decref(p->request);
        free(p);
}

static void daemon_up(Fixture *f) {
        LedgerOptions options = {
                .path = f->db, .key_path = f->key, .random = &random_system, .fast = true
        };
        auto_error error = { 0 };

        if (ledger_open(&options, &f->ledger, &error) < 0)
                fail_msg("%s", error_text(&error, 0));
        f->clock = (Clock){ .wall_ms = wall, .boot_ms = boot, .userdata = f };
        EngineSetup setup = {
                .ledger = f->ledger,
                .config = f->config,
                .clock = &f->clock,
                .random = &random_system,
                .providers = { .start = start, .cancel = cancel, .userdata = f },
                .front = { .host_changed = host_changed, .activity = activity, .userdata = f },
                .files = { .open = files_open, .close = files_close, .userdata = f },
                .state_dir = "/state",
                .front_url = "http://%s.preview.localhost:1",
                .wanted = wanted,
                .arm = arm,
                .userdata = f,
                .boot_id = "boot",
        };
        assert_int_equal(engine_new(&setup, &f->engine, NULL), 0);
        assert_int_equal(engine_start(f->engine, NULL), 0);
        f->wanted = true;
}

/* As kill -9 leaves it: what was not committed never was. */
static void daemon_killed(Fixture *f) {
        f->engine = engine_free(f->engine);
        f->ledger = ledger_close(f->ledger);
        while (f->first) {
                Pending *p = f->first;

                f->first = p->next;
                pending_free(p);
        }
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        strcpy(f->dir, "/tmp/engine-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        f->now_ms = INT64_C(1793000000000);
        f->boot_ms = 1000000;
        f->things = map_new(NULL);
        f->activity.known = true;
        log_set_level(LOG_LEVEL_ERROR - 1);
        assert_int_equal(config_default(&f->config, NULL), 0);
        daemon_up(f);
        json_auto_t *project =
                json_pack("{s:s, s:s}", "name", "shop", "repository", "/srv/shop.git");
        assert_int_equal(engine_project_add(f->engine, NULL, project, NULL, NULL), 0);
        assert_int_equal(engine_turn(f->engine, NULL), 0);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        fault_arm("none", 0, 0);
        daemon_killed(f);
        config_free(f->config);
        map_free(f->things);
        assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f);
        return 0;
}

static void pass(Fixture *f, int64_t ms) {
        f->now_ms += ms;
        f->boot_ms += ms;
        f->wanted = true;
}

/* ---- answers ---- */

static json_t *good_result(Fixture *f, const Pending *p) {
        const char *present = map_get(f->things, p->uid) ? "present" : "absent";

        if (streq(p->verb, "inspect"))
                return json_pack("{s:s, s:s, s:b}", "present", present, "marker",
                                 streq_null(f->foreign, p->uid)
                                         ? "theirs"
                                         : text(json_object_get(p->request, "resource"), "marker"),
                                 "ready", 1);
        if (streq(p->verb, "deprovision"))
                return json_pack("{s:[], s:[]}", "removed", "absent");
        if (streq(p->verb, "list"))
                return json_pack("{s:b}", "complete", 0);
        if (streq(p->type, "checkout"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "path", "/c", "commit", p->commit);
        if (streq(p->type, "network"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "namespace", "n", "address",
                                 "127.0.0.1");
        if (streq(p->type, "volume"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "type", "bind", "source", "/v");
        if (streq(p->type, "workload"))
                return json_pack("{s:{s:{s:{s:s, s:i}}}}", "outputs", "endpoints", "http",
                                 "address", "127.0.0.1", "port", 8000);
        return json_pack("{s:{}}", "outputs");
}

static void answer(Fixture *f, Pending *p) {
        ProviderEvents events = engine_provider_events(f->engine);
        ProviderReply reply = { .call_id = p->id };
        json_auto_t *result = NULL;

        if (p->cancelled) {
                reply.class = PROVIDER_TRANSIENT;
                reply.unknown = true;
                reply.message = "cancelled";
        } else if (f->fail_times > 0 && streq_null(f->fail_verb, p->verb) &&
                   streq_null(f->fail_type, p->type)) {
                f->fail_times--;
                reply.class = f->fail_class;
                reply.message = f->fail_message ? f->fail_message : "it said no";
        } else {
                if (streq_null(f->foreign, p->uid) && !streq(p->verb, "inspect"))
                        f->n_foreign_touched++;
                if (streq(p->verb, "provision"))
                        assert_int_equal(map_put(f->things, p->uid, f), 0);
                result = good_result(f, p);
                if (streq(p->verb, "deprovision"))
                        map_remove(f->things, p->uid);
                reply.result = result;
        }
        if (streq(p->verb, "watch"))
                reply.class = PROVIDER_INVALID;
        events.on_reply(events.userdata, &reply);
}

static void turns(Fixture *f) {
        for (unsigned i = 0; f->wanted && i < 100; i++) {
                f->wanted = false;
                (void) engine_turn(f->engine, NULL);
        }
}

static bool answer_first(Fixture *f) {
        Pending *p = f->first;

        if (!p)
                return false;
        f->first = p->next;
        answer(f, p);
        pending_free(p);
        return true;
}

static void settle(Fixture *f) {
        turns(f);
        for (unsigned i = 0; i < 200 && answer_first(f); i++)
                turns(f);
}

/* Lets time pass until nothing is left to be tried again, at most so long. */
static void settle_for(Fixture *f, int64_t ms) {
        int64_t until = f->now_ms + ms;

        settle(f);
        while (f->armed_ms != REAPER_NEVER && f->armed_ms <= until) {
                pass(f, f->armed_ms > f->now_ms ? f->armed_ms - f->now_ms : 1);
                settle(f);
        }
}

static void push(Fixture *f, const char *branch, const char *commit) {
        auto_cleanup(freep) char *id = NULL;

        assert_int_equal(engine_push(f->engine, NULL, "shop", branch, commit, &id, NULL), 0);
}

static void get(Fixture *f, const char *branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", branch);

        environment_done(ret);
        assert_int_equal(ledger_environment_get(f->ledger, name, ret, NULL), 0);
}

static void assert_answer(Fixture *f, const char *label, const char *expected) {
        auto_cleanup(freep) char *host = str_format("%s.preview.localhost", label);
        auto_cleanup(route_done) Route route = { 0 };

        assert_int_equal(ledger_route_get(f->ledger, host, &route, NULL), 0);
        assert_string_equal(route.answer, expected);
}

/* ---- the main path ---- */

static void test_push_becomes_ready_and_down_leaves_nothing(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(route_done) Route route = { 0 };
        Fixture *f = *state;
        int64_t bad = -1;

        push(f, "login", A_COMMIT);
        turns(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_BUILDING);
        assert_answer(f, "login--shop", "building");
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(env.live_generation, 1);
        assert_int_equal(ledger_route_get(f->ledger, "login--shop.preview.localhost", &route, NULL),
                         0);
        assert_string_equal(route.answer, "direct");
        assert_string_equal(route.endpoints,
                            "[{\"address\":\"127.0.0.1\",\"path\":\"/\",\"port\":8000}]");
        assert_int_equal(map_size(f->things), 4); /* checkout, network, volume, workload */

        /* the same commit again, and late ones of the same branch, change nothing */
        f->n_started[0] = 0;
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(f->n_started[0], 0);

        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_answer(f, "login--shop", "gone");
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(map_size(f->things), 0);
        assert_answer(f, "login--shop", "gone");
        assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 0);
        assert_int_equal(bad, 0);
}

static void test_new_generation_beside_the_running_one(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", B_COMMIT);
        turns(f);
        assert_answer(f, "login--shop",
                      "direct"); /* the old one serves while the new one is made */
        assert_int_equal(f->n_started[verb_number("deprovision")], 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.live_generation, 2);
        assert_answer(f, "login--shop", "direct");
        settle_for(f, MS_PER_MINUTE);
        /* checkout, network, workload of the second; the volume is still the first one's */
        assert_int_equal(map_size(f->things), 4);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

static void test_failed_generation_leaves_the_last_good_one(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", C_COMMIT); /* a file that is no YAML */
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(env.live_generation, 1);
        assert_int_equal(env.wanted_generation, 2);
        assert_non_null(env.cause);
        assert_answer(f, "login--shop", "direct");
        assert_int_equal(map_size(f->things), 4);

        push(f, "other", C_COMMIT);
        settle_for(f, MS_PER_MINUTE);
        get(f, "other", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "score.yaml"));
        assert_answer(f, "other--shop", "failed");
        assert_int_equal(map_size(f->things), 4);
}

static void test_closing_cancels_and_reopening_builds(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        turns(f);
        push(f, "login", NULL);
        turns(f);
        assert_int_equal(f->n_cancelled, 2); /* checkout and network were being made */
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(map_size(f->things), 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(env.closed_ms, 0);
        /* closed while it serves: it goes on until its clock ends */
        push(f, "login", NULL);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        settle_for(f, 2 * MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_string_equal(env.gone_by, "reaper");
        assert_int_equal(map_size(f->things), 0);
}

static void test_sleep_and_wake(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        settle_for(f, 31 * MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        assert_answer(f, "login--shop", "asleep");
        memset(f->n_started, 0, sizeof(f->n_started));
        front = engine_front_events(f->engine);
        front.on_visit(front.userdata, env.id);
        turns(f);
        assert_answer(f, "login--shop", "waking");
        /* the network was proved by this daemon: one call wakes it */
        assert_int_equal(f->n_started[verb_number("provision")], 0);
        assert_int_equal(f->n_started[verb_number("wake")], 1);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        assert_answer(f, "login--shop", "direct");

        /* a visit while it falls asleep wakes it right after */
        assert_int_equal(engine_sleep(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_answer(f, "login--shop", "asleep");
        front.on_visit(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
}

static void test_use_keeps_it_awake_and_unknown_is_not_unused(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->activity.last_visit_ms = f->now_ms + 20 * MS_PER_MINUTE;
        settle_for(f, 40 * MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        f->activity = (FrontActivity){ .known = false };
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        f->activity = (FrontActivity){ .known = true };
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
}

/* ---- failures ---- */

static void test_error_classes(void **state) {
        static const struct {
                ProviderClass class;
                unsigned times; /* how often it fails */
                unsigned calls; /* how often it was asked in the end */
                bool ready;
        } cases[] = {
                { PROVIDER_INVALID, 1, 1, false },       { PROVIDER_DENIED, 1, 1, false },
                { PROVIDER_UNRECOVERABLE, 1, 1, false }, { PROVIDER_TRANSIENT, 5, 6, true },
                { PROVIDER_TRANSIENT, 6, 6, false },     { PROVIDER_CONFLICT, 1, 2, true },
                { PROVIDER_DEPENDENCY, 20, 21, true }, /* spends no attempt */
                { PROVIDER_THROTTLED, 20, 21, true },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("case%zu", i);

                f->fail_verb = "provision";
                f->fail_type = "volume";
                f->fail_class = cases[i].class;
                f->fail_times = cases[i].times;
                push(f, branch, A_COMMIT);
                settle(f);
                f->n_started[0] = 0;
                settle_for(f, 20 * MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, cases[i].ready ? ENV_READY : ENV_FAILED);
                assert_int_equal(f->fail_times, 0);
                if (!cases[i].ready)
                        assert_non_null(strstr(env.cause, "it said no"));
                assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                settle_for(f, 10 * MS_PER_MINUTE);
                assert_int_equal(map_size(f->things), 0);
        }
}

static int find_stuck(void *userdata, const Resource *r) {
        *(unsigned *) userdata += r->state == RES_STUCK;
        return 0;
}

static void test_removal_that_fails_is_stuck_then_daily(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        unsigned n = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 6;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_int_equal(ledger_resource_each(f->ledger, env.id, false, find_stuck, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(map_size(f->things),
                         4); /* children first: what it stands on waits for it */
        settle_for(f, 25 * MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(map_size(f->things), 0);
}

static void test_a_workload_that_vanished_is_made_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;
        const char *uid;
        size_t at = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        front = engine_front_events(f->engine);
        while (map_next(f->things, &at, &uid)) {
                auto_cleanup(resource_done) Resource r = { 0 };

                assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
                if (streq(r.type, "workload"))
                        map_remove(f->things, uid);
        }
        front.on_refused(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(map_size(f->things), 4);
        assert_answer(f, "login--shop", "direct");
}

/* ---- restart at every moment ---- */

static void test_killed_after_any_answer_it_comes_to_the_same_end(void **state) {
        Fixture *f = *state;
        bool done = false;

        for (unsigned n = 0; !done; n++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("cut%u", n);
                unsigned i = 0;

                assert_true(n < 60);
                push(f, branch, A_COMMIT);
                turns(f);
                while (i < n && answer_first(f)) {
                        turns(f);
                        i++;
                }
                done = i < n; /* it was ready before it could be killed */
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, 10 * MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_READY);

                assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                turns(f);
                for (i = 0; i < n && answer_first(f); i++)
                        turns(f);
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, 10 * MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_GONE);
                assert_int_equal(map_size(f->things), 0);
        }
}

static void on_commit(void *userdata, int r, const Error *error) {
        *(int *) userdata = r;
}

static void test_failed_commit_takes_the_turn_back(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        int told = 1;

        push(f, "login", A_COMMIT);
        settle(f);
        fault_arm("ledger.commit", 1, 1);
        push(f, "login", B_COMMIT);
        engine_after_commit(f->engine, on_commit, &told);
        memset(f->n_started, 0, sizeof(f->n_started));
        f->wanted = false;
        assert_int_equal(engine_turn(f->engine, NULL), -EIO);
        if (!fault_fired())
                skip();
        assert_int_equal(told, -EIO); /* whoever asked is told that it did not happen */
        assert_int_equal(f->n_started[0], 0);
        get(f, "login", &env);
        assert_string_equal(env.commit, A_COMMIT);
        assert_answer(f, "login--shop", "direct");
        push(f, "login", B_COMMIT);
        engine_after_commit(f->engine, on_commit, &told);
        settle(f);
        assert_int_equal(told, 0);
        get(f, "login", &env);
        assert_string_equal(env.commit, B_COMMIT);
        assert_int_equal(env.live_generation, 2);
}

/* Whichever write fails, the end is the same. */
static void test_every_write_may_fail(void **state) {
        Fixture *f = *state;

        for (unsigned n = 1; n < 400; n += 7) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("write%u", n);

                push(f, branch, A_COMMIT);
                turns(f);
                fault_arm("ledger", n, 1);
                settle_for(f, 5 * MS_PER_MINUTE);
                get(f, branch, &env);
                if (engine_down(f->engine, NULL, env.id, NULL) < 0) {
                        turns(f);
                        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                }
                settle_for(f, 5 * MS_PER_MINUTE);
                get(f, branch, &env);
                if (env.state != ENV_GONE) { /* the deletion itself was taken back */
                        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                        settle_for(f, 5 * MS_PER_MINUTE);
                        get(f, branch, &env);
                }
                assert_int_equal(env.state, ENV_GONE);
                assert_int_equal(map_size(f->things), 0);
                fault_arm("none", 0, 0);
        }
}

/* The first turn of a new life ends the intents of the one before. When it cannot be committed they are
 * still open in the ledger, and ended by the next. */
static void test_first_turn_after_a_crash_may_fail(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        turns(f);
        daemon_killed(f);
        daemon_up(f);
        fault_arm("ledger.commit", 1, 2);
        settle_for(f, 5 * MS_PER_MINUTE);
        fault_arm("none", 0, 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

static void test_an_environment_of_a_failed_turn_is_forgotten(void **state) {
        Fixture *f = *state;

        fault_arm("ledger.commit", 1, 1);
        push(f, "login", A_COMMIT);
        turns(f);
        if (!fault_fired())
                skip();
        settle_for(f, MS_PER_MINUTE);
        assert_true(f->armed_ms == REAPER_NEVER); /* nothing is looked for again and again */
}

static const char *uid_of(Fixture *f, const char *type, char ret[ID_SIZE]) {
        const char *uid;
        size_t at = 0;

        while (map_next(f->things, &at, &uid)) {
                auto_cleanup(resource_done) Resource r = { 0 };

                assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
                if (streq(r.type, type))
                        return strcpy(ret, uid);
        }
        return NULL;
}

static int no_secret(void *userdata, const Event *e) {
        assert_null(strstr(e->text, "hunter2-hunter2"));
        return 0;
}

static void test_secrets_are_in_no_message(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE];
        auto_cleanup(resource_done) Resource r = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_int_equal(ledger_resource_set_outputs(f->ledger, &r,
                                                     "{\"type\":\"bind\",\"source\":\"/v\","
                                                     "\"password\":\"hunter2-hunter2\"}",
                                                     names, NULL),
                         0);
        get(f, "login", &env);
        map_remove(f->things, uid_of(f, "workload", uid));
        f->fail_verb = "provision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_INVALID;
        f->fail_times = 1;
        f->fail_message = "psql: wrong password\n'hunter2-hunter2'";
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "wrong password '***'"));
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 1000, no_secret, NULL, NULL), 0);
}

/* ---- what the world does ---- */

static void test_somebody_elses_thing_is_left_alone(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        f->foreign = uid_of(f, "workload", f->foreign_uid);
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "not ours"));
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(f->n_foreign_touched, 0);
        assert_int_equal(map_size(f->things), 1); /* theirs */
        map_remove(f->things, f->foreign_uid);
}

static void test_lost_volume_is_told_and_does_not_spin(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;
        unsigned calls;

        push(f, "login", A_COMMIT);
        settle(f);
        f->foreign = uid_of(f, "volume", f->foreign_uid);
        assert_int_equal(ledger_resource_get(f->ledger, f->foreign, &r, NULL), 0);
        r.inspect = true;
        assert_int_equal(ledger_resource_update(f->ledger, &r, NULL), 0);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        memset(f->n_started, 0, sizeof(f->n_started));
        settle_for(f, MS_PER_HOUR);
        calls = f->n_started[0] + f->n_started[1];
        assert_true(calls < 5);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "volume"));
        map_remove(f->things, f->foreign_uid);
        f->foreign = NULL;
}

static void test_a_network_that_cannot_come_back(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        settle_for(f, 31 * MS_PER_MINUTE);
        assert_non_null(uid_of(f, "network", uid));
        daemon_killed(f); /* the new one has not proved the network */
        map_remove(f->things, uid);
        daemon_up(f);
        settle(f);
        f->fail_verb = "provision";
        f->fail_type = "network";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_int_equal(env.level, LEVEL_STOPPED);
        assert_answer(f, "login--shop", "failed");
        assert_int_equal(engine_retry(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_answer(f, "login--shop", "direct");
}

/* ---- promises ---- */

static void test_pins_extensions_and_freezes_win(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *why = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "login--shop", INT64_MAX, "demo", NULL), 0);
        settle_for(f, 30 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        assert_int_equal(engine_why(f->engine, "login--shop", &why, NULL), 0);
        assert_string_equal(text(why, "gate"), "protection");

        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", 2 * MS_PER_DAY, NULL), 0);
        assert_int_equal(engine_unpin(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        settle_for(f, 10 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", MS_PER_HOUR, NULL), -ENOENT);
}

static void test_clock_steps_hold_and_nothing_is_early(void **state) {
        static const int64_t steps[] = { MS_PER_HOUR, -MS_PER_DAY, 3650 * MS_PER_DAY };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *frozen = NULL, *branch = str_format("step%zu", i);

                push(f, branch, A_COMMIT);
                settle(f);
                f->now_ms += steps[i];
                f->wanted = true;
                settle(f);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_READY);
                assert_int_equal(env.level, LEVEL_AWAKE);
                assert_int_equal(ledger_value_get(f->ledger, "frozen", &frozen, NULL), 0);
                assert_non_null(strstr(frozen, steps[i] > 0 ? "ahead" : "back"));
                /* also after a restart */
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, 2 * MS_PER_HOUR);
                get(f, branch, &env);
                assert_int_equal(env.level, LEVEL_AWAKE);
                f->now_ms -= steps[i];
                f->wanted = true;
                settle(f);
                assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
                settle_for(f, MS_PER_HOUR);
                get(f, branch, &env);
                assert_int_equal(env.level, LEVEL_STOPPED);
        }
}

static void test_push_to_one_being_deleted_begins_a_new_one(void **state) {
        auto_cleanup(environment_done) Environment old = { 0 }, env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &old);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        push(f, "login", B_COMMIT);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_string_not_equal(env.id, old.id);
        assert_int_equal(env.state, ENV_READY);
        assert_answer(f, "login--shop", "direct");
        assert_int_equal(map_size(f->things), 4);
}

static void test_comparison_fails_closed(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *empty = json_array(), *other = NULL, *both = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        other = json_pack("[{s:s, s:s}]", "name", "main", "commit", A_COMMIT);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", empty, true, NULL, NULL), 0);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", other, false, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", other, true, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_true(env.closed_ms > 0);
        /* a branch that moved since is one whose hook was lost; one that was always there is not */
        assert_int_equal(ledger_environment_get(f->ledger, "shop/main", &env, NULL), -ENOENT);
        both = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit", B_COMMIT, "name",
                         "login", "commit", B_COMMIT);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", both, true, NULL, NULL), 0);
        settle(f);
        get(f, "main", &env);
        assert_int_equal(env.state, ENV_READY);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        assert_string_equal(env.commit, B_COMMIT);
}

static void test_quiet_when_nothing_is_due(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_true(f->armed_ms >= f->now_ms + 29 * MS_PER_MINUTE);
        settle_for(f, MS_PER_HOUR);
        assert_true(f->armed_ms >=
                    f->now_ms + 5 * MS_PER_DAY); /* asleep: its next deadline, nothing else */
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_push_becomes_ready_and_down_leaves_nothing),
                WITH(test_new_generation_beside_the_running_one),
                WITH(test_failed_generation_leaves_the_last_good_one),
                WITH(test_closing_cancels_and_reopening_builds),
                WITH(test_sleep_and_wake),
                WITH(test_use_keeps_it_awake_and_unknown_is_not_unused),
                WITH(test_error_classes),
                WITH(test_removal_that_fails_is_stuck_then_daily),
                WITH(test_a_workload_that_vanished_is_made_again),
                WITH(test_killed_after_any_answer_it_comes_to_the_same_end),
                WITH(test_failed_commit_takes_the_turn_back),
                WITH(test_every_write_may_fail),
                WITH(test_first_turn_after_a_crash_may_fail),
                WITH(test_an_environment_of_a_failed_turn_is_forgotten),
                WITH(test_secrets_are_in_no_message),
                WITH(test_somebody_elses_thing_is_left_alone),
                WITH(test_lost_volume_is_told_and_does_not_spin),
                WITH(test_a_network_that_cannot_come_back),
                WITH(test_pins_extensions_and_freezes_win),
                WITH(test_clock_steps_hold_and_nothing_is_early),
                WITH(test_push_to_one_being_deleted_begins_a_new_one),
                WITH(test_comparison_fails_closed),
                WITH(test_quiet_when_nothing_is_due),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
