/* The files that a command was given, kept for the time of the command so that faults can show their
 * lines. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "orchestrator/base/error.h"
#include "orchestrator/spec/fault.h"
#include "orchestrator/spec/score.h"

typedef struct Input {
        char *name; /* as given; "-" is standard input */
        char *text; /* NULL when the file is larger than a dependency file may be */
        size_t size;
} Input;

typedef struct Inputs {
        Input *items;
        size_t n_items;
} Inputs;

/* Reads one more file; the error names it. The result is valid until the next call. */
int inputs_read(Inputs *inputs, const char *path, const Input **ret, Error *reterr);
/* Keeps a file that was read otherwise; takes text over in any case. */
int inputs_keep(Inputs *inputs, const char *name, char *text, size_t size);
const Input *inputs_find(const Inputs *inputs, const char *name);
/* True after adding the fault that the file is too large to be read. */
bool input_too_large(const Input *input, SpecFaults *faults);
void inputs_done(Inputs *inputs);

/* What --overrides-file and --override-property said. */
typedef struct OverrideOptions {
        const char *file;
        const char **properties; /* borrowed from argv, the array is owned */
        size_t n_properties;
} OverrideOptions;

int override_options_add(OverrideOptions *o, const char *property);
void override_options_done(OverrideOptions *o);

/* Loads a Score file that was read. -EINVAL with faults. */
int input_load_score(Inputs *inputs, const char *name, const OverrideOptions *options,
                     ScoreDocument **ret, SpecFaults *faults, SpecFaults *notices, Error *reterr);
