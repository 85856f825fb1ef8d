/* From a checkout to a graph. Pure: files come through a reader, so the same code serves the daemon,
 * `mayfly plan` on a laptop, the simulation and the fuzzers. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/fault.h"
#include "orchestrator/spec/graph.h"
#include "orchestrator/spec/score.h"

/* How the pure code gets files: path is relative to the top of the checkout; -ENOENT when absent. */
typedef struct SpecReader {
        int (*read)(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                    Error *reterr);
        void *userdata;
} SpecReader;

/* Whose graph it is; strings borrowed, none NULL. */
typedef struct PlanContext {
        const Config *config; /* definitions, domain, bounds; config_default() offline */
        const char *project;
        const char *repository; /* for the checkout: path or URL */
        const char *branch;
        const char *commit; /* full object name */
        const char *trust;  /* "member", "approved", "stranger" */
} PlanContext;

/* What every generation needs before its dependency file can be read: the checkout and the network. */
int plan_bootstrap(const PlanContext *context, Graph **ret, Error *reterr);

/* Reads the dependency file (mayfly.yaml, score.yaml, compose.yaml, in this order) and makes the whole
 * graph, the nodes of plan_bootstrap() included with the same keys and params. A file with faults gives
 * -EINVAL, the faults in *faults and their first in reterr; no dependency file at all gives -ENOENT. */
int plan_make(const PlanContext *context, const SpecReader *reader, Graph **ret, SpecFaults *faults,
              Error *reterr);

/* More than the daemon asks for: `mayfly plan`. */
typedef struct PlanOptions {
        const char *const
                *files; /* these Score files, or one mayfly.yaml or Compose file, and no search */
        size_t n_files; /* 0: search */
        const ScoreOverrides *overrides; /* may be NULL; for one Score file */
        /* What only a server's configuration can decide (who serves a type, who runs images) and what
         * the checkout may add (a command) is a notice instead of a fault. */
        bool sketch;
        SpecFaults *notices; /* may be NULL */
        json_t **ret_order;  /* may be NULL: the keys of declared resources in Score's own order */
} PlanOptions;

int plan_make_with(const PlanContext *context, const SpecReader *reader, const PlanOptions *options,
                   Graph **ret, SpecFaults *faults, Error *reterr);
