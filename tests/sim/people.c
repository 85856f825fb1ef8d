/* People and triggers: they push, force-push, close, reopen, extend, pin, put to sleep, wake, visit and
 * delete at any moment. What was acknowledged after its commit becomes a promise that check.c holds the
 * engine to. */
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
        if (a->freeze)
                s->frozen = false;
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
                if (a->freeze)
                        s->frozen = a->freeze > 0;
        }
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

static const EngineActor actor = { .who = "uid:1000(ana)" };

static void new_commit(Sim *s, char commit[48]) {
        unsigned variant = sim_below(s, 7);

        if (sim_percent(s, 30))
                variant = 2; /* the richest one more often */
        snprintf(commit, 48, "%02u%038x", variant, ++s->n_commits);
}

/* The order of what was said about one branch in one turn: the last one counts, so each acknowledgement
 * carries the whole promise as it is after it. */
static Promise promised(Sim *s, unsigned branch) {
        for (Acknowledgement *a = s->acknowledgements; a; a = a->next)
                if (a->touches_promise && a->branch == branch)
                        return a->promise;
        return s->promises[branch];
}

static void promise(Sim *s, unsigned branch, Promise p) {
        Acknowledgement *a = wait_for_commit(s);

        a->branch = branch;
        a->promise = p;
        a->touches_promise = true;
}

static void push_commit(Sim *s, unsigned branch, const char *commit) {
        auto_cleanup(freep) char *id = NULL;
        auto_error error = { 0 };
        Promise p = { 0 };
        int r;

        r = engine_push(s->engine, &actor, "shop", branches[branch], commit, &id, &error);
        sim_say(s, "push %s %.12s: %s", branches[branch], commit,
                r < 0 ? error_text(&error, r) : id);
        if (r < 0)
                return;
        s->count.pushes++;
        snprintf(p.commit, sizeof(p.commit), "%s", commit);
        promise(s, branch, p);
}

void people_push(Sim *s, unsigned branch) {
        char commit[48];
        Promise p = promised(s, branch);

        if (*p.commit && sim_percent(s, 15))
                snprintf(commit, sizeof(commit), "%s", p.commit); /* repeated */
        else
                new_commit(s, commit);
        push_commit(s, branch, commit);
}

static void close_branch(Sim *s, unsigned branch) {
        auto_error error = { 0 };
        Promise p = promised(s, branch);
        int r = engine_push(s->engine, &actor, "shop", branches[branch], NULL, NULL, &error);

        sim_say(s, "close %s: %d", branches[branch], r);
        if (r < 0)
                return;
        p.closed = true;
        promise(s, branch, p);
}

static int environment_of(Sim *s, unsigned branch, Environment *ret) {
        auto_cleanup(freep) char *name = str_format("shop/%s", branches[branch]);

        return ledger_environment_get(s->ledger, name, ret, NULL);
}

static void down(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error error = { 0 };
        Promise p = promised(s, branch);
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = engine_down(s->engine, &actor, env.id, &error);
        sim_say(s, "down %s: %s", env.label, r < 0 ? error_text(&error, r) : "ok");
        if (r < 0)
                return;
        p.down = true;
        promise(s, branch, p);
}

/* Trusted time follows the true one in every world of ours, so promises are kept in true time. */
static void extend(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 }, after = { 0 };
        int64_t by = (int64_t) (1 + sim_below(s, 48)) * MS_PER_HOUR;
        Acknowledgement *a;
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = engine_extend(s->engine, &actor, env.id, by, NULL);
        sim_say(s, "extend %s: %d", env.label, r);
        if (r < 0 || ledger_environment_get(s->ledger, env.id, &after, NULL) < 0)
                return;
        a = wait_for_commit(s);
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        a->held_until = s->true_ms + by;
}

static void pin(Sim *s, unsigned branch, bool on) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Acknowledgement *a;
        int r;

        if (environment_of(s, branch, &env) < 0)
                return;
        r = on ? engine_pin(s->engine, &actor, env.id, INT64_MAX, "a demo", NULL)
               : engine_unpin(s->engine, &actor, env.id, NULL);
        sim_say(s, "%s %s: %d", on ? "pin" : "unpin", env.label, r);
        if (r < 0)
                return;
        a = wait_for_commit(s);
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        a->held_until = on ? INT64_MAX : 0;
}

static void freeze(Sim *s, bool on) {
        int r;

        if (!on) /* who releases a freeze has put the clock right */
                sim_right_clock(s);
        r = engine_freeze(s->engine, &actor, on, "looking at something", NULL);

        sim_say(s, "%s: %d", on ? "freeze" : "unfreeze", r);
        if (r == 0)
                wait_for_commit(s)->freeze = on ? 1 : -1;
}

static void compare(Sim *s) {
        json_auto_t *list = json_array();
        unsigned missing = sim_below(s, N_BRANCHES * 3);
        bool complete = sim_percent(s, 80);
        int r;

        for (unsigned i = 0; i < N_BRANCHES; i++) {
                Promise p = promised(s, i);

                if (*p.commit && !p.closed && i != missing)
                        json_array_append_new(list, json_pack("{s:s, s:s}", "name", branches[i],
                                                              "commit", p.commit));
        }
        if (!s->quiet_world && sim_percent(s, 10))
                json_array_clear(list);
        r = engine_compare(s->engine, &actor, "shop", list, complete, NULL, NULL);
        sim_say(s, "compare %zu branches, complete %d: %d", json_array_size(list), complete, r);
        if (r < 0 || !complete || json_array_size(list) == 0)
                return;
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                Promise p = promised(s, i);

                if (*p.commit && !p.down && i == missing && !p.closed) {
                        p.closed = true;
                        promise(s, i, p);
                }
        }
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
        r = awake ? engine_wake(s->engine, &actor, env.id, &error)
                  : engine_sleep(s->engine, &actor, env.id, &error);
        sim_say(s, "%s %s: %s", awake ? "wake" : "sleep", env.label,
                r < 0 ? error_text(&error, r) : "ok");
}

static void retry(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        if (environment_of(s, branch, &env) == 0)
                sim_say(s, "retry %s: %d", env.label,
                        engine_retry(s->engine, &actor, env.id, NULL));
}

static void ask(Sim *s, unsigned branch) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *why = NULL, *report = NULL;

        if (environment_of(s, branch, &env) == 0)
                assert(engine_why(s->engine, env.id, &why, NULL) == 0);
        assert(engine_reap(s->engine, &actor, NULL, sim_percent(s, 50), &report, NULL) == 0);
}

void people_act(Sim *s) {
        unsigned branch = sim_below(s, N_BRANCHES), what = sim_below(s, 100);

        if (what < 40)
                people_push(s, branch);
        else if (what < 48)
                close_branch(s, branch);
        else if (what < 54)
                down(s, branch);
        else if (what < 64)
                visit(s, branch);
        else if (what < 72)
                level(s, branch, false);
        else if (what < 78)
                level(s, branch, true);
        else if (what < 82)
                extend(s, branch);
        else if (what < 86)
                pin(s, branch, sim_percent(s, 50));
        else if (what < 88)
                freeze(s, sim_percent(s, 40));
        else if (what < 93)
                compare(s);
        else if (what < 97)
                retry(s, branch);
        else
                ask(s, branch);
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

void people_done(Sim *s) {
        people_lost(s);
}
