#include "tests/unit/engine-world.h"

/* What providers and the world do wrong. */

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
                settle_for(f, 100 * MS_PER_MINUTE);
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

/* "I cannot say" is not "it is not there": nothing is made again over it, nothing is called removed. */
static void test_uncertain_is_not_absent(void **state) {
        static const char uncertain[] =
                "{\"result\":{\"present\":\"uncertain\",\"marker\":\"\"}}\n";
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        calls_forget(f);
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        turns(f);
        assert_string_equal(f->first->verb, "inspect");
        answer_first_with(f, uncertain, strlen(uncertain), false);
        turns(f);
        assert_int_equal(calls(f, "provision", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "provision", NULL), 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);

        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_true(answer_first(f));
        turns(f);
        assert_string_equal(f->first->verb, "inspect");
        f->held_type[0] = "network"; /* nothing but the workload is answered */
        answer_first_with(f, uncertain, strlen(uncertain), false);
        turns(f);
        assert_int_equal(calls(f, "deprovision", "checkout"), 0);
        assert_int_equal(calls(f, "deprovision", "network"), 0);
        f->held_type[0] = NULL;
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
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

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_error_classes),
                WITH(test_removal_that_fails_is_stuck_then_daily),
                WITH(test_a_workload_that_vanished_is_made_again),
                WITH(test_secrets_are_in_no_message),
                WITH(test_somebody_elses_thing_is_left_alone),
                WITH(test_uncertain_is_not_absent),
                WITH(test_lost_volume_is_told_and_does_not_spin),
                WITH(test_a_network_that_cannot_come_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
