#include "tests/unit/engine-world.h"

#include "orchestrator/base/limits.h"

/* One environment's way when all goes well: built, replaced, closed, put to sleep, woken, deleted. */

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
        auto_cleanup(generation_done) Generation served = { 0 };
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
        assert_int_equal(ledger_generation_get(f->ledger, env.id, 1, &served, NULL), 0);
        assert_int_equal(served.state, GEN_LIVE);
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

/* Requests that the old workload still answers when the route has moved get a moment to end. */
static void test_old_workloads_get_a_moment(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", B_COMMIT);
        settle(f);
        assert_int_equal(calls(f, "deprovision", "workload"), 0);
        spend(f, LIMIT_DRAIN_MS - 1);
        assert_int_equal(calls(f, "deprovision", "workload"), 0);
        spend(f, 2);
        assert_int_equal(calls(f, "deprovision", "workload"), 1);
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
                WITH(test_push_to_one_being_deleted_begins_a_new_one),
                WITH(test_old_workloads_get_a_moment),
                WITH(test_quiet_when_nothing_is_due),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
