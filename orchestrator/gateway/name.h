/* Host labels of environments: "pr-86--shop", "feature-login--shop". One DNS label of at most 63
 * characters of [a-z0-9-] (RFC 1035, section 2.3.1), never with a leading or trailing '-', so that one
 * wildcard certificate covers all. A branch whose name does not survive as it is gets a hash, so two
 * branches of one project never share a label, and "--" stands only between branch and project. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/base/limits.h"

/* branch: any Git branch name. project: a valid project name. */
int name_label(const char *branch, const char *project, char ret[static LIMIT_LABEL + 1]);

/* A project name: 1 to LIMIT_PROJECT_NAME of [a-z0-9] and single inner '-'. */
int project_name_check(const char *name, Error *reterr);
