/* Limits through control groups, version 2 (where the folder is delegated to us or we are root) or
 * version 1 (root). One folder for each container, "mayfly-RESOURCE.NUMBER", beneath the top of each
 * hierarchy; found again by that name alone. Where there is none, the caller says so in words. */
#pragma once

#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct CgroupLimits {
        int64_t cpu_milli;    /* thousandths of a processor; 0: no limit */
        int64_t memory_bytes; /* 0: no limit */
        int64_t pids;         /* 0: no limit */
} CgroupLimits;

/* Makes the groups. *ret_procs (owned list) are the files a process joins by writing "0" to them.
 * *ret_missing (owned list) names what could not be limited: "cpu", "memory", "pids". Only lack of
 * memory is an error. */
int cgroup_make(const char *uid, unsigned number, const CgroupLimits *limits, char ***ret_procs,
                char ***ret_missing);

/* Adds the paths of the resource's groups to *list. */
int cgroup_list(const char *uid, char ***list);

/* Removes the groups of the resource, and ends what stays in one; paths of those removed are added to
 * *removed (may be NULL). -EBUSY when one is still in use. */
int cgroup_remove(const char *uid, char ***removed);
