/* What must be true once faults have stopped and everything has come to rest. */
#include <stdio.h>

#include "tests/sim/sim.h"

static int at_rest(void *userdata, const Environment *env) {
        Sim *s = userdata;
        bool rest = env->state == ENV_READY || env->state == ENV_FAILED || env->state == ENV_GONE;

        if (!rest)
                sim_violation(s, "once faults stop, everything converges", "%s is %s (%s)",
                              env->label, env_state_to_string(env->state),
                              env->cause ? env->cause : "no cause");
        if (env->state == ENV_FAILED && !env->cause)
                sim_violation(s, "a failure has a cause", "%s has none", env->label);
        if (env->state != ENV_GONE && (env->level == LEVEL_FALLING || env->level == LEVEL_WAKING))
                sim_violation(s, "once faults stop, everything converges", "%s is %s", env->label,
                              env_level_to_string(env->level));
        return 0;
}

static int resource_at_rest(void *userdata, const Resource *r) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *nodes = NULL;
        Sim *s = userdata;

        if (r->state == RES_READY || r->state == RES_ASLEEP || r->state == RES_FAILED)
                return 0;
        /* What only a failed generation wanted of the shared ones waits for the next push. */
        if (r->generation == 0 && (r->state == RES_PLANNED || r->state == RES_PROVISIONING)) {
                assert(ledger_environment_get(s->ledger, r->environment_id, &env, NULL) == 0);
                nodes = check_live_nodes(s, &env);
                if (!check_in_graph(nodes, r->key))
                        return 0;
        }
        sim_violation(s, "once faults stop, everything converges",
                      "%s %s is %s, again in %lld ms: %s", r->type, r->uid,
                      res_state_to_string(r->state), (long long) (r->retry_ms - s->wall_ms),
                      r->cause ? r->cause : "-");
        return 0;
}

static void newest_is_there(Sim *s, unsigned branch) {
        auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(branch));
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(generation_done) Generation g = { 0 };
        const Promise *p = &s->promises[branch];

        if (!*p->commit || p->down || p->closed ||
            ledger_environment_get(s->ledger, name, &env, NULL) < 0 || env.state == ENV_GONE ||
            env.state == ENV_DELETING)
                return;
        assert(ledger_generation_get(s->ledger, env.id, env.wanted_generation, &g, NULL) == 0);
        if (!streq(g.commit, p->commit) || (g.state != GEN_LIVE && g.state != GEN_FAILED) ||
            (g.state == GEN_FAILED && !g.cause))
                sim_violation(s, "the newest commit is live or failed with a cause",
                              "%s: %.12s is %s", name, g.commit, gen_state_to_string(g.state));
}

/* What the forge has is what is wanted, unless somebody deleted it. */
static void forge_is_followed(Sim *s, unsigned branch) {
        auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(branch));
        auto_cleanup(environment_done) Environment env = { 0 };
        const char *commit = s->forge.commit[branch];

        if (ledger_environment_get(s->ledger, name, &env, NULL) < 0) {
                if (*commit)
                        sim_violation(s, "what the triggers lost the listing finds",
                                      "%s never had an environment", name);
                return;
        }
        if (env.state == ENV_GONE || env.state == ENV_DELETING)
                return;
        if (!*commit && env.closed_ms == 0)
                sim_violation(s, "what the triggers lost the listing finds",
                              "%s is open and has no branch", name);
        if (*commit && (env.closed_ms > 0 || !streq(env.commit, commit)))
                sim_violation(s, "what the triggers lost the listing finds",
                              "%s is %s at %.12s and its branch at %.12s", name,
                              env.closed_ms > 0 ? "closed" : "open", env.commit, commit);
}

static int open_intent(void *userdata, const Intent *i) {
        sim_violation(userdata, "commit the intent, act, commit the outcome",
                      "%s of %s has no outcome", i->verb, i->resource_uid);
        return 0;
}

/* What is ours by its marker and not in the ledger is shown to people. */
static void orphans_are_recorded(Sim *s) {
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL))) {
                auto_cleanup(stray_done) Stray stray = { 0 };

                if (t->orphan && t->shown && ledger_stray_get(s->ledger, t->uid, &stray, NULL) < 0)
                        sim_violation(s, "orphans are recorded", "%s %s is not", t->type, t->uid);
        }
}

void check_at_rest(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, true, at_rest, s, NULL) == 0);
        assert(ledger_resource_each(s->ledger, NULL, false, resource_at_rest, s, NULL) == 0);
        assert(ledger_intent_each_open(s->ledger, open_intent, s, NULL) == 0);
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                newest_is_there(s, i);
                forge_is_followed(s, i);
        }
        orphans_are_recorded(s);
        check_orphans_at_rest(s);
        check_secrets(s);
}

/* After everything was deleted. */
void check_at_end(Sim *s) {
        int64_t bad = 0;
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && !t->orphan)
                        sim_violation(s, "after the last deletion nothing is left", "%s %s",
                                      t->type, t->uid);
        assert(ledger_verify_events(s->ledger, &bad, NULL) == 0);
        if (bad != 0)
                sim_violation(s, "the event log holds", "event %lld", (long long) bad);
}
