#include "orchestrator/ledger/private.h"

#define COLUMNS \
        "environment_id, number, \"commit\", trace, state, graph, cause, created_ms, ready_ms, ended_ms"
#define MARKS "?,?,?,?,?,?,?,?,?,?"

static const Column columns[] = {
        TEXT(Generation, environment_id),
        INT(Generation, number),
        TEXT(Generation, commit),
        TEXT(Generation, trace),
        STATE(Generation, state, machine_generation),
        TEXT_OR_NULL(Generation, graph),
        TEXT_OR_NULL(Generation, cause),
        INT(Generation, created_ms),
        INT(Generation, ready_ms),
        INT(Generation, ended_ms),
};

DEFINE_ROW(Generation, generation, columns)

void generation_take(const Generation *row, Generation *ret) {
        *ret = *row;
        memset((Generation *) row, 0, sizeof(*row)); /* a walk's own variable */
}

int ledger_generation_get(Ledger *l, const char *environment_id, int64_t number, Generation *ret,
                          Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS " FROM generation WHERE environment_id = ?1 AND number = ?2",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, environment_id);
        db_bind_int(q, 2, number);
        r = generation_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No generation %lld of environment %s",
                                 (long long) number, environment_id);
        return r < 0 ? r : 0;
}

static int generation_each(Ledger *l, const char *sql, const char *environment_id,
                           int (*func)(void *userdata, const Generation *g), void *userdata,
                           Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, sql, &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, environment_id);
        return generation_walk(q, func, userdata, reterr);
}

int ledger_generation_each(Ledger *l, const char *environment_id,
                           int (*func)(void *userdata, const Generation *g), void *userdata,
                           Error *reterr) {
        return generation_each(
                l, "SELECT " COLUMNS " FROM generation WHERE environment_id = ?1 ORDER BY number",
                environment_id, func, userdata, reterr);
}

int ledger_generation_each_open(Ledger *l, const char *environment_id,
                                int (*func)(void *userdata, const Generation *g), void *userdata,
                                Error *reterr) {
        return generation_each(l,
                               "SELECT " COLUMNS " FROM generation WHERE environment_id = ?1"
                               " AND state NOT IN ('removed', 'failed') ORDER BY number",
                               environment_id, func, userdata, reterr);
}

int ledger_generation_insert(Ledger *l, const Generation *g, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "INSERT INTO generation (" COLUMNS ") VALUES (" MARKS ")", &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), g);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_generation_move(Ledger *l, Generation *g, GenState to, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        GenState from = g->state;
        int r;

        r = ledger_check_move(&machine_generation, g->environment_id, (int) from, (int) to, reterr);
        if (r < 0)
                return r;
        r = ledger_write(
                l,
                "UPDATE generation SET (state, graph, cause, created_ms, ready_ms, ended_ms)"
                " = (?5,?6,?7,?8,?9,?10)"
                " WHERE environment_id = ?1 AND number = ?2 AND state = ?11",
                &q, reterr);
        if (r < 0)
                return r;
        g->state = to;
        r = row_bind(q, columns, N_ELEMENTS(columns), g);
        db_bind_text(q, N_ELEMENTS(columns) + 1, gen_state_to_string(from));
        if (r == 0)
                r = ledger_run(l, q, reterr);
        if (r == 0)
                r = ledger_check_moved(l, &machine_generation, g->environment_id, (int) from,
                                       reterr);
        if (r < 0)
                g->state = from;
        return r;
}

int ledger_generation_update(Ledger *l, const Generation *g, Error *reterr) {
        Generation copy = *g; /* borrowed strings; the state does not change */

        return ledger_generation_move(l, &copy, g->state, reterr);
}
