/* What must be true of each environment and of what people were told about it. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

/* Small clock steps are followed, so trusted time may be off by this much. */
#define SLACK_MS (15 * MS_PER_MINUTE)

/* ---- generations ---- */

/* "A failed generation leaves the last good one serving"; "a late older one is dropped". */
static void check_serving(Sim *s, const Environment *env) {
        auto_cleanup(generation_done) Generation g = { 0 };
        int64_t *live = map_get(s->live, env->id);

        if (live && env->live_generation == 0)
                sim_violation(s, "one generation serves once one was good", "%s lost it",
                              env->label);
        if (env->live_generation == 0)
                return;
        if (!live) {
                live = calloc(1, sizeof(int64_t));
                assert(live);
                assert(map_put(s->live, env->id, live) == 0);
                s->count.live++;
        }
        if (env->live_generation < *live)
                sim_violation(s, "a late older generation is never adopted", "%s: %lld after %lld",
                              env->label, (long long) env->live_generation, (long long) *live);
        *live = env->live_generation;
        assert(ledger_generation_get(s->ledger, env->id, env->live_generation, &g, NULL) == 0);
        if (env->state != ENV_DELETING && env->state != ENV_GONE && g.state != GEN_LIVE)
                sim_violation(s, "one generation serves once one was good",
                              "%s: generation %lld is %s", env->label, (long long) g.number,
                              gen_state_to_string(g.state));
}

/* ---- deletions ---- */

/* "A pin, a renewed lease or a freeze that was acknowledged always wins." */
static void check_reaped(Sim *s, const Environment *env) {
        const int64_t *held = map_get(s->held_until, env->id), *left;
        auto_cleanup(freep) char *clock = NULL;

        clock = str_format("%s/%.*s", env->id, (int) strcspn(env->gone_why, " "), env->gone_why);
        left = map_get(s->left_ms, clock);
        s->count.reaped++;
        if (held && *held > s->true_ms + SLACK_MS)
                sim_violation(s, "a pin or extension that was acknowledged wins",
                              "%s is deleted by the reaper", env->label);
        if (s->frozen)
                sim_violation(s, "a freeze that was acknowledged wins",
                              "%s is deleted by the reaper", env->label);
        if (s->true_ms - env->created_ms < MS_PER_HOUR - SLACK_MS)
                sim_violation(s, "no deletion before a clock has ended",
                              "%s was created %lld s ago", env->label,
                              (long long) (s->true_ms - env->created_ms) / 1000);
        if (env->live_generation > 0 && env->level == LEVEL_AWAKE && map_get(s->in_use, env->id))
                sim_violation(s, "no deletion of what is in use or not known to be unused",
                              "%s is deleted by the reaper", env->label);
        if (left && s->released_true_ms > 0 && s->true_ms < s->released_true_ms + *left - SLACK_MS)
                sim_violation(s, "held: every deadline moves by what was lost",
                              "%s had %lld s left in the copy and is deleted %lld s after it was "
                              "released",
                              env->label, (long long) *left / 1000,
                              (long long) (s->true_ms - s->released_true_ms) / 1000);
}

/* Looked at in the step in which the deletion begins. */
static void check_deletion(Sim *s, const Environment *env) {
        const int64_t *held = map_get(s->held_until, env->id);

        if ((env->state != ENV_DELETING && env->state != ENV_GONE) || map_get(s->deleting, env->id))
                return;
        assert(map_put(s->deleting, env->id, s) == 0);
        sim_say(s, "%s is being deleted by %s: %s; held for %lld ms", env->label, env->gone_by,
                env->gone_why, held ? (long long) (*held - s->true_ms) : 0);
        if (s->held && !s->releasing)
                sim_violation(s, "held: nothing is removed before somebody released it",
                              "%s is deleted by %s", env->label, env->gone_by);
        if (streq_null(env->gone_by, "reaper"))
                check_reaped(s, env);
}

static void check_gone(Sim *s, const Environment *env) {
        if (env->state == ENV_GONE && world_ours(s, env->id) > 0)
                sim_violation(s, "gone means that nothing is left", "%s is gone and has things",
                              env->label);
}

static int check_environment(void *userdata, const Environment *env) {
        Sim *s = userdata;

        check_serving(s, env);
        check_deletion(s, env);
        check_gone(s, env);
        return 0;
}

void check_environments(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, true, check_environment, s, NULL) == 0);
}

/* ---- promises ---- */

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
                if (!p->down && !streq_null(env.gone_by, "reaper"))
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
