/* What an environment's address answers, from what is live. "direct" only when every workload of the live
 * generation is ready and the endpoints it returned are known. */
#include <stdio.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

/* ---- endpoints ---- */

/* The name of a workload's port that is meant by "http", 80 or "80". */
static const char *port_name(const json_t *ports, const json_t *wanted) {
        const char *text = json_string_value(wanted), *name;
        json_int_t number = json_integer_value(wanted);
        json_t *port;
        uint64_t parsed;

        if (text && json_object_get(ports, text))
                return text;
        if (text && str_to_u64(text, 65535, &parsed) == 0)
                number = (json_int_t) parsed;
        json_object_foreach((json_t *) ports, name, port) {
                if (number > 0 &&
                    (json_integer_value(json_object_get(port, "port")) == number ||
                     json_integer_value(json_object_get(port, "target_port")) == number))
                        return name;
        }
        return NULL;
}

static Part *workload_part(View *v, const char *name) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];

                if (part_alive(p) && p->row.generation == v->env.live_generation &&
                    streq(p->row.type, "workload") && p->row.workload &&
                    streq(p->row.workload, name))
                        return p;
        }
        return NULL;
}

static int add_endpoint(View *v, const Graph *graph, const char *workload, const json_t *port,
                        const char *path, json_t *list) {
        json_t *ports = json_object_get(json_object_get(graph->workloads, workload), "ports");
        const char *name = port_name(ports, port), *address;
        Part *p = workload_part(v, workload);
        json_auto_t *outputs = NULL;
        json_t *endpoint;
        json_int_t number;

        if (!p || !p->row.outputs || !name)
                return 0;
        outputs = json_loads(p->row.outputs, 0, NULL);
        endpoint = json_object_get(json_object_get(outputs, "endpoints"), name);
        address = json_string_value(json_object_get(endpoint, "address"));
        number = json_integer_value(json_object_get(endpoint, "port"));
        if (!address || number <= 0 || number > 65535)
                return 0;
        return json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "path", path, "address",
                                                     address, "port", number)) < 0
                       ? -ENOMEM
                       : 0;
}

/* The workload that answers when no route was declared: the only one with ports; else the one named like
 * the project, else one of the usual names, else the first. */
static const char *default_workload(View *v, const Graph *graph) {
        static const char *const usual[] = { "web", "frontend", "www", "app" };
        const char *name, *first = NULL;
        json_t *workload;
        unsigned n = 0;

        json_object_foreach(graph->workloads, name, workload) {
                if (json_object_size(json_object_get(workload, "ports")) == 0 ||
                    json_is_false(json_object_get(workload, "public")))
                        continue;
                n++;
                if (!first || strcmp(name, first) < 0)
                        first = name;
        }
        if (n <= 1)
                return first;
        for (size_t i = 0; i <= N_ELEMENTS(usual); i++) {
                const char *wish = i == 0 ? v->env.project : usual[i - 1];
                json_t *w = wish ? json_object_get(graph->workloads, wish) : NULL;

                if (w && json_object_size(json_object_get(w, "ports")) > 0 &&
                    !json_is_false(json_object_get(w, "public")))
                        return wish;
        }
        return first;
}

static const char *default_port(const json_t *ports) {
        static const char *const usual[] = { "http", "web", "www" };
        const char *name, *best = NULL;
        json_int_t lowest = 0;
        json_t *port;

        for (size_t i = 0; i < N_ELEMENTS(usual); i++)
                if (json_object_get(ports, usual[i]))
                        return usual[i];
        json_object_foreach((json_t *) ports, name, port) {
                json_int_t number = json_integer_value(json_object_get(port, "port"));

                if (!best || number < lowest) {
                        best = name;
                        lowest = number;
                }
        }
        return best;
}

static int endpoints_of(View *v, json_t *list, Error *reterr) {
        Graph *graph = NULL;
        bool declared = false;
        int r;

        r = view_graph(v, v->env.live_generation, &graph, reterr);
        if (r < 0 || !graph)
                return r;
        for (size_t i = 0; i < graph->n_nodes && r == 0; i++) {
                json_auto_t *outputs = NULL;
                const char *workload, *path;
                Part *p;

                if (!streq(graph->nodes[i].type, "route"))
                        continue;
                declared = true;
                p = view_find(v, graph->nodes[i].key, v->env.live_generation);
                outputs = p && p->row.outputs ? json_loads(p->row.outputs, 0, NULL) : NULL;
                workload = json_string_value(json_object_get(outputs, "workload"));
                path = json_string_value(json_object_get(outputs, "path"));
                if (workload)
                        r = add_endpoint(v, graph, workload, json_object_get(outputs, "port"),
                                         path && *path == '/' ? path : "/", list);
        }
        if (!declared) {
                const char *workload = default_workload(v, graph);
                json_t *ports =
                        workload ? json_object_get(json_object_get(graph->workloads, workload),
                                                   "ports")
                                 : NULL;
                const char *port = ports ? default_port(ports) : NULL;
                json_auto_t *name = port ? json_string(port) : NULL;

                if (name)
                        r = add_endpoint(v, graph, workload, name, "/", list);
        }
        return r;
}

static int longer_path_first(const void *a, const void *b) {
        const char *x = json_string_value(json_object_get(*(json_t *const *) a, "path"));
        const char *y = json_string_value(json_object_get(*(json_t *const *) b, "path"));
        size_t n = strlen(x), m = strlen(y);

        return n != m ? (n < m ? 1 : -1) : strcmp(x, y);
}

static char *endpoints_text(json_t *list) {
        size_t n = json_array_size(list);
        json_t **items = calloc(n + 1, sizeof(json_t *));
        json_auto_t *sorted = json_array();
        char *text = NULL;

        if (!items || !sorted) {
                free(items);
                return NULL;
        }
        for (size_t i = 0; i < n; i++)
                items[i] = json_array_get(list, i);
        qsort(items, n, sizeof(json_t *), longer_path_first);
        for (size_t i = 0; i < n; i++)
                if (json_array_append(sorted, items[i]) < 0) {
                        free(items);
                        return NULL;
                }
        free(items);
        text = json_dumps(sorted, JSON_COMPACT | JSON_SORT_KEYS);
        return text;
}

/* ---- the answer ---- */

static bool workloads_ready(View *v) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];

                if (part_alive(p) && p->row.generation == v->env.live_generation &&
                    p->row.state != RES_READY &&
                    (streq(p->row.type, "workload") || streq(p->row.type, "network")))
                        return false;
        }
        return true;
}

static const char *answer_of(View *v, bool endpoints, const char **cause) {
        *cause = v->env.cause;
        switch (v->env.state) {
        case ENV_WANTED:
        case ENV_BUILDING:
                return "building";
        case ENV_FAILED:
                return "failed";
        case ENV_DELETING:
        case ENV_GONE:
                return "gone";
        default:
                break;
        }
        if (v->env.level == LEVEL_FALLING || v->env.level == LEVEL_STOPPED)
                return v->env.wake_wanted ? "waking" : "asleep";
        if (v->env.level == LEVEL_WAKING || !workloads_ready(v))
                return "waking";
        if (endpoints)
                return "direct";
        *cause = "It runs, but none of its workloads has a public port to show";
        return "failed";
}

/* How what is gone comes back; owned, NULL while it is not going. There is no archive to bring back what it
 * had stored, and the page must not let anybody hope. */
static char *way_back(View *v) {
        if (v->env.state != ENV_DELETING && v->env.state != ENV_GONE)
                return NULL;
        if (v->env.closed_ms > 0)
                return str_format(
                        "The next push to the branch makes it again, without what it had stored.");
        return str_format(
                "The next push to the branch makes it again, and so does “mayfly up %s %s”; "
                "without what it had stored.",
                v->env.project, v->env.branch);
}

static char *facts_of(View *v, const char *cause) {
        auto_cleanup(freep) char *url = environment_url(v->e, v->env.label), *back = way_back(v);
        Generation *g = view_generation(v, v->env.live_generation);
        const char *commit = g && v->env.state == ENV_READY ? g->commit : v->env.commit;
        json_auto_t *facts = json_pack(
                "{s:s*, s:s, s:s, s:s, s:s, s:s*, s:s*, s:s*, s:I, s:s*, s:s, s:s*}", "project",
                v->env.project, "branch", v->env.branch, "commit", commit, "label", v->env.label,
                "state", env_state_to_string(v->env.state), "cause", cause, "who", v->env.gone_by,
                "why", v->env.gone_why, "when", (json_int_t) v->env.deleted_ms, "owner",
                v->env.owner, "url", url ? url : "", "back", back);

        return facts ? json_dumps(facts, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

static int route_put(View *v, Route *route, Error *reterr) {
        auto_cleanup(route_done) Route before = { 0 };
        int r;

        r = ledger_route_get(v->e->ledger, route->host, &before, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot read the route of %s", route->host);
        if (r == 0) {
                bool ours = streq(before.environment_id, v->env.id);

                /* A newer environment of the same name has the address now. */
                if (!ours && (v->env.state == ENV_DELETING || v->env.state == ENV_GONE))
                        return 0;
                if (ours && streq(before.answer, route->answer) &&
                    streq(before.endpoints, route->endpoints) && streq(before.facts, route->facts))
                        return 0;
        }
        r = ledger_route_put(v->e->ledger, route, reterr);
        if (r == 0 && !strv_contains(v->e->hosts, route->host))
                r = strv_add(&v->e->hosts, route->host);
        return r;
}

int route_step(View *v, Error *reterr) {
        auto_cleanup(freep) char *host = environment_host(v->e, v->env.label), *endpoints = NULL,
                                 *facts = NULL;
        json_auto_t *list = json_array();
        const char *answer, *cause;
        int r;

        if (!host || !list)
                return -ENOMEM;
        if (v->env.state == ENV_READY && v->env.level == LEVEL_AWAKE && workloads_ready(v)) {
                r = endpoints_of(v, list, reterr);
                if (r < 0)
                        return r;
        }
        answer = answer_of(v, json_array_size(list) > 0, &cause);
        endpoints = streq(answer, "direct") ? endpoints_text(list) : strdup("[]");
        facts = facts_of(v, cause);
        if (!endpoints || !facts)
                return -ENOMEM;
        return route_put(v,
                         &(Route){ .host = host,
                                   .environment_id = v->env.id,
                                   .answer = (char *) answer,
                                   .endpoints = endpoints,
                                   .facts = facts,
                                   .changed_ms = v->e->now_ms },
                         reterr);
}
