/* People: they extend, pin, freeze, put to sleep, wake, visit and delete at any moment (and push, forge.c).
 * What was acknowledged after its commit becomes a promise that check-environment.c holds the engine to. */
#include <stdio.h>

#include "tests/sim/sim.h"

static const char *const branches[N_BRANCHES] = { "main", "login", "feature/search", "Fix_9" };

struct Acknowledgement {
        Sim *sim;
        Acknowledgement *next;
        unsigned branch;
        Promise promise;
        bool touches_promise;
        char environment[24]; /* of a pin or an extension */
        int64_t held_until;
        int freeze; /* 1 on, -1 off */
};

const char *people_branch(unsigned branch) {
        return branches[branch];
}

static void hold(Sim *s, const char *environment, int64_t until) {
        int64_t *held = calloc(1, sizeof(int64_t));

        assert(held);
        sim_say(s, "promised: %s is held for %lld ms", environment,
                (long long) (until - s->true_ms));
        *held = until;
        assert(map_put(s->held_until, environment, held) == 0);
}

/* It may be in the ledger and may not be: nothing is promised either way. */
static void forget(Sim *s, const Acknowledgement *a) {
        if (a->touches_promise)
                s->promises[a->branch] = (Promise){ 0 };
        if (*a->environment)
                hold(s, a->environment, 0);
        if (a->freeze < 0 && s->held) /* not known: from now on it may be released */
                s->released_true_ms = s->true_ms;
        if (a->freeze)
                s->frozen = s->held = s->releasing = false;
}

static void released(Sim *s) {
        if (s->held)
                s->released_true_ms = s->true_ms;
        s->held = s->frozen = false;
}

static void on_commit(void *userdata, int r, const Error *error) {
        Acknowledgement *a = userdata;
        Sim *s = a->sim;

        for (Acknowledgement **at = &s->acknowledgements; *at; at = &(*at)->next)
                if (*at == a) {
                        *at = a->next;
                        break;
                }
        if (s->dead) { /* a killed daemon tells nobody anything */
                forget(s, a);
        } else if (r == 0) {
                if (a->touches_promise)
                        s->promises[a->branch] = a->promise;
                if (*a->environment)
                        hold(s, a->environment, a->held_until);
                if (a->freeze > 0)
                        s->frozen = true;
                if (a->freeze < 0)
                        released(s);
        }
        s->releasing = s->releasing && a->freeze >= 0;
        free(a);
}

static Acknowledgement *wait_for_commit(Sim *s) {
        Acknowledgement *a = calloc(1, sizeof(Acknowledgement));

        assert(a);
        a->sim = s;
        a->next = s->acknowledgements;
        s->acknowledgements = a;
        engine_after_commit(s->engine, on_commit, a);
        return a;
}

void people_lost(Sim *s) {
        while (s->acknowledgements) {
                Acknowledgement *a = s->acknowledgements;

                s->acknowledgements = a->next;
                forget(s, a);
                free(a);
        }
}

const EngineActor people_actor = { .who = "uid:1000(ana)" };

/* The order of what was said about one branch in one turn: the last one counts, so each acknowledgement
 * carries the whole promise as it is after it. */
Promise people_promised(Sim *s, unsigned branch) {
        for (Acknowledgement *a = s->acknowledgements; a; a = a->next)
                if (a->touches_promise && a->branch == branch)
                        return a->promise;
        return s->promises[branch];
}

void people_promise(Sim *s, unsigned branch, Promise p) {
        Acknowledgement *a = wait_for_commit(s);

        a->branch = branch;
        a->promise = p;
        a->touches_promise = true;
}

static int environment_of(Sim *s, unsigned branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", branches[branch]);

        return ledger_environment_get(s->ledger, name, ret, NULL);
}

static void down(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error error = { 0 };
        Promise p = people_promised(s, branch);
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = engine_down(s->engine, &people_actor, env.id, &error);
        sim_say(s, "down %s: %s", env.label, r < 0 ? error_text(&error, r) : "ok");
        if (r < 0)
                return;
        p.down = true;
        people_promise(s, branch, p);
}

/* Trusted time follows the true one in every world of ours, so promises are kept in true time. */
static void extend(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 }, after = { 0 };
        int64_t by = (int64_t) (1 + sim_below(s, 48)) * MS_PER_HOUR;
        Acknowledgement *a;
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = engine_extend(s->engine, &people_actor, env.id, by, NULL);
        sim_say(s, "extend %s: %d", env.label, r);
        if (r < 0 || ledger_environment_get(s->ledger, env.id, &after, NULL) < 0)
                return;
        a = wait_for_commit(s);
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        a->held_until = s->true_ms + by;
}

static void pin(Sim *s, unsigned branch, bool on) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int64_t by = (int64_t) (1 + sim_below(s, 72)) * MS_PER_HOUR, until = INT64_MAX;
        Acknowledgement *a;
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        if (on && sim_percent(s, 50) && s->wall_ms == s->true_ms)
                until = s->true_ms + by;
        r = on ? engine_pin(s->engine, &people_actor, env.id, until, "a demo", NULL)
               : engine_unpin(s->engine, &people_actor, env.id, NULL);
        sim_say(s, "%s %s: %d", on ? "pin" : "unpin", env.label, r);
        if (r < 0)
                return;
        a = wait_for_commit(s);
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        a->held_until = on ? until : 0;
}

/* Who releases a ledger that was put back renews first what must stay. */
static void renew(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        const int64_t *held;
        Acknowledgement *a;
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        held = map_get(s->held_until, env.id);
        if (!held || *held <= s->true_ms)
                return;
        r = *held == INT64_MAX
                    ? engine_pin(s->engine, &people_actor, env.id, INT64_MAX, "renewed", NULL)
                    : engine_extend(s->engine, &people_actor, env.id, *held - s->true_ms, NULL);
        sim_say(s, "renew %s: %d", env.label, r);
        a = wait_for_commit(s);
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        a->held_until = r < 0 ? 0 : *held;
}

static void freeze(Sim *s, bool on) {
        int r;

        if (!on) /* who releases a freeze has put the clock right */
                sim_right_clock(s);
        for (unsigned i = 0; !on && s->held && i < N_BRANCHES; i++)
                renew(s, i);
        r = engine_freeze(s->engine, &people_actor, on, "looking at something", NULL);

        sim_say(s, "%s: %d", on ? "freeze" : "unfreeze", r);
        s->releasing = r == 0 && !on;
        if (r == 0)
                wait_for_commit(s)->freeze = on ? 1 : -1;
}

static void visit(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front = engine_front_events(s->engine);

        if (environment_of(s, branch, &env) == 0) {
                sim_say(s, "visit %s", env.label);
                front.on_visit(front.userdata, env.id);
        }
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
}

static void retry(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        if (environment_of(s, branch, &env) == 0)
                sim_say(s, "retry %s: %d", env.label,
                        engine_retry(s->engine, &people_actor, env.id, NULL));
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
        freeze(s, true);
}

static void unfreeze_all(Sim *s, unsigned branch) {
        freeze(s, false);
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
}

void people_release(Sim *s) {
        freeze(s, false);
}

void people_down_all(Sim *s) {
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                pin(s, i, false);
                down(s, i);
        }
}
