/* Every input from a person or a trigger has this frame: time is read, the trace is checked or made, and
 * all its writes are one part of the turn, undone together when it fails. */
#include <stdio.h>

#include "orchestrator/engine/private.h"

static bool trace_valid(const char *trace) {
        return trace && strlen(trace) == TRACE_SIZE - 1 &&
               strspn(trace, "0123456789abcdef") == TRACE_SIZE - 1 &&
               strspn(trace, "0") != TRACE_SIZE - 1;
}

int input_begin(Engine *e, const EngineActor *a, Input *ret, Error *reterr) {
        clock_turn(e);
        *ret = (Input){ .e = e, .who = a && a->who && *a->who ? a->who : "unknown" };
        if (a && trace_valid(a->trace))
                memcpy(ret->trace, a->trace, TRACE_SIZE);
        else
                trace_make(e->setup.random, ret->trace);
        e->setup.wanted(e->setup.userdata);
        return ledger_savepoint(e->ledger, reterr);
}

int input_end(Input *i, int r, Error *reterr) {
        int undone;

        if (r >= 0)
                return ledger_savepoint_keep(i->e->ledger, reterr);
        undone = ledger_savepoint_undo(i->e->ledger, NULL);
        if (undone < 0)
                return error_set(reterr, undone, "The ledger cannot be written");
        (void) freeze_load(i->e, NULL); /* memory follows the row; r is what is reported */
        return error_set(reterr, r, "%s", strerror(-r));
}

int input_environment(Input *i, const char *name, Environment *ret, Error *reterr) {
        int r = ledger_environment_get(i->e->ledger, name, ret, reterr);

        if (r == 0)
                look_mark(i->e, ret->id);
        return r;
}

void engine_after_commit(Engine *e, void (*done)(void *userdata, int r, const Error *error),
                         void *userdata) {
        Waiter *grown = reallocarray(e->waiters, e->n_waiters + 1, sizeof(Waiter));

        if (!grown) {
                auto_error error = { 0 };

                done(userdata, error_set(&error, -ENOMEM, "Out of memory"), &error);
                return;
        }
        e->waiters = grown;
        e->waiters[e->n_waiters++] = (Waiter){ done, userdata };
        e->setup.wanted(e->setup.userdata);
}

void engine_on_events(Engine *e, void (*func)(void *userdata), void *userdata) {
        Follower *grown = reallocarray(e->followers, e->n_followers + 1, sizeof(Follower));

        if (!grown) {
                log_error("Out of memory: a follower of events is lost");
                return;
        }
        e->followers = grown;
        e->followers[e->n_followers++] = (Follower){ func, userdata };
}
