/* What must always be true (the project's design, section 1), as functions named after it. */
#include <stdio.h>

#include "tests/sim/sim.h"

/* Small clock steps are followed, so trusted time may be off by this much. */
#define SLACK_MS (15 * MS_PER_MINUTE)

/* ---- nothing leaks; gone means nothing is left ---- */

typedef struct Known {
        Sim *sim;
        Map *rows; /* uid -> itself, touched and not removed */
} Known;

static int know(void *userdata, const Resource *r) {
        Known *k = userdata;

        if (r->touched)
                assert(map_put(k->rows, r->uid, k) == 0);
        return 0;
}

/* "Whatever mayfly creates in the world is written in the ledger before it is created." */
static void check_nothing_leaks(Sim *s) {
        Known known = { .sim = s, .rows = map_new(NULL) };
        size_t at = 0;
        Thing *t;

        assert(ledger_resource_each(s->ledger, NULL, false, know, &known, NULL) == 0);
        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && !map_get(known.rows, t->uid) && !map_get(s->lied, t->uid))
                        sim_violation(s, "nothing leaks",
                                      "%s %s is in the world and not in the ledger", t->type,
                                      t->uid);
        map_free(known.rows);
}

static int check_gone(void *userdata, const Environment *env) {
        Sim *s = userdata;

        if (env->state == ENV_GONE && world_ours(s, env->id) > 0)
                sim_violation(s, "gone means that nothing is left", "%s is gone and has things",
                              env->label);
        return 0;
}

/* ---- the address: direct only to what is ready ---- */

typedef struct Endpoints {
        Sim *sim;
        const Route *route;
        Map *ready; /* "address:port" */
} Endpoints;

static int collect_ready(void *userdata, const Resource *r) {
        Endpoints *e = userdata;
        json_auto_t *outputs = NULL;
        const char *name;
        json_t *endpoint;

        if (!streq(r->type, "workload") || r->state != RES_READY || !r->outputs)
                return 0;
        outputs = json_loads(r->outputs, 0, NULL);
        json_object_foreach(json_object_get(outputs, "endpoints"), name, endpoint) {
                auto_cleanup(freep) char *key = str_format(
                        "%s:%lld", json_string_value(json_object_get(endpoint, "address")),
                        (long long) json_integer_value(json_object_get(endpoint, "port")));

                assert(map_put(e->ready, key, e) == 0);
        }
        return 0;
}

static int check_route(void *userdata, const Route *route) {
        Sim *s = userdata;
        Endpoints e = { .sim = s, .route = route };
        json_auto_t *list = NULL;
        json_t *item;
        size_t i;

        if (!streq(route->answer, "direct"))
                return 0;
        e.ready = map_new(NULL);
        assert(ledger_resource_each(s->ledger, route->environment_id, false, collect_ready, &e,
                                    NULL) == 0);
        list = json_loads(route->endpoints, 0, NULL);
        if (json_array_size(list) == 0)
                sim_violation(s, "routes are direct only to ready endpoints", "%s has none",
                              route->host);
        json_array_foreach(list, i, item) {
                auto_cleanup(freep) char *key =
                        str_format("%s:%lld", json_string_value(json_object_get(item, "address")),
                                   (long long) json_integer_value(json_object_get(item, "port")));

                if (!map_get(e.ready, key))
                        sim_violation(s, "routes are direct only to ready endpoints",
                                      "%s goes to %s, which is not ready", route->host, key);
        }
        map_free(e.ready);
        return 0;
}

/* ---- each environment ---- */

/* "A failed generation leaves the last good one serving." */
static void check_serving(Sim *s, const Environment *env) {
        auto_cleanup(generation_done) Generation g = { 0 };

        if (map_get(s->good, env->id) && env->live_generation == 0)
                sim_violation(s, "one generation serves once one was good", "%s lost it",
                              env->label);
        if (env->live_generation == 0)
                return;
        if (!map_get(s->good, env->id)) {
                assert(map_put(s->good, env->id, s) == 0);
                s->count.live++;
        }
        assert(ledger_generation_get(s->ledger, env->id, env->live_generation, &g, NULL) == 0);
        if (env->state != ENV_DELETING && env->state != ENV_GONE && g.state != GEN_LIVE)
                sim_violation(s, "one generation serves once one was good",
                              "%s: generation %lld is %s", env->label, (long long) g.number,
                              gen_state_to_string(g.state));
}

/* "A pin, a renewed lease or a freeze that was acknowledged always wins." Looked at in the step in which
 * the deletion begins. */
static void check_deletion(Sim *s, const Environment *env) {
        const int64_t *held = map_get(s->held_until, env->id);

        if (env->state != ENV_DELETING || map_get(s->deleting, env->id))
                return;
        assert(map_put(s->deleting, env->id, s) == 0);
        sim_say(s, "%s is being deleted by %s: %s; held for %lld ms", env->label, env->gone_by,
                env->gone_why, held ? (long long) (*held - s->true_ms) : 0);
        if (!streq_null(env->gone_by, "reaper"))
                return;
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
}

static int check_environment(void *userdata, const Environment *env) {
        Sim *s = userdata;

        check_serving(s, env);
        check_deletion(s, env);
        check_gone(s, env);
        return 0;
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

/* Called between turns: nothing is uncommitted. */
void check_everything(Sim *s) {
        if (ledger_is_open(s->ledger))
                return;
        check_nothing_leaks(s);
        assert(ledger_environment_each(s->ledger, NULL, true, check_environment, s, NULL) == 0);
        assert(ledger_route_each(s->ledger, check_route, s, NULL) == 0);
        for (unsigned i = 0; i < N_BRANCHES; i++)
                check_promise(s, i);
}

/* ---- each call ---- */

typedef struct Intents {
        const char *id;
        unsigned found;
} Intents;

static int find_intent(void *userdata, const Intent *i) {
        Intents *in = userdata;

        in->found += streq(i->id, in->id);
        return 0;
}

/* "Nothing wanted is removed." */
static void check_removal(Sim *s, const Resource *r) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(generation_done) Generation g = { 0 };

        assert(ledger_environment_get(s->ledger, r->environment_id, &env, NULL) == 0);
        if (env.state == ENV_DELETING)
                return;
        if (r->generation == 0) {
                sim_violation(s, "nothing wanted is removed",
                              "%s of %s goes and the environment stays", r->key, env.label);
                return;
        }
        assert(ledger_generation_get(s->ledger, env.id, r->generation, &g, NULL) == 0);
        if (g.state != GEN_RETIRING && g.state != GEN_FAILED)
                sim_violation(s, "nothing wanted is removed",
                              "%s of %s goes and its generation is %s", r->key, env.label,
                              gen_state_to_string(g.state));
}

void check_call(Sim *s, const ProviderCall *call) {
        static const char *const changing[] = { "provision", "deprovision", "sleep", "wake" };
        const char *uid = json_string_value(
                json_object_get(json_object_get(call->request, "resource"), "uid"));
        auto_cleanup(resource_done) Resource r = { 0 };
        Intents intents = { .id = call->id };
        bool changes = false;

        if (!uid)
                return;
        for (size_t i = 0; i < N_ELEMENTS(changing); i++)
                changes = changes || streq(call->verb, changing[i]);
        for (Work *w = s->work; w; w = w->next)
                if (w->uid && streq(w->uid, uid))
                        sim_violation(s, "at most one call on a resource", "%s while %s runs on %s",
                                      call->verb, w->verb, uid);
        if (ledger_is_open(s->ledger))
                sim_violation(s, "commit the intent, then act", "%s is called inside a transaction",
                              call->verb);
        assert(ledger_intent_each_open(s->ledger, find_intent, &intents, NULL) == 0);
        if (changes && intents.found != 1)
                sim_violation(s, "commit the intent, then act", "%s of %s has no open intent",
                              call->verb, uid);
        if (ledger_resource_get(s->ledger, uid, &r, NULL) < 0) {
                sim_violation(s, "nothing leaks", "%s of %s, which is not in the ledger",
                              call->verb, uid);
                return;
        }
        sim_say(s, "  %s of %s '%s' generation %lld, %s%s%s, tries %lld", call->verb, r.type, r.key,
                (long long) r.generation, res_state_to_string(r.state),
                r.inspect ? ", to be inspected" : "", r.emptied ? ", emptied" : "",
                (long long) r.tries);
        if (streq(call->verb, "provision") && !r.touched)
                sim_violation(s, "nothing leaks", "provision of %s, which is not marked as touched",
                              uid);
        if (streq(call->verb, "deprovision"))
                check_removal(s, &r);
}

/* ---- once faults have stopped ---- */

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
        Sim *s = userdata;

        if (r->state == RES_READY || r->state == RES_ASLEEP || r->state == RES_FAILED)
                return 0;
        /* What only a failed generation wanted of the shared ones waits for the next push. */
        if (r->generation == 0 && (r->state == RES_PLANNED || r->state == RES_PROVISIONING))
                return 0;
        sim_violation(s, "once faults stop, everything converges",
                      "%s %s is %s, again in %lld ms: %s", r->type, r->uid,
                      res_state_to_string(r->state), (long long) (r->retry_ms - s->wall_ms),
                      r->cause ? r->cause : "-");
        return 0;
}

void check_at_rest(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, true, at_rest, s, NULL) == 0);
        assert(ledger_resource_each(s->ledger, NULL, false, resource_at_rest, s, NULL) == 0);
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                auto_cleanup(freep) char *name = str_format("shop/%s", people_branch(i));
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(generation_done) Generation g = { 0 };
                const Promise *p = &s->promises[i];

                if (!*p->commit || p->down || p->closed ||
                    ledger_environment_get(s->ledger, name, &env, NULL) < 0 ||
                    env.state == ENV_GONE || env.state == ENV_DELETING)
                        continue;
                assert(ledger_generation_get(s->ledger, env.id, env.wanted_generation, &g, NULL) ==
                       0);
                if (!streq(g.commit, p->commit) || (g.state != GEN_LIVE && g.state != GEN_FAILED) ||
                    (g.state == GEN_FAILED && !g.cause))
                        sim_violation(s, "the newest commit is live or failed with a cause",
                                      "%s: %.12s is %s", name, g.commit,
                                      gen_state_to_string(g.state));
        }
}

static int no_secret(void *userdata, const Event *e) {
        Sim *s = userdata;

        if (strstr(e->text, "s3cr3t") || (e->data && strstr(e->data, "s3cr3t")))
                sim_violation(s, "secrets are in no event", "%s: %s", e->kind, e->text);
        if (e->time_ms < s->last_event_ms)
                sim_violation(s, "trusted time never goes back", "event %lld",
                              (long long) e->number);
        s->last_event_ms = e->time_ms;
        return 0;
}

/* After everything was deleted. */
void check_at_end(Sim *s) {
        int64_t bad = 0;
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (!t->foreign && !map_get(s->lied, t->uid))
                        sim_violation(s, "after the last deletion nothing is left", "%s %s",
                                      t->type, t->uid);
        assert(ledger_verify_events(s->ledger, &bad, NULL) == 0);
        if (bad != 0)
                sim_violation(s, "the event log holds", "event %lld", (long long) bad);
        s->last_event_ms = 0;
        assert(ledger_event_each(s->ledger, 0, NULL, 1000000, no_secret, s, NULL) == 0);
}
