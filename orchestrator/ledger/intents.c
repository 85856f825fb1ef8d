#include "orchestrator/ledger/private.h"

#define COLUMNS                                                                                        \
        "id, resource_uid, environment_id, verb, provider, attempt, created_ms, deadline_ms, outcome," \
        " message, ended_ms"
#define MARKS "?,?,?,?,?,?,?,?,?,?,?"

static const Column columns[] = {
        TEXT(Intent, id),
        TEXT(Intent, resource_uid),
        TEXT(Intent, environment_id),
        TEXT(Intent, verb),
        TEXT(Intent, provider),
        INT(Intent, attempt),
        INT(Intent, created_ms),
        INT(Intent, deadline_ms),
        TEXT_OR_NULL(Intent, outcome),
        TEXT_OR_NULL(Intent, message),
        INT(Intent, ended_ms),
};

DEFINE_ROW(Intent, intent, columns)

int ledger_intent_each_open(Ledger *l, int (*func)(void *userdata, const Intent *i), void *userdata,
                            Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM intent WHERE outcome IS NULL ORDER BY rowid",
                     &q, reterr);
        return r < 0 ? r : intent_walk(q, func, userdata, reterr);
}

int ledger_intent_insert(Ledger *l, const Intent *i, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "INSERT INTO intent (" COLUMNS ") VALUES (" MARKS ")", &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), i);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_intent_end(Ledger *l, const char *id, const char *outcome, const char *message,
                      int64_t now_ms, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l,
                         "UPDATE intent SET outcome = ?2, message = ?3, ended_ms = ?4"
                         " WHERE id = ?1 AND outcome IS NULL",
                         &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, id);
        db_bind_text(q, 2, outcome);
        db_bind_text(q, 3, message);
        db_bind_int(q, 4, now_ms);
        r = ledger_run(l, q, reterr);
        if (r < 0)
                return r;
        return db_changes(l->db) == 1 ? 0 : error_set(reterr, -ESTALE, "No open intent %s", id);
}

int ledger_prune_intents(Ledger *l, int64_t before_ms, int64_t n, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l,
                         "DELETE FROM intent WHERE rowid IN (SELECT rowid FROM intent"
                         " WHERE outcome IS NOT NULL AND ended_ms < ?1 ORDER BY ended_ms LIMIT ?2)",
                         &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, before_ms);
        db_bind_int(q, 2, n);
        r = ledger_run(l, q, reterr);
        return r < 0 ? r : (int) db_changes(l->db);
}
