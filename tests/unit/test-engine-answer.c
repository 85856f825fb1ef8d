#include "tests/unit/engine-world.h"

#include <string.h>

#include "orchestrator/base/fault.h"

/* What a provider answers, or does not, and what the engine makes of it. */

/* Half an answer: what was done is not known, so the world is looked at before it is done again. */
static void test_after_an_unknown_answer_comes_a_look(void **state) {
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        turns(f);
        assert_non_null(f->first);
        memcpy(uid, f->first->uid, sizeof(uid));
        calls_forget(f);
        answer_first_with(f, "{\"prog", 6, true);
        turns(f);
        for (unsigned i = 0; i < 30 && strv_length(f->log) == 0; i++) {
                pass(f, 1000);
                turns(f);
        }
        assert_true(strv_length(f->log) > 0);
        assert_non_null(str_after(f->log[0], "inspect "));
        assert_true(str_ends_with(f->log[0], uid));
}

/* What stands in the place of a workload that was being woken is somebody else's. */
static void test_a_strangers_thing_is_not_woken(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, 31 * MS_PER_MINUTE);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        for (unsigned i = 0; i < 20 && f->first && !streq(f->first->verb, "wake"); i++) {
                answer_first(f);
                turns(f);
        }
        assert_non_null(f->first);
        assert_string_equal(f->first->verb, "wake");
        f->foreign = uid_of(f, "workload", f->foreign_uid);
        assert_non_null(f->foreign);
        daemon_killed(f);
        daemon_up(f);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(f->n_foreign_touched, 0);
        f->foreign = NULL;
}

/* "Come back in 285,000 years" is looked at within a day. */
static void test_a_provider_cannot_put_off_for_ever(void **state) {
        static const char never[] = "{\"error\":{\"class\":\"transient\",\"message\":\"x\","
                                    "\"retry_after_ms\":9000000000000000}}\n";
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        turns(f);
        answer_first_with(f, never, strlen(never), false);
        turns(f);
        spend(f, 2 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.live_generation, 1);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_after_an_unknown_answer_comes_a_look),
                WITH(test_a_strangers_thing_is_not_woken),
                WITH(test_a_provider_cannot_put_off_for_ever),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
