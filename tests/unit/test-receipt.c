#include "tests/unit/test.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"

/* Receipts in the ledger, the key they are signed with, and a ledger of the format before. */

typedef struct Fixture {
        char dir[32], db[64], key[64], signing[80];
        Ledger *ledger;
} Fixture;

static int try_open(Fixture *f, bool new_key, Error *reterr) {
        LedgerOptions o = { .path = f->db,
                            .key_path = f->key,
                            .random = &random_system,
                            .new_signing_key = new_key };

        f->ledger = ledger_close(f->ledger);
        return ledger_open(&o, &f->ledger, reterr);
}

static void reopen(Fixture *f) {
        auto_error e = { 0 };

        if (try_open(f, false, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        strcpy(f->dir, "/tmp/receipt-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        snprintf(f->signing, sizeof(f->signing), "%s/key.signing", f->dir);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        f->ledger = ledger_close(f->ledger);
        assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f);
        return 0;
}

static void add_environment(Fixture *f, const char *id, const char *branch) {
        Project p = { .id = (char *) "p1", .name = (char *) "shop", .repository = (char *) "/r" };
        Environment e = { .id = (char *) id,
                          .project_id = p.id,
                          .branch = (char *) branch,
                          .commit = (char *) "c0ffee",
                          .label = (char *) branch,
                          .trust = (char *) "member",
                          .trace = (char *) "t" };
        auto_cleanup(project_done) Project known = { 0 };

        if (ledger_project_get(f->ledger, "shop", &known, NULL) < 0)
                assert_int_equal(ledger_project_insert(f->ledger, &p, NULL), 0);
        assert_int_equal(ledger_environment_insert(f->ledger, &e, NULL), 0);
}

/* As the engine writes them: the receipt, and the event that names it. */
static int add_receipt(Fixture *f, const char *id, const char *label, int64_t ended_ms) {
        auto_cleanup(freep) char *body =
                str_format("{\"a\":1,\"ended_ms\":%lld,\"environment\":{\"id\":\"%s\",\"label\":"
                           "\"%s\"},\"installation\":\"%s\"}",
                           (long long) ended_ms, id, label, ledger_installation(f->ledger));
        auto_cleanup(freep) char *data = NULL;
        char digest[SHA256_HEX];
        int r;

        assert_int_equal(sha256_hex(body, strlen(body), digest), 0);
        data = str_format("{\"receipt\":\"%s\"}", digest);
        r = ledger_receipt_add(f->ledger,
                               &(Receipt){ .environment_id = (char *) id,
                                           .label = (char *) label,
                                           .ended_ms = ended_ms,
                                           .body = body },
                               NULL);
        return r < 0 ? r
                     : ledger_event_add(f->ledger,
                                        &(Event){ .time_ms = ended_ms,
                                                  .environment_id = (char *) id,
                                                  .kind = (char *) "environment.gone",
                                                  .text = (char *) "gone",
                                                  .data = data },
                                        NULL);
}

static int collect(void *userdata, const Receipt *r) {
        return strv_add(userdata, r->environment_id);
}

static void test_receipts_stay_as_they_are(void **state) {
        auto_cleanup(receipt_done) Receipt r = { 0 };
        auto_cleanup(strv_freep) char **ids = NULL;
        Fixture *f = *state;
        auto_cleanup(db_freep) Db *db = NULL;

        reopen(f);
        add_environment(f, "e1", "one");
        add_environment(f, "e2", "two");
        assert_int_equal(add_receipt(f, "e1", "login--shop", 5), 0);
        assert_int_equal(add_receipt(f, "e2", "login--shop", 6), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        assert_int_equal(add_receipt(f, "e1", "login--shop", 7), -EEXIST); /* one for each */
        ledger_rollback(f->ledger);
        reopen(f);
        assert_int_equal(ledger_receipt_each(f->ledger, "login--shop", 10, collect, &ids, NULL), 0);
        assert_int_equal(strv_length(ids), 2);
        assert_string_equal(ids[0], "e2"); /* the newest first */
        assert_int_equal(ledger_receipt_get(f->ledger, "e1", &r, NULL), 0);
        assert_int_equal(ledger_receipt_check(f->ledger, &r, NULL), 0);
        r.body[2] = 'b';
        assert_int_equal(ledger_receipt_check(f->ledger, &r, NULL), -EBADMSG);

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_true(db_exec(db, "UPDATE receipt SET body = '{}'", NULL) < 0);
        assert_true(db_exec(db, "DELETE FROM receipt", NULL) < 0);
}

static void collect_words(void *userdata, const char *sentence) {
        strbuf_addf(userdata, "%s\n", sentence);
}

/* Receipts of "one" and "two", and what somebody does to them with a database tool. */
static void test_whatever_is_done_to_receipts_is_found(void **state) {
        static const struct {
                const char *sql;
                const char *words[3];
        } edits[] = {
                { "SELECT 1", { NULL } },
                { "UPDATE receipt SET body = replace(body, '\"a\":1', '\"a\":2') WHERE label = 'one'",
                  { "'one' (e1) does not hold: The signature does not fit" } },
                { "UPDATE receipt SET label = 'three' WHERE label = 'one'",
                  { "'three' (e1) does not hold: Its name or time" } },
                { "UPDATE receipt SET ended_ms = 4 WHERE label = 'one'",
                  { "'one' (e1) does not hold: Its name or time" } },
                { "UPDATE receipt SET label = label || char(0) || 'x' WHERE label = 'one'",
                  { "e1 has more in it" } },
                { "DELETE FROM receipt WHERE label = 'one'", { "the receipt of e1 is missing" } },
                { "DROP TABLE receipt",
                  { "the receipt of e1 is missing", "the receipt of e2 is missing" } },
                { "UPDATE receipt SET environment_id = 'e3' WHERE label = 'one'",
                  { "(e3) does not hold: It is the receipt of another environment",
                    "the receipt of e1 is missing" } },
                { "CREATE TABLE swap AS SELECT * FROM receipt; DELETE FROM receipt;"
                  "INSERT INTO receipt SELECT CASE environment_id WHEN 'e1' THEN 'e2' ELSE 'e1' END,"
                  " label, ended_ms, body, public_key, signature FROM swap; DROP TABLE swap",
                  { "(e1) does not hold: It is the receipt of another",
                    "(e2) does not hold: It is the receipt of another" } },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(edits); i++) {
                auto_cleanup(db_freep) Db *db = NULL;
                auto_strbuf said = { 0 };
                auto_error e = { 0 };
                int n = 0, found;

                f->ledger = ledger_close(f->ledger);
                assert_int_equal(remove_tree(f->dir, NULL), 0);
                assert_int_equal(mkdir(f->dir, 0700), 0);
                reopen(f);
                add_environment(f, "e1", "one");
                add_environment(f, "e2", "two");
                add_environment(f, "e3", "three");
                assert_int_equal(add_receipt(f, "e1", "one", 5), 0);
                assert_int_equal(add_receipt(f, "e2", "two", 6), 0);
                assert_int_equal(ledger_commit(f->ledger, NULL), 0);
                assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
                assert_int_equal(db_exec(db,
                                         "PRAGMA foreign_keys = OFF;"
                                         "DROP TRIGGER receipt_no_update;"
                                         "DROP TRIGGER receipt_no_delete",
                                         NULL),
                                 0);
                if (db_exec(db, edits[i].sql, &e) < 0)
                        fail_msg("%s", error_text(&e, 0));
                found = ledger_verify(f->ledger, collect_words, &said, NULL);
                for (; edits[i].words[n]; n++)
                        if (!said.text || !strstr(said.text, edits[i].words[n]))
                                fail_msg("%s: %s", edits[i].sql, said.text);
                if (found != n)
                        fail_msg("%s: %d, %s", edits[i].sql, found, said.text);
        }
}

/* Somebody has made a key of their own known to the ledger: the log still names another receipt. */
static void test_a_receipt_of_somebody_else_does_not_hold(void **state) {
        static const uint8_t key[SIGN_KEY_BYTES] = "somebody else's key";
        char public[SIGN_PUBLIC_TEXT], signature[SIGN_SIGNATURE_TEXT], *digit;
        auto_cleanup(receipt_done) Receipt r = { 0 };
        auto_cleanup(freep) char *keys = NULL;
        auto_error e = { 0 };
        Fixture *f = *state;

        reopen(f);
        add_environment(f, "e1", "one");
        assert_int_equal(add_receipt(f, "e1", "one", 5), 0);
        assert_int_equal(ledger_receipt_get(f->ledger, "e1", &r, NULL), 0);
        assert_int_equal(sign_public(key, public), 0);
        keys = str_format("[\"%s\",\"%s\"]", public, r.public_key);
        assert_int_equal(ledger_value_set(f->ledger, "signing", keys, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        digit = strstr(r.body, "\"a\":1");
        assert_non_null(digit);
        digit[4] = '2';
        assert_int_equal(sign(key, r.body, strlen(r.body), signature, NULL), 0);
        assert_int_equal(str_replace(&r.public_key, public), 0);
        assert_int_equal(str_replace(&r.signature, signature), 0);
        assert_int_equal(ledger_receipt_check(f->ledger, &r, &e), -EBADMSG);
        assert_non_null(strstr(e.message, "not the one that the log of events names"));
}

static void test_a_lost_key_is_never_silently_replaced(void **state) {
        auto_cleanup(receipt_done) Receipt r = { 0 };
        auto_cleanup(freep) char *before = NULL, *after = NULL, *away = NULL;
        auto_error e = { 0 }, other = { 0 };
        Fixture *f = *state;
        struct stat st;

        reopen(f);
        assert_int_equal(stat(f->signing, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(ledger_public_key(f->ledger, &before), 0);
        assert_non_null(strstr(before, "BEGIN PUBLIC KEY"));
        add_environment(f, "e1", "one");
        assert_int_equal(add_receipt(f, "e1", "one", 5), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);

        away = str_format("%s.away", f->signing);
        assert_int_equal(rename(f->signing, away), 0);
        assert_int_equal(try_open(f, false, &e), -ENOKEY);
        assert_non_null(strstr(e.message, "--new-signing-key"));
        assert_int_equal(stat(f->signing, &st), -1);

        /* Another one in its place is noticed too. */
        assert_int_equal(write_file(f->signing, "01234567890123456789012345678901", 32, 0600, NULL),
                         0);
        assert_int_equal(try_open(f, false, &other), -EKEYREJECTED);
        assert_int_equal(unlink(f->signing), 0);

        /* Said by a person: and what the old one signed still holds. */
        assert_int_equal(try_open(f, true, NULL), 0);
        assert_int_equal(ledger_public_key(f->ledger, &after), 0);
        assert_string_not_equal(before, after);
        assert_int_equal(ledger_receipt_get(f->ledger, "e1", &r, NULL), 0);
        assert_int_equal(ledger_receipt_check(f->ledger, &r, NULL), 0);
        reopen(f);

        /* A key that was never ours signs nothing here. */
        free(r.public_key);
        r.public_key = strdup("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_int_equal(ledger_receipt_check(f->ledger, &r, NULL), -EKEYREJECTED);
}

/* The key's file is made before the ledger says so: a start that ended in between is no loss. */
static void test_a_key_that_the_ledger_does_not_know_yet_is_taken(void **state) {
        auto_cleanup(db_freep) Db *db = NULL;
        Fixture *f = *state;

        reopen(f);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, "DELETE FROM value WHERE name = 'signing'", NULL), 0);
        db = db_free(db);
        reopen(f);
        reopen(f);
}

/* ---- a ledger of format 1, with an environment gone and one whose end was interrupted ---- */

static char *source_file(const char *path) {
        const char *root = getenv("MAYFLY_SOURCE");
        auto_cleanup(freep) char *whole = root ? path_join(root, path) : NULL;
        char *text = NULL;

        if (whole)
                assert_int_equal(read_file(whole, 1 << 20, &text, NULL, NULL), 0);
        return text;
}

static void put_key(Fixture *f, const char *hex) {
        uint8_t bytes[32];

        for (size_t i = 0; i < sizeof(bytes); i++) {
                char two[3] = { hex[2 * i], hex[2 * i + 1], 0 };

                bytes[i] = (uint8_t) strtoul(two, NULL, 16);
        }
        assert_int_equal(write_file(f->key, bytes, sizeof(bytes), 0600, NULL), 0);
}

static int64_t number(Fixture *f, const char *sql) {
        auto_cleanup(db_freep) Db *db = NULL;
        auto_cleanup(db_query_donep) DbQuery *q = NULL;

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_query(db, sql, &q, NULL), 0);
        assert_int_equal(db_step(q, NULL), 1);
        return db_int(q, 0);
}

static int count_resource(void *userdata, const Resource *r) {
        assert_null(r->notes);
        ++*(unsigned *) userdata;
        return 0;
}

static void test_a_ledger_of_format_1_is_brought_along(void **state) {
        auto_cleanup(freep) char *dump = source_file("tests/unit/data/ledger-1.sql");
        auto_cleanup(freep) char *key = source_file("tests/unit/data/ledger-1.key");
        auto_cleanup(environment_done) Environment gone = { 0 }, going = { 0 };
        auto_cleanup(receipt_done) Receipt none = { 0 };
        auto_cleanup(stray_done) Stray stray = { 0 };
        auto_cleanup(db_freep) Db *db = NULL;
        auto_error e = { 0 };
        Fixture *f = *state;
        unsigned n = 0;
        int64_t bad = -1, events, resources;

        if (!dump || !key)
                skip();
        put_key(f, key);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        if (db_exec(db, dump, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
        db = db_free(db);
        assert_int_equal(number(f, "PRAGMA user_version"), 1);
        events = number(f, "SELECT count(*) FROM event");
        resources = number(f, "SELECT count(*) FROM resource");

        reopen(f);
        assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 0);
        assert_int_equal(bad, 0);
        assert_int_equal(ledger_environment_get(f->ledger, "old--shop", &gone, NULL), 0);
        assert_int_equal(gone.state, ENV_GONE);
        assert_int_equal(ledger_environment_get(f->ledger, "main--shop", &going, NULL), 0);
        assert_int_equal(going.state, ENV_DELETING);
        assert_int_equal(ledger_resource_each(f->ledger, NULL, true, count_resource, &n, NULL), 0);
        assert_int_equal(n, resources);
        assert_int_equal(ledger_receipt_get(f->ledger, gone.id, &none, NULL), -ENOENT);
        /* What the value "orphans" held is kept, with when it was first seen. */
        assert_int_equal(ledger_stray_get(f->ledger, "rx000000000000000000", &stray, NULL), 0);
        assert_string_equal(stray.kind, "orphan");
        assert_string_equal(stray.provider, "process");
        assert_true(stray.first_ms == 1794000000000);
        assert_int_equal(stray.times, 1);
        assert_int_equal(number(f, "SELECT count(*) FROM value WHERE name = 'orphans'"), 0);
        assert_true(number(f, "PRAGMA user_version") >= 2);
        assert_true(number(f, "SELECT count(*) FROM event") >= events);
        assert_int_equal(number(f, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        reopen(f);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_receipts_stay_as_they_are),
                WITH(test_whatever_is_done_to_receipts_is_found),
                WITH(test_a_receipt_of_somebody_else_does_not_hold),
                WITH(test_a_lost_key_is_never_silently_replaced),
                WITH(test_a_key_that_the_ledger_does_not_know_yet_is_taken),
                WITH(test_a_ledger_of_format_1_is_brought_along),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
