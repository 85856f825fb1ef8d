/* The catalogue of what reapers get wrong, by its numbers: what keeps an environment alive, and how long.
 * Each of these has a mutant in tests/mutants that it must kill; the rest of the catalogue stands in
 * test-catalogue-removal.c, test-catalogue-sweep.c and where else the rule lives. */
#include "tests/unit/engine-world.h"

#include <string.h>

#include "orchestrator/base/io.h"

static EnvState state_of(Fixture *f, const char *branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        return env.state;
}

static EnvLevel level_of(Fixture *f, const char *branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        return env.level;
}

/* ---- F3 ---- */

static const json_t *judged(const json_t *report, const char *label) {
        json_t *item;
        size_t i;

        json_array_foreach(json_object_get(report, "environments"), i, item)
                if (streq(text(item, "environment"), label))
                        return item;
        fail_msg("%s was not judged", label);
        return NULL;
}

/* What the dry run says is what then happens, whatever keeps each one; and it changes nothing. */
static void F03_dry_run_and_real_run_differ(void **state) {
        static const char *const branches[] = { "idle", "used", "unknown", "pinned", "closed" };
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *said = NULL;
        int64_t before, after;
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(branches); i++)
                push(f, branches[i], A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "pinned--shop", INT64_MAX, "demo", NULL), 0);
        push(f, "closed", NULL);
        push(f, "pinned", NULL);
        settle(f);
        pass(f, 61 * MS_PER_MINUTE); /* beyond sleep_after_idle and delete_after_close */
        f->activity = (FrontActivity){ .known = false };
        assert_int_equal(ledger_event_before_last(f->ledger, NULL, 0, &before, NULL), 0);
        assert_int_equal(engine_reap(f->engine, NULL, NULL, true, &said, NULL), 0);
        assert_int_equal(ledger_event_before_last(f->ledger, NULL, 0, &after, NULL), 0);
        assert_int_equal(before, after);
        for (size_t i = 0; i < N_ELEMENTS(branches); i++)
                assert_int_equal(state_of(f, branches[i]), ENV_READY);
        /* nobody knows whether they are in use: that is no verdict to act on */
        assert_string_equal(text(judged(said, "idle--shop"), "action"), "uncertain");
        assert_string_equal(text(judged(said, "closed--shop"), "action"), "uncertain");
        turns(f);
        get(f, "closed", &env);
        assert_int_equal(env.state, ENV_READY);

        json_decref(TAKE(said));
        f->activity = (FrontActivity){ .known = true };
        assert_int_equal(engine_reap(f->engine, NULL, NULL, true, &said, NULL), 0);
        assert_string_equal(text(judged(said, "idle--shop"), "action"), "sleep");
        assert_string_equal(text(judged(said, "pinned--shop"), "action"), "sleep");
        assert_string_equal(text(judged(said, "closed--shop"), "action"), "delete");
        json_decref(TAKE(said));
        assert_int_equal(engine_reap(f->engine, NULL, NULL, false, &said, NULL), 0);
        spend(f, 6 * MS_PER_MINUTE);
        assert_int_equal(level_of(f, "idle"), LEVEL_STOPPED);
        assert_int_equal(level_of(f, "pinned"), LEVEL_STOPPED);
        assert_int_equal(state_of(f, "pinned"), ENV_READY);
        assert_int_equal(state_of(f, "closed"), ENV_GONE);
}

/* ---- F4 ---- */

/* A project takes its environments along, but not one that is pinned: then nothing goes at all. */
static void F04_protected_thing_lost_by_cascade(void **state) {
        Fixture *f = *state;

        push(f, "first", A_COMMIT);
        push(f, "pinned", A_COMMIT);
        push(f, "third", A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "pinned--shop", INT64_MAX, "demo", NULL), 0);
        assert_int_equal(engine_project_remove(f->engine, NULL, "shop", NULL), -EPERM);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(state_of(f, "first"), ENV_READY);
        assert_int_equal(state_of(f, "pinned"), ENV_READY);
        assert_int_equal(state_of(f, "third"), ENV_READY);
        assert_int_equal(map_size(f->things), 12);
        push(f, "first", B_COMMIT); /* the project is still there */
        settle(f);
        assert_int_equal(engine_unpin(f->engine, NULL, "pinned--shop", NULL), 0);
        assert_int_equal(engine_project_remove(f->engine, NULL, "shop", NULL), 0);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(map_size(f->things), 0);
}

/* What is shared by generations is not taken along with one of them. */
static void F04_shared_thing_lost_with_a_generation(void **state) {
        char before[ID_SIZE], after[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", before));
        push(f, "login", B_COMMIT);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "deprovision", "workload"), 1);
        assert_int_equal(calls(f, "deprovision", "volume"), 0);
        assert_non_null(uid_of(f, "volume", after));
        assert_string_equal(before, after);
        push(f, "login", E_COMMIT); /* not even when the file does not ask for it any more */
        spend(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "deprovision", "workload"), 2);
        assert_int_equal(calls(f, "deprovision", "volume"), 0);
        assert_int_equal(map_size(f->things), 4);
}

/* ---- F10, F11 ---- */

static Config *with_clocks(const char *yaml) {
        SpecFaults faults = { 0 };
        Config *config;

        assert_int_equal(config_parse("m", yaml, strlen(yaml), &config, &faults, NULL), 0);
        return config;
}

static void use_config(Fixture *f, const char *yaml) {
        Config *config = with_clocks(yaml);

        engine_set_config(f->engine, config);
        config_free(f->config);
        f->config = config;
        settle(f);
}

static void F10_policy_activated_on_old_objects(void **state) {
        Fixture *f = *state;

        push(f, "served", A_COMMIT);
        push(f, "failed", C_COMMIT); /* never was ready, and has its promise all the same */
        settle(f);
        spend(f, 3 * MS_PER_DAY);
        use_config(f, "clocks:\n  delete_after_age: 1d\n  delete_after_asleep: 1d\n");
        spend(f, 59 * MS_PER_MINUTE);
        assert_int_equal(state_of(f, "served"), ENV_READY);
        assert_int_equal(state_of(f, "failed"), ENV_FAILED);
        /* the grace survives the daemon, and is not begun anew by it */
        daemon_killed(f);
        daemon_up(f);
        settle(f);
        assert_int_equal(state_of(f, "served"), ENV_READY);
        spend(f, 2 * MS_PER_MINUTE);
        assert_int_equal(state_of(f, "served"), ENV_GONE);
        assert_int_equal(state_of(f, "failed"), ENV_GONE);
}

static void F11_grace_shorter_than_promised(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *report = NULL;
        int64_t promised;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", NULL); /* deleted an hour later, unless it is extended */
        settle(f);
        pass(f, 17 * MS_PER_MINUTE + 331);
        turns(f);
        assert_int_equal(
                engine_extend(f->engine, NULL, "login--shop", 26 * MS_PER_HOUR + 12345, NULL), 0);
        promised = f->now_ms + 26 * MS_PER_HOUR + 12345;
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.extended_until_ms, promised);
        spend(f, promised - 1 - f->now_ms);
        assert_int_equal(engine_reap(f->engine, NULL, NULL, false, &report, NULL), 0);
        settle(f);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(state_of(f, "login"), ENV_GONE);
        get(f, "login", &env);
        assert_true(env.deleted_ms >= promised && env.deleted_ms < promised + 10);
}

/* ---- F13 ---- */

static void F13_opt_out_loses(void **state) {
        json_auto_t *why = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "login--shop", INT64_MAX, "demo", NULL), 0);
        spend(f, 30 * MS_PER_DAY);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        assert_int_equal(engine_why(f->engine, "login--shop", &why, NULL), 0);
        assert_string_equal(text(why, "gate"), "protection");

        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", 2 * MS_PER_DAY, NULL), 0);
        assert_int_equal(engine_unpin(f->engine, NULL, "login--shop", NULL), 0);
        spend(f, MS_PER_DAY);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        spend(f, 10 * MS_PER_DAY);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        spend(f, MS_PER_HOUR);
        assert_int_equal(state_of(f, "login"), ENV_GONE);
}

/* A freeze that is acknowledged wins over a deletion that has begun and not yet touched anything. */
static void F13_freeze_loses_to_a_deletion(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        calls_forget(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "stop", NULL), 0);
        spend(f, MS_PER_DAY);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        assert_int_equal(map_size(f->things), 4);
        daemon_killed(f); /* also over a restart */
        daemon_up(f);
        spend(f, MS_PER_DAY);
        assert_int_equal(map_size(f->things), 4);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        spend(f, MS_PER_HOUR);
        assert_int_equal(map_size(f->things), 0);
}

/* ---- F20, F21 ---- */

static void copy_file(const char *from, const char *to) {
        auto_cleanup(freep) char *data = NULL;
        size_t size;

        assert_int_equal(read_file(from, 64 * 1024 * 1024, &data, &size, NULL), 0);
        assert_int_equal(write_file(to, data, size, 0600, NULL), 0);
}

/* A renewal, a pin and a reopening that the old copy does not know are not overruled by it. */
static void F20_restore_of_old_state_kills_live_leases(void **state) {
        auto_cleanup(freep) char *frozen = NULL, *old = NULL, *wal = NULL, *shm = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", NULL);
        settle(f);
        daemon_killed(f);
        old = str_format("%s/old", f->dir);
        copy_file(f->db, old);
        daemon_up(f);
        settle(f);
        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", 5 * MS_PER_DAY, NULL), 0);
        spend(f, 2 * MS_PER_HOUR);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        daemon_killed(f);
        wal = str_format("%s-wal", f->db);
        shm = str_format("%s-shm", f->db);
        (void) unlink(wal);
        (void) unlink(shm);
        copy_file(old, f->db);
        daemon_up(f);
        spend(f, 3 * MS_PER_DAY);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        assert_int_equal(map_size(f->things), 4);
        assert_int_equal(ledger_value_get(f->ledger, "frozen", &frozen, NULL), 0);
        assert_non_null(strstr(frozen, "older than its anchor"));
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), -EPERM);
        /* held until somebody says otherwise, not until the next start */
        daemon_killed(f);
        daemon_up(f);
        spend(f, 2 * MS_PER_DAY);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        /* it has the hour that it had when the copy was made, less what the test spent before */
        spend(f, 55 * MS_PER_MINUTE);
        assert_int_equal(state_of(f, "login"), ENV_READY);
        spend(f, 10 * MS_PER_MINUTE);
        assert_int_equal(state_of(f, "login"), ENV_GONE);
}

/* However often the daemon comes back, deadlines are where they were. */
static void F21_ttl_reset_by_failover(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int64_t begun;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        begun = f->now_ms;
        for (unsigned i = 0; i < 40 && level_of(f, "login") == LEVEL_AWAKE; i++) {
                spend(f, MS_PER_MINUTE);
                daemon_killed(f);
                daemon_up(f);
                settle(f);
        }
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        assert_true(env.asleep_ms - begun <= 31 * MS_PER_MINUTE);
        begun = env.asleep_ms;
        for (unsigned i = 0; i < 20 && state_of(f, "login") == ENV_READY; i++) {
                spend(f, 12 * MS_PER_HOUR);
                daemon_killed(f);
                daemon_up(f);
                settle(f);
        }
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_true(env.deleted_ms - begun <= 7 * MS_PER_DAY + 12 * MS_PER_HOUR + MS_PER_MINUTE);
}

/* ---- F32 ---- */

/* At every step of a deletion: an extension is kept, or refused in plain words. Never a false yes. */
static void F32_extension_acknowledged_not_honoured(void **state) {
        Fixture *f = *state;
        bool refused = false;

        for (unsigned n = 0; n < 12; n++) {
                auto_cleanup(freep) char *branch = str_format("b%u", n),
                                         *label = str_format("b%u--shop", n);
                auto_error error = { 0 };
                int r;

                push(f, branch, A_COMMIT);
                settle(f);
                push(f, branch, NULL);
                settle(f);
                pass(f, n == 0 ? MS_PER_HOUR - 1 : MS_PER_HOUR);
                for (unsigned i = 1; i < n; i++) { /* the deletion begins, and goes so far */
                        turns(f);
                        if (i > 1)
                                (void) answer_first(f);
                }
                r = engine_extend(f->engine, NULL, label, MS_PER_DAY, &error);
                if (r == 0) {
                        assert_true(n <= 1); /* due in this very turn: it came before the verdict */
                        spend(f, 20 * MS_PER_HOUR);
                        assert_int_equal(state_of(f, branch), ENV_READY);
                        assert_int_equal(map_size(f->things), 4);
                        assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
                } else {
                        assert_int_equal(r, -ENOENT);
                        assert_non_null(strstr(error.message, "push its branch again"));
                        refused = true;
                }
                spend(f, MS_PER_HOUR);
                assert_int_equal(state_of(f, branch), ENV_GONE);
                assert_int_equal(map_size(f->things), 0);
        }
        assert_true(refused);
}

static void F32_extension_never_shortens(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        static const int64_t wrong[] = { 0, -1, INT64_MIN, INT64_MAX };
        int64_t until;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_extend(f->engine, NULL, "login--shop", MS_PER_DAY, NULL), 0);
        get(f, "login", &env);
        until = env.extended_until_ms;
        for (size_t i = 0; i < N_ELEMENTS(wrong); i++)
                assert_true(engine_extend(f->engine, NULL, "login--shop", wrong[i], NULL) < 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.extended_until_ms, until);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(F03_dry_run_and_real_run_differ),
                WITH(F04_protected_thing_lost_by_cascade),
                WITH(F04_shared_thing_lost_with_a_generation),
                WITH(F10_policy_activated_on_old_objects),
                WITH(F11_grace_shorter_than_promised),
                WITH(F13_opt_out_loses),
                WITH(F13_freeze_loses_to_a_deletion),
                cmocka_unit_test_setup_teardown(F20_restore_of_old_state_kills_live_leases,
                                                set_up_anchored, tear_down),
                WITH(F21_ttl_reset_by_failover),
                WITH(F32_extension_acknowledged_not_honoured),
                WITH(F32_extension_never_shortens),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
