/* A Compose file read as Score documents. Compose says more than a preview can honour, and the same
 * things otherwise; every key is in a table with what becomes of it, and nothing is dropped in silence. */
#pragma once

#include "orchestrator/spec/plan.h"

/* {"documents": [Score documents], "workloads": {NAME: settings as in mayfly.yaml, and "waits_for",
 * "directory"}}. -EINVAL with faults for what cannot be. What is changed or left out goes to notices
 * (may be NULL). */
int compose_convert(const char *file, const char *text, size_t size, const PlanContext *context,
                    json_t **ret, SpecFaults *faults, SpecFaults *notices, Error *reterr);
