#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"
#include "orchestrator/base/limits.h"

/* A clock that is set, and the freeze that follows: what goes on in it, what does not, and how it ends. */

static bool is_held(Fixture *f, const char *by) {
        json_auto_t *holds = NULL;

        assert_int_equal(engine_holds(f->engine, &holds, NULL), 0);
        if (streq(by, "clock"))
                return json_is_object(json_object_get(json_object_get(holds, by), "frozen"));
        return json_is_object(json_object_get(holds, by));
}

/* Somebody looked: the clock is right as it is. */
static void accept_clock(Fixture *f) {
        assert_int_equal(engine_unfreeze(f->engine, NULL, true, NULL, NULL), 0);
        settle(f);
        assert_false(is_held(f, "clock"));
}

/* The wall clock is set by so much, and nothing else happens. */
static void set_clock(Fixture *f, int64_t by_ms) {
        f->now_ms += by_ms;
        f->wanted = true;
        turns(f);
}

static void test_set_back_over_a_reboot_is_noticed(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, 3 * MS_PER_MINUTE);
        push(f, "other", A_COMMIT); /* the mark is written with it */
        settle(f);
        daemon_killed(f);
        f->boot_id = "another";
        f->boot_ms = 5000;
        f->now_ms -= 3 * MS_PER_DAY;
        daemon_up(f);
        settle(f);
        assert_true(is_held(f, "clock"));
}

/* A reboot alone is none. */
static void test_a_reboot_freezes_nothing(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        daemon_killed(f);
        f->boot_id = "another";
        f->boot_ms = 5000;
        f->now_ms += MS_PER_MINUTE;
        daemon_up(f);
        settle(f);
        assert_false(is_held(f, "clock"));
}

static void test_time_waits_for_a_small_step_back(void **state) {
        int64_t before, after;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(ledger_event_last_ms(f->ledger, &before, NULL), 0);
        set_clock(f, -800);
        push(f, "other", A_COMMIT);
        settle(f);
        assert_int_equal(ledger_event_last_ms(f->ledger, &after, NULL), 0);
        assert_true(after >= before);
        assert_false(is_held(f, "clock"));
}

/* What the reaper wants gone may be wanted only because of the clock, also when the first of it is gone. */
static void test_what_the_reaper_began_waits_until_the_clock_is_looked_at(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", NULL);
        settle(f);
        pass(f, MS_PER_HOUR);
        turns(f);
        assert_true(answer_first(f)); /* what is to go is looked at */
        turns(f);
        assert_non_null(f->first);
        assert_string_equal(f->first->verb, "deprovision");
        set_clock(f, 10 * MS_PER_HOUR);
        settle(f);
        settle_for(f, MS_PER_HOUR);
        assert_true(map_size(f->things) >= 3);
        accept_clock(f);
        settle_for(f, MS_PER_DAY);
        assert_int_equal(map_size(f->things), 0);
}

/* A person knows what time it is. */
static void test_what_a_person_closed_goes_on_whatever_the_clock(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_non_null(f->first);
        set_clock(f, 10 * MS_PER_HOUR);
        settle_for(f, MS_PER_HOUR);
        assert_int_equal(map_size(f->things), 0);
}

static void accept_a_step_back(Fixture *f) {
        push(f, "login", A_COMMIT);
        settle(f);
        set_clock(f, -MS_PER_DAY);
        settle(f);
        assert_true(is_held(f, "clock"));
        accept_clock(f);
}

/* The front tells of visits by the wall clock, the ledger by trusted time. */
static void test_a_visit_counts_after_a_step_back(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        accept_a_step_back(f);
        spend(f, MS_PER_MINUTE);
        push(f, "other", A_COMMIT); /* what was there before ends a day later */
        f->activity.open = 1; /* until the hour is over in which nothing sleeps */
        spend(f, LIMIT_CLOCK_HOLD_MS + MS_PER_MINUTE);
        f->activity.open = 0;
        spend(f, 20 * MS_PER_MINUTE);
        f->activity.last_visit_ms = f->now_ms;
        spend(f, 15 * MS_PER_MINUTE);
        get(f, "other", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
}

/* Taken for right it would stand still until the day is made up for. */
static void test_time_goes_on_after_a_step_back(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        accept_a_step_back(f);
        spend(f, MS_PER_MINUTE);
        push(f, "other", A_COMMIT); /* what was there before ends a day later */
        spend(f, LIMIT_CLOCK_HOLD_MS + 40 * MS_PER_MINUTE);
        get(f, "other", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
}

static void test_an_unfreeze_that_was_not_written_is_none(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        settle(f);
        fault_arm("ledger.commit", 1, 1);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        f->wanted = false;
        assert_true(engine_turn(f->engine, NULL) < 0);
        fault_arm("none", 0, 0);
        assert_true(is_held(f, "frozen"));
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_set_back_over_a_reboot_is_noticed),
                WITH(test_a_reboot_freezes_nothing),
                WITH(test_time_waits_for_a_small_step_back),
                WITH(test_what_the_reaper_began_waits_until_the_clock_is_looked_at),
                WITH(test_what_a_person_closed_goes_on_whatever_the_clock),
                WITH(test_a_visit_counts_after_a_step_back),
                WITH(test_time_goes_on_after_a_step_back),
                WITH(test_an_unfreeze_that_was_not_written_is_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
