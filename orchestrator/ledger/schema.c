/* Migrations: numbered, in one table, each one transaction with its number. A database that is newer
 * than the program is refused, because an old program cannot know what it would break. */
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/ledger/private.h"

#define APPLICATION_ID 1835104638 /* "maf~": this file is a ledger */

static const char schema_1[] =
        "CREATE TABLE value (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

        "CREATE TABLE project ("
        " id TEXT PRIMARY KEY, name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 40),"
        " repository TEXT NOT NULL, base_branch TEXT, team TEXT, owner TEXT,"
        " clocks TEXT CHECK (clocks IS NULL OR json_valid(clocks)),"
        " created_ms INTEGER NOT NULL, removed_ms INTEGER NOT NULL, compared_ms INTEGER NOT NULL"
        ") STRICT;"
        "CREATE UNIQUE INDEX project_name ON project (name) WHERE removed_ms = 0;"

        "CREATE TABLE environment ("
        " id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES project (id),"
        " branch TEXT NOT NULL, \"commit\" TEXT NOT NULL,"
        " label TEXT NOT NULL CHECK (length(label) BETWEEN 1 AND 63),"
        " owner TEXT, team TEXT, trust TEXT NOT NULL, trace TEXT NOT NULL,"
        " slot INTEGER NOT NULL CHECK (slot > 0),"
        " state TEXT NOT NULL CHECK (state IN ('wanted', 'building', 'ready', 'failed',"
        "  'deleting', 'gone')),"
        " level TEXT NOT NULL CHECK (level IN ('awake', 'falling', 'stopped', 'waking')),"
        " wanted_generation INTEGER NOT NULL, live_generation INTEGER NOT NULL,"
        " cause TEXT, gone_by TEXT, gone_why TEXT,"
        " created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, asleep_ms INTEGER NOT NULL,"
        " closed_ms INTEGER NOT NULL, deleted_ms INTEGER NOT NULL,"
        " pinned_until_ms INTEGER NOT NULL, pinned_by TEXT, pin_reason TEXT,"
        " extended_until_ms INTEGER NOT NULL, due_ms INTEGER NOT NULL,"
        " wake_wanted INTEGER NOT NULL, sleep_wanted INTEGER NOT NULL,"
        " lease TEXT CHECK (lease IS NULL OR json_valid(lease)),"
        " clocks TEXT CHECK (clocks IS NULL OR json_valid(clocks)), policy_ms INTEGER NOT NULL,"
        " CHECK (state NOT IN ('ready') OR live_generation > 0),"
        " CHECK (live_generation <= wanted_generation)"
        ") STRICT;"
        /* One that is being deleted gives its name free, so that a push can begin a new one at once. */
        "CREATE UNIQUE INDEX environment_label ON environment (label)"
        " WHERE state NOT IN ('deleting', 'gone');"
        "CREATE UNIQUE INDEX environment_branch ON environment (project_id, branch)"
        " WHERE state NOT IN ('deleting', 'gone');"
        "CREATE UNIQUE INDEX environment_slot ON environment (slot) WHERE state != 'gone';"
        "CREATE INDEX environment_due ON environment (due_ms)"
        " WHERE state NOT IN ('deleting', 'gone');"
        "CREATE INDEX environment_names ON environment (label);"

        "CREATE TABLE generation ("
        " environment_id TEXT NOT NULL REFERENCES environment (id), number INTEGER NOT NULL,"
        " \"commit\" TEXT NOT NULL, trace TEXT NOT NULL,"
        " state TEXT NOT NULL CHECK (state IN ('wanted', 'checkout', 'provisioning', 'live',"
        "  'failed', 'retiring', 'removed')),"
        " graph TEXT CHECK (graph IS NULL OR json_valid(graph)), cause TEXT,"
        " created_ms INTEGER NOT NULL, ready_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
        " PRIMARY KEY (environment_id, number)"
        ") STRICT;"
        "CREATE UNIQUE INDEX generation_live ON generation (environment_id) WHERE state = 'live';"

        "CREATE TABLE resource ("
        " uid TEXT PRIMARY KEY, environment_id TEXT NOT NULL REFERENCES environment (id),"
        " generation INTEGER NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, class TEXT NOT NULL,"
        " id TEXT NOT NULL, name TEXT, workload TEXT, marker TEXT NOT NULL UNIQUE,"
        " provider TEXT NOT NULL, slot INTEGER NOT NULL CHECK (slot > 0),"
        " state TEXT NOT NULL CHECK (state IN ('planned', 'provisioning', 'ready', 'falling',"
        "  'asleep', 'waking', 'failed', 'removing', 'stuck', 'removed')),"
        " node TEXT NOT NULL CHECK (json_valid(node)),"
        " live TEXT CHECK (live IS NULL OR json_valid(live)),"
        " outputs TEXT CHECK (outputs IS NULL OR json_valid(outputs)),"
        " secret TEXT CHECK (secret IS NULL OR json_valid(secret)), sealed BLOB,"
        " applied INTEGER NOT NULL, inspect INTEGER NOT NULL, touched INTEGER NOT NULL, emptied INTEGER NOT NULL,"
        " tries INTEGER NOT NULL, retry_ms INTEGER NOT NULL, cause TEXT, cause_class TEXT,"
        " created_ms INTEGER NOT NULL, ready_ms INTEGER NOT NULL, removed_ms INTEGER NOT NULL,"
        /* Only what was never asked for may go without a provider having looked for it. */
        " CHECK (state != 'removed' OR NOT touched OR emptied),"
        " CHECK (state IN ('planned', 'failed', 'removing', 'removed') OR touched)"
        ") STRICT;"
        "CREATE UNIQUE INDEX resource_slot ON resource (slot) WHERE state != 'removed';"
        "CREATE UNIQUE INDEX resource_key ON resource (environment_id, generation, key)"
        " WHERE state != 'removed';"
        "CREATE INDEX resource_all ON resource (environment_id);"
        "CREATE INDEX resource_retry ON resource (retry_ms) WHERE retry_ms > 0 AND state != 'removed';"

        "CREATE TABLE intent ("
        " id TEXT PRIMARY KEY, resource_uid TEXT NOT NULL REFERENCES resource (uid),"
        " environment_id TEXT NOT NULL REFERENCES environment (id),"
        " verb TEXT NOT NULL, provider TEXT NOT NULL, attempt INTEGER NOT NULL,"
        " created_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL,"
        " outcome TEXT, message TEXT, ended_ms INTEGER NOT NULL"
        ") STRICT;"
        "CREATE UNIQUE INDEX intent_open ON intent (resource_uid) WHERE outcome IS NULL;"

        "CREATE TABLE event ("
        " number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, environment_id TEXT,"
        " project_id TEXT, kind TEXT NOT NULL, actor TEXT, trace TEXT,"
        " text TEXT NOT NULL, data TEXT CHECK (data IS NULL OR json_valid(data)),"
        " chain TEXT NOT NULL"
        ") STRICT;"
        "CREATE INDEX event_environment ON event (environment_id, number)"
        " WHERE environment_id IS NOT NULL;"
        "CREATE TRIGGER event_no_update BEFORE UPDATE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;"
        "CREATE TRIGGER event_no_delete BEFORE DELETE ON event"
        " BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;"

        "CREATE TABLE route ("
        " host TEXT PRIMARY KEY, environment_id TEXT NOT NULL REFERENCES environment (id),"
        " answer TEXT NOT NULL CHECK (answer IN ('direct', 'asleep', 'waking', 'building',"
        "  'failed', 'gone')),"
        " endpoints TEXT NOT NULL CHECK (json_valid(endpoints)),"
        " facts TEXT NOT NULL CHECK (json_valid(facts)), changed_ms INTEGER NOT NULL,"
        " CHECK (answer != 'direct' OR endpoints != '[]')"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX route_environment ON route (environment_id);"

        "CREATE TABLE outbox ("
        " number INTEGER PRIMARY KEY, target TEXT NOT NULL, kind TEXT NOT NULL,"
        " body TEXT NOT NULL CHECK (json_valid(body)), created_ms INTEGER NOT NULL,"
        " not_before_ms INTEGER NOT NULL, tries INTEGER NOT NULL, delivered_ms INTEGER NOT NULL"
        ") STRICT;"
        "CREATE INDEX outbox_due ON outbox (not_before_ms) WHERE delivered_ms = 0;";

/* Receipts; what lists found on one side only, for which a value named "orphans" stood before; limits
 * that a provider could not apply; and indexes for what is forgotten in time. */
static const char schema_2[] =
        "CREATE TABLE receipt ("
        " environment_id TEXT PRIMARY KEY REFERENCES environment (id), label TEXT NOT NULL,"
        " ended_ms INTEGER NOT NULL, body TEXT NOT NULL CHECK (json_valid(body)),"
        " public_key TEXT NOT NULL, signature TEXT NOT NULL"
        ") STRICT;"
        "CREATE INDEX receipt_label ON receipt (label, ended_ms);"
        "CREATE TRIGGER receipt_no_update BEFORE UPDATE ON receipt"
        " BEGIN SELECT RAISE(ABORT, 'receipts stay as they are'); END;"
        "CREATE TRIGGER receipt_no_delete BEFORE DELETE ON receipt"
        " BEGIN SELECT RAISE(ABORT, 'receipts stay as they are'); END;"

        /* No references: what the ledger does not know may belong to what it does not know. */
        "CREATE TABLE stray ("
        " uid TEXT PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('orphan', 'ghost')),"
        " provider TEXT NOT NULL, type TEXT NOT NULL, marker TEXT NOT NULL,"
        " environment_id TEXT NOT NULL, detail TEXT,"
        " first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, times INTEGER NOT NULL,"
        " removing INTEGER NOT NULL, emptied INTEGER NOT NULL,"
        " actor TEXT, trace TEXT, intent TEXT,"
        " tries INTEGER NOT NULL, retry_ms INTEGER NOT NULL, cause TEXT,"
        " CHECK (kind = 'orphan' OR NOT removing), CHECK (removing OR intent IS NULL)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE INDEX stray_removing ON stray (retry_ms) WHERE removing;"
        "INSERT OR IGNORE INTO stray SELECT json_extract(o.value, '$.uid'), 'orphan',"
        "  json_extract(o.value, '$.provider'), '', json_extract(o.value, '$.marker'),"
        "  '', NULL, coalesce(json_extract(o.value, '$.since_ms'), 0),"
        "  coalesce(json_extract(o.value, '$.since_ms'), 0), 1, 0, 0, NULL, NULL, NULL, 0, 0, NULL"
        " FROM value v, json_each(CASE WHEN json_valid(v.value) THEN v.value ELSE '[]' END) o"
        " WHERE v.name = 'orphans' AND json_type(o.value, '$.uid') = 'text'"
        "  AND json_type(o.value, '$.provider') = 'text' AND json_type(o.value, '$.marker') = 'text';"
        "DELETE FROM value WHERE name = 'orphans';"

        "ALTER TABLE resource ADD COLUMN notes TEXT CHECK (notes IS NULL OR json_valid(notes));"
        "CREATE INDEX intent_ended ON intent (ended_ms) WHERE outcome IS NOT NULL;"
        "CREATE INDEX route_gone ON route (changed_ms) WHERE answer = 'gone';";

static const char *const migrations[] = { schema_1, schema_2 };

static int read_pragma(Db *db, const char *sql, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(db, sql, &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 ? db_int(q, 0) : 0;
        return 0;
}

static int migrate_one(Db *db, size_t number, Error *reterr) {
        char set[96];
        int r;

        snprintf(set, sizeof(set), "PRAGMA user_version = %zu; PRAGMA application_id = %d", number,
                 APPLICATION_ID);
        r = db_exec(db, "BEGIN IMMEDIATE", reterr);
        if (r < 0)
                return r;
        r = db_exec(db, migrations[number - 1], reterr);
        if (r == 0)
                r = db_exec(db, set, reterr);
        crash_point("ledger.schema.before");
        if (r == 0)
                r = db_exec(db, "COMMIT", reterr);
        crash_point("ledger.schema.after");
        if (r < 0 && db_in_transaction(db))
                (void) db_exec(db, "ROLLBACK", NULL); /* the first failure is the one to report */
        return r;
}

static int version_read(Db *db, int64_t *ret, Error *reterr) {
        int64_t version = 0, application = 0, tables = 0;
        int r;

        r = read_pragma(db, "PRAGMA user_version", &version, reterr);
        if (r == 0)
                r = read_pragma(db, "PRAGMA application_id", &application, reterr);
        if (r == 0)
                r = read_pragma(db, "SELECT count(*) FROM sqlite_schema", &tables, reterr);
        if (r < 0)
                return r;
        if (version < 0 || (tables > 0 && application != APPLICATION_ID))
                return error_set(reterr, -EINVAL, "This file is not a ledger of mayfly");
        if (version > (int64_t) N_ELEMENTS(migrations))
                return error_set(reterr, -EINVAL,
                                 "The ledger has format %lld, this program knows up to %zu: it was "
                                 "written by a newer mayfly, run that one",
                                 (long long) version, N_ELEMENTS(migrations));
        *ret = version;
        return 0;
}

int schema_check(Db *db, Error *reterr) {
        int64_t version = 0;
        int r = version_read(db, &version, reterr);

        if (r == 0 && version == 0)
                return error_set(reterr, -EINVAL, "This file is not a ledger of mayfly");
        return r;
}

int schema_migrate(Db *db, Error *reterr) {
        int64_t version = 0;
        int r = version_read(db, &version, reterr);

        if (r < 0)
                return r;
        for (size_t i = (size_t) version + 1; i <= N_ELEMENTS(migrations); i++) {
                r = migrate_one(db, i, reterr);
                if (r < 0)
                        return error_prefix(reterr, r, "Cannot bring the ledger to format %zu", i);
        }
        return 0;
}
