/* What may happen in a step: the next thing that time brings, something people do, something that happens
 * in the world, days that pass, a crash, a clock step, a disk that is full, an old copy of the database. */
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "tests/sim/sim.h"

#define REST_EVENTS 6000

static void step_time(Sim *s) {
        if (!sim_time_brings(s, INT64_MAX))
                people_act(s);
}

static void step_quiet(Sim *s) {
        sim_turns(s);
        sim_advance(s, sim_below(s, (unsigned) MS_PER_HOUR));
}

/* Nobody does anything for days. */
static void step_days(Sim *s) {
        static const int64_t lengths[] = { MS_PER_HOUR, 6 * MS_PER_HOUR, MS_PER_DAY,
                                           8 * MS_PER_DAY };
        int64_t length = lengths[sim_below(s, N_ELEMENTS(lengths))], until = s->true_ms + length;

        sim_say(s, "%lld hours pass", (long long) (length / MS_PER_HOUR));
        for (unsigned i = 0; i < 200 && s->true_ms < until; i++)
                if (!sim_time_brings(s, until - s->true_ms)) {
                        sim_advance(s, until - s->true_ms);
                        break;
                }
        s->wanted = true;
        sim_turns(s);
}

static void step_kill(Sim *s) {
        s->dead_after = (int) sim_below(s, 4);
}

static void step_clock(Sim *s) {
        static const int64_t steps[] = {
                1000,       MS_PER_MINUTE,   10 * MS_PER_MINUTE, MS_PER_HOUR,
                MS_PER_DAY, 30 * MS_PER_DAY, 3650 * MS_PER_DAY
        };
        int64_t by = steps[sim_below(s, N_ELEMENTS(steps))];

        if (sim_percent(s, 50))
                by = -by;
        if (s->wall_ms + by < MS_PER_DAY)
                return;
        sim_say(s, "the clock is set by %lld ms", (long long) by);
        sim_step_clock(s, by);
        s->wanted = true;
        sim_turns(s);
        s->wanted = true;
        sim_turns(s);
}

static void step_disk(Sim *s) {
        const char *kind = sim_percent(s, 50) ? "ledger" : "ledger.commit";
        unsigned n = 1 + sim_below(s, 20), times = 1 + sim_below(s, 4);

        sim_say(s, "the disk fails: %s %u %u", kind, n, times);
        fault_arm(kind, n, times);
}

static const struct {
        unsigned weight;
        void (*step)(Sim *s);
} kinds[] = {
        { 470, step_time }, { 290, people_act }, { 70, world_chaos },   { 25, step_quiet },
        { 15, step_days },  { 30, sim_crash },   { 35, step_kill },     { 20, step_disk },
        { 10, step_clock }, { 20, copy_take },   { 15, copy_put_back },
};

void steps_one(Sim *s) {
        unsigned all = 0, what;
        size_t i = 0;

        for (size_t k = 0; k < N_ELEMENTS(kinds); k++)
                all += kinds[k].weight;
        for (what = sim_below(s, all); what >= kinds[i].weight; i++)
                what -= kinds[i].weight;
        kinds[i].step(s);
        /* Several inputs may fall into one turn. */
        if (sim_percent(s, 85))
                sim_turn(s);
}

/* ---- once faults have stopped ---- */

/* For people who read a trace: why each environment is as it is. */
static int tell_why(void *userdata, const Environment *env) {
        json_auto_t *why = NULL;
        Sim *s = userdata;

        if (engine_why(s->engine, env->id, &why, NULL) == 0) {
                printf("%s: level %s, due in %lld ms, sleep %d wake %d\n", env->label,
                       env_level_to_string(env->level), (long long) (env->due_ms - s->wall_ms),
                       env->sleep_wanted, env->wake_wanted);
                json_dumpf(json_object_get(why, "lines"), stdout, JSON_INDENT(1));
                printf("\n");
        }
        return 0;
}

static bool working(const Sim *s) {
        for (const Work *w = s->work; w; w = w->next)
                if (!streq(w->verb, "watch"))
                        return true;
        return false;
}

/* An orderly restart: lists are made at the start, and these are whole. */
static void restart(Sim *s) {
        sim_turns(s);
        sim_stop(s, false);
        world_crash(s);
        sim_start(s);
        sim_turns(s);
}

void steps_come_to_rest(Sim *s, bool restarts) {
        /* What failed is tried again after a day. In some worlds every lease ends as well. */
        int64_t longest = s->seed % 8 == 0 ? 40 * MS_PER_DAY : 3 * MS_PER_DAY;
        unsigned n = 0;

        s->dead_after = -1;
        fault_arm("none", 0, 0);
        sim_turns(s);
        if (s->held)
                restart(s);
        people_release(s);
        sim_turns(s);
        if (restarts) {
                forge_catch_up(s);
                restart(s);
        }
        sim_say(s, "faults stop");
        while (n++ < REST_EVENTS && sim_time_brings(s, 3 * MS_PER_DAY)) {
                s->step++;
                sim_turns(s);
                if (n % 16 == 0)
                        check_everything(s);
                if (s->boot_ms - s->rest_boot_ms > longest && !working(s))
                        break;
        }
        if (n < REST_EVENTS)
                return;
        sim_violation(s, "once faults stop, everything converges", "still busy after %u events", n);
        if (s->trace)
                (void) ledger_environment_each(s->ledger, NULL, false, tell_why, s, NULL);
}
