#include "orchestrator/ledger/private.h"

#define COLUMNS "host, environment_id, answer, endpoints, facts, changed_ms"

static const Column columns[] = {
        TEXT(Route, host),      TEXT(Route, environment_id), TEXT(Route, answer),
        TEXT(Route, endpoints), TEXT(Route, facts),          INT(Route, changed_ms),
};

DEFINE_ROW(Route, route, columns)

int ledger_route_get(Ledger *l, const char *host, Route *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM route WHERE host = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, host);
        r = route_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No route for '%s'", host);
        return r < 0 ? r : 0;
}

int ledger_route_each(Ledger *l, int (*func)(void *userdata, const Route *r), void *userdata,
                      Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM route ORDER BY host", &q, reterr);
        return r < 0 ? r : route_walk(q, func, userdata, reterr);
}

int ledger_route_put(Ledger *l, const Route *route, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "INSERT OR REPLACE INTO route (" COLUMNS ") VALUES (?,?,?,?,?,?)", &q,
                         reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), route);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_route_remove(Ledger *l, const char *host, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "DELETE FROM route WHERE host = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, host);
        return ledger_run(l, q, reterr);
}

int ledger_routes_gone(Ledger *l, int64_t before_ms, int64_t n, char ***ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db,
                     "SELECT host FROM route WHERE answer = 'gone' AND changed_ms < ?1"
                     " AND (SELECT state FROM environment WHERE id = environment_id) = 'gone'"
                     " ORDER BY changed_ms LIMIT ?2",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, before_ms);
        db_bind_int(q, 2, n);
        while ((r = db_step(q, reterr)) > 0) {
                r = strv_add(ret, db_text(q, 0));
                if (r < 0)
                        return r;
        }
        return r;
}
