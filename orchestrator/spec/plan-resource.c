/* Nodes of what the file declares. A type of our own with rules for its params has a function in one
 * table; all others pass their params on to whoever serves them. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/plan-internal.h"

/* ---- ports ---- */

json_t *plan_ports(const ScoreDocument *d) {
        json_t *ports = json_object(), *port;
        const char *name;

        json_object_foreach(json_object_get(json_object_get(d->json, "service"), "ports"), name,
                            port) {
                json_t *number = json_object_get(port, "port");
                json_t *target = json_object_get(port, "targetPort");
                const char *protocol = json_string_value(json_object_get(port, "protocol"));

                if (json_object_set_new(ports, name,
                                        json_pack("{s:O, s:O, s:s}", "port", number, "target_port",
                                                  target ? target : number, "protocol",
                                                  protocol ? protocol : "TCP")) < 0) {
                        json_decref(ports);
                        return NULL;
                }
        }
        return ports;
}

/* The name of the port that wish (a name or a number) means, borrowed, or NULL. */
static const char *port_find(const json_t *ports, const char *wish) {
        const char *name;
        json_t *port;

        if (json_object_get(ports, wish))
                return wish;
        json_object_foreach((json_t *) ports, name, port) {
                char number[32];

                snprintf(number, sizeof(number), "%lld",
                         (long long) json_integer_value(json_object_get(port, "port")));
                if (streq(number, wish))
                        return name;
        }
        return NULL;
}

/* ---- checks ---- */

typedef struct Check {
        Planner *planner;
        const ScoreResource *resource;
        json_t *params; /* a copy, to be changed */
} Check;

__attribute__((format(printf, 5, 0))) static void say(const Check *c, bool note, const char *param,
                                                      const char *hint, const char *fmt,
                                                      va_list args) {
        auto_cleanup(freep) char *text = NULL;
        auto_strbuf b = { 0 }, pointer = { 0 };

        strbuf_addv(&b, fmt, args);
        text = strbuf_take(&b);
        strbuf_add(&pointer, c->resource->pointer);
        if (*param)
                strbuf_addf(&pointer, "/params/%s", param);
        (note ? planner_note : planner_fault)(c->planner, c->resource->document,
                                              pointer.broken ? "" : pointer.text, hint, "%s",
                                              text ? text : "Out of memory");
}

__attribute__((format(printf, 4, 5))) static void fault(const Check *c, const char *param,
                                                        const char *hint, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        say(c, false, param, hint, fmt, args);
        va_end(args);
}

/* What another file may declare is a fault only when all files are there. */
__attribute__((format(printf, 4, 5))) static void note(const Check *c, const char *param,
                                                       const char *hint, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        say(c, true, param, hint, fmt, args);
        va_end(args);
}

/* A param that must be written out, as text: an integer is taken too. *ret is NULL when absent. */
static int param_text(const Check *c, const char *name, char **ret) {
        const json_t *value = json_object_get(c->params, name);

        *ret = NULL;
        if (!value)
                return 0;
        if (json_is_integer(value))
                *ret = str_format("%lld", (long long) json_integer_value(value));
        else if (json_is_string(value) && !placeholder_in(json_string_value(value)))
                *ret = strdup(json_string_value(value));
        else {
                fault(c, name, NULL, "'%s' of '%s' must be written out: text without placeholders",
                      name, c->resource->name);
                return 0;
        }
        return *ret ? 0 : -ENOMEM;
}

/* The workload called name, or NULL after a fault. */
static const ScoreDocument *workload_find(const Check *c, const char *param, const char *name) {
        const ScoreProject *project = c->planner->project;
        const ScoreDocument *d = plan_document(c->planner, name);
        auto_cleanup(freep) const char **names = NULL;
        const char *nearest = NULL;

        if (d)
                return d;
        names = calloc(project->n_documents + 1, sizeof(char *));
        for (size_t i = 0; names && i < project->n_documents; i++)
                names[i] = project->documents[i]->workload;
        if (names)
                nearest = strv_nearest(names, name);
        fault(c, param, nearest,
              "'%s' refers to the workload '%s', which no Score file declares%s%s%s",
              c->resource->name, name, nearest ? "; did you mean '" : "", nearest ? nearest : "",
              nearest ? "'?" : "");
        return NULL;
}

static int port_check(const Check *c, const ScoreDocument *d, const char *wish, char **ret) {
        auto_cleanup(json_decrefp) json_t *ports = plan_ports(d);
        auto_strbuf list = { 0 };
        const char *name;
        json_t *port;

        if (!ports)
                return -ENOMEM;
        *ret = NULL;
        name = port_find(ports, wish);
        if (name) {
                *ret = strdup(name);
                return *ret ? 0 : -ENOMEM;
        }
        json_object_foreach(ports, name, port)
                strbuf_addf(&list, "%s%s (%lld)", list.size > 0 ? ", " : "", name,
                            (long long) json_integer_value(json_object_get(port, "port")));
        note(c, "port", NULL, "The workload '%s' has no service port '%s'; it has %s", d->workload,
             wish, list.size > 0 && !list.broken ? list.text : "none");
        return 0;
}

/* ---- types ---- */

static int check_service(Check *c) {
        auto_cleanup(freep) char *workload = NULL;
        const char *dot = strrchr(c->resource->id, '.');
        int r;

        r = param_text(c, "workload", &workload);
        if (r < 0)
                return r;
        if (!workload) {
                workload = strdup(dot ? dot + 1 : c->resource->id);
                if (!workload)
                        return -ENOMEM;
        }
        if (!workload_find(c, json_object_get(c->params, "workload") ? "workload" : "", workload))
                return 0;
        return json_object_set_new(c->params, "workload", json_string(workload));
}

static int check_service_port(Check *c) {
        auto_cleanup(freep) char *workload = NULL, *port = NULL, *name = NULL;
        const ScoreDocument *d;
        int r;

        r = param_text(c, "workload", &workload);
        if (r == 0)
                r = param_text(c, "port", &port);
        if (r < 0)
                return r;
        if (!workload || !port) {
                if (!json_object_get(c->params, "workload") || !json_object_get(c->params, "port"))
                        fault(c, "", "params: {workload: NAME, port: PORT}",
                              "'%s' of type service-port needs the params 'workload' and 'port'",
                              c->resource->name);
                return 0;
        }
        d = workload_find(c, "workload", workload);
        r = d ? port_check(c, d, port, &name) : 0;
        if (r < 0 || !name)
                return r;
        return json_object_set_new(c->params, "port", json_string(name));
}

static bool path_is_literal(const char *path) {
        return *path == '/' && !strpbrk(path, " ?#*[](){}|\\^$\"'<>%") && !strstr(path, "//") &&
               !strstr(path, "/../") && !str_ends_with(path, "/..");
}

static int check_route(Check *c) {
        auto_cleanup(freep) char *path = NULL, *port = NULL, *name = NULL;
        const ScoreResource *v = c->resource;
        const json_t *host = json_object_get(c->params, "host");
        int r;

        if (host && !json_is_string(host))
                fault(c, "host", NULL, "'host' of '%s' must be text", v->name);
        r = param_text(c, "path", &path);
        if (r == 0)
                r = param_text(c, "port", &port);
        if (r < 0)
                return r;
        if (path && !path_is_literal(path))
                fault(c, "path", "path: /api",
                      "'path' of '%s' must begin with '/' and is taken literally, not as a pattern",
                      v->name);
        if (!port) {
                if (!json_object_get(c->params, "port"))
                        fault(c, "", "port: PORT", "'%s' of type route needs the param 'port'",
                              v->name);
                return 0;
        }
        r = port_check(c, plan_document(c->planner, v->workload), port, &name);
        if (r < 0 || !name)
                return r;
        if (json_is_false(planner_settings(c->planner, v->workload, "public")))
                fault(c, "", NULL,
                      "'%s' is a route to the workload '%s', which mayfly.yaml keeps "
                      "internal (public: false)",
                      v->name, v->workload);
        if (!path && json_object_set_new(c->params, "path", json_string("/")) < 0)
                return -ENOMEM;
        if (json_object_set_new(c->params, "port", json_string(name)) < 0)
                return -ENOMEM;
        return json_object_set_new(c->params, "workload", json_string(v->workload));
}

static int check_no_params(Check *c) {
        if (json_object_size(c->params) > 0)
                fault(c, "", NULL, "'%s' of type %s takes no params", c->resource->name,
                      c->resource->type);
        return 0;
}

static int check_implicit(Check *c) {
        fault(c, "", NULL,
              "'%s' has the type '%s', which every environment gets by itself and no file may declare",
              c->resource->name, c->resource->type);
        return 0;
}

static const struct {
        const char *type;
        int (*check)(Check *c);
} checks[] = {
        { "service", check_service },       { "service-port", check_service_port },
        { "route", check_route },           { "dns", check_no_params },
        { "environment", check_no_params }, { "checkout", check_implicit },
        { "network", check_implicit },      { "build", check_implicit },
        { "workload", check_implicit },
};

static int resource_check(Check *c) {
        for (size_t i = 0; i < N_ELEMENTS(checks); i++)
                if (streq(checks[i].type, c->resource->type))
                        return checks[i].check(c) < 0 ? -ENOMEM : 0;
        return 0;
}

/* ---- nodes ---- */

static int resource_add(Planner *p, const ScoreResource *v) {
        auto_cleanup(json_decrefp) json_t *params = json_deep_copy(v->params);
        Check check = { .planner = p, .resource = v, .params = params };
        const json_t *metadata = json_object_get(v->document->json, "metadata");
        auto_error error = { 0 };
        NodeWish wish = { .type = v->type,
                          .class = v->class,
                          .id = v->id,
                          .name = v->name,
                          .workload = v->workload,
                          .metadata = metadata };
        GraphNode *n;
        int r;

        r = params ? resource_check(&check) : -ENOMEM;
        if (r < 0)
                return r;
        wish.params = template_tree(params);
        r = plan_node_add(p, &wish, &n, &error);
        if (r == -ENOENT || r == -EINVAL) {
                planner_fault(p, v->document, v->pointer, NULL, "%s", error_text(&error, r));
                return 0;
        }
        if (r < 0)
                return error_set(p->reterr, r, "%s", error_text(&error, r));
        if (!*n->provider)
                planner_note(p, v->document, v->pointer, NULL, "%s", n->definition);
        for (char **d = v->depends; d && *d; d++) {
                r = plan_node_depend(n, *d);
                if (r < 0)
                        return r;
        }
        return plan_node_refer_used(p, n, v->workload);
}

/* Two routes with one host and path: which of them would be meant? */
static void check_routes(Planner *p) {
        for (size_t i = 0; i < p->graph->n_nodes; i++)
                for (size_t j = 0; j < i; j++) {
                        const GraphNode *a = &p->graph->nodes[j], *b = &p->graph->nodes[i];
                        const ScoreResource *v;

                        if (!streq(a->type, "route") || !streq(b->type, "route") ||
                            !json_equal(json_object_get(a->params, "path"),
                                        json_object_get(b->params, "path")))
                                continue;
                        v = score_project_find(p->project, b->key);
                        planner_fault(p, v->document, v->pointer, NULL,
                                      "'%s' has the same path as '%s' of the workload '%s'",
                                      b->name, a->name, a->workload);
                        break;
                }
}

int plan_resources(Planner *p) {
        int r;

        for (size_t i = 0; i < p->project->n_resources; i++) {
                r = resource_add(p, &p->project->resources[i]);
                if (r < 0)
                        return r;
        }
        check_routes(p);
        return 0;
}
