/* The gateway: the door on its own (embedded default) or HAProxy with the door behind it. Both show the
 * ledger's routes. Its input from below is events for the engine, its face to the engine a FrontOps. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/time.h"
#include "orchestrator/ledger/front.h"
#include "orchestrator/glue/loop.h"
#include "orchestrator/ledger/ledger.h"

typedef struct Gateway Gateway;

typedef struct GatewaySetup {
        Loop *loop;
        Ledger *ledger; /* read only */
        const Clock *clock;
        const char *listen;   /* the door: "127.0.0.1:8150"; port 0 lets the system choose */
        bool beyond_loopback; /* without it another address than loopback is refused */
        const char *domain;
        const char *haproxy_listen;  /* NULL: the door alone */
        const char *haproxy_program; /* NULL: "haproxy" in PATH */
        int64_t hold_ms; /* how long a request waits for its environment; 0: LIMIT_DOOR_HOLD_MS */
        const char *run_dir; /* haproxy.cfg, routes.map, haproxy.sock, haproxy.pid */
        int (*page)(void *userdata, const Route *route, const char *host, int *ret_status,
                    char **ret_html, char **ret_plain,
                    Error *reterr); /* api/pages.c; route NULL: unknown */
        void *page_userdata;
        FrontEvents events;
} GatewaySetup;

int gateway_new(const GatewaySetup *setup, Gateway **ret, Error *reterr);
/* Leaves HAProxy and every preview running. */
Gateway *gateway_free(Gateway *g);
FrontOps gateway_front(Gateway *g);
/* The port that people use: the door's, or HAProxy's. */
uint16_t gateway_port(const Gateway *g);
/* Ends HAProxy too; for tests and for the end of an embedded installation. */
void gateway_stop_haproxy(Gateway *g);

DEFINE_CLEANUP(Gateway *, gateway_free)
