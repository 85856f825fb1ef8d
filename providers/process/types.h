/* The verbs of the three types. */
#pragma once

#include "providers/process/run.h"

int network_provision(SdkCall *call, Error *reterr);
int network_inspect(SdkCall *call, Error *reterr);
int network_deprovision(SdkCall *call, Error *reterr);
/* Opens a network's output "namespace" into plan->netns_fd or plan->holder_pidfd, which become the
 * caller's; *ret_egress: builds may use the host's network. */
int network_open(const SdkCall *call, const char *namespace, KeeperPlan *plan, bool *ret_egress,
                 Error *reterr);

int workload_provision(SdkCall *call, Error *reterr);
int workload_inspect(SdkCall *call, Error *reterr);
int workload_deprovision(SdkCall *call, Error *reterr);
int workload_sleep(SdkCall *call, Error *reterr);
int workload_wake(SdkCall *call, Error *reterr);
int workload_logs(SdkCall *call, Error *reterr);
int workload_exec(SdkCall *call, Error *reterr);

int build_provision(SdkCall *call, Error *reterr);
int build_inspect(SdkCall *call, Error *reterr);
int build_deprovision(SdkCall *call, Error *reterr);

int process_list(SdkCall *call, Error *reterr);
int process_watch(SdkCall *call, Error *reterr);

/* The user number of an environment's processes. */
int64_t spec_user(const SdkCall *call);
/* What the specs of builds and workloads have in common: a new object, owned by the caller. */
int spec_make(const Run *run, const char *role, json_t **ret, Error *reterr);
/* "KEY=value" strings: the usual ones, then the declared, which win. */
int spec_env(const SdkCall *call, const json_t *variables, json_t **ret, Error *reterr);
/* Waits for "ready" from a keeper that is starting. Failures come back with their class. */
int keeper_await(SdkCall *call, KeeperReader *reader, json_t **ret_reply, Error *reterr);
