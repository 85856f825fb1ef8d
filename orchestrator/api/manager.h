/* The daemon's one object: the loop, the ledger, the engine, the gateway and the API, made in order by
 * manager_start() and undone in reverse. Previews are no part of it: they go on when it ends. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/hash.h"
#include "orchestrator/base/log.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/gateway/gateway.h"
#include "orchestrator/glue/http-server.h"
#include "orchestrator/glue/loop.h"
#include "orchestrator/ledger/ledger.h"
#include "orchestrator/spec/config.h"

/* What the command line says; it wins over mayflyd.yaml. NULL: not said. */
typedef struct ManagerOptions {
        const char *state;  /* "/var/lib/mayfly" */
        const char *config; /* mayflyd.yaml; NULL: none */
        const char *socket; /* NULL: STATE/api.sock */
        const char *listen, *front, *front_listen, *domain;
} ManagerOptions;

typedef struct Runner Runner;
typedef struct ApiCall ApiCall;
typedef struct Follower Follower;
typedef struct Stream Stream;
typedef struct BranchesJob BranchesJob;
typedef struct Backup Backup;

typedef struct Manager {
        const ManagerOptions *options;
        char *state_dir, *socket_path, *gitconfig;
        int lock_fd;
        int64_t started_boot_ms;

        Config *config;
        char *config_fault; /* why the file as it is now was not taken; NULL */

        Loop *loop;
        LoopSource *turn, *deadline, *retry, *trim, *clock_steps;
        LoopSource *signals[3];
        int clock_fd;

        Ledger *ledger;
        Runner *runner;
        Gateway *gateway;
        Engine *engine;
        bool stopping;
        char *front_url; /* "http://%s.preview.localhost:8150" */

        HttpServer *server;
        gid_t group; /* members of "mayfly" may use the API; (gid_t) -1: no such group */
        ApiCall *calls;
        Follower *followers;
        Stream *streams;
        Backup *backup; /* the one that is made or sent now */
        BranchesJob *jobs;
        unsigned n_jobs; /* running ones */
        Map *compares;   /* project id -> Compare that waits */
} Manager;

int manager_start(const ManagerOptions *options, Manager **ret, Error *reterr);
/* Until a signal ends it. */
int manager_run(Manager *m, Error *reterr);
Manager *manager_free(Manager *m);

/* Something changed: a turn of the engine at the end of this turn of the loop. */
void manager_want_turn(Manager *m);
/* One record for something an operator may filter on: in the journal with its id, else a log line. */
void manager_tell(LogLevel level, const char *message_id, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
/* "http://feature-login--shop.preview.localhost:8150", owned. */
char *manager_url(const Manager *m, const char *label);

DEFINE_CLEANUP(Manager *, manager_free)
