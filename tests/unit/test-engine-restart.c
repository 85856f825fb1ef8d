#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"
#include "reaper/reaper.h"

/* The daemon's death at every moment, and a ledger that cannot be written. */

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

static void F16_registration_lost_but_acknowledged(void **state) {
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

/* While turns cannot be committed, and for a while after, nothing is removed. */
static void test_nothing_is_removed_while_the_ledger_is_unwell(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        fault_arm("ledger.commit", 1, 1);
        push(f, "other", A_COMMIT);
        turns(f);
        if (!fault_fired())
                skip();
        fault_arm("none", 0, 0);
        calls_forget(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, 50 * 1000);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(map_size(f->things), 0);
}

static void spoil_freeze(Fixture *f, const char *value) {
        assert_int_equal(ledger_value_set(f->ledger, "frozen", value, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        daemon_killed(f);
        daemon_up(f);
}

/* Unknown is not "free". */
static void test_a_freeze_that_cannot_be_read_holds(void **state) {
        static const char *const values[] = { "", "{", "null", "[]", "yes" };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        for (size_t i = 0; i < N_ELEMENTS(values); i++) {
                spoil_freeze(f, values[i]);
                settle(f);
                assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        }
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(map_size(f->things), 0);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_killed_after_any_answer_it_comes_to_the_same_end),
                WITH(F16_registration_lost_but_acknowledged),
                WITH(test_every_write_may_fail),
                WITH(test_first_turn_after_a_crash_may_fail),
                WITH(test_an_environment_of_a_failed_turn_is_forgotten),
                WITH(test_nothing_is_removed_while_the_ledger_is_unwell),
                WITH(test_a_freeze_that_cannot_be_read_holds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
