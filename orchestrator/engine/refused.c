/* Visitors who were refused at a workload's address. The first ones have it inspected: it may have ended.
 * When it says that it is ready and they are refused all the same, what the ledger knows of its address is
 * not what is (it was put back, say): to provision is to look and to make, and tells the address anew. */
#include <stdlib.h>

#include "orchestrator/engine/private.h"

#define REFUSED_IN_VAIN 3

typedef struct Refused {
        unsigned n;
        bool made_again; /* once is enough, until visitors have had peace */
        int64_t boot_ms; /* the last time */
} Refused;

static Refused *refused_of(Engine *e, const char *uid) {
        Refused *x = map_get(e->refused, uid);

        if (x)
                return x;
        x = calloc(1, sizeof(*x));
        if (x && map_put(e->refused, uid, x) < 0) {
                free(x);
                return NULL;
        }
        return x;
}

static int refuse_one(void *userdata, const Resource *row) {
        Engine *e = userdata;
        auto_error error = { 0 };
        Resource res = *row; /* borrowed strings */
        Refused *x;
        int r;

        if (!streq(row->type, "workload") || row->state != RES_READY || row->inspect)
                return 0;
        x = refused_of(e, row->uid);
        if (x && e->boot_ms - x->boot_ms > LIMIT_REPAIR_CALM_MS)
                *x = (Refused){ 0 };
        if (x) { /* without memory it is only inspected */
                x->n++;
                x->boot_ms = e->boot_ms;
        }
        res.inspect = true;
        r = ledger_resource_update(e->ledger, &res, &error);
        if (r < 0)
                log_error("Cannot note that %s refused a visitor: %s", row->uid,
                          error_text(&error, r));
        return 0;
}

void refused_visitor(Engine *e, const char *environment_id) {
        clock_turn(e);
        /* Should this write be lost, the next refused visitor says it again. */
        (void) ledger_resource_each(e->ledger, environment_id, false, refuse_one, e, NULL);
        look_mark(e, environment_id);
        e->setup.wanted(e->setup.userdata);
}

bool refused_in_vain(Engine *e, const char *uid) {
        Refused *x = map_get(e->refused, uid);

        if (!x || x->made_again || x->n < REFUSED_IN_VAIN ||
            e->boot_ms - x->boot_ms > LIMIT_REPAIR_CALM_MS)
                return false;
        x->made_again = true;
        return true;
}
