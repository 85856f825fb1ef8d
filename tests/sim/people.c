/* People: they extend, pin, freeze, put to sleep, wake, visit and delete at any moment (and push, forge.c).
 * What was acknowledged after its commit becomes a promise that check-environment.c holds the engine to. */
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "tests/sim/sim.h"

static const char *const branches[N_BRANCHES] = { "main", "login", "feature/search", "Fix_9" };

const char *people_branch(unsigned branch) {
        return branches[branch];
}

const EngineActor people_actor = { .who = "uid:1000(ana)" };

static int environment_of(Sim *s, unsigned branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", branches[branch]);

        return ledger_environment_get(s->ledger, name, ret, NULL);
}

static void down(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Acknowledgement a = { .kind = ACK_DOWN, .branch = branch };
        auto_error error = { 0 };
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = engine_down(s->engine, &people_actor, env.id, &error);
        sim_say(s, "down %s: %s", env.label, r < 0 ? error_text(&error, r) : "ok");
        if (r < 0)
                return;
        a.alive = env.state != ENV_DELETING && env.state != ENV_GONE;
        a.promise = promised(s, branch);
        a.promise.down = true;
        snprintf(a.environment, sizeof(a.environment), "%s", env.id);
        acknowledge(s, a);
}

static void extend_by(Sim *s, const Environment *env, int64_t by) {
        Acknowledgement a = { .kind = ACK_EXTEND, .by_ms = by };
        int r = engine_extend(s->engine, &people_actor, env->id, by, NULL);

        sim_say(s, "extend %s by %lld ms: %d", env->label, (long long) by, r);
        snprintf(a.environment, sizeof(a.environment), "%s", env->id);
        if (r == 0)
                acknowledge(s, a);
}

static void extend(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int64_t by = (int64_t) (1 + sim_below(s, 48)) * MS_PER_HOUR;

        if (environment_of(s, branch, &env) == 0)
                extend_by(s, &env, by);
}

/* until 0: not any more */
static void pin_until(Sim *s, const Environment *env, int64_t until) {
        Acknowledgement a = { .kind = ACK_PIN, .until_ms = until };
        int r = until > 0 ? engine_pin(s->engine, &people_actor, env->id, until, "a demo", NULL)
                          : engine_unpin(s->engine, &people_actor, env->id, NULL);

        sim_say(s, "%s %s: %d", until > 0 ? "pin" : "unpin", env->label, r);
        snprintf(a.environment, sizeof(a.environment), "%s", env->id);
        if (r == 0)
                acknowledge(s, a);
}

static void pin(Sim *s, unsigned branch, bool on) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int64_t by = (int64_t) (1 + sim_below(s, 72)) * MS_PER_HOUR, until = on ? INT64_MAX : 0;

        if (environment_of(s, branch, &env) < 0)
                return;
        if (on && sim_percent(s, 50))
                until = sim_now(s) + by;
        pin_until(s, &env, until);
}

/* Who releases a ledger that was put back renews first what must stay. */
static void renew(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Lease *lease;

        if (environment_of(s, branch, &env) < 0)
                return;
        lease = lease_get(s, env.id);
        if (lease->lost_pinned_ms > sim_now(s))
                pin_until(s, &env, lease->lost_pinned_ms);
        if (lease->lost_extended_ms > sim_now(s))
                extend_by(s, &env, lease->lost_extended_ms - sim_now(s));
        lease->lost_pinned_ms = lease->lost_extended_ms = 0;
}

static void freeze(Sim *s) {
        int r = engine_freeze(s->engine, &people_actor, true, "looking at something", NULL);

        sim_say(s, "freeze: %d", r);
        if (r == 0)
                acknowledge(s, (Acknowledgement){ .kind = ACK_FREEZE });
}

static int unfreeze(Sim *s, bool accept) {
        auto_error error = { 0 };
        int r;

        for (unsigned i = 0; s->held && i < N_BRANCHES; i++)
                renew(s, i);
        r = engine_unfreeze(s->engine, &people_actor, accept, NULL, &error);
        sim_say(s, "unfreeze%s: %s", accept ? ", the clock is right as it is" : "",
                r < 0 ? error_text(&error, r) : "ok");
        if (r < 0)
                return r;
        if (!accept)
                check_clock_right(s);
        s->releasing = true;
        acknowledge(s, (Acknowledgement){ .kind = ACK_UNFREEZE, .accept = accept });
        return 0;
}

/* Who releases a freeze has put the clock right, as a rule. */
void people_release(Sim *s) {
        sim_right_clock(s);
        if (unfreeze(s, false) ==
            -EPERM) /* one that was ahead was accepted: time does not go back */
                unfreeze(s, true);
}

static void visit(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        if (environment_of(s, branch, &env) == 0)
                people_visit(s, &env);
}

void people_visit(Sim *s, const Environment *env) {
        FrontEvents front = engine_front_events(s->engine);

        sim_say(s, "visit %s", env->label);
        front.on_visit(front.userdata, env->id);
        acknowledge_of(s, ACK_USE, env->id);
}

static void level(Sim *s, unsigned branch, bool awake) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error error = { 0 };
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = awake ? engine_wake(s->engine, &people_actor, env.id, &error)
                  : engine_sleep(s->engine, &people_actor, env.id, &error);
        sim_say(s, "%s %s: %s", awake ? "wake" : "sleep", env.label,
                r < 0 ? error_text(&error, r) : "ok");
        if (r == 0)
                acknowledge_of(s, awake ? ACK_WAKE : ACK_SLEEP, env.id);
}

static void retry(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        if (environment_of(s, branch, &env) == 0)
                people_retry(s, &env);
}

void people_retry(Sim *s, const Environment *env) {
        int r = engine_retry(s->engine, &people_actor, env->id, NULL);

        sim_say(s, "retry %s: %d", env->label, r);
        if (r == 0)
                acknowledge_of(s, ACK_USE, env->id);
}

static void ask(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *why = NULL, *report = NULL;

        if (environment_of(s, branch, &env) == 0)
                assert(engine_why(s->engine, env.id, &why, NULL) == 0);
        assert(engine_reap(s->engine, &people_actor, NULL, sim_percent(s, 50), &report, NULL) == 0);
}

static void fall_asleep(Sim *s, unsigned branch) {
        level(s, branch, false);
}

static void wake_up(Sim *s, unsigned branch) {
        level(s, branch, true);
}

static void pin_it(Sim *s, unsigned branch) {
        pin(s, branch, true);
}

static void unpin_it(Sim *s, unsigned branch) {
        pin(s, branch, false);
}

static void freeze_all(Sim *s, unsigned branch) {
        freeze(s);
}

static void unfreeze_all(Sim *s, unsigned branch) {
        unsigned how = sim_below(s, 100);

        if (sim_trouble(s, 10))
                fault_arm("ledger.commit", 1, 1);
        if (how < 70)
                people_release(s);
        else
                unfreeze(s, how < 80);
}

static void compare_all(Sim *s, unsigned branch) {
        forge_compare(s);
}

static void late_trigger(Sim *s, unsigned branch) {
        forge_deliver_late(s);
}

static void repeated_trigger(Sim *s, unsigned branch) {
        forge_deliver_again(s);
}

static const struct {
        unsigned weight;
        void (*act)(Sim *s, unsigned branch);
} acts[] = {
        { 360, forge_push },  { 80, forge_close }, { 40, late_trigger }, { 30, repeated_trigger },
        { 60, down },         { 90, visit },       { 80, fall_asleep },  { 60, wake_up },
        { 45, extend },       { 25, pin_it },      { 20, unpin_it },     { 8, freeze_all },
        { 22, unfreeze_all }, { 55, compare_all }, { 40, retry },        { 30, ask },
};

void people_act(Sim *s) {
        unsigned branch = sim_below(s, N_BRANCHES), all = 0, what;
        size_t i = 0;

        for (size_t k = 0; k < N_ELEMENTS(acts); k++)
                all += acts[k].weight;
        for (what = sim_below(s, all); what >= acts[i].weight; i++)
                what -= acts[i].weight;
        acts[i].act(s, branch);
        if (s->wide && sim_percent(s, 12))
                admin_act(s, branch);
}

void people_down_all(Sim *s) {
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                pin(s, i, false);
                down(s, i);
        }
}
