/* Host labels of environments: "pr-86--shop", "feature-login--shop". One DNS label of at most 63
 * characters of [a-z0-9-] (RFC 1035, section 2.3.1), never with a leading or trailing '-', so that one
 * wildcard certificate covers all. "--" stands only between branch and project.
 *
 * Two branches never share a label:
 * - A branch of [a-z0-9] and single inner '-' that fits is written as it is. Such labels differ
 *   because the branches do.
 * - Every other branch ("feature/login", "Fix_it", one too long) becomes its readable part and a hash
 *   of its exact name: "feature-login-x" and ten characters that carry 50 bits of SHA-256.
 * - A branch that is itself spelled like a hashed one is hashed too, so the two kinds never meet; and
 *   so is "xn", because "xn--" begins an encoded international name (RFC 5890, section 2.3.2.1).
 * The label depends on nothing but the two names. The ledger's unique index guards the 50 bits. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/base/limits.h"

/* branch: any Git branch name of up to LIMIT_BRANCH_BYTES. project: a valid project name. 0, or -EINVAL
 * for another branch or project. */
int name_label(const char *branch, const char *project, char ret[static LIMIT_LABEL + 1]);

/* A project name: 1 to LIMIT_PROJECT_NAME of [a-z0-9] and single inner '-'. */
int project_name_check(const char *name, Error *reterr);
