#include "tests/unit/engine-world.h"

#include <stdio.h>
#include <unistd.h>

/* An old copy of the ledger is put back: held until a person has released it, and then every deadline is
 * later by what was lost. */

static unsigned removals(const Fixture *f) {
        return f->n_started[verb_number("deprovision")];
}

/* All of that time, whether or not anything happens in it. */
static void wait_for(Fixture *f, int64_t ms) {
        int64_t until = f->now_ms + ms;

        settle_for(f, ms);
        if (f->now_ms < until)
                pass(f, until - f->now_ms);
        settle(f);
}

static bool lists_have(const json_t *report, const char *provider) {
        json_t *one;
        size_t i;

        json_array_foreach(json_object_get(report, "lists"), i, one)
                if (streq(text(one, "provider"), provider))
                        return true;
        return false;
}

static void take_copy(Fixture *f, char copy[64]) {
        snprintf(copy, 64, "%s/copy", f->dir);
        assert_int_equal(ledger_backup(f->ledger, copy, NULL), 0);
}

static void put_back(Fixture *f, const char *copy) {
        static const char *const beside[] = { "-wal", "-shm" };

        daemon_killed(f);
        for (size_t i = 0; i < N_ELEMENTS(beside); i++) {
                auto_cleanup(freep) char *path = str_format("%s%s", f->db, beside[i]);

                (void) unlink(path); /* may be gone already */
        }
        assert_int_equal(rename(copy, f->db), 0);
        daemon_up(f);
        assert_non_null(ledger_held(f->ledger));
}

static void test_nothing_is_removed_before_the_release(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        char copy[64];

        push(f, "login", A_COMMIT);
        wait_for(f, MS_PER_HOUR);
        take_copy(f, copy);
        wait_for(f, 2 * MS_PER_DAY);
        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", 20 * MS_PER_DAY, NULL), 0);
        wait_for(f, 10 * MS_PER_DAY);
        put_back(f, copy);
        wait_for(f, 10 * MS_PER_DAY); /* by the copy's facts it is long due */
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        push(f, "login", B_COMMIT); /* what it replaces stays too */
        wait_for(f, MS_PER_HOUR);
        environment_done(&env);
        get(f, "login", &env);
        assert_int_equal(env.live_generation, 2);
        assert_int_equal(removals(f), 0);
        daemon_killed(f);
        daemon_up(f); /* held still */
        wait_for(f, MS_PER_HOUR);
        assert_int_equal(removals(f), 0);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        wait_for(f, MS_PER_HOUR);
        assert_true(removals(f) > 0);
}

static void test_deadlines_move_by_what_was_lost(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 }, later = { 0 };
        Fixture *f = *state;
        char copy[64];

        push(f, "login", A_COMMIT);
        wait_for(f, MS_PER_HOUR);
        assert_int_equal(
                engine_pin(f->engine, NULL, "login--shop", f->now_ms + MS_PER_DAY, "demo", NULL),
                0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        take_copy(f, copy);
        wait_for(f, 30 * MS_PER_DAY);
        put_back(f, copy);
        wait_for(f, MS_PER_HOUR);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        wait_for(f, 22 * MS_PER_HOUR); /* the pin had a day */
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        wait_for(f, 5 * MS_PER_DAY); /* delete_after_asleep had seven days */
        get(f, "login", &later);
        assert_int_equal(later.state, ENV_READY);
        daemon_killed(f);
        daemon_up(f);
        wait_for(f, 2 * MS_PER_DAY + MS_PER_HOUR);
        environment_done(&later);
        get(f, "login", &later);
        assert_int_equal(later.state, ENV_GONE);
        assert_string_equal(later.gone_by, "reaper");
}

static int workload_of_first(void *userdata, const Resource *r) {
        if (streq(r->type, "workload") && r->generation == 1)
                snprintf(userdata, ID_SIZE, "%s", r->uid);
        return 0;
}

/* The copy has a plan of something that was made after it: what lists show is not forgotten with the plan. */
static void test_what_was_made_after_the_copy_is_found(void **state) {
        auto_cleanup(resource_done) Resource r = { 0 };
        char copy[64], uid[ID_SIZE] = "";
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        turns(f);
        while (!*uid) {
                assert_true(answer_first(f));
                turns(f);
                assert_int_equal(
                        ledger_resource_each(f->ledger, NULL, true, workload_of_first, uid, NULL),
                        0);
        }
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_false(r.touched);
        take_copy(f, copy);
        settle(f);
        assert_non_null(map_get(f->things, uid));
        f->listed =
                json_pack("[{s:s, s:s, s:s}]", "uid", uid, "marker", r.marker, "type", "workload");
        f->list_complete = true;
        put_back(f, copy);
        push(f, "login", B_COMMIT); /* nobody wants the plan any more */
        settle(f);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        settle(f);
        assert_int_equal(calls(f, "deprovision", "workload"), 1);
        assert_null(map_get(f->things, uid));
}

/* The first list may be lost in a crash, and nothing that lives may be of that provider. */
static void test_what_was_forgotten_is_looked_for_at_each_start(void **state) {
        json_auto_t *before = NULL, *after = NULL;
        Fixture *f = *state;
        char copy[64];

        push(f, "login", E_COMMIT); /* no volume */
        settle(f);
        take_copy(f, copy);
        push(f, "other", E_COMMIT);
        settle(f);
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_int_equal(engine_orphans(f->engine, &before, NULL), 0);
        assert_false(lists_have(before, "volume"));
        put_back(f, copy);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        turns(f);
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_int_equal(engine_orphans(f->engine, &after, NULL), 0);
        assert_true(lists_have(after, "volume"));
}

/* Where it answers and what it was changed to meanwhile only its provider knows; to make twice is once. */
static void test_what_is_ready_is_asked_for_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        char copy[64];

        push(f, "login", A_COMMIT);
        settle(f);
        take_copy(f, copy);
        push(f, "other", A_COMMIT);
        settle(f);
        put_back(f, copy);
        settle(f);
        calls_forget(f);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        settle(f);
        assert_int_equal(calls(f, "provision", "volume"), 1);
        assert_int_equal(calls(f, "provision", "workload"), 1);
        assert_int_equal(calls(f, "provision", NULL), 4);
        assert_int_equal(calls(f, "inspect", NULL), 4); /* it may be somebody else's by now */
        assert_int_equal(removals(f), 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_answer(f, "login--shop", "direct");
}

/* Processes and files of what was forgotten belong to its user, whose number goes by its slot. */
static void test_what_was_forgotten_keeps_its_slot(void **state) {
        auto_cleanup(environment_done) Environment lost = { 0 }, later = { 0 }, again = { 0 };
        Fixture *f = *state;
        char copy[64];

        push(f, "login", A_COMMIT);
        settle(f);
        take_copy(f, copy);
        for (unsigned i = 0; i < 4; i++) {
                auto_cleanup(freep) char *branch = str_format("lost%u", i);

                push(f, branch, A_COMMIT);
                settle(f);
        }
        get(f, "lost3", &lost);
        put_back(f, copy);
        push(f, "later", A_COMMIT); /* held already */
        settle(f);
        get(f, "later", &later);
        assert_true(later.slot > lost.slot);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        push(f, "again", A_COMMIT);
        settle(f);
        get(f, "again", &again);
        assert_true(again.slot > lost.slot && again.slot != later.slot);
}

static void on_verified(void *userdata, json_t *report) {
        *(json_t **) userdata = report;
}

/* What the forgotten days have made is no resource of any receipt: all providers are asked what they have. */
static void test_a_receipt_is_held_against_all_providers(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        json_auto_t *report = NULL;
        EngineVerify *verify;
        Fixture *f = *state;
        char copy[64];

        push(f, "login", E_COMMIT);
        settle(f);
        take_copy(f, copy);
        push(f, "login", A_COMMIT); /* this one has a volume */
        settle(f);
        put_back(f, copy);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &receipt, NULL), 0);
        assert_null(strstr(receipt.body, "volume"));
        f->list_complete = true;
        assert_int_equal(engine_verify(f->engine, &receipt, on_verified, &report, &verify, NULL),
                         0);
        settle(f);
        assert_non_null(report);
        assert_true(lists_have(report, "volume"));
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up_anchored, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_nothing_is_removed_before_the_release),
                WITH(test_deadlines_move_by_what_was_lost),
                WITH(test_what_was_made_after_the_copy_is_found),
                WITH(test_what_was_forgotten_is_looked_for_at_each_start),
                WITH(test_what_is_ready_is_asked_for_again),
                WITH(test_what_was_forgotten_keeps_its_slot),
                WITH(test_a_receipt_is_held_against_all_providers),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
