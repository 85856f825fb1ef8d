#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"
#include "orchestrator/base/limits.h"

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

/* It would wait a day, and all the time the environment would be kept awake for it. */
static void test_a_push_tries_at_once_what_has_failed(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;
        char uid[ID_SIZE];

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        r.retry_ms = f->now_ms + MS_PER_DAY;
        r.tries = 5;
        assert_int_equal(ledger_resource_move(f->ledger, &r, RES_FAILED, NULL), 0);
        push(f, "login", B_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.live_generation, 2);
}

static void refuse(Fixture *f, const char *branch, unsigned times) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front = engine_front_events(f->engine);

        get(f, branch, &env);
        for (unsigned i = 0; i < times; i++) {
                front.on_refused(front.userdata, env.id);
                settle(f);
        }
}

/* It says that it is ready, and its address is not what the ledger knows: made again, which tells it, once. */
static void test_who_is_refused_in_vain_has_it_made_again(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        calls_forget(f);
        refuse(f, "login", 2);
        assert_int_equal(calls(f, "inspect", "workload"), 2);
        assert_int_equal(calls(f, "provision", NULL), 0);
        refuse(f, "login", 5);
        assert_int_equal(calls(f, "provision", "workload"), 1);
        assert_int_equal(calls(f, "provision", NULL), 1);
        pass(f, LIMIT_REPAIR_CALM_MS + 1000);
        refuse(f, "login", 2);
        assert_int_equal(calls(f, "provision", "workload"), 1);
        refuse(f, "login", 1);
        assert_int_equal(calls(f, "provision", "workload"), 2);
        assert_int_equal(map_size(f->things), 4);
}

/* What the ledger says of a thing may be a month old. */
static void test_what_is_to_go_is_seen_first(void **state) {
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        calls_forget(f);
        f->foreign = uid_of(f, "workload", f->foreign_uid);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        assert_int_equal(calls(f, "deprovision", "workload"), 0);
        assert_int_equal(calls(f, "deprovision", "volume"), 1);
        assert_int_equal(f->n_foreign_touched, 0);
        assert_null(uid_of(f, "volume", uid));
        map_remove(f->things, f->foreign_uid);
}

/* And what was seen before a long wait is seen again. */
static void test_a_look_before_a_removal_grows_old(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_true(answer_first(f)); /* the inspection of the workload */
        fault_arm("ledger.commit", 1, 1);
        turns(f);
        assert_true(fault_fired());
        fault_arm("none", 0, 0);
        calls_forget(f);
        pass(f, LIMIT_LOOKED_MS + 1000);
        turns(f);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        assert_int_equal(calls(f, "inspect", "workload"), 1);
}

/* Nor what was pushed and taken down since the list was begun, whatever commit that has. */
static void test_an_older_list_brings_nothing_back_either(void **state) {
        json_auto_t *one = json_pack("[{s:s, s:s}]", "name", "main", "commit", A_COMMIT);
        json_auto_t *two = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit", A_COMMIT,
                                     "name", "login", "commit", B_COMMIT);
        auto_cleanup(environment_done) Environment env = { 0 }, after = { 0 };
        Fixture *f = *state;
        int64_t began;

        assert_int_equal(engine_compare(f->engine, NULL, "shop", one, true, NULL, NULL), 0);
        settle(f);
        pass(f, MS_PER_MINUTE);
        began = engine_now_ms(f->engine);
        pass(f, 1000);
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        assert_int_equal(
                engine_compare_begun(f->engine, NULL, "shop", two, true, began, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        pass(f, MS_PER_MINUTE); /* and a newer list is believed */
        json_object_set_new(json_array_get(two, 1), "commit", json_string(E_COMMIT));
        assert_int_equal(engine_compare(f->engine, NULL, "shop", two, true, NULL, NULL), 0);
        settle(f);
        get(f, "login", &after);
        assert_int_equal(after.state, ENV_READY);
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
                WITH(test_a_push_tries_at_once_what_has_failed),
                WITH(test_who_is_refused_in_vain_has_it_made_again),
                WITH(test_what_is_to_go_is_seen_first),
                WITH(test_a_look_before_a_removal_grows_old),
                WITH(test_a_list_brings_nothing_back_that_was_taken_down),
                WITH(test_an_older_list_brings_nothing_back_either),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
