/* The door: reads the first request head of a connection, finds the environment, then copies bytes
 * both ways, or holds the connection while the environment wakes, or answers with a page. One client
 * connection is one connection to an endpoint. It is no HTTP proxy: it adds and removes nothing, except
 * that a host with several paths, and whatever stands before the door, gets one request per connection
 * ("Connection: close"), because later requests of a connection are not read. */
#pragma once

#include "orchestrator/gateway/gateway.h"
#include "orchestrator/gateway/site.h"

typedef struct Door Door;

/* setup and sites stay the caller's. one_request: a front that pools connections stands before it. */
int door_new(const GatewaySetup *setup, Sites *sites, bool one_request, Door **ret, Error *reterr);
/* Ends every connection. */
Door *door_free(Door *d);
const Address *door_address(const Door *d);
/* What sites_read() said of a host: held requests go on, or are told why not. */
void door_site_changed(Door *d, Site *old, Site *now);
/* What the door itself saw of a site. */
void door_activity(Door *d, const Site *s, FrontActivity *ret);

DEFINE_CLEANUP(Door *, door_free)
