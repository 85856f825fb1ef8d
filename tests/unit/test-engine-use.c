#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"

/* What counts as use, until when it holds off an end, and what begins a life anew. */

static void test_what_is_waking_is_not_deleted(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_sleep(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        push(f, "login", NULL);
        settle(f);
        pass(f, MS_PER_HOUR - 1000);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        pass(f, 2000); /* delete_after_close had an hour */
        turns(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

/* sleep_after_idle begins at the end of an open connection, not at its beginning. */
static void test_an_open_connection_is_use_until_it_ends(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->activity.open = 1;
        spend(f, 31 * MS_PER_MINUTE);
        f->activity.open = 0;
        spend(f, 7 * MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
}

/* delete_after_asleep begins anew with it. */
static void test_a_push_to_what_sleeps_is_use(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, 6 * MS_PER_DAY);
        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, 2 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

/* A branch that was taken down by hand and still stands in the repository as it was. */
static void test_a_list_brings_nothing_back_that_was_taken_down(void **state) {
        json_auto_t *one = json_pack("[{s:s, s:s}]", "name", "main", "commit", A_COMMIT);
        json_auto_t *two = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit", A_COMMIT,
                                     "name", "login", "commit", A_COMMIT);
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        assert_int_equal(engine_compare(f->engine, NULL, "shop", one, true, NULL, NULL), 0);
        settle(f);
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, MS_PER_HOUR);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", two, true, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

/* What was written last may be a renewal that is not there. */
static void test_no_lease_ends_while_the_ledger_is_unwell(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", NULL);
        settle(f);
        spend(f, MS_PER_HOUR - 30 * 1000); /* it sleeps, and nothing is under way */
        fault_arm("ledger.commit", 1, 1);
        push(f, "other", A_COMMIT);
        turns(f);
        assert_true(fault_fired());
        fault_arm("none", 0, 0);
        pass(f, 35 * 1000);
        turns(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_what_is_waking_is_not_deleted),
                WITH(test_an_open_connection_is_use_until_it_ends),
                WITH(test_a_push_to_what_sleeps_is_use),
                WITH(test_no_lease_ends_while_the_ledger_is_unwell),
                WITH(test_a_list_brings_nothing_back_that_was_taken_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
