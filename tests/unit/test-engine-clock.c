#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"
#include "orchestrator/base/limits.h"
#include "reaper/reaper.h"

/* Trusted time, and what a clock that was set holds until a person has looked. */

static void set_clock(Fixture *f, int64_t by_ms) {
        f->now_ms += by_ms;
        f->wanted = true;
        settle(f);
}

/* The machine is off for so long, and its clock is off by something else when it is back. */
static void reboot(Fixture *f, int64_t off_ms, int64_t wrong_ms) {
        static const char *const names[] = { "boot-a", "boot-b" };

        daemon_killed(f);
        f->boot_id = streq(f->boot_id, names[0]) ? names[1] : names[0];
        f->now_ms += off_ms + wrong_ms;
        f->boot_ms = 5000;
        f->suspended_ms = 0;
        daemon_up(f);
        settle(f);
}

static json_int_t number(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

static int unfreeze(Fixture *f, bool accept_clock, EngineReleased *ret) {
        int r = engine_unfreeze(f->engine, NULL, accept_clock, ret, NULL);

        settle(f);
        return r;
}

static void has(Fixture *f, const char *branch, EnvState state, EnvLevel level) {
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        assert_int_equal(env.state, state);
        if (state == ENV_READY)
                assert_int_equal(env.level, level);
}

/* "why" says when this clock of shop/login ends, told from now. */
static int64_t left(Fixture *f, const char *clock) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *why = NULL;
        json_t *c;
        size_t i;

        get(f, "login", &env);
        assert_int_equal(engine_why(f->engine, env.id, &why, NULL), 0);
        json_array_foreach(json_object_get(why, "clocks"), i, c)
                if (streq(text(c, "name"), clock))
                        return number(c, "due_ms") - engine_now_ms(f->engine);
        fail();
        return 0;
}

static bool frozen_by_clock(Fixture *f) {
        json_auto_t *holds = NULL;

        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        return json_is_object(json_object_get(json_object_get(holds, "clock"), "frozen"));
}

static int64_t hold_until(Fixture *f) {
        json_auto_t *holds = NULL;

        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        return number(holds, "hold_until_ms");
}

/* One asleep, with a pin for two days and an extension. */
static void sleeper(Fixture *f) {
        push(f, "login", A_COMMIT);
        spend(f, MS_PER_HOUR);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", MS_PER_DAY, NULL), 0);
        assert_int_equal(engine_pin(f->engine, NULL, "login--shop",
                                    engine_now_ms(f->engine) + 2 * MS_PER_DAY, "demo", NULL),
                         0);
        settle(f);
}

/* ---- the release ---- */

/* The clock was a month behind and is put right: what is minutes old does not become a month old. */
static void test_a_clock_that_was_behind_is_accepted(void **state) {
        auto_cleanup(environment_done) Environment before = { 0 }, after = { 0 };
        const int64_t month = 30 * MS_PER_DAY;
        EngineReleased done = { 0 };
        auto_error error = { 0 };
        Fixture *f = *state;
        int64_t age;

        sleeper(f);
        get(f, "login", &before);
        age = left(f, "delete_after_age");
        set_clock(f, month);
        assert_true(frozen_by_clock(f));
        assert_int_equal(engine_unfreeze(f->engine, NULL, false, NULL, &error), -EPERM);
        assert_non_null(strstr(error.message, "30d ahead"));
        assert_non_null(strstr(error.message, "--accept-clock"));
        settle(f);
        assert_true(frozen_by_clock(f));
        assert_int_equal(left(f, "delete_after_age"), age);

        assert_int_equal(unfreeze(f, true, &done), 0);
        assert_true(done.clock && !done.held && !done.freeze);
        assert_int_equal(done.moved_ms, month);
        assert_false(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
        assert_int_equal(left(f, "delete_after_age"), age);
        get(f, "login", &after);
        assert_int_equal(after.pinned_until_ms, before.pinned_until_ms + month);
        assert_int_equal(after.extended_until_ms, before.extended_until_ms + month);
        assert_int_equal(hold_until(f), f->now_ms + LIMIT_CLOCK_HOLD_MS);
        spend(f, 20 * MS_PER_HOUR);
        daemon_killed(f);
        daemon_up(f);
        spend(f, 5 * MS_PER_DAY);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        spend(f, 2 * MS_PER_DAY);
        has(f, "login", ENV_GONE, 0);
        assert_int_equal(unfreeze(f, false, &done), 0);
        assert_false(done.freeze || done.held || done.clock || done.hold);
}

/* The mark says what was accepted, or the start after a kill would take the clock for stepped once more. */
static void test_a_kill_right_after_it_does_not_undo_it(void **state) {
        const int64_t month = 30 * MS_PER_DAY;
        Fixture *f = *state;
        int64_t age;

        sleeper(f);
        age = left(f, "delete_after_age");
        set_clock(f, month);
        assert_int_equal(engine_unfreeze(f->engine, NULL, true, NULL, NULL), 0);
        assert_int_equal(engine_turn(f->engine, NULL), 0);
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_false(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
        assert_int_equal(left(f, "delete_after_age"), age);
}

/* What is made in the very turn of the release is not older than that, and what is promised in it holds. */
static void test_the_turn_of_the_release_moves_too(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        settle(f);
        set_clock(f, 30 * MS_PER_DAY);
        push(f, "first", A_COMMIT);
        assert_int_equal(engine_unfreeze(f->engine, NULL, true, NULL, NULL), 0);
        push(f, "login", A_COMMIT);
        assert_int_equal(engine_extend(f->engine, NULL, "first--shop", MS_PER_DAY, NULL), 0);
        get(f, "first", &env);
        assert_int_equal(env.extended_until_ms, f->now_ms + MS_PER_DAY);
        spend(f, 10 * MS_PER_MINUTE);
        has(f, "first", ENV_READY, LEVEL_AWAKE);
        has(f, "login", ENV_READY, LEVEL_AWAKE);
        spend(f, 15 * MS_PER_DAY);
        assert_true(left(f, "delete_after_asleep") < MS_PER_DAY * 23);
}

static void test_a_clock_that_was_put_right_needs_no_word(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        set_clock(f, 3650 * MS_PER_DAY);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(unfreeze(f, false, NULL), -EPERM);
        set_clock(f, MS_PER_MINUTE - 3650 * MS_PER_DAY);
        assert_true(frozen_by_clock(f)); /* it is for a person to say so */
        assert_int_equal(unfreeze(f, false, NULL), 0);
        assert_false(frozen_by_clock(f));
        spend(f, 10 * MS_PER_MINUTE);
        has(f, "login", ENV_READY, LEVEL_AWAKE);
        assert_int_equal(engine_now_ms(f->engine), f->now_ms); /* nothing of it is kept */
}

/* A release that cannot be stored changes nothing, and the next one finds what there was. */
static void test_a_release_that_fails_moves_no_time(void **state) {
        Fixture *f = *state;
        int64_t now, age;

        push(f, "login", A_COMMIT);
        settle(f);
        age = left(f, "delete_after_age");
        set_clock(f, 300 * MS_PER_DAY);
        now = engine_now_ms(f->engine);
        fault_arm("ledger.commit", 1, 1);
        assert_int_equal(engine_unfreeze(f->engine, NULL, true, NULL, NULL), 0);
        turns(f);
        if (!fault_fired())
                skip();
        assert_int_equal(engine_now_ms(f->engine), now);
        for (unsigned n = 1; n < 12; n++) { /* also when it fails in the middle */
                fault_arm("ledger", n, 1);
                if (engine_unfreeze(f->engine, NULL, true, NULL, NULL) == 0) {
                        fault_arm("none", 0, 0);
                        break;
                }
                assert_int_equal(engine_now_ms(f->engine), now);
                turns(f);
                fault_arm("none", 0, 0);
                spend(f, 11 * MS_PER_SECOND);
                now += 11 * MS_PER_SECOND;
                assert_int_equal(engine_now_ms(f->engine), now);
                assert_true(frozen_by_clock(f));
        }
        settle(f);
        assert_false(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
        assert_true(left(f, "delete_after_age") > age - MS_PER_DAY);
}

/* A step is told in the turn that can store it, however many could not. */
static void test_a_step_in_a_turn_that_fails_is_not_forgotten(void **state) {
        Fixture *f = *state;
        int64_t now;

        push(f, "login", A_COMMIT);
        settle(f);
        now = engine_now_ms(f->engine);
        fault_arm("ledger.commit", 1, 3);
        set_clock(f, 3650 * MS_PER_DAY);
        if (!fault_fired())
                skip();
        assert_int_equal(engine_now_ms(f->engine), now);
        spend(f, MS_PER_HOUR);
        assert_true(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), now + MS_PER_HOUR);
        has(f, "login", ENV_READY, LEVEL_AWAKE);
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_int_equal(engine_now_ms(f->engine), now + MS_PER_HOUR);
}

/* ---- beside a person's freeze ---- */

static void test_a_step_does_not_hide_behind_a_freeze(void **state) {
        json_auto_t *holds = NULL;
        EngineReleased done = { 0 };
        auto_error error = { 0 };
        const json_t *frozen;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        settle(f);
        set_clock(f, MS_PER_DAY);
        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        frozen = json_object_get(holds, "frozen");
        assert_string_equal(text(frozen, "reason"), "audit");
        assert_false(json_is_true(json_object_get(frozen, "clock")));
        frozen = json_object_get(json_object_get(holds, "clock"), "frozen");
        assert_non_null(strstr(text(frozen, "reason"), "1d ahead"));
        assert_int_equal(number(json_object_get(holds, "clock"), "offset_ms"), -MS_PER_DAY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", &error), -EPERM);
        assert_non_null(strstr(error.message, "audit"));
        settle(f);

        /* the reason is what the clock is now */
        set_clock(f, 2 * MS_PER_DAY);
        json_decref(holds);
        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        frozen = json_object_get(json_object_get(holds, "clock"), "frozen");
        assert_non_null(strstr(text(frozen, "reason"), "3d ahead"));
        set_clock(f, -3 * MS_PER_DAY);
        json_decref(holds);
        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        frozen = json_object_get(json_object_get(holds, "clock"), "frozen");
        assert_non_null(strstr(text(frozen, "reason"), "right again"));
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_true(frozen_by_clock(f));
        assert_int_equal(unfreeze(f, false, &done), 0);
        assert_true(done.freeze && done.clock);
        assert_false(frozen_by_clock(f));
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
}

/* The clock's freeze holds what clocks decide, and nothing that a person says. */
static void test_down_works_while_the_clock_is_wrong(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        set_clock(f, MS_PER_DAY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, MS_PER_MINUTE);
        has(f, "login", ENV_GONE, 0);
}

/* "Nothing is deleted": also not what a newer commit has replaced. */
static void test_a_freeze_holds_superseded_generations(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        calls_forget(f);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "stop", NULL), 0);
        push(f, "login", B_COMMIT);
        spend(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.live_generation, 2);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        assert_int_equal(unfreeze(f, false, NULL), 0);
        spend(f, MS_PER_MINUTE);
        assert_true(calls(f, "deprovision", "workload") == 1);

        /* the clock alone holds none of that */
        set_clock(f, MS_PER_DAY);
        calls_forget(f);
        push(f, "login", A_COMMIT);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "deprovision", "workload"), 1);
}

/* ---- other boots ---- */

/* The clock of a machine that just came up says that ten years passed. */
static void test_years_between_two_boots_are_not_believed(void **state) {
        const int64_t years = 3650 * MS_PER_DAY;
        EngineReleased done = { 0 };
        Fixture *f = *state;
        int64_t now, age;

        sleeper(f);
        now = engine_now_ms(f->engine);
        age = left(f, "delete_after_age");
        reboot(f, 3 * MS_PER_HOUR, years);
        assert_true(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), now);
        spend(f, 2 * MS_PER_HOUR);
        set_clock(f, -years);
        assert_true(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), now + 2 * MS_PER_HOUR);
        assert_int_equal(unfreeze(f, false, NULL), -EPERM); /* three hours are missing */
        assert_int_equal(unfreeze(f, true, &done), 0);
        assert_int_equal(done.moved_ms, 3 * MS_PER_HOUR);
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
        assert_int_equal(left(f, "delete_after_age"), age - 2 * MS_PER_HOUR);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
}

/* It says that six days passed, which is believed; then it is put right. */
static void test_days_that_were_believed_are_given_back(void **state) {
        auto_cleanup(environment_done) Environment before = { 0 }, after = { 0 };
        const int64_t wrong = 6 * MS_PER_DAY;
        EngineReleased done = { 0 };
        Fixture *f = *state;
        int64_t age, ahead;

        sleeper(f);
        get(f, "login", &before);
        age = left(f, "delete_after_age");
        reboot(f, 0, wrong);
        assert_false(frozen_by_clock(f));
        assert_true(hold_until(f) > 0);
        spend(f, 10 * MS_PER_MINUTE);
        set_clock(f, -wrong);
        assert_true(frozen_by_clock(f));
        assert_int_equal(unfreeze(f, false, NULL), -EPERM);
        assert_int_equal(unfreeze(f, true, &done), 0);
        assert_int_equal(done.moved_ms, wrong);
        assert_int_equal(left(f, "delete_after_age"), age - 10 * MS_PER_MINUTE);
        get(f, "login", &after);
        assert_int_equal(after.pinned_until_ms, before.pinned_until_ms + wrong);

        /* trusted time stays ahead, and that is known from then on */
        ahead = engine_now_ms(f->engine) - f->now_ms;
        assert_int_equal(ahead, wrong);
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_false(frozen_by_clock(f));
        set_clock(f, MS_PER_HOUR);
        set_clock(f, -MS_PER_HOUR);
        assert_int_equal(unfreeze(f, false, NULL), 0);
        assert_int_equal(engine_now_ms(f->engine) - f->now_ms, wrong);
        assert_int_equal(left(f, "delete_after_age"), age - 10 * MS_PER_MINUTE);
}

/* What became due while the machine was off waits for an hour in which somebody may come. */
static void test_what_became_due_between_two_boots_waits(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        spend(f, 25 * MS_PER_MINUTE);
        reboot(f, 10 * MS_PER_MINUTE, 0);
        assert_int_equal(hold_until(f), f->now_ms + LIMIT_CLOCK_HOLD_MS);
        spend(f, 55 * MS_PER_MINUTE);
        has(f, "login", ENV_READY, LEVEL_AWAKE);
        spend(f, 10 * MS_PER_MINUTE);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        reboot(f, 10 * MS_PER_MINUTE, 0); /* nothing is due */
        assert_int_equal(hold_until(f), 0);
        f->synced = 0;
        reboot(f, 10 * MS_PER_MINUTE, 0);
        assert_int_equal(hold_until(f), f->now_ms + LIMIT_CLOCK_HOLD_MS);
}

/* ---- what the ledger noted ---- */

static void spoil(Fixture *f, const char *name, const char *value) {
        assert_int_equal(ledger_value_set(f->ledger, name, value, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        daemon_killed(f);
}

static void test_a_mark_that_is_damaged_is_no_permission(void **state) {
        static const struct {
                const char *name, *value;
        } cases[] = {
                { "clock.mark", NULL },         { "clock.mark", "" },
                { "clock.mark", "junk" },       { "clock.mark", "boot 17 17" },
                { "clock.mark", "boot 17 1x" }, { "clock.offset", "1e3" },
        };
        Fixture *f = *state;

        sleeper(f);
        assert_int_equal(engine_unpin(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                spoil(f, cases[i].name, cases[i].value);
                f->now_ms += 3650 * MS_PER_DAY;
                daemon_up(f);
                spend(f, 2 * MS_PER_HOUR);
                assert_true(frozen_by_clock(f));
                assert_int_equal(unfreeze(f, false, NULL), -EPERM);
                set_clock(f, -3650 * MS_PER_DAY);
                assert_int_equal(unfreeze(f, true, NULL), 0);
                has(f, "login", ENV_READY, LEVEL_STOPPED);
        }
}

/* ---- many small steps, and suspend ---- */

static void test_small_steps_are_summed(void **state) {
        Fixture *f = *state;
        int64_t began;

        push(f, "login", A_COMMIT);
        settle(f);
        began = engine_now_ms(f->engine);
        for (unsigned i = 0; i < 30; i++) {
                pass(f, 500);
                set_clock(f, 115 * MS_PER_SECOND);
        }
        assert_true(frozen_by_clock(f));
        has(f, "login", ENV_READY, LEVEL_AWAKE);
        assert_in_range(engine_now_ms(f->engine) - began, 0, 11 * MS_PER_MINUTE);
}

/* A clock that is kept right goes by seconds a day. */
static void test_a_clock_that_is_slewed_is_followed(void **state) {
        Fixture *f = *state;

        for (unsigned day = 0; day < 40; day++) {
                pass(f, MS_PER_DAY);
                set_clock(f, 100 * MS_PER_SECOND);
        }
        assert_false(frozen_by_clock(f));
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
}

static void test_suspend_is_an_absence(void **state) {
        EngineReleased done = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        spend(f, MS_PER_HOUR);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        pass(f, 3 * MS_PER_DAY); /* without a turn, and awake */
        settle(f);
        assert_int_equal(hold_until(f), 0);
        f->suspended_ms = 10 * MS_PER_DAY;
        pass(f, 10 * MS_PER_DAY);
        settle(f);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        assert_int_equal(hold_until(f), f->now_ms + LIMIT_CLOCK_HOLD_MS);
        daemon_killed(f);
        daemon_up(f);
        spend(f, 50 * MS_PER_MINUTE);
        has(f, "login", ENV_READY, LEVEL_STOPPED);
        assert_int_equal(unfreeze(f, false, &done), 0);
        assert_true(done.hold && !done.clock);
        assert_int_equal(hold_until(f), 0);
        spend(f, MS_PER_MINUTE);
        has(f, "login", ENV_GONE, 0);
}

/* ---- a ledger that cannot be written ---- */

static void test_a_ledger_that_cannot_be_written_is_told(void **state) {
        json_auto_t *holds = NULL, *why = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        fault_arm("ledger.commit", 1, 1);
        push(f, "other", A_COMMIT);
        turns(f);
        if (!fault_fired())
                skip();
        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        assert_non_null(
                strstr(text(json_object_get(holds, "unwell"), "error"), "cannot be written"));
        assert_int_equal(engine_why(f->engine, "login--shop", &why, NULL), 0);
        assert_non_null(strstr(text(json_array_get(json_object_get(why, "gates"), 0), "text"),
                               "cannot be written"));
        spend(f, 2 * MS_PER_MINUTE);
        json_decref(holds);
        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        assert_true(json_is_null(json_object_get(holds, "unwell")));
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_a_clock_that_was_behind_is_accepted),
                WITH(test_a_kill_right_after_it_does_not_undo_it),
                WITH(test_the_turn_of_the_release_moves_too),
                WITH(test_a_clock_that_was_put_right_needs_no_word),
                WITH(test_a_release_that_fails_moves_no_time),
                WITH(test_a_step_in_a_turn_that_fails_is_not_forgotten),
                WITH(test_a_step_does_not_hide_behind_a_freeze),
                WITH(test_down_works_while_the_clock_is_wrong),
                WITH(test_a_freeze_holds_superseded_generations),
                WITH(test_years_between_two_boots_are_not_believed),
                WITH(test_days_that_were_believed_are_given_back),
                WITH(test_what_became_due_between_two_boots_waits),
                WITH(test_a_mark_that_is_damaged_is_no_permission),
                WITH(test_small_steps_are_summed),
                WITH(test_a_clock_that_is_slewed_is_followed),
                WITH(test_suspend_is_an_absence),
                WITH(test_a_ledger_that_cannot_be_written_is_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
