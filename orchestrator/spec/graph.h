/* The graph: every resource that one generation needs, in the order in which it is provisioned, with
 * the provider that serves each. It is made by spec (pure), stored by the ledger as JSON, and walked by
 * the engine.
 *
 * Params are templates. A string that holds placeholders is {"$text": "..."}, a volume source
 * "${resources.NAME}" is {"$outputs": "KEY"}; everything else is literal, so a "${...}" where Score
 * knows no placeholder stays as it is. An object of the user's that could be mistaken for one of these
 * is wrapped: {"$literal": {...}}, whose members are templates again. graph_resolve() turns a template
 * into plain JSON when the outputs it needs exist; the resolved form may hold secrets and is never
 * stored. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/str.h"

/* How long a resource lives: with one generation (checkout, network, build, workload, addresses), or
 * with the environment, across pushes (volume, database, dns). */
typedef enum GraphScope {
        GRAPH_SCOPE_GENERATION,
        GRAPH_SCOPE_ENVIRONMENT,
        _GRAPH_SCOPE_MAX,
        _GRAPH_SCOPE_INVALID = -EINVAL,
} GraphScope;

const char *graph_scope_to_string(GraphScope scope);
GraphScope graph_scope_from_string(const char *s);

typedef struct GraphNode {
        char *key; /* "type.class#id", unique in the graph (Score: resource identity) */
        char *type, *class, *id;
        char *name;     /* the name people know it by: the resource's name in its Score file */
        char *workload; /* the workload that declared it, or NULL */
        bool implicit;  /* not in the file: checkout, network, build, workload */
        GraphScope scope;
        char *provider;   /* "process": mayfly-provider-process */
        char *definition; /* which definition matched and why, one line for `plan` */
        json_t *params;   /* template, object */
        json_t *config;   /* object: the definition's parameters for its provider */
        json_t *refs;     /* object: NAME in "${resources.NAME...}" -> key of the node meant */
        json_t *metadata; /* object: what "${metadata...}" reads: the declaring workload's metadata */
        int64_t deadline_ms; /* for provision; 0: the engine's default */
        char **depends;      /* keys that must be ready before; each is in the graph */
} GraphNode;

typedef struct Graph {
        GraphNode *nodes; /* dependencies first */
        size_t n_nodes;
        json_t *workloads; /* object: NAME -> {"ports": {PORT: {"port", "target_port", "protocol"}},
                              "public": bool}: every workload of the environment */
        json_t *lease;     /* object: wishes of mayfly.yaml, clock name -> milliseconds */
} Graph;

Graph *graph_free(Graph *g);
void graph_node_done(GraphNode *n);
GraphNode *graph_find(const Graph *g, const char *key);

/* To and from the stored form; a graph that was stored comes back equal. -EBADMSG for anything else. */
int graph_to_json(const Graph *g, json_t **ret);
int graph_from_json(const json_t *json, Graph **ret, Error *reterr);
/* One node alone, the same form; the caller releases *ret with graph_node_done(). */
int graph_node_to_json(const GraphNode *n, json_t **ret);
int graph_node_from_json(const json_t *json, GraphNode *ret, Error *reterr);
/* Puts dependencies first; of those that are free the smallest key comes first, so the order is the
 * same for the same graph. -ELOOP naming a node of the cycle, -ENOENT for an unknown dependency. */
int graph_sort(Graph *g, Error *reterr);

/* The outputs of the node with this key as an object (borrowed), or NULL when there are none yet. */
typedef json_t *(*GraphOutputsFunc)(void *userdata, const char *key);

/* Resolves a node's params. -ENOENT with a sentence when a resource has no outputs yet or not the one
 * asked for, -EINVAL for a reference that cannot be. */
int graph_resolve(const GraphNode *node, GraphOutputsFunc outputs, void *userdata, json_t **ret,
                  Error *reterr);

/* A template for text: a string of placeholders becomes {"$text": ...}, one without "$" stays a string.
 * Takes nothing, returns a new reference or NULL when out of memory. */
json_t *template_text(const char *text, size_t size);
/* A template for a tree of the user's: every string at any depth may hold placeholders. */
json_t *template_tree(const json_t *tree);
/* A template for a tree of the admin's or our own: nothing in it is a placeholder. */
json_t *template_literal(const json_t *tree);

/* Appends text so that the scanner reads it back as it is, whatever it looks like. */
void template_escape(StrBuf *b, const char *text);

DEFINE_CLEANUP(Graph *, graph_free)
