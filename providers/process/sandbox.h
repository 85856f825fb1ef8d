/* The sandbox of one container, as arguments for bubblewrap (bwrap(1)).
 *
 * A read-only system: /usr and the few files of /etc that programs need; private /tmp, /run, /dev and
 * /proc; process, IPC and host name namespaces of its own; the checkout at /app; declared files and
 * volumes at their targets; nothing else of the machine. The root of the sandbox is read-only too.
 *
 * A branch chooses targets and the content of its checkout and volumes, so nothing is ever made or
 * opened by a path through them: a target inside the checkout or the system becomes part of an overlay
 * (read-only, our layer above the folder), a volume's folder is opened beneath its top without
 * following links and handed over as a descriptor. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"

#define SANDBOX_APP "/app"
#define SANDBOX_UID 1000 /* seen inside when there is a user namespace */

/* All borrowed. */
typedef struct SandboxSpec {
        const char *bwrap; /* the program */
        bool root;         /* really root: no user namespace, the program becomes uid */
        uid_t uid;
        const char *hostname;
        const json_t *siblings; /* names that mean this machine inside */
        const char *checkout;   /* absolute folder */
        bool checkout_writable;
        const json_t *files, *volumes; /* arrays as in a workload's params, or NULL */
        const json_t *visible; /* array of absolute paths of the host, from the admin, or NULL */
        bool host_network;     /* the host's resolver is of use */
        const char *folder;    /* absolute path; made anew here, ours alone */
        int status_fd;         /* bubblewrap's --json-status-fd, at least LAUNCH_FD_FREE */
} SandboxSpec;

typedef struct SandboxOverlay {
        char *below, *layer, *merged; /* owned; folder covered, our layer, where both are mounted */
} SandboxOverlay;

#define SANDBOX_OVERLAYS 8
typedef struct Sandbox {
        char **argv; /* owned */
        int *fds;    /* owned; to be inherited by bubblewrap */
        size_t n_fds;
        SandboxOverlay overlays[SANDBOX_OVERLAYS];
        size_t n_overlays;
} Sandbox;

int sandbox_prepare(const SandboxSpec *spec, Sandbox *ret, Error *reterr);
void sandbox_done(Sandbox *s);
/* Takes the descriptor on success. */
int sandbox_keep_fd(Sandbox *s, int fd);

/* In a forked child with its standard descriptors in place: mounts, hands over record, inside and
 * started, and becomes bubblewrap. Exits with 126 on failure, with a line on standard error. */
__attribute__((noreturn)) void sandbox_exec(const Sandbox *s, int record_fd, int inside_fd,
                                            int started_fd);

/* The path a target is really mounted at ("/bin/x" is "/usr/bin/x"), owned. Refuses what is not
 * absolute, has "." or ".." or empty components, or lies in /proc, /dev or /sys. */
int sandbox_target(const char *target, char **ret, Error *reterr);
/* The path inside (under /app) of a folder of the checkout, owned. */
int sandbox_directory(const char *checkout, const char *directory, char **ret, Error *reterr);

DEFINE_CLEANUP(Sandbox *, sandbox_done)
