#include "tests/unit/engine-world.h"

#include "orchestrator/glue/db.h"

/* Rows of the ledger that cannot be read, or do not say what they should. */

static void spoil(Fixture *f, const char *sql) {
        auto_cleanup(freep) char *all = str_format("PRAGMA ignore_check_constraints = 1; %s", sql);
        auto_cleanup(db_freep) Db *db = NULL;

        daemon_killed(f);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, all, NULL), 0);
}

static void assert_state(Fixture *f, const char *branch, EnvState expected) {
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        assert_int_equal(env.state, expected);
}

/* A length that cannot be read may be longer than the one that would hold without it. */
static void F02_clocks_unreadable_so_no_protection(void **state) {
        static const char *const bad[] = {
                "UPDATE project SET clocks = '{\"delete_after_asleep\": '",
                "UPDATE project SET clocks = '[]'",
                "UPDATE environment SET lease = '{'",
                "UPDATE environment SET lease = '7'",
        };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        spend(f, MS_PER_HOUR); /* it sleeps: it has seven days */
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                spoil(f, bad[i]);
                daemon_up(f);
                settle(f);
                spend(f, 10 * MS_PER_DAY);
                assert_state(f, "login", ENV_READY);
                spoil(f, "UPDATE project SET clocks = NULL; UPDATE environment SET lease = NULL");
        }
        daemon_up(f);
        settle(f);
        spend(f, 10 * MS_PER_DAY);
        assert_state(f, "login", ENV_GONE);
}

/* One spoilt row is told of; its environment waits for somebody, and all others go on as ever. */
static void test_one_spoilt_row_spoils_nothing_else(void **state) {
        static const char *const bad[] = {
                "UPDATE resource SET secret = '{}' WHERE type = 'workload' AND environment_id ="
                " (SELECT id FROM environment WHERE branch = 'login')",
                "UPDATE resource SET notes = '7' WHERE type = 'workload' AND environment_id ="
                " (SELECT id FROM environment WHERE branch = 'login')",
        };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        push(f, "other", A_COMMIT);
        settle(f);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                spoil(f, bad[i]);
                daemon_up(f);
                settle(f);
                assert_state(f, "login", ENV_READY);
                push(f, "other", i == 0 ? B_COMMIT : A_COMMIT);
                settle_for(f, MS_PER_MINUTE);
                assert_state(f, "other", ENV_READY);
                assert_int_equal(map_size(f->things), 8);
                spoil(f, "UPDATE resource SET secret = NULL, notes = NULL WHERE type = 'workload'");
        }
        daemon_up(f);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        assert_int_equal(engine_down(f->engine, NULL, "other--shop", NULL), 0);
        settle(f);
        assert_int_equal(map_size(f->things), 0);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(F02_clocks_unreadable_so_no_protection),
                WITH(test_one_spoilt_row_spoils_nothing_else),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
