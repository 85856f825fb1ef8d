/* Inside of the YAML tree, for yaml.c alone: memory, problems, and a node as it is parsed. */
#pragma once

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/yaml.h"

#define PROBLEMS_MAX LIMIT_SPEC_FAULTS

typedef struct Chunk Chunk;
struct Chunk {
        Chunk *next;
        size_t used, room;
        _Alignas(max_align_t) char data[];
};

struct YamlTree {
        Chunk *chunks;
        YamlProblem problems[PROBLEMS_MAX];
        size_t n_problems;
        size_t n_nodes, n_aliased, n_aliases;
        YamlPlace second;
};

/* A node as parsed: with what only its parent map asks when the map is complete. */
typedef struct Raw {
        YamlNode node;
        const char *alias; /* the name, for an alias's copy */
        bool open;         /* still being parsed: an alias to it would contain itself */
        bool merge;        /* the key "<<" */
        bool odd;          /* as a key: not text */
} Raw;

/* Zeroed memory that lives as long as the tree. */
void *tree_alloc(YamlTree *t, size_t size);
char *tree_strndup(YamlTree *t, const char *s, size_t size);
/* Room for one more element, doubled as it fills. */
int tree_grow(YamlTree *t, void **array, size_t n, size_t *room, size_t element);
void tree_problem(YamlTree *t, YamlPlace place, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
