/* What a provider is told: one JSON object (design, section 4). It may hold secrets and is never
 * stored. */
#include <stdio.h>

#include "orchestrator/engine/private.h"
#include "orchestrator/ledger/name.h"

/* "http://%s.preview..." with the label in place of its "%s". Not printf: it comes from outside. */
static char *url_of(const char *pattern, const char *label) {
        const char *at = pattern ? strstr(pattern, "%s") : NULL;

        if (!at)
                return strdup(pattern ? pattern : "");
        return str_format("%.*s%s%s", (int) (at - pattern), pattern, label, at + 2);
}

char *environment_url(Engine *e, const char *label) {
        return url_of(e->setup.front_url, label);
}

char *environment_host(Engine *e, const char *label) {
        return str_format("%s.%s", label, e->config->domain);
}

static json_t *config_for(Engine *e, const char *provider, const GraphNode *node) {
        json_t *admin = json_object_get(json_object_get(e->config->providers, provider), "config");
        auto_cleanup(freep) char *dir = str_format("%s/providers/%s", e->setup.state_dir, provider);
        json_t *config;

        if (!dir)
                return NULL;
        config = json_pack("{s:s, s:s, s:s, s:s}", "state_dir", dir, "installation",
                           ledger_installation(e->ledger), "domain", e->config->domain, "url",
                           e->setup.front_url ? e->setup.front_url : "");
        if (!config)
                return NULL;
        if (json_is_object(admin) && json_object_update_missing(config, admin) < 0)
                return json_decref(config), NULL;
        if (node && json_is_object(node->config) &&
            json_object_update_missing(config, node->config) < 0)
                return json_decref(config), NULL;
        return config;
}

/* What an admin set for this project, over what is set for all. */
static json_t *values_for(Engine *e, const char *project) {
        json_t *values = json_object();

        if (!values)
                return NULL;
        json_t *all = json_object_get(e->config->values, "*");
        json_t *own = json_object_get(e->config->values, project);

        if ((json_is_object(all) && json_object_update(values, all) < 0) ||
            (json_is_object(own) && json_object_update(values, own) < 0))
                return json_decref(values), NULL;
        return values;
}

static json_t *environment_for(View *v, const Part *p, int64_t generation) {
        auto_cleanup(freep) char *url = environment_url(v->e, v->env.label),
                                 *host = environment_host(v->e, v->env.label);
        Generation *g = view_generation(v, generation);
        auto_error error = { 0 };
        Graph *graph = NULL;
        json_t *object;

        if (!url || !host)
                return NULL;
        (void) view_graph(v, generation, &graph, &error); /* unknown before the file was read */
        object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:O?}",
                           "id", v->env.id, "label", v->env.label, "host", host, "url", url,
                           "project", v->env.project ? v->env.project : "", "branch", v->env.branch,
                           "commit", g ? g->commit : v->env.commit, "generation",
                           (json_int_t) generation, "slot", (json_int_t) v->env.slot, "owner",
                           v->env.owner ? v->env.owner : "", "team", v->env.team ? v->env.team : "",
                           "trust", v->env.trust, "workloads", graph ? graph->workloads : NULL);
        if (!object)
                return NULL;
        if (!graph && json_object_set_new(object, "workloads", json_object()) < 0)
                return json_decref(object), NULL;
        if (streq(p->row.type, "environment") &&
            json_object_set_new(object, "values", values_for(v->e, v->env.project)) < 0)
                return json_decref(object), NULL;
        return object;
}

static json_t *resource_for(View *v, Part *p, const CallWish *wish, const GraphNode *node) {
        json_auto_t *params = json_incref(wish->params), *state = NULL;
        auto_error error = { 0 };

        /* Everything a provider made can be found by names alone; params are help, not a need. */
        if (!params && (!node || view_params(v, node, wish->generation, &params, &error) < 0))
                params = json_object();
        if (p->row.live)
                state = json_loads(p->row.live, 0, NULL);
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:O, s:O?}", "uid", p->row.uid,
                         "type", p->row.type, "class", p->row.class, "id", p->row.id, "name",
                         p->row.name ? p->row.name : "", "marker", p->row.marker, "slot",
                         (json_int_t) p->row.slot, "generation", (json_int_t) wish->generation,
                         "params", params, "state", state);
}

/* A W3C traceparent: the trace of the trigger, a span from the call's id. */
static void traceparent(const char *trace, const char *call, char buf[static 64]) {
        snprintf(buf, 64, "00-%.32s-%016llx-01",
                 trace && strlen(trace) == 32 ? trace : "00000000000000000000000000000001",
                 (unsigned long long) hash_string(0, call) | 1);
}

json_t *request_for_resource(View *v, Part *p, const Call *c, const CallWish *wish) {
        const GraphNode *node = wish->node;
        GraphNode *own = NULL;
        char parent[64];

        if (!node && view_node(v, p, &own, NULL) == 0)
                node = own;
        json_t *config = config_for(v->e, p->row.provider, node);
        json_t *environment = environment_for(v, p, wish->generation);
        json_t *resource = resource_for(v, p, wish, node);

        traceparent(v->env.trace, c->id, parent);
        return json_pack("{s:i, s:s, s:s, s:I, s:s, s:o, s:o, s:o}", "protocol", 1, "verb", c->verb,
                         "call", c->id, "deadline_ms", (json_int_t) c->deadline_ms, "traceparent",
                         parent, "config", config, "environment", environment, "resource",
                         resource);
}

json_t *request_for_provider(Engine *e, const Call *c) {
        char parent[64];

        traceparent(NULL, c->id, parent);
        return json_pack("{s:i, s:s, s:s, s:I, s:s, s:o, s:{}}", "protocol", 1, "verb", c->verb,
                         "call", c->id, "deadline_ms", (json_int_t) c->deadline_ms, "traceparent",
                         parent, "config", config_for(e, c->provider, NULL), "environment");
}

json_t *request_for_marked(Engine *e, const Call *c, const char *type, const char *marker,
                           const char *environment_id) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char parent[64];
        json_t *environment, *resource;

        /* Found by names alone; where the ledger still knows the environment, it says more. */
        (void) ledger_environment_get(e->ledger, environment_id, &env, NULL);
        environment = json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:{}}", "id",
                environment_id, "label", env.label ? env.label : "", "host", "", "url", "",
                "project", env.project ? env.project : "", "branch", env.branch ? env.branch : "",
                "commit", "", "generation", 0, "slot", 0, "owner", "", "team", "", "trust",
                env.trust ? env.trust : "stranger", "workloads");
        resource = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:{}, s:n}", "uid", c->uid,
                             "type", type, "class", "default", "id", "", "name", "", "marker",
                             marker, "slot", 0, "generation", 0, "params", "state");
        traceparent(env.trace, c->id, parent);
        return json_pack("{s:i, s:s, s:s, s:I, s:s, s:o, s:o, s:o}", "protocol", 1, "verb", c->verb,
                         "call", c->id, "deadline_ms", (json_int_t) c->deadline_ms, "traceparent",
                         parent, "config", config_for(e, c->provider, NULL), "environment",
                         environment, "resource", resource);
}
