/* What people do once everything has come to rest: they visit every address, try again what has failed, and
 * push once more. Nothing goes wrong any more but what is said here, so all of it must come out well. */
#include <stdio.h>

#include "tests/sim/sim.h"

#define EVENTS_MAX 3000
#define REFUSALS   10 /* of one environment, one after the other: a repair is tried again later */
#define DAY_TURNS  20

/* Lets time pass. */
static void rest_run(Sim *s, int64_t ms) {
        int64_t until = s->true_ms + ms;

        s->wanted = true;
        for (unsigned i = 0; i < EVENTS_MAX && s->true_ms < until; i++) {
                s->step++;
                if (!sim_time_brings(s, until - s->true_ms))
                        sim_advance(s, until - s->true_ms);
        }
        sim_turns(s);
        if (s->true_ms < until)
                sim_violation(s, "idle costs nothing", "%d events, and %lld ms are not over",
                              EVENTS_MAX, (long long) (until - s->true_ms));
}

/* ---- visits ---- */

static int visit_ready(void *userdata, const Environment *env) {
        Sim *s = userdata;

        if (env->state == ENV_READY)
                people_visit(s, env);
        return 0;
}

static void visit_all(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, false, visit_ready, s, NULL) == 0);
        rest_run(s, 3 * MS_PER_MINUTE);
}

/* Who is refused at an address says so: then it is looked at. */
static bool refuse_unreachable(Sim *s) {
        auto_cleanup(strv_freep) char **refused = check_reach(s, false);
        FrontEvents front = engine_front_events(s->engine);

        for (char **id = refused; id && *id; id++) {
                sim_say(s, "a visitor of %s is refused", *id);
                front.on_refused(front.userdata, *id);
        }
        if (refused)
                rest_run(s, MS_PER_MINUTE);
        return refused != NULL;
}

static void visit_until_reached(Sim *s) {
        unsigned n = 0;

        do
                visit_all(s);
        while (refuse_unreachable(s) && ++n < REFUSALS);
        if (n > 0)
                visit_all(s);
        (void) check_reach(s, true);
        check_awake(s);
}

/* ---- once more ---- */

static int collect_failed(void *userdata, const Environment *env) {
        return env->state == ENV_FAILED || env->cause ? strv_add(userdata, env->id) : 0;
}

static void retry_all(Sim *s) {
        auto_cleanup(strv_freep) char **failed = NULL;

        assert(ledger_environment_each(s->ledger, NULL, false, collect_failed, &failed, NULL) == 0);
        for (char **id = failed; id && *id; id++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                assert(ledger_environment_get(s->ledger, *id, &env, NULL) == 0);
                people_retry(s, &env);
        }
        if (failed)
                rest_run(s, 20 * MS_PER_MINUTE);
        check_ready(s);
}

/* Open, and nothing of somebody else's in its place. */
static bool is_sound(Sim *s, unsigned branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(branch));
        const Promise *p = &s->promises[branch];

        return *p->commit && !p->down && !p->closed && *s->forge.commit[branch] &&
               ledger_environment_get(s->ledger, name, ret, NULL) == 0 && ret->state == ENV_READY &&
               ret->closed_ms == 0 && !world_foreign(s, ret->id);
}

/* "transient: tried again." Each resource of a new commit fails once. */
static void push_troubled(Sim *s) {
        s->plan = PLAN_ONCE_EACH;
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                if (is_sound(s, i, &env))
                        forge_push_files(s, i, 2);
        }
        rest_run(s, 20 * MS_PER_MINUTE);
        s->plan = PLAN_NONE;
        check_ready(s);
}

/* "A failed generation leaves the last good one serving." It asks something shared to be another, and that
 * fails for good. */
static void push_failing(Sim *s) {
        int64_t live[N_BRANCHES] = { 0 };

        s->plan = PLAN_VOLUMES_FAIL;
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                if (!is_sound(s, i, &env) || env.live_generation != env.wanted_generation)
                        continue;
                live[i] = env.live_generation;
                forge_push_files(s, i, 3);
        }
        rest_run(s, 3 * MS_PER_MINUTE);
        s->plan = PLAN_NONE;
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                if (live[i] > 0 && !is_sound(s, i, &env))
                        sim_violation(s, "a failing generation leaves the last good one serving",
                                      "%s is %s: %s", people_branch(i),
                                      env.id ? env_state_to_string(env.state) : "lost",
                                      env.cause ? env.cause : "-");
        }
}

/* ---- a day without anybody ---- */

static void idle_day(Sim *s) {
        uint64_t turns = s->count.turns;

        if (!check_nothing_pends(s))
                return;
        rest_run(s, MS_PER_DAY);
        if (s->count.turns - turns > DAY_TURNS)
                sim_violation(s, "idle costs nothing", "%llu turns in a day without anybody",
                              (unsigned long long) (s->count.turns - turns));
}

void rest_people(Sim *s) {
        static const struct {
                void (*act)(Sim *s);
                unsigned every; /* it costs time: only with seeds that this divides */
        } acts[] = { { visit_until_reached, 2 },
                     { retry_all, 2 },
                     { push_troubled, 6 },
                     { push_failing, 6 },
                     { idle_day, 2 } };

        /* Thousands of seeds are run: half as often is enough. Older scenarios stay as they were. */
        unsigned seldom = s->seed >= STALE_SEEDS ? 2 : 1;

        for (size_t i = 0; i < N_ELEMENTS(acts) && s->n_violations == 0; i++)
                if (s->seed % (acts[i].every * seldom) == 0)
                        acts[i].act(s);
}
