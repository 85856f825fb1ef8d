/* Score files (score.dev/v1b1). One file is a document; the documents of one environment are a project,
 * in which resources of one identity are one resource.
 *
 * Loading goes YAML, overrides, upgrades, schema, meaning, and stops after the first of these stages
 * that found faults; within a stage all are found. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "orchestrator/base/error.h"
#include "orchestrator/glue/yaml.h"
#include "orchestrator/spec/fault.h"

typedef struct ScoreOverrides {
        const char *file; /* the name of the overrides file, NULL when there is none */
        const char *text;
        size_t size;
        const char *const *properties; /* "PATH=VALUE", in this order, after the file */
        size_t n_properties;
} ScoreOverrides;

typedef struct ScoreDocument {
        char *file;
        YamlTree *tree;
        YamlNode *root;       /* upgraded and valid, every node with its place */
        json_t *json;         /* the same as JSON: ports are integers, files and volumes are maps */
        const char *workload; /* metadata.name, in json */
} ScoreDocument;

/* Reads one Score file. -EINVAL with faults. Notices (may be NULL) get what is valid and yet surely not
 * meant: a second document, "${...}" where nothing is put in, a deprecated form. overrides may be NULL. */
int score_document_load(const char *file, const char *text, size_t size,
                        const ScoreOverrides *overrides, ScoreDocument **ret, SpecFaults *faults,
                        SpecFaults *notices, Error *reterr);
ScoreDocument *score_document_free(ScoreDocument *d);

/* Adds a fault at the place that a JSON pointer names, or at the nearest thing around it. */
void score_document_fault(const ScoreDocument *d, SpecFaults *faults, SpecStage stage,
                          const char *pointer, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 6, 7)));

typedef struct ScoreResource {
        char *key; /* "type.class#id" */
        char *type, *class, *id;
        char *workload, *name; /* who declared it: the first one that gave params, else the first */
        char *pointer;         /* of that declaration: "/resources/db" */
        const ScoreDocument
                *document; /* of that workload: its metadata and names resolve the params */
        json_t *params;    /* object, as written; {} when nobody gave any */
        json_t *metadata;  /* object: the resource's own metadata; {} */
        char **depends; /* keys that the params of any declaration refer to, sorted; NULL: none */
} ScoreResource;

typedef struct ScoreProject {
        ScoreDocument **documents; /* owned, by workload name */
        size_t n_documents;
        ScoreResource *resources; /* in the order of provisioning */
        size_t n_resources;
        json_t *names; /* object: workload -> {resource name -> key} */
} ScoreProject;

/* "type.class#id" of a declared resource, owned; NULL when out of memory. */
char *score_resource_key(const char *workload, const char *name, const json_t *declared);

/* Joins documents, which it takes over in any case (the array itself stays the caller's). -EINVAL with
 * faults of stage semantic: a workload name used twice, definitions that differ, a cycle. */
int score_project_make(ScoreDocument **documents, size_t n_documents, ScoreProject **ret,
                       SpecFaults *faults, Error *reterr);
ScoreProject *score_project_free(ScoreProject *p);
const ScoreResource *score_project_find(const ScoreProject *p, const char *key);
/* The key that a workload's resource name means, or NULL. */
const char *score_project_key(const ScoreProject *p, const char *workload, const char *name);

DEFINE_CLEANUP(ScoreDocument *, score_document_free)
DEFINE_CLEANUP(ScoreProject *, score_project_free)
