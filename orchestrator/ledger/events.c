/* The event log. Each row's chain is an HMAC, under the installation's key, over the chain before it and
 * its own fields, each with its length in front: a changed, missing or reordered row breaks every one
 * after it, and nobody without the key can add a row or link the rest anew. The end is held by the
 * anchor (anchor.c). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "orchestrator/base/time.h"
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

/* ---- checking ---- */

typedef struct Walk {
        Ledger *l;
        Findings *f;
        int64_t next; /* the number that comes next */
        char *before; /* the chain before it */
} Walk;

static void walk_done(Walk *w) {
        free(w->before);
}

/* Says itself that others before it were lost (anchor.c). */
static int check_held(Walk *w, const Event *e) {
        json_auto_t *data = e->data ? json_loads(e->data, 0, NULL) : NULL;
        int64_t missing = json_integer_value(json_object_get(data, "missing"));
        char when[TIME_TEXT_MAX];

        if (!w->f->lost || !streq(e->kind, "ledger.held"))
                return 0;
        time_format(e->time_ms, when);
        if (missing > 0)
                return finding_range(w->f, e->number, e->number + missing - 1, ", noticed at ",
                                     when);
        return !json_is_true(json_object_get(data, "doubt"))
                       ? 0
                       : finding(w->f, e->number,
                                 "whether others stood where event %lld is cannot be shown, "
                                 "noticed at %s: %s",
                                 (long long) e->number, when, e->text);
}

/* after_gap: what it was linked to is not there, so its chain proves nothing. */
static int check_row(Walk *w, DbQuery *q, int64_t number, bool after_gap) {
        auto_cleanup(event_done) Event row = { 0 };
        char chain[SHA256_HEX];
        int r;

        for (size_t i = 0; i <= N_ELEMENTS(columns); i++)
                if (!db_is_plain(q, (int) i))
                        return finding(w->f, number, "event %lld has more in it than it shows",
                                       (long long) number);
        r = row_load(q, columns, N_ELEMENTS(columns), &row, sizeof(row), NULL);
        if (r == -EBADMSG)
                return finding(w->f, number, "event %lld lacks something", (long long) number);
        if (r == 0)
                r = event_chain(w->l, w->before, &row, chain);
        if (r < 0 || after_gap)
                return r;
        if (!streq_null(db_text(q, N_ELEMENTS(columns)), chain))
                return finding(w->f, number,
                               "event %lld does not follow from the one before it: one of "
                               "them was changed",
                               (long long) number);
        return check_held(w, &row);
}

static int check_next(Walk *w, DbQuery *q) {
        int64_t number = db_int(q, 0), expected = w->next;
        int r = 0;

        if (number < 1)
                return finding(w->f, number,
                               "there is an event %lld, but their numbers begin with 1",
                               (long long) number);
        w->next = number + 1;
        if (number > expected)
                r = finding_range(w->f, expected, number - 1, "", "");
        if (r == 0)
                r = check_row(w, q, number, number > expected);
        /* On from its own chain: the next one is not blamed for it. */
        return r < 0 ? r : str_replace(&w->before, db_text(q, N_ELEMENTS(columns)) ?: "");
}

int events_check(Ledger *l, Findings *f, Error *reterr) {
        auto_cleanup(walk_done) Walk w = { .l = l, .f = f, .next = 1 };
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        w.before = strdup(CHAIN_START);
        if (!w.before)
                return -ENOMEM;
        r = db_query(l->db, "SELECT " COLUMNS ", chain FROM event ORDER BY number", &q, reterr);
        if (r < 0)
                return r;
        while ((r = db_step(q, reterr)) > 0) {
                r = check_next(&w, q);
                if (r < 0)
                        return r;
        }
        if (r == 0 && l->anchor.event >= w.next)
                r = finding_range(f, w.next, l->anchor.event, ", the newest ones", "");
        return r;
}
