/* The event log. Each row's chain is an HMAC, under the installation's key, over the chain before it and
 * its own fields, each with its length in front: a changed, missing or reordered row breaks every one
 * after it, and nobody without the key can add a row or link the rest anew. The end is held by the
 * anchor (anchor.c). */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/ledger/private.h"

#define COLUMNS "number, time_ms, environment_id, project_id, kind, actor, trace, text, data"

static const Column columns[] = {
        INT(Event, number),
        INT(Event, time_ms),
        TEXT_OR_NULL(Event, environment_id),
        TEXT_OR_NULL(Event, project_id),
        TEXT(Event, kind),
        TEXT_OR_NULL(Event, actor),
        TEXT_OR_NULL(Event, trace),
        TEXT(Event, text),
        TEXT_OR_NULL(Event, data),
};

#define CHAIN_START "mayfly"

DEFINE_ROW(Event, event, columns)

static int event_chain(const Ledger *l, const char *before, const Event *e,
                       char ret[static SHA256_HEX]) {
        const char *texts[] = { before,   e->environment_id, e->project_id, e->kind,
                                e->actor, e->trace,          e->text,       e->data };
        auto_strbuf b = { 0 };

        strbuf_addf(&b, "%" PRId64 " %" PRId64, e->number, e->time_ms);
        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                if (texts[i])
                        strbuf_addf(&b, " %zu:%s", strlen(texts[i]), texts[i]);
                else
                        strbuf_add(&b, " -");
        return b.broken ? -ENOMEM : ledger_proof_with(l->event_key, b.text, b.size, ret);
}

static int chain_head(Ledger *l, int64_t *ret_number, char **ret_chain, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, "SELECT number, chain FROM event ORDER BY number DESC LIMIT 1", &q,
                     reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret_number = r > 0 ? db_int(q, 0) : 0;
        return str_replace(ret_chain, r > 0 ? db_text(q, 1) : CHAIN_START);
}

int ledger_event_add(Ledger *l, const Event *e, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        auto_cleanup(freep) char *before = NULL;
        char chain[SHA256_HEX];
        Event row = *e; /* borrowed strings */
        int r;

        r = chain_head(l, &row.number, &before, reterr);
        if (r < 0)
                return ledger_turn_break(l, r);
        row.number++;
        r = event_chain(l, before, &row, chain);
        if (r < 0)
                return r;
        r = ledger_write(l, "INSERT INTO event (" COLUMNS ", chain) VALUES (?,?,?,?,?,?,?,?,?,?)",
                         &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), &row);
        db_bind_text(q, N_ELEMENTS(columns) + 1, chain);
        l->n_events++; /* too many when the turn fails: the anchor then comes a little earlier */
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_event_each(Ledger *l, int64_t after, const char *environment_id, size_t max,
                      int (*func)(void *userdata, const Event *e), void *userdata, Error *reterr) {
        static const char all[] =
                "SELECT " COLUMNS " FROM event WHERE number > ?2 ORDER BY number LIMIT ?3";
        static const char one[] = "SELECT " COLUMNS " FROM event WHERE environment_id = ?1"
                                  " AND number > ?2 ORDER BY number LIMIT ?3";
        DbQuery *q;
        int r;

        r = db_query(l->db, environment_id ? one : all, &q, reterr);
        if (r < 0)
                return r;
        if (environment_id)
                db_bind_text(q, 1, environment_id);
        db_bind_int(q, 2, after);
        db_bind_int(q, 3, (int64_t) max);
        return event_walk(q, func, userdata, reterr);
}

int ledger_event_before_last(Ledger *l, const char *environment_id, size_t n, int64_t *ret,
                             Error *reterr) {
        static const char all[] = "SELECT number FROM event ORDER BY number DESC LIMIT 1 OFFSET ?2";
        static const char one[] = "SELECT number FROM event WHERE environment_id = ?1"
                                  " ORDER BY number DESC LIMIT 1 OFFSET ?2";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, environment_id ? one : all, &q, reterr);
        if (r < 0)
                return r;
        if (environment_id)
                db_bind_text(q, 1, environment_id);
        db_bind_int(q, 2, (int64_t) n);
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 ? db_int(q, 0) : 0;
        return 0;
}

int ledger_event_last_ms(Ledger *l, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, "SELECT time_ms FROM event ORDER BY number DESC LIMIT 1", &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 ? db_int(q, 0) : 0;
        return 0;
}

int ledger_verify_events(Ledger *l, int64_t *ret_first_bad, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        auto_cleanup(freep) char *before = strdup(CHAIN_START);
        int64_t expected = 0;
        int r;

        if (!before)
                return -ENOMEM;
        r = db_query(l->db, "SELECT " COLUMNS ", chain FROM event ORDER BY number", &q, reterr);
        if (r < 0)
                return r;
        while ((r = db_step(q, reterr)) > 0) {
                auto_cleanup(event_done) Event row = { 0 };
                char chain[SHA256_HEX];

                r = row_load(q, columns, N_ELEMENTS(columns), &row, sizeof(row), reterr);
                if (r < 0)
                        return r;
                r = event_chain(l, before, &row, chain);
                if (r < 0)
                        return r;
                if (row.number != ++expected ||
                    !streq_null(db_text(q, N_ELEMENTS(columns)), chain)) {
                        *ret_first_bad = row.number;
                        return 0;
                }
                r = str_replace(&before, chain);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        *ret_first_bad = l->anchor.event > expected ? expected + 1 : l->first_missing;
        return 0;
}
