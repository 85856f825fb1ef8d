/* Whatever somebody does to the event log with a database tool of their own, it is found out. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"

#define EVENTS 40
#define EDITS  600

typedef struct Fixture {
        char dir[32], db[64], key[64], anchor[64];
        char *db_bytes, *anchor_bytes;
        size_t db_size, anchor_size;
} Fixture;

static uint64_t seed = 1;

static int64_t below(int64_t n) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (int64_t) ((seed >> 33) % (uint64_t) n);
}

static Ledger *open_as(Fixture *f, bool read_only) {
        LedgerOptions o = {
                .path = f->db, .key_path = f->key, .random = &random_system, .read_only = read_only
        };
        auto_error e = { 0 };
        Ledger *l = NULL;

        if (ledger_open(&o, &l, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
        return l;
}

static Ledger *open_it(Fixture *f) {
        return open_as(f, false);
}

static int set_up(void **state) {
        static const char *const texts[] = { "a visit", "b", "", "ready; \"quoted\"", "ünïcode" };
        Fixture *f = calloc(1, sizeof(Fixture));
        Ledger *l;

        strcpy(f->dir, "/tmp/chain-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        snprintf(f->anchor, sizeof(f->anchor), "%s/ledger.anchor", f->dir);
        l = open_it(f);
        for (int i = 0; i < EVENTS; i++) {
                Event e = {
                        .time_ms = 1000 + i * 7,
                        .environment_id = (char *) (i % 3 ? "e1" : NULL),
                        .project_id = (char *) (i % 4 ? "p1" : NULL),
                        .kind = (char *) (i % 2 ? "environment.ready" : "resource.failed"),
                        .actor = (char *) "uid:1000",
                        .trace = (char *) (i % 5 ? "0123456789abcdef0123456789abcdef" : NULL),
                        .text = (char *) texts[i % 5],
                        .data = (char *) (i % 2 ? "{\"a\":1}" : NULL),
                };

                assert_int_equal(ledger_event_add(l, &e, NULL), 0);
                assert_int_equal(ledger_commit(l, NULL), 0);
        }
        ledger_close(l);
        assert_int_equal(read_file(f->db, 1 << 24, &f->db_bytes, &f->db_size, NULL), 0);
        assert_int_equal(read_file(f->anchor, 4096, &f->anchor_bytes, &f->anchor_size, NULL), 0);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f->db_bytes);
        free(f->anchor_bytes);
        free(f);
        return 0;
}

static void put(const char *path, const void *data, size_t size) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static int64_t event_row(void) {
        return 1 + below(EVENTS);
}

/* ---- edits: each writes SQL that changes the log ---- */

static void edit_text(StrBuf *b) {
        static const char *const columns[] = { "environment_id", "project_id", "kind", "actor",
                                               "trace",          "text",       "chain" };
        const char *c = columns[below(N_ELEMENTS(columns))];

        /* one more byte, one byte less, or another one in its place: NULL stays, so '' counts too */
        strbuf_addf(b, "UPDATE event SET %s = coalesce(%s, '') || 'x' WHERE number = %d", c, c,
                    (int) event_row());
}

static void edit_flip(StrBuf *b) {
        int at = 1 + (int) below(64);

        strbuf_addf(b,
                    "UPDATE event SET chain = substr(chain, 1, %d - 1) || CASE substr(chain, %d, 1)"
                    " WHEN '0' THEN '1' ELSE '0' END || substr(chain, %d + 1) WHERE number = %d",
                    at, at, at, (int) event_row());
}

static void edit_number(StrBuf *b) {
        strbuf_addf(b, "UPDATE event SET time_ms = time_ms %c %d WHERE number = %d",
                    below(2) ? '+' : '-', 1 + (int) below(100), (int) event_row());
}

static void edit_null(StrBuf *b) {
        static const char *const columns[] = { "actor", "data", "trace", "environment_id" };
        const char *c = columns[below(N_ELEMENTS(columns))];

        strbuf_addf(
                b,
                "UPDATE event SET %s = CASE WHEN %s IS NULL THEN '{}' ELSE NULL END WHERE number = %d",
                c, c, (int) event_row());
}

/* What stood in one field stands in the next. */
static void edit_shift(StrBuf *b) {
        strbuf_addf(b,
                    "UPDATE event SET actor = substr(kind, -1) || actor,"
                    " kind = substr(kind, 1, length(kind) - 1) WHERE number = %d",
                    (int) event_row());
}

static void edit_empty(StrBuf *b) {
        strbuf_addf(b,
                    "UPDATE event SET trace = '' WHERE number = (SELECT number FROM event"
                    " WHERE trace IS NULL LIMIT 1 OFFSET %d)",
                    (int) below(EVENTS / 5));
}

static void edit_data(StrBuf *b) {
        strbuf_addf(b, "UPDATE event SET data = '{\"a\":%d}' WHERE number = %d", 2 + (int) below(9),
                    (int) event_row());
}

static void edit_remove(StrBuf *b) {
        strbuf_addf(b, "DELETE FROM event WHERE number = %d", (int) event_row());
}

/* The gap is closed, so that the numbers look right. */
static void edit_remove_and_close(StrBuf *b) {
        int n = (int) event_row();

        strbuf_addf(b,
                    "DELETE FROM event WHERE number = %d; UPDATE event SET number = -number WHERE"
                    " number > %d; UPDATE event SET number = -number - 1 WHERE number < 0",
                    n, n);
}

static void edit_truncate(StrBuf *b) {
        strbuf_addf(b, "DELETE FROM event WHERE number > %d", (int) event_row() - 1);
}

static void edit_behead(StrBuf *b) {
        int n = 1 + (int) below(EVENTS - 1);

        strbuf_addf(b,
                    "DELETE FROM event WHERE number <= %d; UPDATE event SET number = number - %d",
                    n, n);
}

static void edit_swap(StrBuf *b) {
        int one = (int) event_row(), other = (int) event_row();

        if (one == other)
                other = one % EVENTS + 1;
        strbuf_addf(
                b,
                "UPDATE event SET number = -1 WHERE number = %d; UPDATE event SET number = %d WHERE"
                " number = %d; UPDATE event SET number = %d WHERE number = -1",
                one, one, other, other);
}

/* A row by hand at the end, with the chain of another, or as a hash without the key would be. */
static void edit_append(StrBuf *b) {
        char forged[SHA256_HEX];

        assert_int_equal(sha256_hex("guess", 5, forged), 0);
        strbuf_addf(b,
                    "INSERT INTO event SELECT %d, time_ms, environment_id, project_id, kind, actor,"
                    " trace, text, data, ",
                    EVENTS + 1);
        strbuf_addf(b, below(2) ? "chain" : "'%s'", forged);
        strbuf_addf(b, " FROM event WHERE number = %d", (int) event_row());
}

static void edit_insert(StrBuf *b) {
        int n = (int) event_row();

        strbuf_addf(
                b,
                "UPDATE event SET number = -number WHERE number >= %d;"
                " UPDATE event SET number = -number + 1 WHERE number < 0;"
                " INSERT INTO event SELECT %d, time_ms, environment_id, project_id, kind, actor,"
                " trace, text, data, chain FROM event WHERE number = %d",
                n, n, n + 1);
}

/* What C sees of it is as it was. */
static void edit_nul(StrBuf *b) {
        static const char *const columns[] = { "environment_id", "project_id", "kind", "actor",
                                               "trace",          "text",       "chain" };
        const char *c = columns[below(N_ELEMENTS(columns))];

        strbuf_addf(b,
                    "UPDATE event SET %s = %s || char(0) || 'and he agreed' WHERE number ="
                    " (SELECT number FROM event WHERE %s IS NOT NULL LIMIT 1 OFFSET %d)",
                    c, c, c, (int) below(EVENTS / 2));
}

static void edit_before_the_first(StrBuf *b) {
        strbuf_addf(b,
                    "INSERT INTO event SELECT %d, time_ms, environment_id, project_id, kind, actor,"
                    " trace, text, data, chain FROM event WHERE number = %d",
                    -(int) below(3), (int) event_row());
}

static void edit_all(StrBuf *b) {
        strbuf_add(b, "DELETE FROM event");
}

static const struct {
        const char *name;
        void (*write)(StrBuf *b);
} edits[] = {
        { "a text", edit_text },
        { "a bit of a chain", edit_flip },
        { "a time", edit_number },
        { "a NULL", edit_null },
        { "a byte from one field to the next", edit_shift },
        { "an empty text for NULL", edit_empty },
        { "data", edit_data },
        { "a row less", edit_remove },
        { "a row less, closed up", edit_remove_and_close },
        { "the end cut off", edit_truncate },
        { "the beginning cut off", edit_behead },
        { "two rows exchanged", edit_swap },
        { "a row more at the end", edit_append },
        { "a row more in the middle", edit_insert },
        { "bytes after a NUL", edit_nul },
        { "a row before the first", edit_before_the_first },
        { "everything", edit_all },
};

static void edit(Fixture *f, const char *sql) {
        static const char prefix[] = "DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete;";
        auto_cleanup(db_freep) Db *db = NULL;
        auto_error e = { 0 };

        put(f->db, f->db_bytes, f->db_size);
        put(f->anchor, f->anchor_bytes, f->anchor_size);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, "PRAGMA synchronous = OFF", NULL), 0);
        assert_int_equal(db_exec(db, prefix, NULL), 0);
        if (db_exec(db, sql, &e) < 0)
                fail_msg("%s: %s", sql, error_text(&e, 0));
}

static bool verify(Ledger *l) {
        int r = ledger_verify(l, NULL, NULL, NULL);

        assert_true(r >= 0);
        return r > 0;
}

/* By who only looks; then by a start, and by every one that follows. */
static bool found_out(Fixture *f) {
        for (int i = 0; i < 3; i++) {
                auto_cleanup(ledger_closep) Ledger *l = open_as(f, i == 0);

                if (!verify(l))
                        return false;
        }
        return true;
}

static void test_untouched_is_sound(void **state) {
        edit(*state, "SELECT 1");
        assert_false(found_out(*state));
}

static void test_every_edit_is_found(void **state) {
        for (int i = 0; i < EDITS; i++) {
                size_t kind = (size_t) i % N_ELEMENTS(edits);
                auto_strbuf sql = { 0 };

                edits[kind].write(&sql);
                edit(*state, sql.text);
                if (!found_out(*state))
                        fail_msg("%s was not noticed: %s", edits[kind].name, sql.text);
        }
        print_message("# %d edits of %zu kinds, all found\n", EDITS, N_ELEMENTS(edits));
}

/* The ledger is open while it is done. */
static void test_found_while_it_runs(void **state) {
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(edits); i++) {
                auto_cleanup(ledger_closep) Ledger *l = NULL;
                auto_cleanup(db_freep) Db *db = NULL;
                auto_strbuf sql = { 0 };

                edit(f, "SELECT 1");
                l = open_it(f);
                assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
                edits[i].write(&sql);
                assert_int_equal(db_exec(db, sql.text, NULL), 0);
                if (!verify(l))
                        fail_msg("%s was not noticed: %s", edits[i].name, sql.text);
        }
}

static void collect(void *userdata, const char *sentence) {
        strbuf_addf(userdata, "%s\n", sentence);
}

/* Each thing has its sentence: none hides another. */
static void test_all_of_it_is_told(void **state) {
        auto_cleanup(ledger_closep) Ledger *l = NULL;
        auto_strbuf said = { 0 };
        Fixture *f = *state;

        edit(f,
             "INSERT INTO event SELECT 0, time_ms, environment_id, project_id, kind, actor, trace,"
             " text, data, chain FROM event WHERE number = 7;"
             "UPDATE event SET text = 'other' WHERE number = 4;"
             "UPDATE event SET chain = 'other' WHERE number = 10;"
             "DELETE FROM event WHERE number IN (20, 21, 30) OR number > 38");
        l = open_as(f, true);
        assert_int_equal(ledger_verify(l, collect, &said, NULL), 7);
        assert_string_equal(
                said.text,
                "there is an event 0, but their numbers begin with 1\n"
                "event 4 does not follow from the one before it: one of them was changed\n"
                "event 10 does not follow from the one before it: one of them was changed\n"
                "event 11 does not follow from the one before it: one of them was changed\n"
                "events 20 to 21 are missing\n"
                "event 30 is missing\n"
                "events 39 to 40 are missing, the newest ones\n");
}

/* Looking changes nothing, whatever is found, and makes nothing. */
static void test_looking_writes_nothing(void **state) {
        static const char *const sql[] = { "SELECT 1", "DELETE FROM event WHERE number > 30" };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(sql); i++) {
                auto_cleanup(freep) char *before = NULL, *after = NULL, *anchor = NULL;
                size_t before_size, after_size, anchor_size;
                Ledger *l;

                edit(f, sql[i]);
                assert_int_equal(read_file(f->db, 1 << 24, &before, &before_size, NULL), 0);
                for (int n = 0; n < 2; n++) {
                        l = open_as(f, true);
                        assert_int_equal(verify(l), i > 0);
                        assert_int_equal(ledger_held(l) != NULL, i > 0);
                        assert_true(ledger_value_set(l, "x", "y", NULL) < 0 ||
                                    ledger_commit(l, NULL) < 0);
                        ledger_close(l);
                }
                assert_int_equal(read_file(f->db, 1 << 24, &after, &after_size, NULL), 0);
                assert_int_equal(after_size, before_size);
                assert_memory_equal(after, before, before_size);
                assert_int_equal(read_file(f->anchor, 4096, &anchor, &anchor_size, NULL), 0);
                assert_int_equal(anchor_size, f->anchor_size);
                assert_memory_equal(anchor, f->anchor_bytes, anchor_size);
        }
}

/* The end is cut off, and everything that says that there was more. */
static void test_a_cut_end_is_found_without_its_anchor(void **state) {
        auto_cleanup(ledger_closep) Ledger *l = NULL;
        Fixture *f = *state;

        edit(f, "DELETE FROM event WHERE number > 30;"
                "DELETE FROM value WHERE name IN ('anchored', 'epoch')");
        assert_int_equal(unlink(f->anchor), 0);
        l = open_as(f, true);
        assert_true(verify(l));
        ledger_close(TAKE(l));
        l = open_it(f);
        assert_non_null(ledger_held(l));
        assert_true(verify(l));
        ledger_close(TAKE(l));
        l = open_it(f);
        assert_null(ledger_held(l));
        assert_true(verify(l));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_untouched_is_sound, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_every_edit_is_found, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_found_while_it_runs, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_all_of_it_is_told, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_looking_writes_nothing, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_cut_end_is_found_without_its_anchor, set_up,
                                                tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
