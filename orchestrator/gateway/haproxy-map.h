/* What HAProxy shows: its two maps kept equal to the sites, and its stick table read. */
#pragma once

#include "orchestrator/gateway/haproxy.h"
#include "orchestrator/gateway/runtime.h"

typedef struct HaproxyMap HaproxyMap;

int haproxy_map_new(const GatewaySetup *setup, Sites *sites, Runtime *runtime, HaproxyMap **ret,
                    Error *reterr);
HaproxyMap *haproxy_map_free(HaproxyMap *m);
/* The files that a new process reads. */
int haproxy_map_write(HaproxyMap *m, Error *reterr);
/* A process answers: replace its maps as a whole, then follow changes. */
void haproxy_map_up(HaproxyMap *m);
/* It does not any more. */
void haproxy_map_down(HaproxyMap *m);
void haproxy_map_changed(HaproxyMap *m, const char *host);
/* lost_ms (boot clock): visits before are not in the table. */
int haproxy_map_activity(HaproxyMap *m, const char *host, int64_t lost_ms, HaproxyActivityFunc done,
                         void *userdata);

DEFINE_CLEANUP(HaproxyMap *, haproxy_map_free)
