/* A ledger whose rows somebody spoilt: columns that are NULL, of another type, or hold anything at all.
 * The constraints of its tables are taken away first, and the input then sets columns (lent.h).
 *
 * Every row is read, judged, shown and acted on. Whatever comes of it is an error and no crash. */
#include "tests/fuzz/lent.h"

#include "orchestrator/api/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- all of it is read and shown ---- */

static int show(json_t *object) {
        char *said = object ? json_dumps(object, JSON_COMPACT) : NULL;

        free(said);
        json_decref(object);
        return 0;
}

static int on_event(void *userdata, const Event *e) {
        return show(render_event(e, "label"));
}

static int on_project(void *userdata, const Project *p) {
        return show(render_project(p));
}

static int on_resource(void *userdata, const Resource *r) {
        Fixture *f = userdata;
        char *outputs = NULL;

        if (ledger_resource_outputs(f->ledger, r, &outputs, NULL) == 0)
                free(outputs);
        return show(render_resource(r));
}

static int on_generation(void *userdata, const Generation *g) {
        return show(render_generation(g));
}

static int on_environment(void *userdata, const Environment *env) {
        Fixture *f = userdata;
        json_t *why = NULL;

        (void) ledger_generation_each(f->ledger, env->id, on_generation, f, NULL);
        (void) ledger_resource_each(f->ledger, env->id, true, on_resource, f, NULL);
        if (engine_why(f->engine, env->id, &why, NULL) == 0)
                show(why);
        return 0;
}

static int on_intent(void *userdata, const Intent *i) {
        return 0;
}

static int on_route(void *userdata, const Route *r) {
        return 0;
}

static void read_all(Fixture *f) {
        (void) ledger_event_each(f->ledger, 0, NULL, 1000, on_event, f, NULL);
        (void) ledger_project_each(f->ledger, on_project, f, NULL);
        (void) ledger_environment_each(f->ledger, NULL, true, on_environment, f, NULL);
        (void) ledger_intent_each_open(f->ledger, on_intent, f, NULL);
        (void) ledger_route_each(f->ledger, on_route, f, NULL);
}

/* As long as nobody spoils it a daemon starts on it; or every input would end where none does. */
static void sound_starts(Store *store) {
        Fixture *f = spoilt_world(store);
        void *state = f;

        daemon_up(f);
        read_all(f);
        assert(tear_down(&state) == 0);
}

/* The store of one input after the other, and a connection that spoils it. */
static Store *present(Db **ret_spoiler) {
        static Store *store;
        static Db *spoiler;

        if (!store) {
                store = store_copy(spoilt_template());
                assert(db_open(store_path(store), NULL, &spoiler, NULL) == 0);
                assert(db_exec(spoiler,
                               "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF",
                               NULL) == 0);
                sound_starts(store);
        }
        store_put(store, spoilt_template());
        *ret_spoiler = spoiler;
        return store;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int64_t bad = 0;
        Store *store;
        Db *spoiler;
        void *state;
        Fixture *f;

        store = present(&spoiler);
        assert(db_exec(spoiler, "BEGIN", NULL) == 0);
        (void) spoil(spoiler, data, size);
        assert(db_exec(spoiler, "COMMIT", NULL) == 0);
        f = spoilt_world(store);
        if (daemon_try(f, NULL) == 0) {
                read_all(f);
                settle(f);
                read_all(f);
                (void) engine_push(f->engine, NULL, "shop", "ready", A_COMMIT, NULL, NULL);
                (void) engine_down(f->engine, NULL, "way--shop", NULL);
                settle(f);
                (void) ledger_verify_events(f->ledger, &bad, NULL);
        }
        state = f;
        assert(tear_down(&state) == 0);
        return 0;
}
