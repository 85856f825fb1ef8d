/* The network of one environment where we are root: a named network namespace, joined to the one
 * bridge of the installation by a veth pair whose host end is an isolated port (bridge(8)): frames go
 * to the host and back, never from one environment to another. What the host may answer but never be
 * asked is held by an nftables table of the installation's own.
 *
 * Names come from installation and resource alone:
 *   bridge "mf" + end of the installation, table "mayfly_" + installation, namespace
 *   "mf-" + 8 of the installation + "-" + resource, host end "mv" + end of the resource (alias: marker and
 *   number, see port.c).
 * Hardware addresses come from the IP address, so that nobody's neighbour table is ever stale. */
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "providers/sdk/sdk.h"

#define BRIDGE_NETNS_SIZE 64
#define NETNS_FOLDER      "/run/netns"

typedef struct Bridge {
        char name[IFNAMSIZ], table[64];
        char veth[IFNAMSIZ], netns[BRIDGE_NETNS_SIZE];
        uint32_t subnet; /* host byte order */
        unsigned prefix;
        struct in_addr address; /* of this network; 0 without a slot */
} Bridge;

/* Fills in the names. */
void bridge_names(const SdkCall *call, Bridge *ret);
/* Makes or repairs everything for this resource; the installation's lock is held within. */
int bridge_provision(SdkCall *call, Bridge *b, Error *reterr);
/* What there is. */
typedef struct BridgeSeen {
        bool namespace;
        bool device;    /* the host end */
        bool joined;    /* it is a port of the bridge */
        char *marker;   /* on the host end; owned, NULL without */
        int64_t number; /* on the host end; 0: none */
} BridgeSeen;
void bridge_look(const Bridge *b, BridgeSeen *ret);
void bridge_seen_done(BridgeSeen *seen);
/* Removes the resource's parts, and the installation's with its last network. */
int bridge_deprovision(SdkCall *call, const Bridge *b, Error *reterr);

/* ---- port.c ---- */

#define PORT_TRIES 4096
/* The marker (owned) and the number in a device's alias; 0 when there is none. */
int port_alias(const char *device, char **ret_marker, int64_t *ret_number);
/* Calls on_port for each device in the folder that has an alias, until it returns not 0. */
typedef int (*PortFunc)(void *userdata, const char *device, const char *marker, int64_t number);
int port_each(const char *folder, PortFunc on_port, void *userdata);
/* The number of this resource's address: own (0: none) when it has one already. The installation's
 * network lock is held. */
int port_number(const SdkCall *call, const Bridge *b, int64_t own, int64_t *ret, Error *reterr);

/* ---- bridge.c ---- */

/* "10.213.0.0/16" to its parts. */
int subnet_parse(const char *text, uint32_t *ret_subnet, unsigned *ret_prefix);
/* The i-th subnet to try when the admin names none, over and over; within 198.18.0.0/15. */
uint32_t subnet_candidate(unsigned i);
/* Does the subnet overlap a line of /proc/net/route (other than of the device except)? The default
 * route does not count. */
bool subnet_clashes(const char *routes, uint32_t subnet, unsigned prefix, const char *except);

/* In the network namespace we are in: loopback up, IPv6 off. */
int netns_prepare(void);
/* Makes NETNS_FOLDER, which exists, a shared mount. */
int netns_folder_share(void);
/* Moves this process (a child made for it) into a new network namespace, named path, and prepares it. */
int netns_make_named(const char *path);
/* Is there an nftables table of this name in the family inet? */
bool nft_table_exists(const char *name);
