/* A generation's way: checkout and network, the graph, its resources beside the running ones, and at
 * last the move of the route. Whatever goes wrong before that leaves the last good one serving. */
#include <stdio.h>

#include "orchestrator/engine/private.h"

static int generation_move(View *v, Generation *g, GenState to, EventKind kind, const char *text,
                           Error *reterr) {
        int r;

        if (to == GEN_RETIRING || to == GEN_REMOVED)
                g->ended_ms = v->e->now_ms;
        r = ledger_generation_move(v->e->ledger, g, to, reterr);
        if (r < 0)
                return r;
        v->again = true;
        return event_add(v->e, kind, event_traced(v, g->trace), "Commit %.12s %s", g->commit, text);
}

int generation_fail(View *v, Generation *g, const char *fmt, ...) {
        auto_cleanup(freep) char *raw = NULL, *cause = NULL;
        auto_error error = { 0 };
        va_list args;
        int r;

        va_start(args, fmt);
        r = vasprintf(&raw, fmt, args);
        va_end(args);
        if (r < 0) {
                raw = NULL;
                return -ENOMEM;
        }
        cause = text_clean(raw);
        if (!cause)
                return -ENOMEM;
        r = str_replace(&g->cause, cause);
        if (r == 0)
                r = str_replace(&v->env.cause, cause);
        if (r == 0)
                r = ledger_environment_update(v->e->ledger, &v->env, &error);
        g->ended_ms = v->e->now_ms;
        if (r == 0)
                r = ledger_generation_move(v->e->ledger, g, GEN_FAILED, &error);
        v->again = true;
        if (r == 0)
                r = event_add(v->e, EVENT_GENERATION_FAILED, event_traced(v, g->trace),
                              "%s: commit %.12s failed: %s%s", v->env.label, g->commit, cause,
                              v->env.live_generation ? "; the one before keeps serving" : "");
        if (r < 0)
                log_debug("generation: %s", error_text(&error, r));
        return r;
}

/* ---- planning ---- */

static int plan_context(View *v, const Generation *g, Project *project, PlanContext *ret,
                        Error *reterr) {
        int r = ledger_project_get(v->e->ledger, v->env.project_id, project, reterr);

        if (r < 0)
                return r;
        *ret = (PlanContext){ .config = v->e->config,
                              .project = project->name,
                              .repository = project->repository,
                              .branch = v->env.branch,
                              .commit = g->commit,
                              .trust = v->env.trust };
        return 0;
}

/* Rows for nodes that have none yet. -EINVAL with a sentence for a node that cannot be taken up. */
static int rows_for(View *v, const Generation *g, const Graph *graph, Error *reterr) {
        for (size_t i = 0; i < graph->n_nodes; i++) {
                const GraphNode *node = &graph->nodes[i];
                Part *p = view_find(v, node->key, g->number);
                int r;

                if (p && !streq(p->row.provider, node->provider))
                        return error_set(
                                reterr, -EINVAL,
                                "%s '%s' was made by the provider '%s' and is now to be made by "
                                "'%s'; delete the environment and push again",
                                node->type, node->name ? node->name : node->key, p->row.provider,
                                node->provider);
                if (p && p->row.state == RES_FAILED) {
                        /* Shared: a push is a new chance, also when it waits for its next try. */
                        p->row.tries = 0;
                        p->row.retry_ms = 0;
                        r = part_save(v, p, reterr);
                        if (r < 0)
                                return r == -EINVAL ? -EIO : r;
                }
                if (p)
                        continue;
                r = view_add_part(v, node, g->number, &p, reterr);
                if (r < 0)
                        return r == -EINVAL ? -EIO : r;
        }
        return 0;
}

static int begin(View *v, Generation *g, Error *reterr) {
        auto_cleanup(graph_freep) Graph *graph = NULL;
        auto_cleanup(project_done) Project project = { 0 };
        auto_error why = { 0 };
        PlanContext context;
        int r;

        r = plan_context(v, g, &project, &context, reterr);
        if (r < 0)
                return r;
        r = plan_bootstrap(&context, &graph, &why);
        if (r < 0)
                return r == -ENOMEM ? r : generation_fail(v, g, "%s", error_text(&why, r));
        r = rows_for(v, g, graph, &why);
        if (r == -EINVAL)
                return generation_fail(v, g, "%s", error_text(&why, r));
        if (r < 0)
                return error_set(reterr, r, "%s", error_text(&why, r));
        return generation_move(v, g, GEN_CHECKOUT, EVENT_GENERATION_CHECKOUT,
                               "is being checked out", reterr);
}

/* Reads the dependency file of the checkout and makes the graph; *ret stays NULL when the generation
 * failed over it. */
static int make_graph(View *v, Generation *g, Part *checkout, Graph **ret, Error *reterr) {
        EngineFiles *files = &v->e->setup.files;
        auto_cleanup(project_done) Project project = { 0 };
        auto_cleanup(spec_faults_done) SpecFaults faults = { 0 };
        json_auto_t *outputs = NULL;
        auto_error why = { 0 };
        SpecReader reader = { 0 };
        PlanContext context;
        Graph *graph = NULL;
        int r;

        r = plan_context(v, g, &project, &context, reterr);
        if (r < 0)
                return r;
        outputs = json_loads(checkout->row.outputs ? checkout->row.outputs : "{}", 0, NULL);
        r = files->open(files->userdata, outputs, &reader, &why);
        if (r < 0)
                return generation_fail(v, g, "The checkout cannot be read: %s",
                                       error_text(&why, r));
        r = plan_make(&context, &reader, &graph, &faults, &why);
        files->close(files->userdata, &reader);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                size_t n = faults.n_items + faults.n_dropped;

                if (n > 1)
                        return generation_fail(
                                v, g, "%s (and %zu more; see them all with `mayfly check`)",
                                error_text(&why, r), n - 1);
                return generation_fail(v, g, "%s", error_text(&why, r));
        }
        if (graph->n_nodes > LIMIT_GRAPH_RESOURCES) {
                r = generation_fail(v, g, "It asks for %zu resources, at most %d are allowed",
                                    graph->n_nodes, LIMIT_GRAPH_RESOURCES);
                graph_free(graph);
                return r;
        }
        *ret = graph;
        return 0;
}

static int plan(View *v, Generation *g, Part *checkout, Error *reterr) {
        auto_cleanup(graph_freep) Graph *graph = NULL;
        json_auto_t *json = NULL;
        auto_error why = { 0 };
        int r;

        r = make_graph(v, g, checkout, &graph, reterr);
        if (r < 0 || !graph)
                return r;
        r = graph_to_json(graph, &json);
        if (r < 0)
                return r;
        free(g->graph);
        g->graph = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        if (!g->graph)
                return -ENOMEM;
        r = rows_for(v, g, graph, &why);
        if (r == -EINVAL)
                return generation_fail(v, g, "%s", error_text(&why, r));
        if (r < 0)
                return error_set(reterr, r, "%s", error_text(&why, r));
        return generation_move(v, g, GEN_PROVISIONING, EVENT_GENERATION_PROVISIONING,
                               "is being provisioned", reterr);
}

static int checkout(View *v, Generation *g, Error *reterr) {
        Part *tree = NULL;

        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                int r;

                if (p->row.generation != g->number)
                        continue;
                if (streq(p->row.type, "checkout") && p->row.state == RES_READY)
                        tree = p;
                if (p->row.state != RES_PLANNED && p->row.state != RES_PROVISIONING)
                        continue;
                r = resource_provision(v, p, NULL, g->number, reterr);
                if (r < 0)
                        return r;
                if (g->state == GEN_FAILED)
                        return 0;
        }
        return tree ? plan(v, g, tree, reterr) : 0;
}

/* ---- provisioning ---- */

static int node_text(const GraphNode *node, char **ret) {
        json_auto_t *json = NULL;
        int r = graph_node_to_json(node, &json);

        if (r < 0)
                return r;
        *ret = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        return *ret ? 0 : -ENOMEM;
}

/* Whether something shared must be provisioned again for this generation: the file asks for something
 * else, or what it is made of belongs to a generation. */
static int shared_differs(View *v, const Generation *g, const Graph *graph, const Part *p,
                          const GraphNode *node, bool *ret) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        *ret = false;
        if (p->row.applied == g->number)
                return 0;
        for (char *const *key = node->depends; key && *key; key++) {
                const GraphNode *on = graph_find(graph, *key);

                if (on && on->scope == GRAPH_SCOPE_GENERATION) {
                        *ret = true;
                        return 0;
                }
        }
        r = node_text(node, &text);
        if (r == 0)
                *ret = p->row.applied == 0 || !streq(text, p->row.node);
        return r;
}

/* One node on its way; *ret_ready tells whether it has arrived. */
static int provision_node(View *v, Generation *g, const Graph *graph, const GraphNode *node,
                          bool *ret_ready, Error *reterr) {
        Part *p = view_find(v, node->key, g->number);
        bool differs = false;
        int r = 0;

        *ret_ready = false;
        if (!p)
                return error_set(reterr, -EBADMSG, "No row for the node %s", node->key);
        if (p->row.generation == 0 && p->row.state == RES_READY && !view_call(v, p)) {
                r = shared_differs(v, g, graph, p, node, &differs);
                if (r < 0)
                        return r;
        }
        if (p->row.state == RES_READY && !differs) {
                if (p->row.inspect)
                        return view_call(v, p) ? 0 : resource_inspect(v, p, reterr);
                *ret_ready = !view_call(v, p);
                return 0;
        }
        if (p->row.state == RES_PLANNED || p->row.state == RES_PROVISIONING ||
            p->row.state == RES_FAILED || differs)
                r = resource_provision(v, p, p->row.generation == 0 ? node : NULL, g->number,
                                       reterr);
        return r;
}

static int become_live(View *v, Generation *g, const Graph *graph, Error *reterr) {
        Generation *before = view_generation(v, v->env.live_generation);
        auto_cleanup(freep) char *lease = NULL;
        int r = 0;

        lease = json_dumps(graph->lease ? graph->lease : NULL, JSON_COMPACT | JSON_SORT_KEYS);
        if (before && before->state == GEN_LIVE)
                r = generation_move(v, before, GEN_RETIRING, EVENT_GENERATION_RETIRING,
                                    "is replaced by a newer one", reterr);
        g->ready_ms = v->e->now_ms;
        if (r == 0)
                r = generation_move(v, g, GEN_LIVE, EVENT_GENERATION_LIVE, "is live", reterr);
        if (r < 0)
                return r;
        v->env.live_generation = g->number;
        v->env.used_ms = v->e->now_ms;
        v->env.asleep_ms = 0;
        v->env.wake_wanted = v->env.sleep_wanted = false;
        free(TAKE(v->env.cause));
        free(v->env.lease);
        v->env.lease = TAKE(lease);
        v->changed = true;
        /* A new generation comes up awake, whatever the one before did. */
        if (v->env.level != LEVEL_AWAKE)
                return ledger_environment_move_level(v->e->ledger, &v->env, LEVEL_AWAKE, reterr);
        return 0;
}

static int provision(View *v, Generation *g, Error *reterr) {
        Graph *graph = NULL;
        bool all = true, ready;
        int r;

        r = view_graph(v, g->number, &graph, reterr);
        if (r < 0)
                return r;
        if (!graph)
                return error_set(reterr, -EBADMSG, "Generation %lld has no graph",
                                 (long long) g->number);
        for (size_t i = 0; i < graph->n_nodes; i++) {
                r = provision_node(v, g, graph, &graph->nodes[i], &ready, reterr);
                if (r < 0)
                        return r;
                if (g->state == GEN_FAILED)
                        return 0;
                all = all && ready;
        }
        return all ? become_live(v, g, graph, reterr) : 0;
}

/* ---- ending ---- */

static bool has_living(View *v, int64_t number) {
        for (size_t i = 0; i < v->n_parts; i++)
                if (v->parts[i]->row.generation == number && part_alive(v->parts[i]))
                        return true;
        return false;
}

static int end_unwanted(View *v, Error *reterr) {
        int r = 0;

        for (size_t i = 0; i < v->n_gens && r == 0; i++) {
                Generation *g = &v->gens[i];

                if (g->state == GEN_RETIRING && !has_living(v, g->number))
                        r = generation_move(v, g, GEN_REMOVED, EVENT_GENERATION_REMOVED,
                                            "left nothing behind", reterr);
                else if ((generation_under_way(g) || g->state == GEN_LIVE) &&
                         !view_wants(v, g->number))
                        r = generation_move(v, g, GEN_RETIRING, EVENT_GENERATION_RETIRING,
                                            "is not wanted any more", reterr);
        }
        return r;
}

int generation_step(View *v, Error *reterr) {
        Generation *g;
        int r;

        r = end_unwanted(v, reterr);
        if (r < 0)
                return r;
        g = view_under_way(v);
        if (!g)
                return 0;
        switch (g->state) {
        case GEN_WANTED:
                return begin(v, g, reterr);
        case GEN_CHECKOUT:
                return checkout(v, g, reterr);
        default:
                return provision(v, g, reterr);
        }
}
