/* Faults of a dependency file or configuration: all of them together, each with its place. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/base/error.h"
#include "orchestrator/glue/yaml.h"

typedef enum SpecStage {
        SPEC_STAGE_YAML,
        SPEC_STAGE_UPGRADE,
        SPEC_STAGE_SCHEMA,
        SPEC_STAGE_SEMANTIC,
        _SPEC_STAGE_MAX,
        _SPEC_STAGE_INVALID = -EINVAL,
} SpecStage;

const char *spec_stage_to_string(SpecStage stage);

typedef struct SpecFault {
        char *file;
        unsigned line, column; /* from 1; 0 when there is no place */
        char *path;            /* JSON pointer: "/containers/web/image" */
        SpecStage stage;
        char *message; /* what is wrong */
        char *hint;    /* what would be right, or NULL */
} SpecFault;

/* Zero-initialise. At most LIMIT_SPEC_FAULTS are kept, the rest only counted. */
typedef struct SpecFaults {
        SpecFault *items;
        size_t n_items;
        size_t n_dropped;
        bool no_memory; /* what was found is not to be relied on */
} SpecFaults;

/* Copies the strings. Out of memory: spec_faults_no_memory(). hint may be NULL. */
void spec_faults_add(SpecFaults *f, SpecStage stage, const char *file, unsigned line,
                     unsigned column, const char *path, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 8, 9)));
/* Something could not be checked for want of memory: counts as a fault, so that nobody goes on, and
 * spec_faults_error() gives -ENOMEM. */
void spec_faults_no_memory(SpecFaults *f);
/* What the YAML layer said, of stage yaml. */
void spec_faults_add_yaml(SpecFaults *f, const YamlTree *t);
/* By file as first seen, then line, then column. */
void spec_faults_sort(SpecFaults *f);
/* [{"file","line","column","path","stage","message","hint"}] */
json_t *spec_faults_to_json(const SpecFaults *f);
void spec_faults_done(SpecFaults *f);
