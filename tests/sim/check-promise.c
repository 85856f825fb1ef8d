/* What people were told of each branch. */
#include <stdio.h>

#include "tests/sim/sim.h"

/* In the order of the ledger's rows: a later one is newer. */
void promise_stands(Standing *standing, const Environment *env) {
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                Standing *at = &standing[i];

                if (!streq(people_branch(i), env->branch))
                        continue;
                if (*at->environment && at->state != ENV_DELETING && at->state != ENV_GONE)
                        return;
                snprintf(at->environment, sizeof(at->environment), "%s", env->id);
                snprintf(at->commit, sizeof(at->commit), "%s", env->commit);
                at->state = env->state;
                at->by_reaper = streq_null(env->gone_by, "reaper");
                at->closed = env->closed_ms != 0;
                return;
        }
}

static void check_promise(Sim *s, const char *name, const Promise *p, const Standing *at) {
        if (!*p->commit)
                return;
        if (!*at->environment) {
                sim_violation(s, "an acknowledged push is never lost", "%s has no environment",
                              name);
                return;
        }
        if (at->state == ENV_DELETING || at->state == ENV_GONE) {
                /* The reaper may, when a clock had ended (check-lease.c). */
                if (!p->down && (!at->by_reaper || !lease_get(s, at->environment)->rightly))
                        sim_violation(s, "an acknowledged push is never lost", "%s is %s by %s",
                                      name, env_state_to_string(at->state),
                                      at->by_reaper ? "the reaper" : "somebody else");
                return;
        }
        if (p->down)
                sim_violation(s, "an acknowledged deletion is never lost", "%s is %s", name,
                              env_state_to_string(at->state));
        if (!streq(at->commit, p->commit))
                sim_violation(s, "an acknowledged push is never lost", "%s wants %.12s, not %.12s",
                              name, at->commit, p->commit);
        if (p->closed && !at->closed)
                sim_violation(s, "an acknowledged closing is never lost", "%s is open", name);
}

void check_promises(Sim *s, const Standing *standing) {
        for (unsigned i = 0; i < N_BRANCHES; i++)
                check_promise(s, people_branch(i), &s->promises[i], &standing[i]);
}
