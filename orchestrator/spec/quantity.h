/* Score's amounts: "250m" and "0.5" CPUs, "1.5Gi" bytes. Rounded up to whole units; beyond what an
 * int64_t holds they stay at INT64_MAX, which is no limit on any machine. */
#pragma once

#include <stdint.h>

#include "orchestrator/base/error.h"

/* -EINVAL for anything that the schema's pattern refuses. */
int quantity_cpu_milli(const char *s, int64_t *ret);
int quantity_memory_bytes(const char *s, int64_t *ret);
