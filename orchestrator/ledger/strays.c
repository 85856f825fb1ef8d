/* What complete lists showed on one side only: orphans (in the world, not in the ledger) and ghosts (in
 * the ledger, not in the world). */
#include "orchestrator/ledger/private.h"

#define COLUMNS                                                                                \
        "uid, kind, provider, type, marker, environment_id, detail, first_ms, last_ms, times," \
        " removing, emptied, actor, trace, intent, tries, retry_ms, cause"

static const Column columns[] = {
        TEXT(Stray, uid),
        TEXT(Stray, kind),
        TEXT(Stray, provider),
        TEXT(Stray, type),
        TEXT(Stray, marker),
        TEXT(Stray, environment_id),
        TEXT_OR_NULL(Stray, detail),
        INT(Stray, first_ms),
        INT(Stray, last_ms),
        INT(Stray, times),
        BOOL(Stray, removing),
        BOOL(Stray, emptied),
        TEXT_OR_NULL(Stray, actor),
        TEXT_OR_NULL(Stray, trace),
        TEXT_OR_NULL(Stray, intent),
        INT(Stray, tries),
        INT(Stray, retry_ms),
        TEXT_OR_NULL(Stray, cause),
};

DEFINE_ROW(Stray, stray, columns)

int ledger_stray_get(Ledger *l, const char *uid, Stray *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM stray WHERE uid = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, uid);
        r = stray_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No orphan or ghost '%s' was seen", uid);
        return r < 0 ? r : 0;
}

int ledger_stray_each(Ledger *l, const char *provider, int (*func)(void *userdata, const Stray *s),
                      void *userdata, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS " FROM stray WHERE ?1 IS NULL OR provider = ?1"
                     " ORDER BY first_ms, uid",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, provider);
        return stray_walk(q, func, userdata, reterr);
}

int ledger_stray_each_removing(Ledger *l, int64_t now_ms,
                               int (*func)(void *userdata, const Stray *s), void *userdata,
                               Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS " FROM stray WHERE removing AND retry_ms <= ?1"
                     " ORDER BY retry_ms LIMIT 64",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, now_ms);
        return stray_walk(q, func, userdata, reterr);
}

static int stray_time(Ledger *l, const char *sql, int64_t after_ms, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, sql, &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, after_ms);
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 && !db_is_null(q, 0) ? db_int(q, 0) : INT64_MAX;
        return 0;
}

int ledger_stray_next(Ledger *l, int64_t now_ms, int64_t *ret, Error *reterr) {
        return stray_time(l, "SELECT min(retry_ms) FROM stray WHERE removing AND retry_ms > ?1",
                          now_ms, ret, reterr);
}

int ledger_stray_oldest_look(Ledger *l, int64_t *ret, Error *reterr) {
        return stray_time(l,
                          "SELECT min(last_ms) FROM stray WHERE kind = 'orphan' AND last_ms > ?1",
                          0, ret, reterr);
}

int ledger_stray_put(Ledger *l, const Stray *s, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l,
                         "INSERT OR REPLACE INTO stray (" COLUMNS
                         ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                         &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), s);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_stray_remove(Ledger *l, const char *uid, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "DELETE FROM stray WHERE uid = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, uid);
        return ledger_run(l, q, reterr);
}
