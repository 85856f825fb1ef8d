/* What must always be true (the project's design, section 1), as functions named after it; run after every
 * step between two turns, and at the end. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "tests/sim/sim.h"

const char *const invariants[] = {
        "nothing leaks",
        "gone means that nothing is left",
        "after the last deletion nothing is left",
        "orphans are recorded",
        "other people's things are never touched",
        "nothing wanted is removed",
        "no deletion before a clock has ended",
        "no deletion of what is in use or not known to be unused",
        "nothing is closed on a partial or empty list",
        "a pin or extension that was acknowledged wins",
        "a freeze that was acknowledged wins",
        "an older database is recognised and held",
        "held: nothing is removed before somebody released it",
        "held: every deadline moves by what was lost",
        "an acknowledged push is never lost",
        "an acknowledged deletion is never lost",
        "an acknowledged closing is never lost",
        "the address always answers",
        "routes are direct only to ready endpoints",
        "one generation serves once one was good",
        "a late older generation is never adopted",
        "the newest commit is live or failed with a cause",
        "a failure has a cause",
        "commit the intent, act, commit the outcome",
        "at most one call on a resource",
        "trusted time never goes back",
        "the event log holds",
        "secrets are in no event",
        "what the triggers lost the listing finds",
        "once faults stop, everything converges",
        "a seed replays exactly",
        "the program does not end",
};

size_t invariants_count(void) {
        return N_ELEMENTS(invariants);
}

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
        while ((t = map_next(s->things, &at, NULL))) {
                if (map_get(known.rows, t->uid))
                        t->orphan = false; /* a ledger that was put back has found its own again */
                if (!t->foreign && !t->orphan && !map_get(known.rows, t->uid) &&
                    !map_get(s->lied, t->uid))
                        sim_violation(s, "nothing leaks",
                                      "%s %s is in the world and not in the ledger", t->type,
                                      t->uid);
        }
        map_free(known.rows);
}

/* ---- the address ---- */

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

/* "The address always answers." */
static int check_address(void *userdata, const Environment *env) {
        auto_cleanup(route_done) Route route = { 0 };
        auto_cleanup(freep) char *host = NULL;
        Sim *s = userdata;
        bool gone = env->state == ENV_DELETING || env->state == ENV_GONE;

        /* Nobody is told any more who was there so long ago. */
        if (env->state == ENV_GONE && s->engine &&
            engine_now_ms(s->engine) - env->deleted_ms >= LIMIT_GONE_ROUTE_MS)
                return 0;
        host = str_format("%s.%s", env->label, s->config->domain);
        if (ledger_route_get(s->ledger, host, &route, NULL) < 0)
                sim_violation(s, "the address always answers", "%s has no route", host);
        else if (!streq(route.environment_id, env->id)) {
                if (!gone) /* what is gone has left its name to a newer one */
                        sim_violation(s, "the address always answers", "%s shows another", host);
        } else if (gone != streq(route.answer, "gone"))
                sim_violation(s, "the address always answers", "%s is %s and says %s", host,
                              env_state_to_string(env->state), route.answer);
        return 0;
}

/* ---- the event log ---- */

static int check_event(void *userdata, const Event *e) {
        Sim *s = userdata;

        if (strstr(e->text, "s3cr3t") || (e->data && strstr(e->data, "s3cr3t")))
                sim_violation(s, "secrets are in no event", "%s: %s", e->kind, e->text);
        if (e->time_ms < s->last_event_ms)
                sim_violation(s, "trusted time never goes back", "event %lld",
                              (long long) e->number);
        if (e->number != s->last_event + 1)
                sim_violation(s, "the event log holds", "%lld comes after %lld",
                              (long long) e->number, (long long) s->last_event);
        s->last_event_ms = e->time_ms;
        s->last_event = e->number;
        return 0;
}

/* ---- all of them ---- */

/* Called between turns: nothing is uncommitted. */
void check_everything(Sim *s) {
        if (ledger_is_open(s->ledger))
                return;
        check_nothing_leaks(s);
        check_environments(s);
        assert(ledger_environment_each(s->ledger, NULL, true, check_address, s, NULL) == 0);
        assert(ledger_route_each(s->ledger, check_route, s, NULL) == 0);
        assert(ledger_event_each(s->ledger, s->last_event, NULL, 1000000, check_event, s, NULL) ==
               0);
        check_promises(s);
}

void check_forget(Sim *s) {
        map_free(s->live);
        s->live = map_new(free);
        map_free(s->deleting);
        s->deleting = map_new(NULL);
        s->last_event = s->last_event_ms = 0;
}
