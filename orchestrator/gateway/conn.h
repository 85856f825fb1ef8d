/* What the door's files share: one connection and its moves.
 *
 *   HEAD --> CONNECTING --> TUNNEL --> LINGER
 *    |  \      ^  |  \                   ^
 *    |   v     |  v   v                  |
 *    |  HELD --'  RETRY (refused)        |
 *    '------> ANSWER (a page) -----------'
 *
 * Each state that may not last for ever waits in the list of its deadline; all deadlines of one kind
 * have the same length, so each list is in order and the nearest is at its front. */
#pragma once

#include "orchestrator/base/list.h"
#include "orchestrator/gateway/door.h"
#include "orchestrator/gateway/head.h"

typedef enum ConnState {
        CONN_HEAD,       /* its first request head is being read */
        CONN_HELD,       /* its environment is waking */
        CONN_CONNECTING, /* to the endpoint */
        CONN_RETRY,      /* the endpoint refused, it is tried again */
        CONN_TUNNEL,
        CONN_ANSWER, /* an answer of our own is being written */
        CONN_LINGER, /* the last byte is written; what still comes is dropped */
        CONN_DEAD,   /* freed at the end of the batch */
} ConnState;

typedef enum ConnWait {
        WAIT_HEAD,
        WAIT_HOLD,
        WAIT_CONNECT,
        WAIT_RETRY,
        WAIT_LINGER,
        WAIT_HALF, /* the client said its last word */
        _WAIT_MAX,
        WAIT_NONE = _WAIT_MAX,
} ConnWait;

enum {
        CLIENT,
        BACKEND,
        _SIDE_MAX,
};

/* Bytes that were read and wait to be written: from at to n. */
typedef struct Buffer {
        char *data;
        size_t at, n, room;
} Buffer;

typedef struct Side {
        int fd;
        uint32_t events; /* asked of epoll; 0: not there */
        bool ended;      /* it will send no more */
} Side;

typedef struct Conn {
        Link all, of_site, waiting;
        Door *door;
        Site *site; /* NULL before the head was read, and for unknown hosts */
        Side sides[_SIDE_MAX];
        Buffer to_backend; /* begins with the head, which is kept until the endpoint replies */
        Buffer to_client;
        ConnState state;
        ConnWait wait;
        int64_t wait_ms;    /* deadline, boot clock */
        int64_t used_ms;    /* last byte, boot clock */
        int64_t refused_ms; /* until then a refusal is tried again; 0: none yet */
        uint64_t left;      /* bytes the client may still send to the endpoint */
        bool counts;        /* a person's: its traffic is use */
        bool upgrade;
        bool kept;        /* to_backend still begins with the head */
        bool repeatable;  /* what is kept is the whole request, and asking twice is harmless */
        bool prepared;    /* the head was made ready for the endpoint */
        bool replied;     /* the endpoint sent a byte */
        bool client_last; /* the last byte came from the client: it waits for an answer */
} Conn;

struct Door {
        const GatewaySetup *setup;
        Sites *sites;
        int listen_fd, epoll_fd;
        LoopSource *source, *timer, *turn_end;
        Address address;
        Link conns, dead, waits[_WAIT_MAX];
        Link due; /* sites of which the engine is told at the end of the turn */
        size_t n_conns, max_conns;
        size_t pending;     /* bytes in all buffers */
        int64_t now_ms;     /* boot clock, read once a batch */
        int64_t armed_ms;   /* of the timer; 0: off */
        int64_t starved_ms; /* no descriptors were left: no caller is taken before this time */
        bool one_request;
        bool accepting;
        char buffer[32 * 1024];
};

/* conn.c */
Conn *conn_new(Door *d, int fd);
void conn_close(Conn *c);
void conn_reset(Conn *c); /* so that the client sees that the end is missing */
void conn_set_state(Conn *c, ConnState state, ConnWait wait);
void conn_set_site(Conn *c, Site *site);
void conn_watch(Conn *c, int side, uint32_t events);
void conn_close_backend(Conn *c);
int conn_keep(Conn *c, Buffer *b, const char *data, size_t n); /* replaces what b held */
void conn_drop(Conn *c, Buffer *b);
/* Writes what waits: 1 all, 0 not yet all, negative errno. */
int conn_flush(Conn *c, Buffer *b, int side);

/* visit.c */
void visit_read(Conn *c);  /* bytes of a head have come */
void visit_again(Conn *c); /* a kept request: look once more what its host answers */
void visit_refused(Conn *c, bool again);
void visit_tell(Door *d); /* the engine, at the end of the turn */

/* tunnel.c */
void tunnel_start(Conn *c, const Head *head, const Endpoint *endpoint);
void tunnel_on_event(Conn *c, int side, uint32_t events);

/* answer.c */
void answer_page(Conn *c, const Head *head);
void answer_refusal(Conn *c, int status, const char *reason);
void answer_on_event(Conn *c, uint32_t events); /* also while it lingers */
void answer_finish(Conn *c);                    /* all is written */
