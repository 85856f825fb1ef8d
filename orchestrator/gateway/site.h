/* What each host answers, in memory: the ledger's routes as both fronts read them, and what the door
 * saw of their use. A host has one Site as long as its route belongs to the same environment. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/list.h"
#include "orchestrator/ledger/ledger.h"

typedef enum Answer {
        ANSWER_DIRECT,
        ANSWER_ASLEEP,
        ANSWER_WAKING,
        ANSWER_BUILDING,
        ANSWER_FAILED,
        ANSWER_GONE,
        _ANSWER_MAX,
        _ANSWER_INVALID = -EINVAL,
} Answer;

const char *answer_to_string(Answer a);
Answer answer_from_string(const char *s);

typedef union Address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
} Address;

/* "127.0.0.1:8150" or "[::1]:8150": numbers only, no names. */
int address_parse(const char *s, Address *ret, Error *reterr);
int address_make(const char *host, uint16_t port, Address *ret);
socklen_t address_size(const Address *a);
bool address_is_loopback(const Address *a);
#define ADDRESS_TEXT_MAX 56
char *address_format(const Address *a, char buf[static ADDRESS_TEXT_MAX]);

typedef struct Endpoint {
        char *path; /* "/" or "/api", without a final slash */
        Address address;
} Endpoint;

typedef struct Site {
        char *host, *environment_id;
        Answer answer;
        Endpoint *endpoints; /* longest path first */
        size_t n_endpoints;

        unsigned n_refs; /* the table's and one for each connection */
        bool listed;     /* false: its route is gone or belongs to another environment */
        Link conns;      /* the door's connections that asked for it */
        unsigned n_held;
        int64_t visit_ms;            /* last visit or traffic of one, boot clock; 0: none seen */
        int64_t told_ms, refused_ms; /* when the engine was last told, boot clock; 0: never */
        Answer told_answer;
        bool visit_due, refused_due; /* the engine will be told at the end of this turn */
        Link due;                    /* in the door's list of sites to tell of */
        bool dirty;                  /* HAProxy does not show it yet */
} Site;

typedef struct Sites Sites;

int sites_new(Ledger *ledger, Sites **ret, Error *reterr);
Sites *sites_free(Sites *s);
/* NULL: no such host. */
Site *sites_get(const Sites *s, const char *host);
/* Reads the route again. *ret_old: what it was until now when it is not that any more (owned: unref
 * it), else NULL. *ret_now: what it is now, borrowed; NULL when there is no route. */
int sites_read(Sites *s, const char *host, Site **ret_old, Site **ret_now, Error *reterr);
Site *sites_next(const Sites *s, size_t *at);
size_t sites_count(const Sites *s);

Site *site_ref(Site *s);
Site *site_unref(Site *s);
/* The endpoint of the longest path that holds this one on a border of its segments; NULL: none. */
const Endpoint *site_endpoint(const Site *s, const char *path, size_t n);

DEFINE_CLEANUP(Sites *, sites_free)
DEFINE_CLEANUP(Site *, site_unref)
