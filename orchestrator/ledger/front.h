/* The gateway as the engine sees it: told what each host answers, asked when it was last used. The
 * truth about routes is the ledger; this only makes it visible. The gateway never deletes anything. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct FrontActivity {
        int64_t last_visit_ms; /* wall clock; 0: no visit seen by this front */
        unsigned open;         /* requests and websockets open now */
        bool known;            /* false: this front could not say, which is not "unused" */
} FrontActivity;

typedef struct FrontOps {
        /* The ledger's row for this host changed (or is gone): read it again. After the commit. */
        void (*host_changed)(void *userdata, const char *host);
        /* What is known of an environment's use. May call done at once or later in another turn. */
        void (*activity)(void *userdata, const char *environment_id, const char *host,
                         void (*done)(void *done_userdata, const char *environment_id,
                                      const FrontActivity *activity),
                         void *done_userdata);
        void *userdata;
} FrontOps;

/* What the gateway tells the engine. */
typedef struct FrontEvents {
        /* Somebody visits: wake it when it sleeps. Robots and probes are left out already. */
        void (*on_visit)(void *userdata, const char *environment_id);
        /* An endpoint that should answer refused the connection: look at its workload. */
        void (*on_refused)(void *userdata, const char *environment_id);
        void *userdata;
} FrontEvents;
