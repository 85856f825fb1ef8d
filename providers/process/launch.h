/* How a program inside a sandbox is started: a record of everything it gets (argv, environment,
 * working directory, user), handed through a memory file, and the last steps before execve(2).
 *
 * The environment that a branch declares must never reach a program outside the sandbox: LD_PRELOAD
 * and its kin would run the branch's code in bubblewrap itself, as root. So bubblewrap is started with
 * an environment of our own, and mayfly-inside, the first program in the sandbox, reads the record,
 * gives up its privileges and only then takes on the declared environment. Nothing of the record is
 * on a command line, where others could read it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct Launch {
        int64_t uid;        /* user and group to become; -1: stay who we are */
        int64_t processes;  /* RLIMIT_NPROC; 0: as it is */
        char *cwd;          /* owned */
        char **argv, **env; /* owned, NULL-terminated */
} Launch;

/* Where mayfly-inside finds the record, and itself. */
#define LAUNCH_FD         3
#define LAUNCH_INSIDE_FD  4
#define LAUNCH_STARTED_FD 5
/* Other descriptors that a sandbox is given start here. */
#define LAUNCH_FD_FREE 10

/* Writes the record into a new memory file; *ret_fd is at its start. */
int launch_write(const Launch *l, int *ret_fd, Error *reterr);
/* Reads it from its start; the descriptor stays the caller's. */
int launch_read(int fd, Launch *ret, Error *reterr);
void launch_done(Launch *l);

/* Gives up privileges, closes every descriptor above 2 and becomes the program; one byte goes to
 * started_fd (-1: none) right before. On failure writes one line to standard error and exits with 126
 * or 127, as shells do. */
__attribute__((noreturn)) void launch_exec(const Launch *l, int started_fd);

/* In a forked child: joins the namespaces of the process behind pidfd (its user namespace too, when
 * user_namespace), runs the program in them and exits as it did. */
__attribute__((noreturn)) void launch_enter(const Launch *l, int pidfd, bool user_namespace);
