/* What `mayfly check` does with files that are no Score files. Each was read into inputs under its
 * name. -EINVAL with faults. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "orchestrator/cli/input.h"

/* *ret_score: the Score files that it names, as an array. */
int check_mayfly_file(Inputs *inputs, const char *name, SpecFaults *faults, json_t **ret_score,
                      Error *reterr);
int check_config_file(Inputs *inputs, const char *name, SpecFaults *faults, Error *reterr);
/* *ret_report: see spec/compose.h. */
int check_compose_file(Inputs *inputs, const char *name, SpecFaults *faults, SpecFaults *notices,
                       json_t **ret_report, Error *reterr);
/* "compose.yaml" line by line: what is honoured, changed, left out or refused, and why. */
void compose_report_print(FILE *out, const json_t *report);
