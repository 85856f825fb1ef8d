/* A Compose file read as Score documents. Compose says more than a preview can honour, and says some
 * things otherwise; every key is in a table with what becomes of it, and nothing is dropped in silence.
 * Variables are never taken from an environment: "${VAR:-default}" is its default, "${VAR}" is empty. */
#pragma once

#include "orchestrator/spec/plan.h"

typedef struct ComposeRequest {
        const char *file, *text;
        size_t size;
        const Config *config; /* which types are served; NULL: not known, every type is */
        const SpecReader
                *reader; /* for env_file and single files that are mounted; NULL: not at hand */
        SpecFaults *faults;
        SpecFaults *notices; /* what is changed or left out; may be NULL */
} ComposeRequest;

/* {"documents": [{"score": Score document, "places": {POINTER: [line, column]}}],
 *  "workloads": {NAME: settings as in mayfly.yaml, and "waits_for", "directory"}}.
 * -EINVAL with faults for what cannot be. *ret_report (may be NULL) says line by line what is
 * "honoured", "changed", "left out" or "refused": [{"line","column","path","verdict","text"}]. */
int compose_convert(const ComposeRequest *request, json_t **ret, json_t **ret_report,
                    Error *reterr);
