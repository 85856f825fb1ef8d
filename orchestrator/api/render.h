/* Rows of the ledger as the API shows them. Never a secret: outputs are those the ledger holds open. */
#pragma once

#include <jansson.h>

#include "orchestrator/api/manager.h"

/* NULL when out of memory. */
json_t *render_project(const Project *p);
json_t *render_environment(const Manager *m, const Environment *e);
json_t *render_generation(const Generation *g);
json_t *render_resource(const Resource *r);
json_t *render_event(const Event *e, const char *label);

/* By id, label or "project/branch". */
int render_environment_by_id(Manager *m, const char *which, json_t **ret, Error *reterr);
