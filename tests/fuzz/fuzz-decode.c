/* What the ledger makes of rows that somebody spoilt (lent.h), without the engine's work: every reader reads
 * every row of what was changed, and what it gives can be shown. One ledger is open all the time; what an input changed is
 * taken back. A row in no state that there is must be an error. */
#include "tests/fuzz/lent.h"

#include "orchestrator/api/render.h"
#include "orchestrator/spec/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define N_IDS 3

static char *ids[N_IDS]; /* of the environments, as they were */

static int show(json_t *object) {
        char *said = object ? json_dumps(object, JSON_COMPACT) : NULL;

        free(said);
        json_decref(object);
        return 0;
}

/* ---- one row of each kind ---- */

static int on_project(void *userdata, const Project *p) {
        auto_cleanup(project_done) Project again = { 0 };
        Fixture *f = userdata;

        (void) ledger_project_get(f->ledger, p->name, &again, NULL);
        project_done(&again);
        (void) ledger_project_get(f->ledger, p->id, &again, NULL);
        return show(render_project(p));
}

static int on_event(void *userdata, const Event *e) {
        return show(render_event(e, "label"));
}

static int on_generation(void *userdata, const Generation *g) {
        json_auto_t *json = g->graph ? json_loads(g->graph, 0, NULL) : NULL;
        auto_cleanup(generation_done) Generation again = { 0 };
        auto_cleanup(graph_freep) Graph *graph = NULL;
        Fixture *f = userdata;

        (void) ledger_generation_get(f->ledger, g->environment_id, g->number, &again, NULL);
        if (json)
                (void) graph_from_json(json, &graph, NULL);
        return show(render_generation(g));
}

static int on_resource(void *userdata, const Resource *r) {
        auto_cleanup(resource_done) Resource again = { 0 };
        auto_cleanup(freep) char *outputs = NULL;
        Fixture *f = userdata;

        (void) ledger_resource_get(f->ledger, r->uid, &again, NULL);
        (void) ledger_resource_outputs(f->ledger, r, &outputs, NULL);
        return show(render_resource(r));
}

static int on_receipt(void *userdata, const Receipt *receipt) {
        EngineVerify *verify = NULL;
        Fixture *f = userdata;

        (void) ledger_receipt_check(f->ledger, receipt, NULL);
        if (engine_verify(f->engine, receipt, NULL, NULL, &verify, NULL) == 0)
                engine_verify_cancel(verify);
        return 0;
}

static int on_environment(void *userdata, const Environment *env) {
        static const Manager manager = { .front_url = (char *) "http://%s.preview.localhost:1" };
        auto_cleanup(environment_done) Environment again = { 0 };
        Fixture *f = userdata;

        (void) ledger_environment_get(f->ledger, env->id, &again, NULL);
        environment_done(&again);
        (void) ledger_environment_by_branch(f->ledger, env->project_id, env->branch, &again, NULL);
        return show(render_environment(&manager, env));
}

static int on_due(void *userdata, const Environment *env) {
        return 0;
}

static int on_intent(void *userdata, const Intent *i) {
        return 0;
}

static int on_route(void *userdata, const Route *r) {
        auto_cleanup(route_done) Route again = { 0 };
        Fixture *f = userdata;

        (void) ledger_route_get(f->ledger, r->host, &again, NULL);
        return 0;
}

static int on_stray(void *userdata, const Stray *s) {
        auto_cleanup(stray_done) Stray again = { 0 };
        Fixture *f = userdata;

        (void) ledger_stray_get(f->ledger, s->uid, &again, NULL);
        return 0;
}

static int on_outbox_item(void *userdata, const OutboxItem *o) {
        return 0;
}

/* ---- all of a table, and of those that are read with it ---- */

static void read_projects(Fixture *f) {
        (void) ledger_project_each(f->ledger, on_project, f, NULL);
}

static void read_environments(Fixture *f) {
        static const char *const known[] = { "ready--shop", "way--shop", "gone--shop",
                                             "shop/ready",  "shop/way",  "shop/gone" };
        int64_t ms;

        (void) ledger_environment_each(f->ledger, NULL, true, on_environment, f, NULL);
        (void) ledger_environment_each(f->ledger, NULL, false, on_due, f, NULL);
        (void) ledger_environment_each_due(f->ledger, INT64_MAX, on_due, f, NULL);
        (void) ledger_environment_next_due(f->ledger, &ms, NULL);
        for (size_t i = 0; i < N_ELEMENTS(known); i++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                (void) ledger_environment_get(f->ledger, known[i], &env, NULL);
        }
}

/* What the engine tells of an environment comes from most of the tables. */
static void read_whys(Fixture *f) {
        static const char *const known[] = { "ready--shop", "way--shop", "shop/gone" };

        for (size_t i = 0; i < N_ELEMENTS(known); i++) {
                json_t *why = NULL;

                if (engine_why(f->engine, known[i], &why, NULL) == 0)
                        show(why);
        }
}

static void read_generations(Fixture *f) {
        for (size_t i = 0; i < N_IDS; i++) {
                (void) ledger_generation_each(f->ledger, ids[i], on_generation, f, NULL);
                (void) ledger_generation_each_open(f->ledger, ids[i], on_generation, f, NULL);
        }
}

static void read_resources(Fixture *f) {
        int64_t ms;

        for (size_t i = 0; i < N_IDS; i++)
                (void) ledger_resource_each(f->ledger, ids[i], true, on_resource, f, NULL);
        (void) ledger_resource_each(f->ledger, NULL, false, on_resource, f, NULL);
        (void) ledger_resource_each_retry(f->ledger, 0, INT64_MAX, on_resource, f, NULL);
        (void) ledger_resource_next_retry(f->ledger, f->now_ms, &ms, NULL);
}

static void read_intents(Fixture *f) {
        (void) ledger_intent_each_open(f->ledger, on_intent, f, NULL);
}

static void read_events(Fixture *f) {
        int64_t n;

        (void) ledger_event_each(f->ledger, 0, NULL, 1000, on_event, f, NULL);
        for (size_t i = 0; i < N_IDS; i++) {
                (void) ledger_event_each(f->ledger, 0, ids[i], 1000, on_event, f, NULL);
                (void) ledger_event_before_last(f->ledger, ids[i], 2, &n, NULL);
        }
        (void) ledger_event_before_last(f->ledger, NULL, 3, &n, NULL);
        (void) ledger_event_last_ms(f->ledger, &n, NULL);
        (void) ledger_verify_events(f->ledger, &n, NULL);
}

static void read_routes(Fixture *f) {
        auto_cleanup(strv_freep) char **hosts = NULL;

        (void) ledger_route_each(f->ledger, on_route, f, NULL);
        (void) ledger_routes_gone(f->ledger, INT64_MAX, 10, &hosts, NULL);
}

static void read_values(Fixture *f) {
        static const char *const values[] = { "clock.mark", "frozen", "held",   "installation",
                                              "key",        "moved",  "signing" };

        for (size_t i = 0; i < N_ELEMENTS(values); i++) {
                auto_cleanup(freep) char *value = NULL;

                (void) ledger_value_get(f->ledger, values[i], &value, NULL);
        }
}

static void read_receipts(Fixture *f) {
        for (size_t i = 0; i < N_IDS; i++) {
                auto_cleanup(receipt_done) Receipt receipt = { 0 };

                (void) ledger_receipt_get(f->ledger, ids[i], &receipt, NULL);
        }
        (void) ledger_receipt_each(f->ledger, "gone--shop", 10, on_receipt, f, NULL);
}

static void read_strays(Fixture *f) {
        json_t *orphans = NULL;
        int64_t ms;

        (void) ledger_stray_each(f->ledger, NULL, on_stray, f, NULL);
        (void) ledger_stray_each(f->ledger, "process", on_stray, f, NULL);
        (void) ledger_stray_each_removing(f->ledger, INT64_MAX, on_stray, f, NULL);
        (void) ledger_stray_next(f->ledger, 0, &ms, NULL);
        (void) ledger_stray_oldest_look(f->ledger, &ms, NULL);
        if (engine_orphans(f->engine, &orphans, NULL) == 0)
                show(orphans);
}

static void read_outbox(Fixture *f) {
        int64_t ms;

        (void) ledger_outbox_each_due(f->ledger, INT64_MAX, on_outbox_item, f, NULL);
        (void) ledger_outbox_next(f->ledger, &ms, NULL);
}

static void on_found(void *userdata, const char *sentence) {
        assert(*sentence);
}

static void read_verified(Fixture *f) {
        auto_cleanup(freep) char *why = NULL;

        (void) ledger_verify(f->ledger, on_found, f, NULL);
        (void) ledger_hold(f->ledger, &why, NULL);
        for (size_t i = 0; i < N_IDS; i++)
                (void) ledger_receipt_expected(f->ledger, ids[i], NULL);
}

/* What no spoilt table has a part in says the same each time. */
#define OF(table) (1U << TABLE_##table)

static const struct {
        void (*read)(Fixture *f);
        unsigned tables;
} readers[] = {
        { read_projects, OF(PROJECT) },
        { read_environments, OF(ENVIRONMENT) | OF(PROJECT) },
        { read_whys, OF(ENVIRONMENT) | OF(PROJECT) | OF(GENERATION) | OF(RESOURCE) | OF(INTENT) |
                             OF(EVENT) | OF(ROUTE) | OF(VALUE) },
        { read_generations, OF(GENERATION) },
        { read_resources, OF(RESOURCE) },
        { read_intents, OF(INTENT) },
        { read_events, OF(EVENT) },
        { read_routes, OF(ROUTE) },
        { read_values, OF(VALUE) },
        { read_receipts, OF(RECEIPT) | OF(VALUE) },
        { read_strays, OF(STRAY) | OF(RESOURCE) | OF(ENVIRONMENT) },
        { read_outbox, OF(OUTBOX) },
        { read_verified, OF(ENVIRONMENT) | OF(EVENT) | OF(RECEIPT) | OF(VALUE) },
};

/* ---- states ---- */

static int on_no_resource(void *userdata, const Resource *r) {
        return 0;
}

static int on_no_generation(void *userdata, const Generation *g) {
        return 0;
}

static const char *env_name(int i) {
        return env_state_to_string((EnvState) i);
}

static const char *level_name(int i) {
        return env_level_to_string((EnvLevel) i);
}

static const char *gen_name(int i) {
        return gen_state_to_string((GenState) i);
}

static const char *res_name(int i) {
        return res_state_to_string((ResState) i);
}

static int walk_environments(Ledger *l, const char *key) {
        return ledger_environment_each(l, NULL, true, on_due, NULL, NULL);
}

static int walk_generations(Ledger *l, const char *key) {
        return ledger_generation_each(l, key, on_no_generation, NULL, NULL);
}

static int walk_resources(Ledger *l, const char *key) {
        return ledger_resource_each(l, NULL, true, on_no_resource, NULL, NULL);
}

/* Generations are only found by a key that is still a text, and whole. */
static const struct {
        const char *sql; /* what the walk needs to find it, state */
        const char *(*name)(int state);
        int n;
        int (*walk)(Ledger *l, const char *key);
} machines[] = {
        { "SELECT id, state FROM environment", env_name, _ENV_STATE_MAX, walk_environments },
        { "SELECT id, level FROM environment", level_name, _LEVEL_MAX, walk_environments },
        { "SELECT environment_id, state FROM generation WHERE typeof(environment_id) = 'text'"
          " AND length(CAST(environment_id AS BLOB)) = length(environment_id)",
          gen_name, _GEN_STATE_MAX, walk_generations },
        { "SELECT uid, state FROM resource", res_name, _RES_STATE_MAX, walk_resources },
};

static bool is_state(size_t machine, const char *text) {
        for (int i = 0; text && i < machines[machine].n; i++)
                if (streq(machines[machine].name(i), text))
                        return true;
        return false;
}

static void states_are_judged(Fixture *f) {
        for (size_t i = 0; i < N_ELEMENTS(machines); i++) {
                auto_cleanup(db_query_donep) DbQuery *q = NULL;

                assert(db_query(f->lent, machines[i].sql, &q, NULL) == 0);
                while (db_step(q, NULL) > 0)
                        if (!is_state(i, db_text(q, 1)))
                                assert(machines[i].walk(f->ledger, db_text(q, 0)) < 0);
        }
}

/* ---- the ledger ---- */

static void ids_note(Fixture *f) {
        static const char *const names[N_IDS] = { "shop/ready", "shop/way", "shop/gone" };

        for (size_t i = 0; i < N_IDS; i++) {
                Environment env = { 0 };

                assert(ledger_environment_get(f->ledger, names[i], &env, NULL) == 0);
                ids[i] = TAKE(env.id);
                environment_done(&env);
        }
}

/* Fewer rows than the template has: all of them are read each time. */
static void thin_out(Store *store) {
        static const char sql[] = "DELETE FROM event WHERE number > 12;"
                                  "DELETE FROM intent WHERE outcome IS NOT NULL AND rowid > 4;"
                                  "DELETE FROM resource WHERE state = 'removed' AND rowid > 3;";

        assert(db_exec(store_db(store), "PRAGMA foreign_keys = OFF", NULL) == 0);
        assert(db_exec(store_db(store), sql, NULL) == 0);
}

static Fixture *world(void) {
        static Store *store;
        static Fixture *f;

        if (f)
                return f;
        store = store_copy(spoilt_template());
        thin_out(store);
        f = spoilt_world(store);
        daemon_up(f);
        assert(ledger_commit(f->ledger, NULL) == 0);
        ids_note(f);
        for (size_t i = 0; i < N_ELEMENTS(machines); i++)
                assert(machines[i].walk(f->ledger, ids[0]) == 0);
        assert(db_exec(f->lent, "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF",
                       NULL) == 0);
        return f;
}

static void run(Fixture *f, const char *sql) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;

        assert(db_query(f->lent, sql, &q, NULL) == 0);
        assert(db_run(q, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char begin[] = "BEGIN", undo[] = "ROLLBACK";
        Fixture *f = world();
        unsigned spoilt;

        run(f, begin);
        spoilt = spoil(f->lent, data, size);
        for (size_t i = 0; i < N_ELEMENTS(readers); i++)
                if (readers[i].tables & spoilt)
                        readers[i].read(f);
        states_are_judged(f);
        assert(!ledger_is_open(f->ledger)); /* nothing of that writes */
        run(f, undo);
        return 0;
}
