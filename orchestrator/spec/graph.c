/* The graph as a struct and as JSON. One table of fields serves both directions, so what is stored and
 * what is read back cannot drift apart. Reading is strict although the ledger is ours: a graph that
 * is not exactly what graph_to_json() writes is refused with the name of the member, never guessed at. */
#include "orchestrator/spec/graph.h"

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static const char *const scope_names[_GRAPH_SCOPE_MAX] = {
        [GRAPH_SCOPE_GENERATION] = "generation",
        [GRAPH_SCOPE_ENVIRONMENT] = "environment",
};

const char *graph_scope_to_string(GraphScope scope) {
        return scope >= 0 && scope < _GRAPH_SCOPE_MAX ? scope_names[scope] : NULL;
}

GraphScope graph_scope_from_string(const char *s) {
        for (int i = 0; s && i < _GRAPH_SCOPE_MAX; i++)
                if (streq(s, scope_names[i]))
                        return (GraphScope) i;
        return _GRAPH_SCOPE_INVALID;
}

/* ---- fields ---- */

typedef enum FieldKind {
        FIELD_STRING,
        FIELD_STRING_OR_NULL,
        FIELD_BOOL,
        FIELD_SCOPE,
        FIELD_OBJECT,
        FIELD_STRING_MAP, /* an object whose members are strings */
        FIELD_TIME,
        FIELD_STRINGS,
} FieldKind;

static const struct Field {
        const char *name;
        FieldKind kind;
        size_t offset;
} fields[] = {
        { "key", FIELD_STRING, offsetof(GraphNode, key) },
        { "type", FIELD_STRING, offsetof(GraphNode, type) },
        { "class", FIELD_STRING, offsetof(GraphNode, class) },
        { "id", FIELD_STRING, offsetof(GraphNode, id) },
        { "name", FIELD_STRING, offsetof(GraphNode, name) },
        { "workload", FIELD_STRING_OR_NULL, offsetof(GraphNode, workload) },
        { "implicit", FIELD_BOOL, offsetof(GraphNode, implicit) },
        { "scope", FIELD_SCOPE, offsetof(GraphNode, scope) },
        { "provider", FIELD_STRING, offsetof(GraphNode, provider) },
        { "definition", FIELD_STRING, offsetof(GraphNode, definition) },
        { "params", FIELD_OBJECT, offsetof(GraphNode, params) },
        { "config", FIELD_OBJECT, offsetof(GraphNode, config) },
        { "refs", FIELD_STRING_MAP, offsetof(GraphNode, refs) },
        { "metadata", FIELD_OBJECT, offsetof(GraphNode, metadata) },
        { "deadline_ms", FIELD_TIME, offsetof(GraphNode, deadline_ms) },
        { "depends", FIELD_STRINGS, offsetof(GraphNode, depends) },
};

static json_t *strings_to_json(char *const *v) {
        json_t *array = json_array();

        for (; array && v && *v; v++)
                if (json_array_append_new(array, json_string(*v)) < 0) {
                        json_decref(array);
                        return NULL;
                }
        return array;
}

static json_t *field_to_json(const GraphNode *n, const struct Field *f) {
        const void *at = (const char *) n + f->offset;
        const char *s;

        switch (f->kind) {
        case FIELD_STRING:
        case FIELD_STRING_OR_NULL:
                s = *(char *const *) at;
                return s ? json_string(s) : f->kind == FIELD_STRING ? json_string("") : json_null();
        case FIELD_BOOL:
                return json_boolean(*(const bool *) at);
        case FIELD_SCOPE:
                return json_string(scope_names[*(const GraphScope *) at]);
        case FIELD_OBJECT:
        case FIELD_STRING_MAP:
                return *(json_t *const *) at ? json_deep_copy(*(json_t *const *) at)
                                             : json_object();
        case FIELD_TIME:
                return json_integer(*(const int64_t *) at);
        case FIELD_STRINGS:
                return strings_to_json(*(char **const *) at);
        }
        return NULL;
}

int graph_node_to_json(const GraphNode *n, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *object = json_object();

        for (size_t i = 0; i < N_ELEMENTS(fields); i++)
                if (json_object_set_new(object, fields[i].name, field_to_json(n, &fields[i])) < 0)
                        return -ENOMEM;
        *ret = TAKE(object);
        return 0;
}

int graph_to_json(const Graph *g, json_t **ret) {
        auto_cleanup(json_decrefp) json_t *nodes = json_array(), *object = NULL;
        int r;

        for (size_t i = 0; i < g->n_nodes; i++) {
                json_t *node;

                r = graph_node_to_json(&g->nodes[i], &node);
                if (r < 0)
                        return r;
                if (json_array_append_new(nodes, node) < 0)
                        return -ENOMEM;
        }
        object = json_pack("{s:O, s:o, s:o}", "nodes", nodes, "workloads",
                           g->workloads ? json_deep_copy(g->workloads) : json_object(), "lease",
                           g->lease ? json_deep_copy(g->lease) : json_object());
        if (!object)
                return -ENOMEM;
        *ret = TAKE(object);
        return 0;
}

/* ---- reading ---- */

static int strings_from_json(const json_t *json, char ***ret) {
        auto_cleanup(strv_freep) char **v = NULL;
        const json_t *item;
        size_t i;
        int r;

        if (!json_is_array(json) || json_array_size(json) > LIMIT_GRAPH_RESOURCES)
                return -EBADMSG;
        json_array_foreach(json, i, item) {
                if (!json_is_string(item))
                        return -EBADMSG;
                r = strv_add(&v, json_string_value(item));
                if (r < 0)
                        return r;
        }
        *ret = TAKE(v);
        return 0;
}

static int object_from_json(const json_t *json, bool strings, json_t **ret) {
        const char *name;
        json_t *value;

        if (!json_is_object(json))
                return -EBADMSG;
        if (strings)
                json_object_foreach((json_t *) json, name, value)
                        if (!json_is_string(value))
                                return -EBADMSG;
        *ret = json_deep_copy(json);
        return *ret ? 0 : -ENOMEM;
}

static int field_from_json(GraphNode *n, const struct Field *f, const json_t *json) {
        void *at = (char *) n + f->offset;

        switch (f->kind) {
        case FIELD_STRING:
        case FIELD_STRING_OR_NULL:
                if (f->kind == FIELD_STRING_OR_NULL && json_is_null(json))
                        return 0;
                if (!json_is_string(json) ||
                    strlen(json_string_value(json)) != json_string_length(json))
                        return -EBADMSG;
                return str_replace(at, json_string_value(json));
        case FIELD_BOOL:
                if (!json_is_boolean(json))
                        return -EBADMSG;
                *(bool *) at = json_is_true(json);
                return 0;
        case FIELD_SCOPE:
                *(GraphScope *) at = graph_scope_from_string(json_string_value(json));
                return *(GraphScope *) at == _GRAPH_SCOPE_INVALID ? -EBADMSG : 0;
        case FIELD_OBJECT:
        case FIELD_STRING_MAP:
                return object_from_json(json, f->kind == FIELD_STRING_MAP, at);
        case FIELD_TIME:
                if (!json_is_integer(json) || json_integer_value(json) < 0)
                        return -EBADMSG;
                *(int64_t *) at = json_integer_value(json);
                return 0;
        case FIELD_STRINGS:
                return strings_from_json(json, at);
        }
        return -EBADMSG;
}

int graph_node_from_json(const json_t *json, GraphNode *ret, Error *reterr) {
        auto_cleanup(graph_node_done) GraphNode n = { 0 };
        int r;

        if (!json_is_object(json) || json_object_size(json) != N_ELEMENTS(fields))
                return error_set(reterr, -EBADMSG,
                                 "A stored resource must be an object with %zu members",
                                 N_ELEMENTS(fields));
        for (size_t i = 0; i < N_ELEMENTS(fields); i++) {
                const json_t *value = json_object_get(json, fields[i].name);

                r = value ? field_from_json(&n, &fields[i], value) : -EBADMSG;
                if (r == -EBADMSG)
                        return error_set(reterr, r, "A stored resource has a bad member '%s'",
                                         fields[i].name);
                if (r < 0)
                        return r;
        }
        *ret = n;
        n = (GraphNode){ 0 };
        return 0;
}

/* Key to node; -EEXIST when a key stands twice. The order of the nodes is the order in memory. */
static int graph_index(const Graph *g, Map **ret, Error *reterr) {
        auto_cleanup(map_freep) Map *map = map_new(NULL);
        int r;

        if (!map)
                return -ENOMEM;
        for (size_t i = 0; i < g->n_nodes; i++) {
                if (map_get(map, g->nodes[i].key))
                        return error_set(reterr, -EEXIST, "The graph has '%s' twice",
                                         g->nodes[i].key);
                r = map_put(map, g->nodes[i].key, &g->nodes[i]);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(map);
        return 0;
}

/* What a node points at must be in the graph; what it waits for must stand before it. */
static int node_check(const Map *index, const GraphNode *n, Error *reterr) {
        const GraphNode *other;
        const char *name;
        json_t *value;

        for (char **d = n->depends; d && *d; d++) {
                other = map_get(index, *d);
                if (!other || other >= n)
                        return error_set(reterr, -EBADMSG,
                                         "In the stored graph '%s' does not come after '%s'",
                                         n->key, *d);
        }
        json_object_foreach(n->refs, name, value)
                if (!map_get(index, json_string_value(value)))
                        return error_set(reterr, -EBADMSG,
                                         "The stored graph has no '%s', which '%s' refers to",
                                         json_string_value(value), n->key);
        return 0;
}

static int nodes_from_json(const json_t *json, Graph *g, Error *reterr) {
        auto_cleanup(map_freep) Map *index = NULL;
        size_t n = json_array_size(json);
        int r;

        if (!json_is_array(json) || n > LIMIT_GRAPH_RESOURCES)
                return error_set(reterr, -EBADMSG,
                                 "A stored graph must have a list of at most %d nodes",
                                 LIMIT_GRAPH_RESOURCES);
        g->nodes = calloc(n + 1, sizeof(GraphNode));
        if (!g->nodes)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                r = graph_node_from_json(json_array_get(json, i), &g->nodes[i], reterr);
                if (r < 0)
                        return r;
                g->n_nodes = i + 1;
        }
        r = graph_index(g, &index, reterr);
        if (r < 0)
                return r == -EEXIST ? -EBADMSG : r;
        for (size_t i = 0; i < n; i++) {
                r = node_check(index, &g->nodes[i], reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

int graph_from_json(const json_t *json, Graph **ret, Error *reterr) {
        auto_cleanup(graph_freep) Graph *g = NULL;
        int r;

        if (!json_is_object(json) || json_object_size(json) != 3 ||
            !json_is_object(json_object_get(json, "workloads")) ||
            !json_is_object(json_object_get(json, "lease")))
                return error_set(reterr, -EBADMSG,
                                 "A stored graph must have 'nodes', 'workloads' and 'lease'");
        g = calloc(1, sizeof(Graph));
        if (!g)
                return -ENOMEM;
        r = nodes_from_json(json_object_get(json, "nodes"), g, reterr);
        if (r < 0)
                return r;
        g->workloads = json_deep_copy(json_object_get(json, "workloads"));
        g->lease = json_deep_copy(json_object_get(json, "lease"));
        if (!g->workloads || !g->lease)
                return -ENOMEM;
        *ret = TAKE(g);
        return 0;
}

/* ---- the struct ---- */

void graph_node_done(GraphNode *n) {
        char **owned[] = { &n->key,  &n->type,     &n->class,    &n->id,
                           &n->name, &n->workload, &n->provider, &n->definition };

        for (size_t i = 0; i < N_ELEMENTS(owned); i++)
                free(*owned[i]);
        json_decref(n->params);
        json_decref(n->config);
        json_decref(n->refs);
        json_decref(n->metadata);
        strv_free(n->depends);
        *n = (GraphNode){ 0 };
}

Graph *graph_free(Graph *g) {
        if (!g)
                return NULL;
        for (size_t i = 0; i < g->n_nodes; i++)
                graph_node_done(&g->nodes[i]);
        free(g->nodes);
        json_decref(g->workloads);
        json_decref(g->lease);
        free(g);
        return NULL;
}

GraphNode *graph_find(const Graph *g, const char *key) {
        for (size_t i = 0; i < g->n_nodes; i++)
                if (streq(g->nodes[i].key, key))
                        return &g->nodes[i];
        return NULL;
}

/* ---- order ---- */

/* Kahn's algorithm over numbers: waits[i] counts what node i still waits for. */
typedef struct Sorter {
        Graph *graph;
        Map *index;
        size_t *waits;
        bool *done;
        GraphNode *sorted;
} Sorter;

static void sorter_done(Sorter *s) {
        map_free(s->index);
        free(s->waits);
        free(s->done);
        free(s->sorted);
}

static int sorter_init(Sorter *s, Graph *g, Error *reterr) {
        int r;

        s->graph = g;
        s->waits = calloc(g->n_nodes + 1, sizeof(size_t));
        s->done = calloc(g->n_nodes + 1, sizeof(bool));
        s->sorted = calloc(g->n_nodes + 1, sizeof(GraphNode));
        if (!s->waits || !s->done || !s->sorted)
                return -ENOMEM;
        r = graph_index(g, &s->index, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < g->n_nodes; i++) {
                s->waits[i] = strv_length(g->nodes[i].depends);
                for (char **d = g->nodes[i].depends; d && *d; d++)
                        if (!map_get(s->index, *d))
                                return error_set(reterr, -ENOENT,
                                                 "'%s' waits for '%s', which is not in the graph",
                                                 g->nodes[i].key, *d);
        }
        return 0;
}

static void sorter_release(Sorter *s, const GraphNode *ready) {
        for (size_t i = 0; i < s->graph->n_nodes; i++)
                for (char **d = s->graph->nodes[i].depends; !s->done[i] && d && *d; d++)
                        if (streq(*d, ready->key))
                                s->waits[i]--;
}

int graph_sort(Graph *g, Error *reterr) {
        auto_cleanup(sorter_done) Sorter s = { 0 };
        int r;

        r = sorter_init(&s, g, reterr);
        if (r < 0)
                return r;
        for (size_t n = 0; n < g->n_nodes; n++) {
                const GraphNode *best = NULL;
                const char *stuck = NULL;

                for (size_t i = 0; i < g->n_nodes; i++) {
                        if (s.done[i])
                                continue;
                        stuck = g->nodes[i].key;
                        if (s.waits[i] == 0 && (!best || strcmp(stuck, best->key) < 0))
                                best = &g->nodes[i];
                }
                if (!best)
                        return error_set(reterr, -ELOOP, "'%s' waits for itself in a circle",
                                         stuck);
                s.done[best - g->nodes] = true;
                s.sorted[n] = *best;
                sorter_release(&s, best);
        }
        memcpy(g->nodes, s.sorted, g->n_nodes * sizeof(GraphNode));
        return 0;
}
