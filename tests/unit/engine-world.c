#include "tests/unit/engine-world.h"

#include <stdlib.h>
#include <unistd.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/engine/reply.h"
#include "reaper/reaper.h"

static const char *const verbs[] = { "provision", "inspect", "deprovision", "sleep", "wake" };

unsigned verb_number(const char *verb) {
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

static int64_t awake(void *userdata) {
        const Fixture *f = userdata;

        return f->boot_ms - f->suspended_ms;
}

static int synced(void *userdata) {
        return ((Fixture *) userdata)->synced;
}

static void wanted(void *userdata) {
        ((Fixture *) userdata)->wanted = true;
}

static void arm(void *userdata, int64_t wall_ms) {
        ((Fixture *) userdata)->armed_ms = wall_ms;
}

const char *text(const json_t *object, const char *key) {
        const char *value = json_string_value(json_object_get(object, key));

        return value ? value : "";
}

static int start(void *userdata, const ProviderCall *call, Error *reterr) {
        const json_t *resource = json_object_get(call->request, "resource");
        Pending *p = calloc(1, sizeof(Pending)), **at;
        Fixture *f = userdata;
        unsigned n = 1;

        p->id = strdup(call->id);
        p->verb = strdup(call->verb);
        p->type = strdup(text(resource, "type"));
        p->uid = strdup(text(resource, "uid"));
        p->commit = strdup(text(json_object_get(call->request, "environment"), "commit"));
        p->request = json_deep_copy(call->request);
        if (*p->uid) {
                auto_cleanup(freep) char *line = str_format("%s %s %s", p->verb, p->type, p->uid);

                f->n_started[verb_number(call->verb)]++;
                assert_int_equal(strv_add(&f->log, line), 0);
        }
        f->n_lists += streq(p->verb, "list");
        for (at = &f->first; *at; at = &(*at)->next) {
                /* never two things at once on one resource */
                assert_true(!*p->uid || !streq((*at)->uid, p->uid));
                n += *(*at)->uid != 0;
        }
        *at = p;
        if (*p->uid && n > f->n_most)
                f->n_most = n;
        return 0;
}

unsigned calls(Fixture *f, const char *verb, const char *type) {
        auto_cleanup(freep) char *start_of =
                type ? str_format("%s %s ", verb, type) : str_format("%s ", verb);
        unsigned n = 0;

        for (char **line = f->log; line && *line; line++)
                n += str_after(*line, start_of) != NULL;
        return n;
}

void calls_forget(Fixture *f) {
        f->log = strv_free(f->log);
        memset(f->n_started, 0, sizeof(f->n_started));
        f->n_most = f->n_lists = 0;
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
        Fixture *f = userdata;

        if (!f->front_late) {
                done(done_userdata, environment_id, &f->activity);
                return;
        }
        free(f->question.environment_id);
        f->question = (Question){ strdup(environment_id), done, done_userdata };
}

void front_answers(Fixture *f, const FrontActivity *answer_given) {
        auto_cleanup(freep) char *id = TAKE(f->question.environment_id);

        assert_non_null(id);
        f->question.done(f->question.userdata, id, answer_given);
}

typedef struct Files {
        Fixture *f;
        char *commit;
} Files;

static int file_read(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                     Error *reterr) {
#define SCORE(more)                                                                           \
        "apiVersion: score.dev/v1b1\nmetadata:\n  name: web\nservice:\n  ports:\n    http:\n" \
        "      port: 80\ncontainers:\n  main:\n    image: .\n    command: [run]\n" more
        static const char good[] =
                SCORE("    volumes:\n      /data:\n        source: ${resources.data}\n"
                      "resources:\n  data:\n    type: volume\n");
        const Files *files = userdata;
        const char *commit = files->commit, *content = good;

        if (files->f->file) {
                content = files->f->file(commit, path);
                if (!content)
                        return error_set(reterr, -ENOENT, "No file '%s'", path);
                content = *content ? content : good;
        } else if (streq(path, "mayfly.yaml") && streq(commit, D_COMMIT))
                content = "workloads:\n  web:\n    build:\n      command: [make]\n";
        else if (!streq(path, "score.yaml"))
                return error_set(reterr, -ENOENT, "No file '%s'", path);
        else if (streq(commit, C_COMMIT))
                content = "metadata: [\n";
        else if (streq(commit, E_COMMIT))
                content = SCORE("");
        *ret = strdup(content);
        *ret_size = strlen(content);
        return 0;
}

static int files_open(void *userdata, const json_t *outputs, SpecReader *ret, Error *reterr) {
        Files *files = calloc(1, sizeof(Files));

        *files = (Files){ userdata, strdup(text(outputs, "commit")) };
        *ret = (SpecReader){ .read = file_read, .userdata = files };
        return 0;
}

static void files_close(void *userdata, SpecReader *reader) {
        Files *files = reader->userdata;

        free(files->commit);
        free(files);
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

int daemon_try(Fixture *f, Error *reterr) {
        LedgerOptions options = { .path = f->db,
                                  .key_path = f->key,
                                  .random = &f->random,
                                  .fast = !f->anchored,
                                  .db = f->lent };
        int r;

        r = ledger_open(&options, &f->ledger, reterr);
        if (r < 0)
                return r;
        f->clock = (Clock){
                .wall_ms = wall, .boot_ms = boot, .awake_ms = awake, .synced = synced, .userdata = f
        };
        EngineSetup setup = {
                .ledger = f->ledger,
                .config = f->config,
                .clock = &f->clock,
                .random = &f->random,
                .providers = { .start = start, .cancel = cancel, .userdata = f },
                .front = { .host_changed = host_changed, .activity = activity, .userdata = f },
                .files = { .open = files_open, .close = files_close, .userdata = f },
                .state_dir = "/state",
                .front_url = "http://%s.preview.localhost:1",
                .wanted = wanted,
                .arm = arm,
                .userdata = f,
                .boot_id = f->boot_id,
        };
        r = engine_new(&setup, &f->engine, reterr);
        if (r == 0)
                r = engine_start(f->engine, reterr);
        f->wanted = true;
        return r;
}

void daemon_up(Fixture *f) {
        auto_error error = { 0 };
        int r = daemon_try(f, &error);

        if (r < 0)
                fail_msg("%s", error_text(&error, r));
}

void daemon_killed(Fixture *f) {
        f->engine = engine_free(f->engine);
        f->ledger = ledger_close(f->ledger);
        free(TAKE(f->question.environment_id));
        while (f->first) {
                Pending *p = f->first;

                f->first = p->next;
                pending_free(p);
        }
}

Fixture *world_new_lent(struct Db *lent, const char *db, const char *key) {
        Fixture *f = calloc(1, sizeof(Fixture));

        assert_non_null(f);
        f->lent = lent;
        snprintf(f->db, sizeof(f->db), "%s", db);
        snprintf(f->key, sizeof(f->key), "%s", key);
        f->random = random_system;
        f->now_ms = INT64_C(1793000000000);
        f->boot_ms = 1000000;
        f->boot_id = "boot";
        f->synced = -1;
        f->things = map_new(NULL);
        f->activity.known = true;
        log_set_level(LOG_LEVEL_ERROR - 1);
        assert_int_equal(config_default(&f->config, NULL), 0);
        return f;
}

Fixture *world_new(void) {
        /* In memory where that is possible: a disk's syncs are most of what these tests would wait for. */
        const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        Fixture *f = world_new_lent(NULL, "", "");

        snprintf(f->dir, sizeof(f->dir), "%s/engine-XXXXXX", memory);
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        return f;
}

void project_known(Fixture *f) {
        json_auto_t *project =
                json_pack("{s:s, s:s}", "name", "shop", "repository", "/srv/shop.git");

        daemon_up(f);
        assert_int_equal(engine_project_add(f->engine, NULL, project, NULL, NULL), 0);
        assert_int_equal(engine_turn(f->engine, NULL), 0);
}

static int set_up_as(void **state, bool anchored) {
        Fixture *f = world_new();

        f->anchored = anchored;
        project_known(f);
        *state = f;
        return 0;
}

int set_up(void **state) {
        return set_up_as(state, false);
}

int set_up_anchored(void **state) {
        return set_up_as(state, true);
}

int tear_down(void **state) {
        Fixture *f = *state;

        fault_arm("none", 0, 0);
        daemon_killed(f);
        config_free(f->config);
        map_free(f->things);
        json_decref(f->listed);
        strv_free(f->log);
        if (*f->dir)
                assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f);
        return 0;
}

void pass(Fixture *f, int64_t ms) {
        f->now_ms += ms;
        f->boot_ms += ms;
        f->wanted = true;
}

/* ---- answers ---- */

/* A thing that is there is removed, its mount was never made. */
static json_t *removal(const char *uid, bool there) {
        json_t *thing = json_pack("{s:s, s:s}", "kind", "thing", "name", uid);
        json_t *removed = json_array(),
               *absent = json_pack("[{s:s, s:s}]", "kind", "mount", "name", uid);

        json_array_append_new(there ? removed : absent, thing);
        return json_pack("{s:o, s:o}", "removed", removed, "absent", absent);
}

static json_t *good_result(Fixture *f, const Pending *p) {
        const char *present = map_get(f->things, p->uid) ? "present" : "absent";

        if (streq(p->verb, "inspect"))
                return json_pack("{s:s, s:s, s:b}", "present", present, "marker",
                                 streq_null(f->foreign, p->uid)
                                         ? "theirs"
                                         : text(json_object_get(p->request, "resource"), "marker"),
                                 "ready", 1);
        if (streq(p->verb, "deprovision"))
                return removal(p->uid, map_get(f->things, p->uid));
        if (streq(p->verb, "list"))
                return json_pack("{s:b, s:b}", "complete", (int) f->list_complete, "computed",
                                 (int) f->list_computed);
        if (streq(p->type, "checkout"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "path", "/c", "commit", p->commit);
        if (streq(p->type, "network"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "namespace", "n", "address",
                                 "127.0.0.1");
        if (streq(p->type, "volume"))
                return json_pack("{s:{s:s, s:s}}", "outputs", "type", "bind", "source", "/v");
        if (streq(p->type, "workload"))
                return json_pack("{s:{s:{s:{s:s, s:i}}}, s:[s, s, i]}", "outputs", "endpoints",
                                 "http", "address", "127.0.0.1", "port", 8000, "notes",
                                 "memory is not limited", "memory is not limited", 3);
        return json_pack("{s:{}}", "outputs");
}

static void happens(Fixture *f, const Pending *p) {
        if (streq_null(f->foreign, p->uid) && !streq(p->verb, "inspect"))
                f->n_foreign_touched++;
        if (streq(p->verb, "provision"))
                assert_int_equal(map_put(f->things, p->uid, f), 0);
        if (streq(p->verb, "deprovision") && !streq_null(f->stays_type, p->type))
                map_remove(f->things, p->uid);
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
                result = good_result(f, p);
                happens(f, p);
                reply.result = result;
                reply.items = streq(p->verb, "list") ? f->listed : NULL;
        }
        if (streq(p->verb, "watch"))
                reply.class = f->watch_dies ? PROVIDER_TRANSIENT : PROVIDER_INVALID;
        events.on_reply(events.userdata, &reply);
}

unsigned turns_until(Fixture *f, unsigned most) {
        unsigned n = 0;

        for (; f->wanted && n < most; n++) {
                f->wanted = false;
                (void) engine_turn(f->engine, NULL);
        }
        return n;
}

void turns(Fixture *f) {
        (void) turns_until(f, 100);
}

bool answer_first(Fixture *f) {
        Pending **at = &f->first, *p;

        while (*at && (streq_null(f->held_type[0], (*at)->type) ||
                       streq_null(f->held_type[1], (*at)->type)))
                at = &(*at)->next;
        p = *at;
        if (!p)
                return false;
        *at = p->next;
        answer(f, p);
        pending_free(p);
        return true;
}

typedef struct Lines {
        ProviderEvents events;
        const char *id;
} Lines;

static void on_line(void *userdata, const json_t *line) {
        const Lines *lines = userdata;

        lines->events.on_line(lines->events.userdata, lines->id, line);
}

void answer_first_with(Fixture *f, const char *bytes, size_t size, bool did) {
        Pending *p = f->first;
        Lines lines = { engine_provider_events(f->engine), p->id };
        auto_cleanup(reply_done) Reply r = { .on_line = on_line, .userdata = &lines };
        ProviderReply reply = { .call_id = p->id };

        f->first = p->next;
        if (did)
                happens(f, p);
        reply_read(&r, bytes, size);
        if (!reply_end(&r, &reply)) {
                reply.class = PROVIDER_TRANSIENT;
                reply.unknown = true;
                reply.message = r.fault ? r.fault : "it ended";
        }
        lines.events.on_reply(lines.events.userdata, &reply);
        pending_free(p);
}

void do_first(Fixture *f) {
        Pending *p = f->first;

        assert_non_null(p);
        f->first = p->next;
        happens(f, p);
        pending_free(p);
}

void settle(Fixture *f) {
        turns(f);
        for (unsigned i = 0; i < 200 && answer_first(f); i++)
                turns(f);
}

void settle_for(Fixture *f, int64_t ms) {
        int64_t until = f->now_ms + ms;

        settle(f);
        while (f->armed_ms != REAPER_NEVER && f->armed_ms <= until) {
                pass(f, f->armed_ms > f->now_ms ? f->armed_ms - f->now_ms : 1);
                settle(f);
        }
}

void spend(Fixture *f, int64_t ms) {
        int64_t until = f->now_ms + ms;

        settle_for(f, ms);
        if (f->now_ms < until)
                pass(f, until - f->now_ms);
        settle(f);
}

void push(Fixture *f, const char *branch, const char *commit) {
        auto_cleanup(freep) char *id = NULL;

        assert_int_equal(engine_push(f->engine, NULL, "shop", branch, commit, &id, NULL), 0);
}

void get(Fixture *f, const char *branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", branch);

        environment_done(ret);
        assert_int_equal(ledger_environment_get(f->ledger, name, ret, NULL), 0);
}

void assert_answer(Fixture *f, const char *label, const char *expected) {
        auto_cleanup(freep) char *host = str_format("%s.preview.localhost", label);
        auto_cleanup(route_done) Route route = { 0 };

        assert_int_equal(ledger_route_get(f->ledger, host, &route, NULL), 0);
        assert_string_equal(route.answer, expected);
}

const char *uid_of(Fixture *f, const char *type, char ret[ID_SIZE]) {
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
