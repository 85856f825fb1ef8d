/* Shell patterns for branch names, as fnmatch(3) reads them with no flags: "*" and "?" also match "/",
 * "[a-z]" and "[!a-z]" one byte, "\" takes the next byte as it is. Beside matching, two questions that
 * only a reader of patterns can answer: is this one well formed, and can two match the same name. */
#pragma once

#include <stdbool.h>

#include "orchestrator/base/error.h"

#define PATTERN_MAX 128 /* elements */

/* 0, or -EINVAL with what is wrong: "[" without "]", "\" at the end, "[:alpha:]", too long. */
int pattern_check(const char *pattern, Error *reterr);
/* True when the pattern can match one name only. */
bool pattern_is_exact(const char *pattern);
bool pattern_matches(const char *pattern, const char *name);
/* True when some name matches both; both are well formed. */
bool pattern_overlaps(const char *a, const char *b);
