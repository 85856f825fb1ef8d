/* The routes against the world, once everything is at rest: "the address always answers". */
#include <stdio.h>

#include "tests/sim/sim.h"

typedef struct Reach {
        Sim *sim;
        bool say;
        char **bad; /* environments, when it is not to be said */
} Reach;

static bool reached(Sim *s, const char *environment, int64_t port) {
        size_t at = 0;
        Thing *t;

        while ((t = map_next(s->things, &at, NULL)))
                if (streq(t->type, "workload") && streq(t->environment, environment) &&
                    t->port == port)
                        return !t->foreign && !t->orphan && t->ready && t->awake && !t->half;
        return false;
}

static int reach_route(void *userdata, const Route *r) {
        Reach *reach = userdata;
        json_auto_t *list = NULL;
        json_t *item;
        size_t i;

        if (!streq(r->answer, "direct") || world_foreign(reach->sim, r->environment_id))
                return 0;
        list = json_loads(r->endpoints, 0, NULL);
        json_array_foreach(list, i, item) {
                int64_t port = json_integer_value(json_object_get(item, "port"));

                if (reached(reach->sim, r->environment_id, port))
                        continue;
                if (reach->say)
                        sim_violation(reach->sim, "who visits arrives",
                                      "%s goes to port %lld, where nothing of it answers", r->host,
                                      (long long) port);
                else if (!strv_contains(reach->bad, r->environment_id))
                        assert(strv_add(&reach->bad, r->environment_id) == 0);
        }
        return 0;
}

char **check_reach(Sim *s, bool say) {
        Reach reach = { .sim = s, .say = say };

        assert(ledger_route_each(s->ledger, reach_route, &reach, NULL) == 0);
        return reach.bad;
}

/* ---- what the live graph asks for ---- */

typedef struct Asked {
        Sim *sim;
        const Environment *env;
        json_t *nodes; /* of the live graph */
} Asked;

static const json_t *node_of(const json_t *nodes, const char *key) {
        json_t *node;
        size_t i;

        json_array_foreach((json_t *) nodes, i, node)
                if (streq(world_text(node, "key"), key))
                        return node;
        return NULL;
}

static int check_params(void *userdata, const Resource *r) {
        Asked *a = userdata;
        const Thing *t = map_get(a->sim->things, r->uid);
        const json_t *node = node_of(a->nodes, r->key);
        auto_cleanup(freep) char *text = NULL;

        if (!t || !node || (r->generation != 0 && r->generation != a->env->live_generation))
                return 0;
        text = json_dumps(json_object_get(node, "params"), JSON_COMPACT | JSON_SORT_KEYS);
        if (!strstr(text, "${") && json_object_size(json_object_get(node, "refs")) == 0 &&
            !streq(text, t->params))
                sim_violation(a->sim, "what is there is what the file asks for",
                              "%s '%s': %s, not %s", r->type, r->key, t->params, text);
        return 0;
}

json_t *check_live_nodes(Sim *s, const Environment *env) {
        auto_cleanup(generation_done) Generation g = { 0 };
        json_auto_t *graph = NULL;

        if (env->live_generation == 0)
                return json_array();
        assert(ledger_generation_get(s->ledger, env->id, env->live_generation, &g, NULL) == 0);
        graph = json_loads(g.graph, 0, NULL);
        return json_incref(json_object_get(graph, "nodes"));
}

bool check_in_graph(const json_t *nodes, const char *key) {
        return node_of(nodes, key) != NULL;
}

/* ---- environments ---- */

static int awake(void *userdata, const Environment *env) {
        Sim *s = userdata;

        if (env->state == ENV_READY && env->level != LEVEL_AWAKE && !world_foreign(s, env->id))
                sim_violation(s, "who visits arrives", "%s is %s", env->label,
                              env_level_to_string(env->level));
        return 0;
}

void check_awake(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, false, awake, s, NULL) == 0);
}

static int ready(void *userdata, const Environment *env) {
        auto_cleanup(generation_done) Generation g = { 0 };
        json_auto_t *nodes = NULL;
        Sim *s = userdata;
        Asked asked = { .sim = s, .env = env };

        if (env->state == ENV_DELETING || env->closed_ms > 0 || !files_good(env->commit) ||
            world_foreign(s, env->id))
                return 0;
        assert(ledger_generation_get(s->ledger, env->id, env->wanted_generation, &g, NULL) == 0);
        if (env->state != ENV_READY || g.state != GEN_LIVE) {
                sim_violation(s, "what has a good file is ready",
                              "%s is %s, its newest %s: %s / %s", env->label,
                              env_state_to_string(env->state), gen_state_to_string(g.state),
                              env->cause ? env->cause : "-", g.cause ? g.cause : "-");
                return 0;
        }
        asked.nodes = nodes = check_live_nodes(s, env);
        return ledger_resource_each(s->ledger, env->id, false, check_params, &asked, NULL);
}

void check_ready(Sim *s) {
        assert(ledger_environment_each(s->ledger, NULL, false, ready, s, NULL) == 0);
}

/* ---- nothing is tried again by time ---- */

static int pending(void *userdata, const Environment *env) {
        return env->state == ENV_FAILED || env->state == ENV_DELETING || env->cause ? 1 : 0;
}

static int retried(void *userdata, const Resource *r) {
        return r->retry_ms > 0 || r->inspect ? 1 : 0;
}

static int stray(void *userdata, const Stray *x) {
        return 1;
}

bool check_nothing_pends(Sim *s) {
        return ledger_environment_each(s->ledger, NULL, false, pending, s, NULL) == 0 &&
               ledger_resource_each(s->ledger, NULL, false, retried, s, NULL) == 0 &&
               ledger_stray_each(s->ledger, NULL, stray, s, NULL) == 0;
}
