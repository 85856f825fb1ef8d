/* What must be true of each environment, after every turn. */
#include <stdio.h>

#include "tests/sim/sim.h"

/* "A failed generation leaves the last good one serving"; "a late older one is dropped". */
static void check_serving(Sim *s, Lease *l, const Environment *env) {
        auto_cleanup(generation_done) Generation g = { 0 };

        if (l->live > 0 && env->live_generation == 0)
                sim_violation(s, "one generation serves once one was good", "%s lost it",
                              env->label);
        if (env->live_generation == 0)
                return;
        if (env->live_generation < l->live)
                sim_violation(s, "a late older generation is never adopted", "%s: %lld after %lld",
                              env->label, (long long) env->live_generation, (long long) l->live);
        if (env->state == ENV_DELETING || env->state == ENV_GONE)
                return;
        assert(ledger_generation_get(s->ledger, env->id, env->live_generation, &g, NULL) == 0);
        if (g.state != GEN_LIVE)
                sim_violation(s, "one generation serves once one was good",
                              "%s: generation %lld is %s", env->label, (long long) g.number,
                              gen_state_to_string(g.state));
}

static void check_gone(Sim *s, const Lease *l, const Environment *env) {
        if (env->state == ENV_GONE && l->state != ENV_GONE)
                check_receipt(s, env);
        if (env->state == ENV_GONE && world_ours(s, env->id) > 0)
                sim_violation(s, "gone means that nothing is left", "%s is gone and has things",
                              env->label);
}

typedef struct Walk {
        Sim *sim;
        Standing standing[N_BRANCHES];
} Walk;

static int check_environment(void *userdata, const Environment *env) {
        Walk *w = userdata;
        Sim *s = w->sim;
        Lease *l = lease_get(s, env->id);

        promise_stands(w->standing, env);
        check_serving(s, l, env);
        check_gone(s, l, env);
        check_lease(s, l, env);
        if (env->live_generation > l->live) {
                s->count.live += l->live == 0;
                l->used_ms = sim_happened(s);
                l->sleep_asked = false;
                l->live = env->live_generation;
        }
        return 0;
}

void check_environments(Sim *s) {
        Walk w = { .sim = s };

        assert(ledger_environment_each(s->ledger, NULL, true, check_environment, &w, NULL) == 0);
        check_promises(s, w.standing);
}
