/* The shape of a YAML file of our own (mayfly.yaml, mayflyd.yaml) as a table. One table is read three
 * ways: it checks a file strictly and turns it into plain JSON, it says what is nearest to a key that
 * nobody knows, and it writes the JSON Schema that editors use, so the three cannot differ. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "orchestrator/glue/yaml.h"
#include "orchestrator/spec/fault.h"

typedef enum ShapeKind {
        SHAPE_TEXT, /* not empty; choices and check apply */
        SHAPE_BOOLEAN,
        SHAPE_DURATION, /* "30m"; becomes milliseconds. With or_off also "off", which becomes 0 */
        SHAPE_INTEGER,  /* min to max */
        SHAPE_TEXTS,    /* a list of texts, at least one; check applies to each */
        SHAPE_COMMAND,  /* a list of texts, or one line for the shell; becomes the list to run */
        SHAPE_SCALAR,   /* text, number or boolean */
        SHAPE_SCALARS,  /* a list of them */
        SHAPE_TREE,     /* a map with anything in it */
        SHAPE_FIELDS,   /* a map with the keys of fields and no others */
        SHAPE_MAP,      /* a map from names (check applies) to values of the shape inner */
        SHAPE_LIST,     /* a list of values of the shape inner */
        _SHAPE_KIND_MAX,
} ShapeKind;

typedef struct Shape Shape;
struct Shape {
        const char *name; /* the key; NULL ends a table of fields */
        ShapeKind kind;
        bool required, or_off;
        int64_t min, max;
        const Shape *fields;                           /* SHAPE_FIELDS: a table */
        const Shape *inner;                            /* SHAPE_MAP, SHAPE_LIST: one shape */
        const char *const *choices;                    /* ends with NULL; NULL: any */
        int (*check)(const char *text, Error *reterr); /* or NULL */
        const char *pattern;                           /* what check holds, for the schema; NULL */
        const char *help;                              /* one sentence, for the schema */
};

/* Checks node and makes JSON of it, without what has faults. Path is the JSON pointer of node. -EINVAL
 * when there were faults; *ret is set then too. */
int shape_read(const Shape *shape, const YamlNode *node, const char *path, SpecFaults *faults,
               json_t **ret);
/* The JSON Schema (draft 2020-12) of the shape, with $id and title. */
int shape_to_schema(const Shape *shape, const char *id, const char *title, json_t **ret);

/* The files of our own that are tables. */
extern const Shape config_shape, mayfly_shape;
