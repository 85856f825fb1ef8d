/* The addresses: "the address always answers". The front has a copy of the routes; it hears of changes and
 * reads all of them when the daemon starts. */
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/db.h"
#include "tests/sim/sim.h"

/* ---- the ledger's routes ---- */

static char *endpoint_key(const char *environment, const json_t *endpoint) {
        return str_format("%s %s:%lld", environment, world_text(endpoint, "address"),
                          (long long) json_integer_value(json_object_get(endpoint, "port")));
}

/* Asked of the database: to load all rows for this would be the costliest of all checks. */
static Map *ready_endpoints(Sim *s) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        Map *ready = map_new(NULL);

        assert(ready);
        assert(db_query(store_db(s->store),
                        "SELECT environment_id, outputs FROM resource"
                        " WHERE type = 'workload' AND state = 'ready' AND outputs IS NOT NULL",
                        &q, NULL) == 0);
        while (db_step(q, NULL) > 0) {
                json_auto_t *outputs = json_loads(db_text(q, 1), 0, NULL);
                const char *name;
                json_t *endpoint;

                json_object_foreach(json_object_get(outputs, "endpoints"), name, endpoint) {
                        auto_cleanup(freep) char *key = endpoint_key(db_text(q, 0), endpoint);

                        assert(map_put(ready, key, ready) == 0);
                }
        }
        return ready;
}

typedef struct Walk {
        Sim *sim;
        Map *ready; /* endpoint_key() of each ready one; NULL until somebody asks */
        size_t n;
} Walk;

static void check_route(Walk *w, const Route *route) {
        json_auto_t *list = NULL;
        json_t *item;
        size_t i;

        if (!streq(route->answer, "direct"))
                return;
        if (!w->ready)
                w->ready = ready_endpoints(w->sim);
        list = json_loads(route->endpoints, 0, NULL);
        if (json_array_size(list) == 0)
                sim_violation(w->sim, "routes are direct only to ready endpoints", "%s has none",
                              route->host);
        json_array_foreach(list, i, item) {
                auto_cleanup(freep) char *key = endpoint_key(route->environment_id, item);

                if (!map_get(w->ready, key))
                        sim_violation(w->sim, "routes are direct only to ready endpoints",
                                      "%s goes to %s, which is not ready", route->host, key);
        }
}

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

/* ---- the front's copy ---- */

static char *route_text(const Route *r) {
        return str_format("%s %s %s", r->environment_id, r->answer, r->endpoints);
}

void front_copy(Sim *s, const char *host) {
        auto_cleanup(route_done) Route r = { 0 };

        if (ledger_route_get(s->ledger, host, &r, NULL) < 0)
                map_remove(s->front, host);
        else
                assert(map_put(s->front, host, route_text(&r)) == 0);
}

static int copy_one(void *userdata, const Route *r) {
        return map_put(userdata, r->host, route_text(r));
}

void front_copy_all(Sim *s) {
        map_free(s->front);
        s->front = map_new(free);
        assert(ledger_route_each(s->ledger, copy_one, s->front, NULL) == 0);
}

/* "The route moves when the new one is ready; only then is the old one removed"; a visitor is held at the
 * door before anything stops. */
void check_front_leaves(Sim *s, const char *verb, const char *uid) {
        const Thing *t = map_get(s->things, uid);
        auto_cleanup(freep) char *port = NULL;
        const char *host, *shown;
        size_t at = 0;

        if (!t || !streq(t->type, "workload"))
                return;
        port = str_format("\"port\":%lld}", (long long) t->port);
        while ((shown = map_next(s->front, &at, &host)))
                if (strstr(shown, " direct ") && strstr(shown, port))
                        sim_violation(s, "nothing stops while the front leads to it",
                                      "%s of %s, %s", verb, uid, host);
}

/* ---- both ---- */

static int walk_one(void *userdata, const Route *r) {
        Walk *w = userdata;
        auto_cleanup(freep) char *text = route_text(r);
        const char *front = map_get(w->sim->front, r->host);

        w->n++;
        check_no_secret(w->sim, "route", r->facts);
        check_route(w, r);
        if (!w->sim->wanted && (!front || !streq(front, text)))
                sim_violation(w->sim, "the front shows what the ledger says", "%s: %s, not %s",
                              r->host, front ? front : "nothing", text);
        return 0;
}

void check_routes(Sim *s) {
        Walk w = { .sim = s };

        assert(ledger_route_each(s->ledger, walk_one, &w, NULL) == 0);
        if (!s->wanted && w.n != map_size(s->front))
                sim_violation(s, "the front shows what the ledger says", "%zu hosts, not %zu",
                              map_size(s->front), w.n);
        map_free(w.ready);
}

void check_addresses(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, true, check_address, s, NULL) == 0);
}
