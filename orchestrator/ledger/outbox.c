#include "orchestrator/ledger/private.h"

#define COLUMNS "number, target, kind, body, created_ms, not_before_ms, tries, delivered_ms"

static const Column columns[] = {
        INT(OutboxItem, number), TEXT(OutboxItem, target),      TEXT(OutboxItem, kind),
        TEXT(OutboxItem, body),  INT(OutboxItem, created_ms),   INT(OutboxItem, not_before_ms),
        INT(OutboxItem, tries),  INT(OutboxItem, delivered_ms),
};

DEFINE_ROW(OutboxItem, outbox_item, columns)

int ledger_outbox_add(Ledger *l, const OutboxItem *o, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "INSERT INTO outbox (" COLUMNS ") VALUES (?,?,?,?,?,?,?,?)", &q,
                         reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), o);
        db_bind_null(q, 1); /* SQLite chooses the number */
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_outbox_each_due(Ledger *l, int64_t now_ms,
                           int (*func)(void *userdata, const OutboxItem *o), void *userdata,
                           Error *reterr) {
        DbQuery *q;
        int r;

        /* Ordered for each target: an item waits while an older one for the same target is not
         * delivered. */
        r = db_query(l->db,
                     "SELECT " COLUMNS
                     " FROM outbox o WHERE delivered_ms = 0 AND not_before_ms <= ?1"
                     " AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.delivered_ms = 0"
                     "  AND b.target = o.target AND b.number < o.number) ORDER BY number",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, now_ms);
        return outbox_item_walk(q, func, userdata, reterr);
}

int ledger_outbox_next(Ledger *l, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, "SELECT min(not_before_ms) FROM outbox WHERE delivered_ms = 0", &q,
                     reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 && !db_is_null(q, 0) ? db_int(q, 0) : INT64_MAX;
        return 0;
}

int ledger_outbox_update(Ledger *l, const OutboxItem *o, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "UPDATE outbox SET (" COLUMNS ") = (?,?,?,?,?,?,?,?) WHERE number = ?1",
                         &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), o);
        if (r == 0)
                r = ledger_run(l, q, reterr);
        if (r < 0)
                return r;
        return db_changes(l->db) == 1 ? 0 : error_set(reterr, -ENOENT, "No such outbox item");
}
