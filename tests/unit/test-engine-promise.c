#include "tests/unit/engine-world.h"

#include "orchestrator/base/limits.h"

/* What was promised to people is kept: pins, extensions, freezes, use, time, branches that are still there. */

static void test_use_keeps_it_awake_and_unknown_is_not_unused(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->activity.last_visit_ms = f->now_ms + 20 * MS_PER_MINUTE;
        settle_for(f, 40 * MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        f->activity = (FrontActivity){ .known = false };
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        f->activity = (FrontActivity){ .known = true };
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
}

static void F22_clock_step(void **state) {
        static const int64_t steps[] = { MS_PER_HOUR, -MS_PER_DAY, 3650 * MS_PER_DAY };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *frozen = NULL, *branch = str_format("step%zu", i);

                push(f, branch, A_COMMIT);
                settle(f);
                f->now_ms += steps[i];
                f->wanted = true;
                settle(f);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_READY);
                assert_int_equal(env.level, LEVEL_AWAKE);
                assert_int_equal(ledger_value_get(f->ledger, "clock.frozen", &frozen, NULL), 0);
                assert_non_null(strstr(frozen, steps[i] > 0 ? "ahead" : "behind"));
                /* also after a restart */
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, 2 * MS_PER_HOUR);
                get(f, branch, &env);
                assert_int_equal(env.level, LEVEL_AWAKE);
                assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), -EPERM);
                f->now_ms -= steps[i];
                f->wanted = true;
                settle(f);
                assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
                settle_for(f, MS_PER_HOUR);
                get(f, branch, &env);
                assert_int_equal(env.level, LEVEL_STOPPED);
        }
}

/* The time of a question is not the time of the turn that comes after it. */
static void test_a_question_stops_no_clock(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *frozen = NULL;
        json_auto_t *why = NULL, *report = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(engine_why(f->engine, env.id, &why, NULL), 0);
        assert_int_equal(engine_reap(f->engine, NULL, NULL, true, &report, NULL), 0);
        assert_int_equal(engine_now_ms(f->engine), f->now_ms);
        f->now_ms -= MS_PER_DAY;
        f->wanted = true;
        turns(f);
        assert_int_equal(ledger_value_get(f->ledger, "clock.frozen", &frozen, NULL), 0);
}

static void F09_source_empty_so_delete_all(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *empty = json_array(), *other = NULL, *both = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        other = json_pack("[{s:s, s:s}]", "name", "main", "commit", A_COMMIT);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", empty, true, NULL, NULL), 0);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", other, false, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", other, true, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_true(env.closed_ms > 0);
        /* a branch that moved since is one whose hook was lost; one that was always there is not */
        assert_int_equal(ledger_environment_get(f->ledger, "shop/main", &env, NULL), -ENOENT);
        both = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit", B_COMMIT, "name",
                         "login", "commit", B_COMMIT);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", both, true, NULL, NULL), 0);
        settle(f);
        get(f, "main", &env);
        assert_int_equal(env.state, ENV_READY);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        assert_string_equal(env.commit, B_COMMIT);
}

/* A trigger of something older that comes late is believed, until two listings say otherwise. */
static void test_a_late_trigger_does_not_stay(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *list = json_pack("[{s:s, s:s}]", "name", "login", "commit", B_COMMIT);
        Fixture *f = *state;

        push(f, "login", B_COMMIT);
        settle(f);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", list, true, NULL, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        push(f, "login", A_COMMIT);
        settle_for(f, MS_PER_MINUTE);
        /* this list may have been made before that push */
        assert_int_equal(engine_compare(f->engine, NULL, "shop", list, true, NULL, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_string_equal(env.commit, A_COMMIT);
        assert_int_equal(engine_compare(f->engine, NULL, "shop", list, true, NULL, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        environment_done(&env);
        get(f, "login", &env);
        assert_string_equal(env.commit, B_COMMIT);
}

/* A list was begun, a push came, the list is there: what it does not know, or knows as it was before, says
 * nothing about that push. The next list does. */
static void test_a_list_says_nothing_about_a_push_after_its_beginning(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *list = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit",
                                      A_COMMIT, "name", "moved", "commit", A_COMMIT);
        Fixture *f = *state;
        int64_t began_ms;

        push(f, "moved", A_COMMIT);
        settle_for(f, MS_PER_MINUTE);
        began_ms = engine_now_ms(f->engine);
        push(f, "login", A_COMMIT);
        push(f, "moved", B_COMMIT);
        settle(f);
        assert_int_equal(
                engine_compare_begun(f->engine, NULL, "shop", list, true, began_ms, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        assert_int_equal(env.state, ENV_READY);
        environment_done(&env);
        get(f, "moved", &env);
        assert_string_equal(env.commit, B_COMMIT);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(engine_compare_begun(f->engine, NULL, "shop", list, true,
                                              engine_now_ms(f->engine), NULL, NULL),
                         0);
        settle(f);
        environment_done(&env);
        get(f, "login", &env);
        assert_true(env.closed_ms > 0);
}

/* The wish of a branch comes with its first good file, long after the branch. */
static const char *lease_file(const char *commit, const char *path) {
        if (streq(commit, C_COMMIT))
                return streq(path, "score.yaml") ? "metadata: [\n" : NULL;
        if (streq(path, "mayfly.yaml"))
                return "lease:\n  delete_after_age: 1d\n";
        return streq(path, "score.yaml") ? "" : NULL;
}

static void test_a_first_wish_makes_nothing_due_at_once(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        f->file = lease_file;
        push(f, "login", C_COMMIT);
        spend(f, 2 * MS_PER_DAY);
        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, LIMIT_POLICY_GRACE_MS - MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        spend(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

/* People's words are cut by bytes, perhaps inside a character: nobody's question fails for that. */
static void test_a_long_reason_spoils_no_answer(void **state) {
        json_t *why = NULL, *report = NULL;
        char reason[100];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        memset(reason, 'a', 79);
        strcpy(reason + 79, "\xc3\xa9t\xc3\xa9");
        assert_int_equal(engine_pin(f->engine, NULL, "login--shop", INT64_MAX, reason, NULL), 0);
        settle(f);
        assert_int_equal(engine_why(f->engine, "login--shop", &why, NULL), 0);
        assert_int_equal(json_array_size(json_object_get(why, "gates")), 6);
        json_decref(why);
        spend(f, 22 * MS_PER_DAY);
        assert_int_equal(engine_why(f->engine, "login--shop", &why, NULL), 0);
        json_decref(why);
        assert_int_equal(engine_reap(f->engine, NULL, NULL, true, &report, NULL), 0);
        json_decref(report);
}

/* A list of branches that was begun before the last word about one says nothing of it. */
static void test_an_older_list_neither_closes_nor_reopens(void **state) {
        json_auto_t *without = json_pack("[{s:s, s:s}]", "name", "main", "commit", B_COMMIT);
        json_auto_t *with = json_pack("[{s:s, s:s}, {s:s, s:s}]", "name", "main", "commit",
                                      B_COMMIT, "name", "login", "commit", A_COMMIT);
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        int64_t began;

        push(f, "login", A_COMMIT);
        settle(f);
        pass(f, MS_PER_MINUTE);
        push(f, "login", NULL);
        settle(f);
        began = engine_now_ms(f->engine);
        pass(f, 5000);
        push(f, "login", A_COMMIT); /* back, at the same commit */
        settle(f);
        pass(f, 5000);
        assert_int_equal(
                engine_compare_begun(f->engine, NULL, "shop", without, true, began, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
        began = engine_now_ms(f->engine);
        pass(f, 5000);
        push(f, "login", NULL);
        settle(f);
        pass(f, 5000);
        assert_int_equal(
                engine_compare_begun(f->engine, NULL, "shop", with, true, began, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_true(env.closed_ms > 0);
        /* and a list that was begun after it is believed */
        began = engine_now_ms(f->engine) + 1;
        pass(f, 5000);
        assert_int_equal(
                engine_compare_begun(f->engine, NULL, "shop", with, true, began, NULL, NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.closed_ms, 0);
}

/* A watch tells of an end while an older look is under way: the look's answer is not the last word. */
static void test_news_during_a_look_are_not_lost(void **state) {
        ProviderEvents events = engine_provider_events(((Fixture *) *state)->engine);
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *watch = NULL;
        json_auto_t *line = NULL;
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        f->held_type[0] = "";
        while (!watch) {
                turns(f);
                for (Pending *p = f->first; p && !watch; p = p->next)
                        if (streq(p->verb, "watch"))
                                watch = strdup(p->id);
                if (!watch)
                        assert_true(answer_first(f));
        }
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_non_null(uid_of(f, "workload", uid));
        engine_front_events(f->engine).on_refused(f->engine, env.id);
        turns(f);
        calls_forget(f);
        line = json_pack("{s:{s:s, s:s}}", "item", "uid", uid, "change", "ended");
        events.on_line(events.userdata, watch, line);
        settle(f); /* the look under way, and one after it */
        assert_int_equal(calls(f, "inspect", "workload"), 1);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_use_keeps_it_awake_and_unknown_is_not_unused),
                WITH(F22_clock_step),
                WITH(test_a_question_stops_no_clock),
                WITH(F09_source_empty_so_delete_all),
                WITH(test_a_late_trigger_does_not_stay),
                WITH(test_a_list_says_nothing_about_a_push_after_its_beginning),
                WITH(test_a_first_wish_makes_nothing_due_at_once),
                WITH(test_a_long_reason_spoils_no_answer),
                WITH(test_an_older_list_neither_closes_nor_reopens),
                WITH(test_news_during_a_look_are_not_lost),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
