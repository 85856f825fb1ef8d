#include "tests/fuzz/lent.h"

#include <stdlib.h>

#define EDITS 12

static const struct {
        const char *name, *columns;
} tables[] = {
        [TABLE_ENVIRONMENT] = { "environment",
                                "id project_id branch commit label owner team trust trace "
                                "slot state level wanted_generation live_generation cause "
                                "gone_by gone_why created_ms used_ms asleep_ms closed_ms "
                                "deleted_ms pinned_until_ms pinned_by pin_reason "
                                "extended_until_ms due_ms wake_wanted sleep_wanted lease "
                                "clocks policy_ms" },
        [TABLE_GENERATION] = { "generation", "environment_id number commit trace state graph cause "
                                             "created_ms ready_ms ended_ms" },
        [TABLE_RESOURCE] = { "resource", "uid environment_id generation key type class id name "
                                         "workload marker provider slot state node live outputs "
                                         "secret sealed applied inspect touched emptied tries "
                                         "retry_ms cause cause_class created_ms ready_ms "
                                         "removed_ms notes" },
        [TABLE_INTENT] = { "intent", "id resource_uid environment_id verb provider attempt "
                                     "created_ms deadline_ms outcome message ended_ms" },
        [TABLE_EVENT] = { "event", "number time_ms environment_id project_id kind actor "
                                   "trace text data chain" },
        [TABLE_ROUTE] = { "route", "host environment_id answer endpoints facts changed_ms" },
        [TABLE_PROJECT] = { "project", "id name repository base_branch team owner clocks "
                                       "created_ms removed_ms compared_ms" },
        [TABLE_VALUE] = { "value", "name value" },
        [TABLE_RECEIPT] = { "receipt", "environment_id label ended_ms body public_key signature" },
        [TABLE_STRAY] = { "stray", "uid kind provider type marker environment_id detail "
                                   "first_ms last_ms times removing emptied actor trace "
                                   "intent tries retry_ms cause" },
        [TABLE_OUTBOX] = { "outbox", "number target kind body created_ms not_before_ms tries "
                                     "delivered_ms" },
};

#define COLUMNS_MAX 40

/* ---- worlds ---- */

/* No chance: what was found must be found again. */
static void fill(void *userdata, void *buf, size_t size) {
        uint64_t *state = userdata;
        unsigned char *at = buf;

        while (size-- > 0) {
                *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
                *at++ = (unsigned char) (*state >> 56);
        }
}

static Fixture *world_on(Store *store, uint64_t seed) {
        static uint64_t state; /* of one world at a time */
        Fixture *f = world_new_lent(store_db(store), store_path(store), store_key());

        state = seed;
        f->random = (Random){ .fill = fill, .userdata = &state };
        return f;
}

static Store *store_begin(void) {
        static bool begun;

        if (!begun) {
                store_init();
                atexit(store_done);
                begun = true;
        }
        return store_new();
}

Fixture *lent_world(void) {
        static Store *known, *present;
        void *state;
        Fixture *f;

        if (!known) {
                Store *fresh = store_begin();

                f = world_on(fresh, 1);
                project_known(f);
                daemon_killed(f);
                known = store_copy(fresh);
                present = store_copy(known);
                state = f;
                assert(tear_down(&state) == 0);
        }
        store_put(present, known);
        f = world_on(present, 2);
        daemon_up(f);
        turns(f);
        return f;
}

/* ---- a ledger with everything in it ---- */

#define WRITE(s) ((char *) (s)) /* rows borrow what they are written from */

static void strays_and_more(Fixture *f) {
        const Stray orphan = { .uid = WRITE("rorphan"),
                               .kind = WRITE("orphan"),
                               .provider = WRITE("process"),
                               .type = WRITE("workload"),
                               .marker = WRITE("i/e/rorphan"),
                               .environment_id = WRITE("e"),
                               .detail = WRITE("it runs"),
                               .first_ms = f->now_ms,
                               .last_ms = f->now_ms,
                               .times = 2,
                               .removing = true,
                               .actor = WRITE("tester"),
                               .trace = WRITE("t"),
                               .retry_ms = f->now_ms };
        const Stray ghost = { .uid = WRITE("rghost"),
                              .kind = WRITE("ghost"),
                              .provider = WRITE("filesystem"),
                              .type = WRITE("volume"),
                              .marker = WRITE("i/e/rghost"),
                              .environment_id = WRITE("e"),
                              .first_ms = f->now_ms,
                              .last_ms = f->now_ms,
                              .times = 1 };
        char *const secret[] = { WRITE("password"), NULL };
        auto_cleanup(resource_done) Resource r = { 0 };
        char uid[ID_SIZE];

        assert(ledger_stray_put(f->ledger, &orphan, NULL) == 0);
        assert(ledger_stray_put(f->ledger, &ghost, NULL) == 0);
        for (int i = 0; i < 2; i++) {
                const OutboxItem o = { .target = WRITE("forge"),
                                       .kind = WRITE("status"),
                                       .body = WRITE("{}"),
                                       .created_ms = f->now_ms,
                                       .not_before_ms = f->now_ms };

                assert(ledger_outbox_add(f->ledger, &o, NULL) == 0);
        }
        assert(uid_of(f, "volume", uid));
        assert(ledger_resource_get(f->ledger, uid, &r, NULL) == 0);
        assert(ledger_resource_set_outputs(
                       f->ledger, &r, "{\"type\":\"bind\",\"source\":\"/v\",\"password\":\"p\"}",
                       secret, NULL) == 0);
        assert(ledger_commit(f->ledger, NULL) == 0);
}

static void everything_happens(Fixture *f) {
        project_known(f);
        push(f, "gone", A_COMMIT);
        push(f, "ready", A_COMMIT);
        settle(f);
        assert(engine_down(f->engine, NULL, "gone--shop", NULL) == 0);
        settle(f);
        push(f, "ready", B_COMMIT);
        push(f, "way", A_COMMIT);
        turns(f);
        (void) answer_first(f);
        turns(f);
        strays_and_more(f);
        daemon_killed(f);
}

/* The number of the schema tells connections that know the tables as they were. */
static void loosen(Store *store) {
        static const char sql[] =
                "PRAGMA writable_schema = ON;"
                "DELETE FROM sqlite_schema WHERE type = 'trigger';"
                "UPDATE sqlite_schema SET sql = replace(replace(replace(sql,"
                " ') STRICT, WITHOUT ROWID', ') WITHOUT ROWID'), ') STRICT', ')'), ' NOT NULL', '')"
                " WHERE type = 'table';"
                "PRAGMA schema_version = 1000;";

        assert(db_exec(store_db(store), sql, NULL) == 0);
}

const Store *spoilt_template(void) {
        static Store *template;
        Store *fresh, *loose;
        void *state;
        Fixture *f;

        if (template)
                return template;
        fresh = store_begin();
        f = world_on(fresh, 1);
        everything_happens(f);
        state = f;
        assert(tear_down(&state) == 0);
        loose = store_copy(fresh);
        loosen(loose);
        template = store_copy(loose);
        store_free(loose);
        return template;
}

Fixture *spoilt_world(Store *store) {
        return world_on(store, 2);
}

/* ---- spoiling ---- */

/* The n-th word of a row of words, modulo their number; ret_n is which one that is. */
static const char *word(const char *words, unsigned n, unsigned *ret_n, char buf[static 40]) {
        unsigned count = 1;

        for (const char *c = words; *c; c++)
                count += *c == ' ';
        *ret_n = n % count;
        for (n = *ret_n; n > 0; n--)
                words = strchr(words, ' ') + 1;
        snprintf(buf, 40, "%.*s", (int) strcspn(words, " "), words);
        return buf;
}

/* Each of these is prepared once, so each has a text that stays. */
static const char *statement(unsigned table, unsigned n) {
        static char *sql[N_ELEMENTS(tables)][COLUMNS_MAX];
        const char *name = tables[table].name, *key = "rowid";
        char column[40];
        unsigned at;

        word(tables[table].columns, n, &at, column);
        assert(at < COLUMNS_MAX);
        if (streq(name, "value"))
                key = "name";
        else if (streq(name, "route"))
                key = "host";
        else if (streq(name, "stray"))
                key = "uid";
        if (!sql[table][at])
                sql[table][at] =
                        str_format("UPDATE \"%s\" SET \"%s\" ="
                                   " CASE ?3 WHEN 0 THEN CAST(?1 AS TEXT) ELSE ?1 END"
                                   " WHERE %s IN (SELECT %s FROM \"%s\" LIMIT 1 OFFSET ?2)",
                                   name, column, key, key, name);
        assert(sql[table][at]);
        return sql[table][at];
}

static void set(Db *db, const char *sql, unsigned row, unsigned kind, const uint8_t *data,
                size_t size) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        char number[24] = "";

        assert(db_query(db, sql, &q, NULL) == 0);
        switch (kind) {
        case 1:
                memcpy(number, data, size < 20 ? size : 20);
                db_bind_int(q, 1, strtoll(number, NULL, 10));
                break;
        case 3:
                db_bind_null(q, 1);
                break;
        default:
                db_bind_blob(q, 1, size > 0 ? (const void *) data : "", size);
        }
        db_bind_int(q, 2, row);
        db_bind_int(q, 3, kind);
        (void) db_run(q, NULL); /* some would break a key */
}

unsigned spoil(Db *db, const uint8_t *data, size_t size) {
        unsigned spoilt = 0;

        for (unsigned n = 0; size >= 4 && n < EDITS; n++) {
                const uint8_t *end = memchr(data + 4, 0x1e, size - 4);
                size_t length = end ? (size_t) (end - data) - 4 : size - 4;
                unsigned table = data[0] % N_ELEMENTS(tables);

                set(db, statement(table, data[1]), data[2] % 16, data[3] % 4, data + 4, length);
                spoilt |= 1U << table;
                data += 4 + length + (end != NULL);
                size -= 4 + length + (end != NULL);
        }
        return spoilt;
}
