/* HAProxy as the front: configured once, never reloaded for a route. One map entry for each awake host,
 * changed over the Runtime API; every other host goes to the door, and so does a request whose endpoint
 * does not answer. It runs apart from the daemon (a session of its own) and is found again by its
 * socket; one idle connection to that socket tells when its process ends. */
#pragma once

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/site.h"

typedef struct Haproxy Haproxy;

/* Finds the running one, or starts one, and shows it all sites. setup and sites stay the caller's. */
int haproxy_new(const GatewaySetup *setup, Sites *sites, const Address *door, Haproxy **ret,
                Error *reterr);
/* Leaves the process running. */
Haproxy *haproxy_free(Haproxy *h);
void haproxy_stop(Haproxy *h);
uint16_t haproxy_port(const Haproxy *h);
void haproxy_site_changed(Haproxy *h, const char *host);

/* activity->known is false when it could not be read. */
typedef void (*HaproxyActivityFunc)(void *userdata, const char *host,
                                    const FrontActivity *activity);
int haproxy_activity(Haproxy *h, const char *host, HaproxyActivityFunc done, void *userdata);

DEFINE_CLEANUP(Haproxy *, haproxy_free)
