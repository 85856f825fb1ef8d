#include "tests/unit/engine-world.h"

#include <unistd.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/db.h"

/* What stays of what is gone, and what does not; and how long, when the ledger itself was put back. */

static int64_t ask(Fixture *f, const char *sql) {
        auto_cleanup(db_freep) Db *db = NULL;
        auto_cleanup(db_query_donep) DbQuery *q = NULL;

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_query(db, sql, &q, NULL), 0);
        assert_int_equal(db_step(q, NULL), 1);
        return db_int(q, 0);
}

/* A removal that is stuck for months: its address answers all the time. */
static void test_what_is_being_deleted_keeps_its_address(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        push(f, "other", A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "other--shop", INT64_MAX, "", NULL), 0);
        f->fail_verb = "deprovision";
        f->fail_type = "volume";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1000;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_answer(f, "login--shop", "gone");
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        settle(f); /* nobody looks at it from here on, which would put a lost route back */
        pass(f, LIMIT_GONE_ROUTE_MS + MS_PER_DAY);
        assert_int_equal(engine_extend(f->engine, NULL, "other--shop", MS_PER_DAY, NULL), 0);
        f->wanted = false;
        assert_int_equal(engine_turn(f->engine, NULL), 0);
        assert_answer(f, "login--shop", "gone");
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        f->fail_verb = NULL;
        settle_for(f, 2 * MS_PER_DAY);
        assert_int_equal(
                ask(f,
                    "SELECT count(*) FROM environment WHERE branch = 'login' AND state = 'gone'"),
                1);
        pass(f, LIMIT_GONE_ROUTE_MS + MS_PER_DAY);
        assert_int_equal(engine_extend(f->engine, NULL, "other--shop", MS_PER_DAY, NULL), 0);
        settle(f);
        assert_int_equal(ask(f, "SELECT count(*) FROM route WHERE host LIKE 'login%'"), 0);
}

static void test_no_secret_outlives_its_resource(void **state) {
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE];
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_int_equal(ledger_resource_set_outputs(
                                 f->ledger, &r,
                                 "{\"type\":\"bind\",\"source\":\"/v\",\"password\":\"hunter2\"}",
                                 names, NULL),
                         0);
        f->wanted = true;
        settle(f);
        assert_int_equal(ask(f, "SELECT count(*) FROM resource WHERE sealed IS NOT NULL"), 1);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        assert_int_equal(map_size(f->things), 0);
        assert_int_equal(ask(f, "SELECT count(*) FROM resource WHERE sealed IS NOT NULL"
                                " OR secret IS NOT NULL AND secret NOT IN ('[]', 'null')"),
                         0);
}

static const char *two_volumes(const char *commit, const char *path) {
        return streq(path, "score.yaml")
                       ? "apiVersion: score.dev/v1b1\nmetadata:\n  name: web\nservice:\n  ports:\n"
                         "    http:\n      port: 80\ncontainers:\n  main:\n    image: .\n"
                         "    command: [run]\n    volumes:\n      /data:\n"
                         "        source: ${resources.data}\n      /more:\n"
                         "        source: ${resources.more}\n"
                         "resources:\n  data:\n    type: volume\n  more:\n    type: volume\n"
                       : NULL;
}

static int no_secret(void *userdata, const Event *e) {
        assert_null(strstr(e->text, "hunter2"));
        assert_true(!e->data || !strstr(e->data, "hunter2"));
        return 0;
}

/* One volume with its password is gone; the provider that knew it still speaks of the other one. */
static void test_a_secret_that_has_ended_is_in_no_later_words(void **state) {
        static const char words[] = "{\"result\":{\"removed\":[{\"kind\":\"user\",\"name\":"
                                    "\"with hunter2-hunter2\"}],\"absent\":[]}}\n";
        char *names[] = { (char *) "password", NULL };
        auto_cleanup(resource_done) Resource r = { 0 };
        Pending *other;
        Fixture *f = *state;

        f->file = two_volumes;
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        while (calls(f, "deprovision", "volume") < 2) {
                assert_true(answer_first(f));
                turns(f);
        }
        assert_int_equal(ledger_resource_get(f->ledger, f->first->uid, &r, NULL), 0);
        assert_int_equal(ledger_resource_set_outputs(f->ledger, &r,
                                                     "{\"type\":\"bind\",\"source\":\"/v\","
                                                     "\"password\":\"hunter2-hunter2\"}",
                                                     names, NULL),
                         0);
        assert_true(answer_first(f));
        turns(f);
        other = f->first; /* its answer is late */
        f->first = other->next;
        assert_string_equal(f->first->verb, "inspect");
        assert_true(answer_first(f));
        turns(f);
        assert_int_equal(ask(f, "SELECT count(*) FROM resource WHERE sealed IS NOT NULL"), 0);
        other->next = f->first;
        f->first = other;
        answer_first_with(f, words, strlen(words), true);
        settle(f);
        assert_int_equal(map_size(f->things), 0);
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 1000, no_secret, NULL, NULL), 0);
        assert_int_equal(ask(f, "SELECT count(*) FROM event WHERE data LIKE '%with ***%'"), 1);
}

/* ---- put back twice ---- */

/* A copy is taken, so long passes, and it is put back and released. */
static void lose(Fixture *f, int64_t ms) {
        auto_cleanup(freep) char *copy = str_format("%s/copy", f->dir),
                                 *wal = str_format("%s-wal", f->db),
                                 *shm = str_format("%s-shm", f->db);

        assert_int_equal(ledger_backup(f->ledger, copy, NULL), 0);
        spend(f, ms);
        daemon_killed(f);
        (void) unlink(wal); /* may be gone already */
        (void) unlink(shm);
        assert_int_equal(rename(copy, f->db), 0);
        daemon_up(f);
        assert_non_null(ledger_held(f->ledger));
        spend(f, MS_PER_MINUTE);
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        spend(f, MS_PER_HOUR);
}

static void test_what_two_copies_have_lost_adds_up(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        spend(f, MS_PER_HOUR); /* it sleeps: seven days from now it would go */
        lose(f, 3 * MS_PER_DAY);
        lose(f, 3 * MS_PER_DAY);
        spend(f, 5 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        spend(f, 3 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_what_is_being_deleted_keeps_its_address),
                WITH(test_no_secret_outlives_its_resource),
                WITH(test_a_secret_that_has_ended_is_in_no_later_words),
                cmocka_unit_test_setup_teardown(test_what_two_copies_have_lost_adds_up,
                                                set_up_anchored, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
