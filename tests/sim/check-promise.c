/* What people were told of each branch. */
#include <stdio.h>

#include "tests/sim/sim.h"

static void check_promise(Sim *s, unsigned branch) {
        auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(branch));
        auto_cleanup(environment_done) Environment env = { 0 };
        const Promise *p = &s->promises[branch];

        if (!*p->commit)
                return;
        if (ledger_environment_get(s->ledger, name, &env, NULL) < 0) {
                sim_violation(s, "an acknowledged push is never lost", "%s has no environment",
                              name);
                return;
        }
        if (env.state == ENV_DELETING || env.state == ENV_GONE) {
                /* The reaper may, when a clock had ended (check-lease.c). */
                if (!p->down &&
                    (!streq_null(env.gone_by, "reaper") || !lease_get(s, env.id)->rightly))
                        sim_violation(s, "an acknowledged push is never lost", "%s is %s by %s",
                                      name, env_state_to_string(env.state), env.gone_by);
                return;
        }
        if (p->down)
                sim_violation(s, "an acknowledged deletion is never lost", "%s is %s", name,
                              env_state_to_string(env.state));
        if (!streq(env.commit, p->commit))
                sim_violation(s, "an acknowledged push is never lost", "%s wants %.12s, not %.12s",
                              name, env.commit, p->commit);
        if (p->closed && env.closed_ms == 0)
                sim_violation(s, "an acknowledged closing is never lost", "%s is open", name);
}

void check_promises(Sim *s) {
        for (unsigned i = 0; i < N_BRANCHES; i++)
                check_promise(s, i);
}
