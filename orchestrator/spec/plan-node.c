/* One node: who serves it, with which params, and what it needs. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/plan-internal.h"

/* Types whose resources live with the environment, across pushes, are all but these. */
static const char *const generation_types[] = {
        "checkout", "network",      "build", "workload",
        "service",  "service-port", "route", "environment",
};

static GraphScope scope_of(const char *type) {
        for (size_t i = 0; i < N_ELEMENTS(generation_types); i++)
                if (streq(type, generation_types[i]))
                        return GRAPH_SCOPE_GENERATION;
        return GRAPH_SCOPE_ENVIRONMENT;
}

static int nodes_grow(Planner *p) {
        GraphNode *grown;

        if (p->graph->n_nodes < p->room)
                return 0;
        if (p->room >= LIMIT_GRAPH_RESOURCES)
                return error_set(p->reterr, -E2BIG, "An environment may have at most %d resources",
                                 LIMIT_GRAPH_RESOURCES);
        grown = reallocarray(p->graph->nodes, p->room + 50, sizeof(GraphNode));
        if (!grown)
                return -ENOMEM;
        p->graph->nodes = grown;
        p->room += 50;
        return 0;
}

/* What the definition decides. In a sketch, a type that nothing serves leaves the provider empty. */
static int node_define(const Planner *p, const NodeWish *wish, GraphNode *n, Error *reterr) {
        const PlanContext *c = p->context;
        auto_cleanup(freep) char *why = NULL;
        auto_error error = { 0 };
        const Definition *d;
        json_t *laid;
        int r;

        r = config_match(c->config, n->type, n->class, n->id, c->project, c->branch, c->trust, &d,
                         &why, &error);
        if (r == -ENOENT && p->options && p->options->sketch) {
                n->provider = strdup("");
                n->definition = strdup(error_text(&error, r));
                n->params = json_incref(wish->params);
                n->config = json_object();
                return n->provider && n->definition && n->config ? 0 : -ENOMEM;
        }
        if (r < 0)
                return error_set(reterr, r, "%s", error_text(&error, r));
        r = definition_lay(d, wish->params, &laid, reterr);
        if (r < 0)
                return r;
        n->params = laid;
        n->provider = strdup(d->provider);
        n->definition = TAKE(why);
        n->config = json_deep_copy(d->config);
        n->deadline_ms = d->deadline_ms;
        return n->provider && n->config ? 0 : -ENOMEM;
}

static int node_fill(const Planner *p, const NodeWish *wish, GraphNode *n, Error *reterr) {
        n->key = str_format("%s.%s#%s", wish->type, wish->class, wish->id);
        n->type = strdup(wish->type);
        n->class = strdup(wish->class);
        n->id = strdup(wish->id);
        n->name = strdup(wish->name);
        n->workload = wish->workload ? strdup(wish->workload) : NULL;
        n->implicit = wish->implicit;
        n->scope = scope_of(wish->type);
        n->refs = json_object();
        n->metadata = wish->metadata ? json_deep_copy(wish->metadata) : json_object();
        if (!n->key || !n->type || !n->class || !n->id || !n->name ||
            (wish->workload && !n->workload) || !n->refs || !n->metadata || !wish->params)
                return -ENOMEM;
        return node_define(p, wish, n, reterr);
}

int plan_node_add(Planner *p, const NodeWish *wish, GraphNode **ret, Error *reterr) {
        auto_cleanup(json_decrefp) json_t *params = wish->params;
        GraphNode n = { 0 };
        int r;

        (void) params; /* taken over, and released here */
        r = nodes_grow(p);
        if (r == 0)
                r = node_fill(p, wish, &n, reterr);
        if (r < 0) {
                graph_node_done(&n);
                return r;
        }
        p->graph->nodes[p->graph->n_nodes] = n;
        *ret = &p->graph->nodes[p->graph->n_nodes++];
        return 0;
}

int plan_node_depend(GraphNode *n, const char *key) {
        return strv_contains(n->depends, key) || streq(n->key, key) ? 0
                                                                    : strv_add(&n->depends, key);
}

int plan_node_refer(GraphNode *n, const char *name, const char *key) {
        return json_object_set_new(n->refs, name, json_string(key)) < 0 ? -ENOMEM : 0;
}

/* Calls func for the name in every "${resources.NAME...}" of a template. */
static int each_name(const json_t *template, int (*func)(void *userdata, const char *name),
                     void *userdata) {
        const json_t *value;
        const char *key;
        size_t i;
        int r = 0;

        if (json_is_array(template)) {
                json_array_foreach(template, i, value)
                        if (r == 0)
                                r = each_name(value, func, userdata);
        } else if (json_is_object(template)) {
                json_object_foreach((json_t *) template, key, value)
                        if (r == 0)
                                r = each_name(value, func, userdata);
        } else if (json_is_string(template)) {
                PlaceholderScan scan = { .string = json_string_value(template) };
                PlaceholderPart part;

                while (r == 0 && placeholder_next(&scan, &part)) {
                        auto_cleanup(strv_freep) char **parts = NULL;

                        if (!part.reference)
                                continue;
                        parts = placeholder_split(part.text, part.size);
                        if (!parts)
                                return -ENOMEM;
                        if (streq(parts[0], "resources") && parts[1])
                                r = func(userdata, parts[1]);
                }
        }
        return r;
}

typedef struct Referrer {
        const Planner *planner;
        GraphNode *node;
        const char *workload;
} Referrer;

static int refer_one(void *userdata, const char *name) {
        Referrer *v = userdata;
        const char *key = score_project_key(v->planner->project, v->workload, name);

        return key ? plan_node_refer(v->node, name, key) : 0;
}

int plan_node_refer_used(Planner *p, GraphNode *n, const char *workload) {
        Referrer v = { .planner = p, .node = n, .workload = workload };

        return each_name(n->params, refer_one, &v);
}

json_t *plan_directory(const char *folder) {
        auto_cleanup(freep) char *text = NULL;
        auto_strbuf b = { 0 };

        strbuf_add(&b, "${resources.@checkout.path}");
        if (*folder) {
                strbuf_addc(&b, '/');
                template_escape(&b, folder);
        }
        text = strbuf_take(&b);
        return text ? json_pack("{s:s}", "$text", text) : NULL;
}

int plan_node_bootstrap(Planner *p) {
        const PlanContext *c = p->context;
        NodeWish checkout = { .type = "checkout",
                              .class = "default",
                              .id = "checkout",
                              .name = "checkout",
                              .implicit = true };
        NodeWish network = { .type = "network",
                             .class = "default",
                             .id = "network",
                             .name = "network",
                             .implicit = true };
        GraphNode *n;
        int r;

        checkout.params = json_pack("{s:s, s:s, s:s}", "repository", c->repository, "branch",
                                    c->branch, "commit", c->commit);
        network.params = json_object();
        r = plan_node_add(p, &checkout, &n, p->reterr);
        if (r < 0) {
                json_decref(network.params);
                return r;
        }
        return plan_node_add(p, &network, &n, p->reterr);
}
