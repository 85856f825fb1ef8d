/* When an environment may fall asleep or be deleted, and when it must: worked out once more, from what the
 * simulation itself did and saw, in promised time. Naive on purpose; the engine and the reaper have no part
 * in it. */
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/base/limits.h"
#include "tests/sim/sim.h"

/* The ledger notes a visit to what is awake once a minute. */
#define VISIT_SLACK_MS (MS_PER_MINUTE + 2000)
/* A front that does not answer, a machine that was away, an hour after the faults. */
#define LATE_MS (3 * MS_PER_HOUR)

/* ---- facts ---- */

int64_t sim_happened(const Sim *s) {
        return s->died_ms > 0 ? s->died_ms : sim_now(s);
}

Lease *lease_get(Sim *s, const char *environment) {
        Lease *l = map_get(s->leases, environment);

        if (l)
                return l;
        l = calloc(1, sizeof(Lease));
        assert(l);
        l->created_ms = l->used_ms = sim_happened(s);
        assert(map_put(s->leases, environment, l) == 0);
        return l;
}

int64_t lease_held(const Lease *l) {
        return l->pinned_ms > l->extended_ms ? l->pinned_ms : l->extended_ms;
}

Map *leases_copy(const Map *leases) {
        Map *copy = map_new(free);
        const char *id;
        size_t at = 0;
        Lease *l;

        assert(copy);
        while ((l = map_next(leases, &at, &id))) {
                Lease *one = malloc(sizeof(Lease));

                assert(one);
                *one = *l;
                assert(map_put(copy, id, one) == 0);
        }
        return copy;
}

/* What people were promised since the copy they still hold to be promised. */
void leases_lose(Sim *s, Map *before) {
        const char *id;
        size_t at = 0;
        Lease *l, *now;

        while ((l = map_next(before, &at, &id))) {
                now = map_get(s->leases, id);
                if (!now)
                        continue;
                l->lost_pinned_ms =
                        now->pinned_ms > now->lost_pinned_ms ? now->pinned_ms : now->lost_pinned_ms;
                l->lost_extended_ms = now->extended_ms > now->lost_extended_ms
                                              ? now->extended_ms
                                              : now->lost_extended_ms;
        }
        map_free(s->leases);
        s->leases = before;
}

/* "Every deadline moves by what was lost." */
void leases_move(Sim *s, int64_t by_ms) {
        size_t at = 0;
        Lease *l;

        assert(s->moves.n < N_ELEMENTS(s->moves.items));
        s->moves.items[s->moves.n].by_ms = by_ms;
        s->moves.items[s->moves.n++].at_ms = sim_now(s);
        while ((l = map_next(s->leases, &at, NULL))) {
                if (l->extended_ms > 0)
                        l->extended_ms += by_ms;
                if (l->pinned_ms > 0 && l->pinned_ms < INT64_MAX - by_ms)
                        l->pinned_ms += by_ms;
        }
}

/* ---- clocks ---- */

static int64_t later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

static int64_t length_of(Sim *s, const Environment *env, ReaperClockKind kind) {
        const ConfigClocks *c = &s->config->clocks;
        const int64_t lengths[_REAPER_CLOCK_KIND_MAX] = {
                [REAPER_SLEEP_AFTER_IDLE] = c->sleep_after_idle,
                [REAPER_DELETE_AFTER_ASLEEP] = c->delete_after_asleep,
                [REAPER_DELETE_AFTER_AGE] = c->delete_after_age,
                [REAPER_DELETE_AFTER_CLOSE] = c->delete_after_close,
        };
        auto_cleanup(generation_done) Generation g = { 0 };
        int64_t wish = 0;

        if (env->live_generation > 0) {
                assert(ledger_generation_get(s->ledger, env->id, env->live_generation, &g, NULL) ==
                       0);
                wish = files_wish(g.commit, kind);
        }
        return wish > 0 ? wish : lengths[kind];
}

/* It may have begun after the last move. */
static bool began_unsure(const Lease *l, ReaperClockKind kind) {
        return kind == REAPER_DELETE_AFTER_CLOSE ? l->closed_unsure
               : kind == REAPER_DELETE_AFTER_AGE ? false
                                                 : l->use_unsure;
}

/* Small steps are followed, and time may stand still: near a move it is not known what was before it. */
static bool moved(const Sim *s, int64_t since_ms, int64_t at_ms, bool latest) {
        int64_t slack = s->drift_ms + 1000;

        return latest ? since_ms <= at_ms + slack : since_ms < at_ms - slack;
}

/* When this clock ends by what is known, at the earliest or latest; INT64_MAX: it does not run. */
static int64_t due(Sim *s, const Lease *l, const Environment *env, ReaperClockKind kind,
                   bool latest) {
        const int64_t since[_REAPER_CLOCK_KIND_MAX] = {
                [REAPER_SLEEP_AFTER_IDLE] = l->used_ms,
                [REAPER_DELETE_AFTER_ASLEEP] = l->asleep_ms ? later(l->asleep_ms, l->used_ms) : 0,
                [REAPER_DELETE_AFTER_AGE] = l->created_ms,
                [REAPER_DELETE_AFTER_CLOSE] = l->closed_ms,
        };
        int64_t ends = since[kind] + length_of(s, env, kind);

        if (since[kind] == 0)
                return INT64_MAX;
        for (size_t i = 0; i < s->moves.n && !began_unsure(l, kind); i++)
                if (moved(s, since[kind], s->moves.items[i].at_ms, latest))
                        ends += s->moves.items[i].by_ms;
        if (kind == REAPER_SLEEP_AFTER_IDLE)
                return ends;
        if (l->policy_ms > 0)
                ends = later(ends, l->policy_ms + LIMIT_POLICY_GRACE_MS);
        return later(ends, later(l->extended_ms, l->pinned_ms));
}

/* ---- safety ---- */

static void check_hour(Sim *s, const Environment *env) {
        if (sim_now(s) < s->away_until_ms)
                sim_violation(s, "after an absence the clocks wait", "%s is %s", env->label,
                              env_state_to_string(env->state));
}

/* "No deletion on missing information"; "a pin, a renewed lease or a freeze that was acknowledged wins". */
static void check_reaped(Sim *s, Lease *l, const Environment *env) {
        auto_cleanup(freep) char *name =
                str_format("%.*s", (int) strcspn(env->gone_why, " "), env->gone_why);
        ReaperClockKind kind = reaper_clock_from_string(name);
        int64_t slack = VISIT_SLACK_MS + s->drift_ms, ends;

        s->count.reaped++;
        if (kind <= REAPER_SLEEP_AFTER_IDLE) {
                sim_violation(s, "no deletion before a clock has ended", "%s: %s", env->label,
                              env->gone_why);
                return;
        }
        ends = due(s, l, env, kind, false);
        l->rightly = ends <= sim_now(s) + slack;
        if (lease_held(l) > sim_now(s) + CLOCK_SLACK_MS)
                sim_violation(s, "a pin or extension that was acknowledged wins",
                              "%s is deleted by the reaper", env->label);
        else if (!l->rightly)
                sim_violation(s, "no deletion before a clock has ended",
                              "%s: %s, and it has %lld s to go", env->label, env->gone_why,
                              ends == INT64_MAX ? -1 : (long long) (ends - sim_now(s)) / 1000);
        if (s->frozen)
                sim_violation(s, "a freeze that was acknowledged wins",
                              "%s is deleted by the reaper", env->label);
        check_hour(s, env);
        if (env->live_generation > 0 && env->level == LEVEL_AWAKE && map_get(s->in_use, env->id))
                sim_violation(s, "no deletion of what is in use or not known to be unused",
                              "%s is deleted by the reaper", env->label);
}

/* By the copy's own words, beside what this file says. */
static void check_moved(Sim *s, const Environment *env) {
        auto_cleanup(freep) char *clock =
                str_format("%s/%.*s", env->id, (int) strcspn(env->gone_why, " "), env->gone_why);
        const int64_t *left = map_get(s->left_ms, clock);

        if (left && s->released_true_ms > 0 &&
            s->true_ms < s->released_true_ms + *left - CLOCK_SLACK_MS)
                sim_violation(s, "held: every deadline moves by what was lost",
                              "%s had %lld s left in the copy and is deleted %lld s after it was "
                              "released",
                              env->label, (long long) *left / 1000,
                              (long long) (s->true_ms - s->released_true_ms) / 1000);
}

/* Looked at after the turn in which the deletion begins. */
static void check_deletion(Sim *s, Lease *l, const Environment *env) {
        sim_say(s, "%s is being deleted by %s: %s; held for %lld ms", env->label, env->gone_by,
                env->gone_why, (long long) (lease_held(l) - sim_now(s)));
        if (s->held && !s->releasing)
                sim_violation(s, "held: nothing is removed before somebody released it",
                              "%s is deleted by %s", env->label, env->gone_by);
        if (!streq_null(env->gone_by, "reaper"))
                return;
        check_reaped(s, l, env);
        check_moved(s, env);
}

/* Nobody asked for it: a clock did. */
static void check_slept(Sim *s, const Lease *l, const Environment *env) {
        int64_t ends = due(s, l, env, REAPER_SLEEP_AFTER_IDLE, false);

        if (ends > sim_now(s) + VISIT_SLACK_MS + s->drift_ms)
                sim_violation(s, "no sleep before a clock has ended", "%s has %lld s to go",
                              env->label, (long long) (ends - sim_now(s)) / 1000);
        if (s->frozen)
                sim_violation(s, "a freeze that was acknowledged wins", "%s falls asleep",
                              env->label);
        check_hour(s, env);
        if (map_get(s->in_use, env->id))
                sim_violation(s, "no sleep of what is in use or not known to be unused", "%s",
                              env->label);
}

/* ---- liveness ---- */

/* "A lease ends": once faults have stopped nothing outlives its clocks. */
static void check_late(Sim *s, const Lease *l, const Environment *env) {
        if (!s->quiet_world || s->boot_ms - s->rest_boot_ms < LATE_MS || l->unsure ||
            s->moved_unsure || s->frozen || s->held)
                return;
        for (int kind = 0; kind < _REAPER_CLOCK_KIND_MAX; kind++) {
                int64_t ends = due(s, l, env, kind, true);

                if (kind == REAPER_SLEEP_AFTER_IDLE &&
                    (env->level != LEVEL_AWAKE || env->live_generation == 0))
                        continue;
                if (ends < sim_now(s) - LATE_MS - s->drift_ms)
                        sim_violation(s, "what has ended goes", "%s: %s ended %lld s ago",
                                      env->label, reaper_clock_to_string(kind),
                                      (long long) (sim_now(s) - ends) / 1000);
        }
}

/* ---- after each turn ---- */

static void follow(Sim *s, Lease *l, const Environment *env) {
        if (env->level == LEVEL_FALLING && l->level == LEVEL_AWAKE && !l->sleep_asked)
                check_slept(s, l, env);
        if (env->level == LEVEL_AWAKE && l->level != LEVEL_AWAKE) {
                l->used_ms = sim_happened(s);
                l->sleep_asked = false;
        }
        /* One that could not be woken has slept all the time. */
        if (env->level == LEVEL_STOPPED && l->asleep_ms == 0)
                l->asleep_ms = sim_happened(s);
        if (env->level == LEVEL_AWAKE)
                l->asleep_ms = 0;
        l->level = env->level;
}

/* "A new or tightened policy never makes anything due at once." */
void lease_follow_policy(Sim *s, Lease *l, const Environment *env) {
        bool changed = false;

        for (int kind = 0; kind < _REAPER_CLOCK_KIND_MAX; kind++) {
                int64_t length = length_of(s, env, kind);

                changed = changed || (l->lengths_ms[kind] > 0 && l->lengths_ms[kind] != length);
                l->lengths_ms[kind] = length;
        }
        if (changed)
                l->policy_ms = sim_happened(s);
}

void check_lease(Sim *s, Lease *l, const Environment *env) {
        bool going = env->state == ENV_DELETING || env->state == ENV_GONE;

        if (going && l->state != ENV_DELETING && l->state != ENV_GONE)
                check_deletion(s, l, env);
        if (!going) {
                follow(s, l, env);
                lease_follow_policy(s, l, env);
                check_late(s, l, env);
        }
        l->state = env->state;
}
