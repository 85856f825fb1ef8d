/* What the ledger may forget: intents that ended long ago (the events tell of them) and the routes of
 * environments that are long gone (their addresses then say that nobody is known there). Receipts and
 * events stay. In turns that write anyway, a bounded batch at a time: it never wakes the machine. */
#include "orchestrator/engine/private.h"

int prune_step(Engine *e, Error *reterr) {
        auto_cleanup(strv_freep) char **hosts = NULL;
        bool all;
        int r;

        if (e->pruned_ms > 0 && e->now_ms - e->pruned_ms < LIMIT_PRUNE_MS)
                return 0;
        r = ledger_prune_intents(e->ledger, e->now_ms - LIMIT_INTENT_KEEP_MS, LIMIT_PRUNE_ROWS,
                                 reterr);
        all = r < LIMIT_PRUNE_ROWS;
        if (r >= 0)
                r = ledger_routes_gone(e->ledger, e->now_ms - LIMIT_GONE_ROUTE_MS, LIMIT_PRUNE_ROWS,
                                       &hosts, reterr);
        for (char **host = hosts; r == 0 && host && *host; host++) {
                r = ledger_route_remove(e->ledger, *host, reterr);
                if (r == 0 && !strv_contains(e->hosts, *host))
                        r = strv_add(&e->hosts, *host);
        }
        if (r == 0 && all)                /* what is left goes with the next turn */
                e->pruned_ms = e->now_ms; /* a turn that fails loses nothing but an hour */
        return r;
}
