/* What must always be true (the project's design, section 1), as functions named after it; run after every
 * turn, and at the end. */
#include <stdio.h>

#include "tests/sim/sim.h"

const char *const invariants[] = {
        "nothing leaks",
        "gone means that nothing is left",
        "after the last deletion nothing is left",
        "orphans are recorded",
        "other people's things are never touched",
        "nothing wanted is removed",
        "no deletion before a clock has ended",
        "no deletion of what is in use or not known to be unused",
        "no sleep before a clock has ended",
        "no sleep of what is in use or not known to be unused",
        "what has ended goes",
        "nothing is closed on a partial or empty list",
        "a pin or extension that was acknowledged wins",
        "a freeze that was acknowledged wins",
        "an older database is recognised and held",
        "held: nothing is removed before somebody released it",
        "held: every deadline moves by what was lost",
        "an acknowledged push is never lost",
        "an acknowledged deletion is never lost",
        "an acknowledged closing is never lost",
        "the address always answers",
        "routes are direct only to ready endpoints",
        "the front shows what the ledger says",
        "nothing stops while the front leads to it",
        "one generation serves once one was good",
        "a late older generation is never adopted",
        "the newest commit is live or failed with a cause",
        "a failure has a cause",
        "what has a good file is ready",
        "what is there is what the file asks for",
        "a failing generation leaves the last good one serving",
        "who visits arrives",
        "what wakes has what it needs",
        "commit the intent, act, commit the outcome",
        "at most one call on a resource",
        "trusted time never goes back",
        "a clock step freezes",
        "after an absence the clocks wait",
        "a list says nothing of what came since",
        "a wrong clock is not taken for right by the way",
        "idle costs nothing",
        "the event log holds",
        "secrets are in no event",
        "a receipt has what was made and removed",
        "a receipt can be held against the world",
        "between intent and call the live thing is seen",
        "nothing goes that nobody wished away",
        "an orphan that was wished away goes, or it is said why not",
        "what the triggers lost the listing finds",
        "once faults stop, everything converges",
        "a seed replays exactly",
        "the program does not end",
};

size_t invariants_count(void) {
        return N_ELEMENTS(invariants);
}

/* ---- nothing leaks; gone means nothing is left ---- */

typedef struct Known {
        Sim *sim;
        Map *rows; /* uid -> itself, touched and not removed */
} Known;

static int know(void *userdata, const Resource *r) {
        Known *k = userdata;

        if (r->touched)
                assert(map_put(k->rows, r->uid, k) == 0);
        return 0;
}

/* "Whatever mayfly creates in the world is written in the ledger before it is created." */
static void check_nothing_leaks(Sim *s) {
        Known known = { .sim = s, .rows = map_new(NULL) };
        size_t at = 0;
        Thing *t;

        assert(ledger_resource_each(s->ledger, NULL, false, know, &known, NULL) == 0);
        while ((t = map_next(s->things, &at, NULL))) {
                if (map_get(known.rows, t->uid))
                        t->orphan = false; /* a ledger that was put back has found its own again */
                if (!t->foreign && !t->orphan && !map_get(known.rows, t->uid))
                        sim_violation(s, "nothing leaks",
                                      "%s %s is in the world and not in the ledger", t->type,
                                      t->uid);
        }
        map_free(known.rows);
}

/* ---- the event log ---- */

static int check_event(void *userdata, const Event *e) {
        Sim *s = userdata;

        check_no_secret(s, e->kind, e->text);
        check_no_secret(s, e->kind, e->data);
        if (e->time_ms < s->last_event_ms)
                sim_violation(s, "trusted time never goes back", "event %lld",
                              (long long) e->number);
        if (e->number != s->last_event + 1)
                sim_violation(s, "the event log holds", "%lld comes after %lld",
                              (long long) e->number, (long long) s->last_event);
        s->last_event_ms = e->time_ms;
        s->last_event = e->number;
        return 0;
}

/* ---- all of them ---- */

static void check_often(Sim *s) {
        check_environments(s);
        check_routes(s);
        assert(ledger_event_each(s->ledger, s->last_event, NULL, 1000000, check_event, s, NULL) ==
               0);
}

/* Called between turns: nothing is uncommitted. */
void check_everything(Sim *s) {
        if (ledger_is_open(s->ledger))
                return;
        check_nothing_leaks(s);
        check_addresses(s);
        check_often(s);
}

/* After a turn: what may be wrong for a moment only. What stays wrong is seen after the step. Where nothing
 * was written nothing has changed. */
void check_turn(Sim *s) {
        int64_t version = store_version(s->store);

        if (version == s->checked || ledger_is_open(s->ledger))
                return;
        s->checked = version;
        check_often(s);
}

void check_forget(Sim *s) {
        s->last_event = s->last_event_ms = 0;
}
