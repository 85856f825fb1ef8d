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

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(F02_clocks_unreadable_so_no_protection),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
