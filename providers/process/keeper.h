/* mayfly-keeper: the process that keeps a workload's containers running, a build while it lasts, or
 * (without root) a network namespace open. It survives the daemon and the provider that started it.
 *
 * It is process 1 of a process namespace of its own: when it ends, whatever way, the kernel ends
 * everything beneath it. It waits in poll(2) for descriptors and for the nearest of its times, so it
 * sleeps when nothing happens. It uses little of the machine: no event library, no crypto.
 *
 * Descriptors at its start: KEEPER_FD_... below. Standard input is the spec, one JSON object:
 *   role (workload, build, hold), marker, uid, digest, started_ms, run (absolute path of its folder),
 *   root, user, bwrap, inside, hostname, siblings, checkout, checkout_writable, visible, host_network, netns,
 *   address, ports [target ports that must answer], listeners [target port of each listener],
 *   containers [as in a workload's params, with argv, env and cwd], pids,
 *   start_timeout_ms, stop_timeout_ms, readiness_interval_ms, liveness_interval_ms, timeout_ms */
#pragma once

#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/limits.h"
#include "providers/process/lines.h"

enum {
        KEEPER_FD_BOOT = 3,  /* a connected control socket whose client waits */
        KEEPER_FD_RUN,       /* its folder */
        KEEPER_FD_LOCK,      /* a locked file: locked means alive */
        KEEPER_FD_NETNS,     /* network namespace of the containers, or /dev/null */
        KEEPER_FD_LISTENERS, /* and on: sockets that lead to the listeners' target ports */
};

typedef enum KeeperRole {
        KEEPER_WORKLOAD,
        KEEPER_BUILD,
        KEEPER_HOLD,
} KeeperRole;

typedef enum KeeperState {
        KEEPER_STARTING,
        KEEPER_READY,
        KEEPER_UNREADY, /* was ready; a container is being started again */
        KEEPER_FAILED,  /* never became ready; ends */
        KEEPER_STOPPING,
        KEEPER_STOPPED,
        _KEEPER_STATE_MAX,
} KeeperState;

typedef enum ContainerState {
        CONTAINER_WAITING, /* for containers before it, or for next_start_ms */
        CONTAINER_RUNNING,
        CONTAINER_DONE, /* ran to its end as it should */
        CONTAINER_STOPPED,
        _CONTAINER_STATE_MAX,
} ContainerState;

typedef struct Keeper Keeper;

typedef struct Container {
        Keeper *keeper;
        const json_t *spec; /* borrowed */
        const char *name;   /* borrowed */
        unsigned index;
        ContainerState state;
        pid_t pid;  /* bubblewrap; 0: none */
        pid_t init; /* process 1 inside, as seen by the keeper; 0: unknown or gone */
        int pidfd;  /* of init */
        int out, err, status, started; /* our ends; -1 when closed */
        LinesStream streams[2];
        Lines lines;
        char status_text[256]; /* what bubblewrap says about init */
        char **procs;          /* owned: control groups to join */
        bool limited;          /* procs have been made, as far as they can be */
        bool running;          /* the program itself has been executed */
        bool completes;        /* others wait for its end */
        bool healthy;          /* its readiness probe has passed since it was started */
        bool signalled;        /* it was told to end, or killed */
        int exit_status;       /* of bubblewrap */
        int64_t started_ms, next_start_ms, kill_ms; /* boot time; 0: none */
        int64_t delay_ms;
        unsigned restarts, quick_exits;
        /* the probe that is due or under way */
        pid_t probe;
        int64_t probe_next_ms, probe_end_ms, probe_delay_ms;
        unsigned probe_failures;
} Container;

typedef enum ClientKind {
        CLIENT_NEW,
        CLIENT_WAIT,
        CLIENT_STOP,
        CLIENT_WATCH,
} ClientKind;

typedef struct Client {
        int fd; /* -1: free */
        ClientKind kind;
        char *text; /* owned: request so far */
        size_t size;
} Client;

struct Keeper {
        json_t *spec;
        KeeperRole role;
        KeeperState state;
        bool root;
        int run_fd, logs_fd, netns_fd, inside_fd, listen_fd, signal_fd;
        Container *containers;
        size_t n_containers;
        Client clients[LIMIT_PROCESS_CLIENTS];
        Client *boot; /* the client that started a build: it ends with it; NULL when gone */
        int listeners[LIMIT_PROCESS_PORTS];
        uint16_t targets[LIMIT_PROCESS_PORTS];
        size_t n_listeners;
        pid_t forwarder;
        char *title;   /* argv[0]: always "mayfly-keeper" */
        char **notes;  /* owned */
        char *failure; /* owned sentence */
        const char *failure_class;
        int64_t started_ms, ready_ms; /* boot time */
        int64_t ports_next_ms, ports_delay_ms;
        bool ports_open;
        size_t build_log_bytes;
        int64_t start_timeout_ms, stop_timeout_ms, interval_ms, liveness_ms;
};

int64_t now_ms(void);
const char *keeper_state_to_string(KeeperState state);
/* The sooner of two times, where 0 is never. */
int64_t time_sooner(int64_t a, int64_t b);
/* The one door for the keeper's state; tells waiting clients. */
void keeper_move(Keeper *k, KeeperState to);
/* Fails the start: remembers the first cause and ends everything. */
void keeper_fail(Keeper *k, const char *class, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
void keeper_stop(Keeper *k);

/* container.c */
int container_init(Container *c, Keeper *k, unsigned index, Error *reterr);
void container_done(Container *c);
/* Does what is due and returns the next time something is, or 0. */
int64_t container_step(Container *c, int64_t now);
/* Tells it of a child's end; true when the child was its. */
bool container_on_exit(Container *c, pid_t pid, int status);
void container_read(Container *c, int *fd);
void container_kill(Container *c);
bool container_alive(const Container *c);
const json_t *container_before(const Container *c);

/* The launch record of its programs (see launch.h), in a new memory file. */
int container_record(const Container *c, int *ret_fd, Error *reterr);

/* probe.c */
bool probe_wanted(const Container *c);
int64_t probe_step(Container *c, int64_t now);
void probe_on_exit(Container *c, int status);
void probe_cancel(Container *c);
/* Does the port accept a connection where the gateway would connect? */
bool port_accepts(const Keeper *k, uint16_t port);
/* "127.0.0.1:3000, 0.0.0.0:9000": what listens in the network namespace of the process behind pidfd;
 * "" when nothing does; owned, NULL when out of memory. */
char *ports_listening(int pidfd);
/* One file in the form of /proc/net/tcp. */
void ports_parse(const char *text, StrBuf *b);

/* control.c */
int control_open(Keeper *k, Error *reterr);
void control_accept(Keeper *k);
void control_read(Keeper *k, Client *client);
/* Answers the clients that wait for what the state now is. */
void control_tell(Keeper *k);
void control_log(Keeper *k, const char *text, size_t size);
void client_close(Keeper *k, Client *client);

/* forward.c: never returns. Connections to listeners[i] go on to targets[i] of 127.0.0.1. */
__attribute__((noreturn)) void forward_run(const int *listeners, const uint16_t *targets, size_t n);
