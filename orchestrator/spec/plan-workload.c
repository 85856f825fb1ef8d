/* Nodes of what runs: the build and the workload, and what of it the gateway shows. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/spec/plan-internal.h"

#define TEXT(text) json_pack("{s:s}", "$text", text)

/* Which providers of workloads run images. A provider that is not ours may: it says so itself. */
static bool runs_images(const char *provider) {
        return !streq(provider, "process") && !streq(provider, "systemd");
}

static int node_served(Planner *p, const ScoreDocument *d, int r, const Error *error) {
        if (r != -ENOENT && r != -EINVAL)
                return r < 0 ? error_set(p->reterr, r, "%s", error_text(error, r)) : 0;
        planner_fault(p, d, "/metadata/name", NULL, "%s", error_text(error, r));
        return 1;
}

static int depend_on_ground(GraphNode *n) {
        int r;

        r = plan_node_refer(n, "@checkout", KEY_CHECKOUT);
        if (r == 0)
                r = plan_node_refer(n, "@network", KEY_NETWORK);
        if (r == 0)
                r = plan_node_depend(n, KEY_CHECKOUT);
        if (r == 0)
                r = plan_node_depend(n, KEY_NETWORK);
        return r;
}

char *plan_workload_folder(const Planner *p, const ScoreDocument *d) {
        const char *said = json_string_value(planner_settings(p, d->workload, "directory"));

        return said ? strdup(said) : plan_folder(d->file);
}

/* ---- build ---- */

static int build_timeout(Planner *p, const ScoreDocument *d, const json_t *build, GraphNode *n) {
        int64_t wish = json_integer_value(json_object_get(build, "timeout"));
        char text[TIME_TEXT_MAX];

        if (wish > 0 && n->deadline_ms > 0 && wish > n->deadline_ms)
                planner_fault(p, d, "/metadata/name", NULL,
                              "The build of '%s' may take at most %s here, says %s", d->workload,
                              duration_format(n->deadline_ms, text), n->definition);
        if (wish == 0)
                wish = n->deadline_ms;
        return json_object_set_new(n->params, "timeout_ms", json_integer(wish));
}

/* Where its provider keeps what it built, from one generation to the next: a volume of the environment,
 * for all its builds. Its id holds "@", which no id in a file can. Without one, each commit is built. */
static int build_store(Planner *p, size_t at) {
        auto_error error = { 0 };
        NodeWish wish = { .type = "volume",
                          .class = "default",
                          .id = "@builds",
                          .name = "@builds",
                          .implicit = true,
                          .params = json_object() };
        GraphNode *n;
        int r = 0;

        if (!graph_find(p->graph, KEY_BUILDS)) {
                r = plan_node_add(p, &wish, &n, &error);
                if (r == -ENOENT || r == -EINVAL)
                        return 0;
        } else
                json_decref(wish.params);
        if (r == 0 && json_object_set_new(p->graph->nodes[at].params, "store",
                                          json_pack("{s:s}", "$outputs", KEY_BUILDS)) < 0)
                r = -ENOMEM;
        if (r == 0)
                r = plan_node_refer(&p->graph->nodes[at], "@builds", KEY_BUILDS);
        return r < 0 ? r : plan_node_depend(&p->graph->nodes[at], KEY_BUILDS);
}

static int build_add(Planner *p, const ScoreDocument *d, const char *folder, const json_t *build) {
        const json_t *inputs = json_object_get(build, "inputs");
        auto_error error = { 0 };
        NodeWish wish = { .type = "build",
                          .class = "default",
                          .id = d->workload,
                          .name = d->workload,
                          .workload = d->workload,
                          .implicit = true };
        GraphNode *n;
        int r;

        wish.params = json_pack("{s:s, s:o, s:o, s:o, s:O, s:{}, s:o}", "workload", d->workload,
                                "directory", plan_directory(folder), "checkout",
                                TEXT("${resources.@checkout.path}"), "network",
                                TEXT("${resources.@network.namespace}"), "command",
                                json_object_get(build, "command"), "variables", "inputs",
                                inputs ? json_deep_copy(inputs) : json_array());
        r = plan_node_add(p, &wish, &n, &error);
        r = node_served(p, d, r, &error);
        if (r != 0)
                return r < 0 ? r : 0;
        r = build_timeout(p, d, build, n) < 0 ? -ENOMEM : depend_on_ground(n);
        return r < 0 || !streq(n->provider, "process")
                       ? r
                       : build_store(p, (size_t) (n - p->graph->nodes));
}

/* ---- workload ---- */

static json_t *siblings(const Planner *p) {
        json_t *names = json_array();

        for (size_t i = 0; i < p->project->n_documents; i++)
                if (json_array_append_new(names, json_string(p->project->documents[i]->workload)) <
                    0) {
                        json_decref(names);
                        return NULL;
                }
        return names;
}

static json_t *workload_params(const Planner *p, const ScoreDocument *d, const char *folder) {
        return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:[]}", "workload", d->workload,
                         "directory", plan_directory(folder), "checkout",
                         TEXT("${resources.@checkout.path}"), "network",
                         TEXT("${resources.@network.namespace}"), "address",
                         TEXT("${resources.@network.address}"), "siblings", siblings(p), "ports",
                         plan_ports(d), "containers");
}

/* What neither the file nor a definition says. The file cannot say these, so a definition may without
 * being in conflict with it. */
static int workload_defaults(GraphNode *n) {
        static const struct {
                const char *name;
                int ms;
        } defaults[] = {
                { "start_timeout_ms", 60000 },
                { "stop_timeout_ms", 10000 },
                { "readiness_interval_ms", 20 },
        };

        for (size_t i = 0; i < N_ELEMENTS(defaults); i++)
                if (!json_object_get(n->params, defaults[i].name) &&
                    json_object_set_new(n->params, defaults[i].name, json_integer(defaults[i].ms)) <
                            0)
                        return -ENOMEM;
        return 0;
}

/* All that the workload declares is there before it starts, used or not. */
static int depend_on_declared(Planner *p, const ScoreDocument *d, GraphNode *n) {
        const char *name;
        json_t *key;
        int r;

        json_object_foreach(json_object_get(p->project->names, d->workload), name, key) {
                r = plan_node_refer(n, name, json_string_value(key));
                if (r == 0)
                        r = plan_node_depend(n, json_string_value(key));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int depend_on_workloads(Planner *p, const ScoreDocument *d, GraphNode *n) {
        const json_t *list = planner_settings(p, d->workload, "waits_for"), *item;
        size_t i;
        int r;

        json_array_foreach(list, i, item) {
                auto_cleanup(freep) char *key =
                        str_format("workload.default#%s", json_string_value(item));

                r = key ? plan_node_depend(n, key) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int workload_depend(Planner *p, const ScoreDocument *d, GraphNode *n, bool built) {
        auto_cleanup(freep) char *key = str_format("build.default#%s", d->workload);
        int r;

        r = key ? depend_on_ground(n) : -ENOMEM;
        if (r == 0 && built)
                r = plan_node_depend(n, key);
        if (r == 0)
                r = depend_on_declared(p, d, n);
        if (r == 0)
                r = depend_on_workloads(p, d, n);
        return r;
}

static int workload_add(Planner *p, const ScoreDocument *d) {
        const json_t *build = planner_settings(p, d->workload, "build");
        auto_cleanup(freep) char *folder = plan_workload_folder(p, d);
        auto_error error = { 0 };
        NodeWish wish = { .type = "workload",
                          .class = "default",
                          .id = d->workload,
                          .name = d->workload,
                          .workload = d->workload,
                          .implicit = true,
                          .metadata = json_object_get(d->json, "metadata") };
        json_t *containers;
        GraphNode *n;
        size_t at;
        int r;

        r = folder ? (build ? build_add(p, d, folder, build) : 0) : -ENOMEM;
        if (r < 0)
                return r;
        wish.params = workload_params(p, d, folder);
        r = plan_node_add(p, &wish, &n, &error);
        r = node_served(p, d, r, &error);
        if (r != 0)
                return r < 0 ? r : 0;
        r = workload_defaults(n);
        if (r == 0)
                r = workload_depend(p, d, n, build);
        if (r < 0)
                return r;
        at = (size_t) (n - p->graph->nodes);
        r = plan_containers(p, d, at, runs_images(n->provider), &containers);
        if (r < 0)
                return r;
        return json_object_set_new(p->graph->nodes[at].params, "containers", containers) < 0
                       ? -ENOMEM
                       : 0;
}

/* ---- ports of one environment ---- */

/* All workloads of an environment share one network namespace, so a target port has one owner. */
static int check_ports(Planner *p) {
        auto_cleanup(json_decrefp) json_t *owners = json_object();

        for (size_t i = 0; i < p->project->n_documents; i++) {
                const ScoreDocument *d = p->project->documents[i];
                auto_cleanup(json_decrefp) json_t *ports = plan_ports(d);
                const char *name;
                json_t *port;

                json_object_foreach(ports, name, port) {
                        auto_cleanup(freep) char *key = NULL, *pointer = NULL;
                        const char *owner;

                        key = str_format("%lld/%s",
                                         (long long) json_integer_value(
                                                 json_object_get(port, "target_port")),
                                         json_string_value(json_object_get(port, "protocol")));
                        pointer = str_format("/service/ports/%s", name);
                        if (!key || !pointer)
                                return -ENOMEM;
                        owner = json_string_value(json_object_get(owners, key));
                        if (owner && !streq(owner, d->workload))
                                planner_fault(
                                        p, d, pointer, "give one of them another targetPort",
                                        "The workloads '%s' and '%s' both listen on port %s: the "
                                        "workloads of an environment share one network",
                                        owner, d->workload, key);
                        if (json_object_set_new(owners, key, json_string(d->workload)) < 0)
                                return -ENOMEM;
                }
        }
        return 0;
}

int plan_workloads(Planner *p) {
        int r;

        for (size_t i = 0; i < p->project->n_documents; i++) {
                r = workload_add(p, p->project->documents[i]);
                if (r < 0)
                        return r;
        }
        return check_ports(p);
}

/* ---- what is published ---- */

static bool has_tcp(const json_t *ports) {
        const char *name;
        json_t *port;

        json_object_foreach((json_t *) ports, name, port)
                if (streq(json_string_value(json_object_get(port, "protocol")), "TCP"))
                        return true;
        return false;
}

/* Without routes one workload is the product's face: of those with ports that are not kept internal,
 * one that says public: true before the others, then one named like the project, then web, frontend,
 * www or app, then the first by name. */
static unsigned face_rank(const Planner *p, const ScoreDocument *d) {
        static const char *const names[] = { "app", "www", "frontend", "web" };
        unsigned rank = json_is_true(planner_settings(p, d->workload, "public")) ? 20 : 1;

        if (streq(d->workload, p->context->project))
                return rank + 10;
        for (unsigned i = 0; i < N_ELEMENTS(names); i++)
                if (streq(d->workload, names[i]))
                        return rank + 1 + i;
        return rank;
}

static const ScoreDocument *face_of(const Planner *p) {
        const ScoreDocument *best = NULL;

        for (size_t i = 0; i < p->project->n_documents; i++) {
                const ScoreDocument *d = p->project->documents[i];
                auto_cleanup(json_decrefp) json_t *ports = plan_ports(d);

                if (has_tcp(ports) && !json_is_false(planner_settings(p, d->workload, "public")) &&
                    (!best || face_rank(p, d) > face_rank(p, best)))
                        best = d;
        }
        return best;
}

static bool has_route(const Planner *p, const char *workload) {
        for (size_t i = 0; i < p->graph->n_nodes; i++)
                if (streq(p->graph->nodes[i].type, "route") &&
                    (!workload || streq_null(p->graph->nodes[i].workload, workload)))
                        return true;
        return false;
}

static void notice_face(const Planner *p, const ScoreDocument *face) {
        if (!p->options->notices || p->project->n_documents < 2)
                return;
        score_document_fault(face, p->options->notices, SPEC_STAGE_SEMANTIC, "/metadata/name", NULL,
                             "No file declares a route, so the environment's address shows the "
                             "workload '%s'",
                             face->workload);
}

int plan_publish(Planner *p) {
        const ScoreDocument *face = has_route(p, NULL) ? NULL : face_of(p);

        p->graph->workloads = json_object();
        for (size_t i = 0; i < p->project->n_documents; i++) {
                const ScoreDocument *d = p->project->documents[i];
                bool shown = d == face || (!face && has_route(p, d->workload));

                if (json_object_set_new(
                            p->graph->workloads, d->workload,
                            json_pack("{s:o, s:b}", "ports", plan_ports(d), "public", shown)) < 0)
                        return -ENOMEM;
        }
        if (face)
                notice_face(p, face);
        return 0;
}
