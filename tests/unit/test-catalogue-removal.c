/* The catalogue of what reapers get wrong, by its numbers: how things are removed, and which. See
 * test-catalogue-lease.c. */
#include "tests/unit/engine-world.h"

#include <string.h>

#include "orchestrator/base/limits.h"

static EnvState state_of(Fixture *f, const char *which) {
        auto_cleanup(environment_done) Environment env = { 0 };

        assert_int_equal(ledger_environment_get(f->ledger, which, &env, NULL), 0);
        return env.state;
}

static ResState resource_state(Fixture *f, const char *uid) {
        auto_cleanup(resource_done) Resource r = { 0 };

        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        return r.state;
}

/* Where in the log of calls this one stands; after all of it when it was not made. */
static size_t place_of(Fixture *f, const char *verb, const char *type) {
        auto_cleanup(freep) char *start = str_format("%s %s ", verb, type);
        size_t at = 0;

        while (f->log && f->log[at] && !str_after(f->log[at], start))
                at++;
        return at;
}

static void refused(Fixture *f, const char *branch) {
        FrontEvents front = engine_front_events(f->engine);
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        front.on_refused(front.userdata, env.id);
}

/* ---- F5 ---- */

/* The front is asked right before; what it said another time is not used again. */
static void F05_stale_answer_acted_on(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        f->front_late = true;
        front = engine_front_events(f->engine);
        pass(f, 30 * MS_PER_MINUTE);
        settle(f);
        assert_non_null(f->question.environment_id);
        front.on_visit(front.userdata, env.id); /* while the front still thinks about it */
        settle(f);
        front_answers(f, &(FrontActivity){ .known = true });
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        /* half an hour on, somebody has a connection open: only a new answer can say so */
        pass(f, 30 * MS_PER_MINUTE);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        assert_non_null(f->question.environment_id);
        front_answers(f, &(FrontActivity){ .known = true, .open = 1 });
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
}

/* A list that was begun before a thing was ready says nothing about it. */
static void F05_stale_list_acted_on(void **state) {
        Fixture *f = *state;
        Pending *list;

        push(f, "old", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        daemon_killed(f);
        daemon_up(f);
        turns(f);
        while (f->first && !streq(f->first->verb, "list"))
                (void) answer_first(f);
        list = f->first; /* all of them begin now and answer later */
        assert_non_null(list);
        f->first = NULL;
        pass(f, 1000);
        push(f, "new", A_COMMIT);
        settle(f);
        assert_int_equal(state_of(f, "shop/new"), ENV_READY);
        calls_forget(f);
        f->list_complete = true;
        f->listed = json_array();
        for (Pending *p = list; p; p = p->next) {
                auto_cleanup(freep) char *marker =
                        str_format("%s/eother/rother", ledger_installation(f->ledger));

                json_array_append_new(f->listed,
                                      json_pack("{s:s, s:s}", "uid", "rother", "marker", marker));
        }
        f->first = list;
        settle(f);
        /* the old environment's are missing from the list, and are looked at; the new one's are not */
        assert_int_equal(calls(f, "inspect", NULL), 4);
        assert_int_equal(calls(f, "provision", NULL), 0);
}

/* ---- F6 ---- */

static void F06_name_reused_the_new_object_dies(void **state) {
        auto_cleanup(environment_done) Environment old = { 0 }, env = { 0 };
        auto_cleanup(route_done) Route route = { 0 };
        const char *uid;
        Fixture *f = *state;
        size_t at = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &old);
        f->fail_verb = "deprovision"; /* it takes its time */
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 3;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        push(f, "login", B_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_string_not_equal(env.id, old.id);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(state_of(f, old.id), ENV_DELETING);
        spend(f, 20 * MS_PER_MINUTE);
        assert_int_equal(state_of(f, old.id), ENV_GONE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(ledger_route_get(f->ledger, "login--shop.preview.localhost", &route, NULL),
                         0);
        assert_string_equal(route.environment_id, env.id);
        assert_string_equal(route.answer, "direct");
        assert_int_equal(map_size(f->things), 4);
        while (map_next(f->things, &at, &uid)) {
                auto_cleanup(resource_done) Resource r = { 0 };

                assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
                assert_string_equal(r.environment_id, env.id);
        }
}

/* ---- F8 ---- */

/* Children first; and one that cannot be removed keeps what it stands on. */
static void F08_owner_link_dangling(void **state) {
        Fixture *f = *state;
        size_t n;

        push(f, "login", A_COMMIT);
        settle(f);
        calls_forget(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, 12 * MS_PER_HOUR);
        assert_int_equal(calls(f, "deprovision", NULL), 1);
        assert_int_equal(map_size(f->things), 4);
        spend(f, 24 * MS_PER_HOUR);
        assert_int_equal(map_size(f->things), 0);
        n = strv_length(f->log);
        assert_true(place_of(f, "deprovision", "workload") < place_of(f, "deprovision", "network"));
        assert_true(place_of(f, "deprovision", "workload") <
                    place_of(f, "deprovision", "checkout"));
        assert_true(place_of(f, "deprovision", "checkout") <
                    place_of(f, "deprovision", "volume")); /* what they shared goes last */
        assert_true(place_of(f, "deprovision", "volume") < n);
}

/* A thing that says in its marker that it belongs to another environment is not ours, whatever its uid. */
static void F08_owner_link_wrong(void **state) {
        auto_cleanup(freep) char *wrong = NULL, *unknown = NULL, *none = NULL;
        auto_cleanup(stray_done) Stray orphan = { 0 };
        const char *inst;
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        inst = ledger_installation(f->ledger);
        assert_non_null(uid_of(f, "workload", uid));
        wrong = str_format("%s/e0000000000000000000/%s", inst, uid);
        unknown = str_format("%s/eother/rother", inst);
        none = str_format("%s/e0000000000000000000/", inst);
        f->listed = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "uid", uid, "marker", wrong,
                              "uid", "rother", "marker", unknown, "uid", "", "marker", none);
        f->list_complete = true;
        daemon_killed(f);
        daemon_up(f);
        calls_forget(f);
        settle(f);
        assert_int_equal(calls(f, "inspect", "workload"), 1); /* not seen: looked for */
        assert_int_equal(ledger_stray_get(f->ledger, "rother", &orphan, NULL), 0);
        stray_done(&orphan);
        assert_int_equal(ledger_stray_get(f->ledger, "", &orphan, NULL), -ENOENT);
}

/* ---- F17, F18 ---- */

static void F17_endless_retry(void **state) {
        static const ProviderClass spent[] = { PROVIDER_TRANSIENT, PROVIDER_CONFLICT,
                                               PROVIDER_GONE };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(spent); i++) {
                auto_cleanup(freep) char *branch = str_format("b%zu", i),
                                         *label = str_format("b%zu--shop", i);
                auto_cleanup(environment_done) Environment env = { 0 };

                f->fail_verb = "provision";
                f->fail_type = "volume";
                f->fail_class = spent[i];
                f->fail_times = 1000;
                calls_forget(f);
                push(f, branch, A_COMMIT);
                spend(f, MS_PER_DAY);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_FAILED);
                assert_int_equal(calls(f, "provision", "volume"), LIMIT_TRANSIENT_TRIES);
                f->fail_times = 0;
                assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
                spend(f, MS_PER_HOUR);
                assert_int_equal(map_size(f->things), 0);
        }
        /* a removal: so many times, then once a day, with its cause on the list */
        push(f, "last", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 1000;
        calls_forget(f);
        assert_int_equal(engine_down(f->engine, NULL, "last--shop", NULL), 0);
        spend(f, 10 * MS_PER_DAY);
        assert_in_range(calls(f, "deprovision", "workload"), LIMIT_TRANSIENT_TRIES + 8,
                        LIMIT_TRANSIENT_TRIES + 10);
}

static void F18_one_stuck_item_blocks_all(void **state) {
        auto_cleanup(environment_done) Environment stuck = { 0 };
        auto_cleanup(resource_done) Resource network = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "stuck", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "checkout";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        get(f, "stuck", &stuck);
        assert_non_null(uid_of(f, "network", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &network, NULL), 0);
        assert_string_equal(network.environment_id, stuck.id);
        assert_int_equal(engine_down(f->engine, NULL, "stuck--shop", NULL), 0);
        f->held_type[0] = "network"; /* answered when the other one is stuck */
        settle(f);
        assert_int_equal(f->fail_times, 0);
        f->held_type[0] = NULL;
        settle(f);
        /* what does not stand on it goes at once */
        assert_int_equal(resource_state(f, uid), RES_REMOVED);
        push(f, "other", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "other--shop", NULL), 0);
        spend(f, MS_PER_HOUR);
        assert_int_equal(state_of(f, "shop/other"), ENV_GONE);
        assert_int_equal(state_of(f, stuck.id), ENV_DELETING);
}

/* ---- F27 ---- */

static int no_failure(void *userdata, const Event *e) {
        if (streq(e->kind, "environment.deleting"))
                *(bool *) userdata = true;
        if (*(bool *) userdata)
                assert_false(str_ends_with(e->kind, ".failed") || str_ends_with(e->kind, ".stuck"));
        return 0;
}

/* A removal that finds nothing has removed it; and one that is not yet through is no failure. */
static void F27_cleaning_signalled_as_failing(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        bool deleting = false;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 1;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        assert_int_equal(state_of(f, "shop/login"), ENV_DELETING);
        assert_answer(f, "login--shop", "gone");
        f->fail_type = "network";
        f->fail_class = PROVIDER_GONE;
        f->fail_times = 1;
        map_remove(f->things, uid_of(f, "network", f->foreign_uid));
        spend(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_null(env.cause);
        assert_int_equal(calls(f, "deprovision", "network"), 1);
        assert_int_equal(map_size(f->things), 0);
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 1000, no_failure, &deleting, NULL),
                         0);
        assert_true(deleting);
}

/* ---- F29 ---- */

/* While something is left an environment is not gone, and trying again means trying, not forgetting. */
static void F29_force_strands_content(void **state) {
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", uid));
        f->fail_verb = "deprovision";
        f->fail_type = "volume";
        f->fail_class = PROVIDER_UNRECOVERABLE;
        f->fail_times = 2;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, MS_PER_HOUR);
        assert_int_equal(map_size(f->things), 1);
        assert_int_equal(state_of(f, "shop/login"), ENV_DELETING);
        assert_int_equal(resource_state(f, uid), RES_STUCK);
        daemon_killed(f);
        daemon_up(f);
        spend(f, MS_PER_HOUR);
        assert_int_equal(state_of(f, "shop/login"), ENV_DELETING);
        assert_int_equal(resource_state(f, uid), RES_STUCK);
        spend(f, MS_PER_DAY);
        assert_int_equal(f->fail_times, 0);
        assert_int_equal(state_of(f, "shop/login"), ENV_DELETING);
        spend(f, MS_PER_DAY);
        assert_int_equal(state_of(f, "shop/login"), ENV_GONE);
        assert_int_equal(map_size(f->things), 0);
}

/* ---- F33 ---- */

static void F33_silent_no_op_for_lack_of_permission(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "workload", uid));
        f->stays_type = "workload"; /* "removed", says the provider; it is all there */
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_non_null(strstr(env.cause, "still there"));
        assert_int_equal(resource_state(f, uid), RES_STUCK);
        f->stays_type = NULL;
        spend(f, MS_PER_DAY);
        assert_int_equal(state_of(f, "shop/login"), ENV_GONE);
        assert_int_equal(map_size(f->things), 0);

        /* "denied" is not tried again and again, and is said */
        push(f, "denied", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        calls_forget(f);
        assert_int_equal(engine_down(f->engine, NULL, "denied--shop", NULL), 0);
        spend(f, MS_PER_HOUR);
        get(f, "denied", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_non_null(strstr(env.cause, "it said no"));
        assert_int_equal(calls(f, "deprovision", "workload"), 1);
}

/* ---- somebody else's thing in our place ---- */

static void I05_identity_is_read_before_anything_is_made_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->foreign = uid_of(f, "workload", f->foreign_uid);
        refused(f, "login");
        spend(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "not ours"));
        assert_int_equal(f->n_foreign_touched, 0);
        f->foreign = NULL;
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(F05_stale_answer_acted_on),
                WITH(F05_stale_list_acted_on),
                WITH(F06_name_reused_the_new_object_dies),
                WITH(F08_owner_link_dangling),
                WITH(F08_owner_link_wrong),
                WITH(F17_endless_retry),
                WITH(F18_one_stuck_item_blocks_all),
                WITH(F27_cleaning_signalled_as_failing),
                WITH(F29_force_strands_content),
                WITH(F33_silent_no_op_for_lack_of_permission),
                WITH(I05_identity_is_read_before_anything_is_made_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
