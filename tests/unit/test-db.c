#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/glue/db.h"

static void test_bind_step_and_reuse(void **state) {
        static const char insert[] = "INSERT INTO t VALUES (?1, ?2, ?3)";
        static const char select[] = "SELECT a, b, c FROM t ORDER BY a";
        auto_cleanup(db_freep) Db *db = NULL;
        DbQuery *q, *again;
        size_t size;

        assert_int_equal(db_open(":memory:", NULL, &db, NULL), 0);
        assert_int_equal(
                db_exec(db, "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT, c BLOB) STRICT", NULL),
                0);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(db_query(db, insert, &q, NULL), 0);
                db_bind_int(q, 1, i);
                db_bind_text(q, 2, i ? "text" : NULL);
                db_bind_blob(q, 3, "\0\1", 2);
                assert_int_equal(db_run(q, NULL), 0);
                db_query_done(q);
        }
        assert_int_equal(db_query(db, select, &q, NULL), 0);
        assert_int_equal(db_step(q, NULL), 1);
        assert_int_equal(db_query(db, select, &again, NULL), 0); /* the same text while in use */
        assert_ptr_not_equal(q, again);
        assert_int_equal(db_step(again, NULL), 1);
        assert_true(db_is_null(q, 1));
        assert_null(db_text(q, 1));
        assert_memory_equal(db_blob(q, 2, &size), "\0\1", 2);
        assert_int_equal(size, 2);
        assert_int_equal(db_step(q, NULL), 1);
        assert_string_equal(db_text(q, 1), "text");
        db_query_done(q);
        db_query_done(again);
}

static void test_failures_have_code_and_sentence(void **state) {
        auto_cleanup(db_freep) Db *db = NULL;
        auto_error constraint = { 0 }, syntax = { 0 }, absent = { 0 };
        Db *none = NULL;

        assert_int_equal(db_open(":memory:", NULL, &db, NULL), 0);
        assert_int_equal(
                db_exec(db,
                        "CREATE TABLE t (a INTEGER PRIMARY KEY) STRICT; INSERT INTO t VALUES (1)",
                        NULL),
                0);
        assert_int_equal(db_exec(db, "INSERT INTO t VALUES (1)", &constraint), -EEXIST);
        assert_non_null(strstr(constraint.message, "UNIQUE"));
        assert_int_equal(db_exec(db, "SELEC", &syntax), -EINVAL);
        assert_true(db_open("/nonexistent/folder/x.db", NULL, &none, &absent) < 0);
        assert_null(none);
        assert_non_null(absent.message);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bind_step_and_reuse),
                cmocka_unit_test(test_failures_have_code_and_sentence),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
