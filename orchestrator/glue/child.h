/* Child processes: started in a process group of their own, with pipes for standard input, output and
 * error, and a descriptor that says when they ended (pidfd_open(2)). No shell is ever involved. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"

typedef struct Child {
        pid_t pid; /* also the process group; 0 when there is none */
        int pidfd; /* readable when it ended */
        int in, out,
                err; /* our ends: in to write, out and err to read, non-blocking; -1 when absent */
} Child;

#define CHILD_NONE ((Child){ .pidfd = -1, .in = -1, .out = -1, .err = -1 })

typedef enum ChildFlags {
        CHILD_IN = 1 << 0,        /* pipe to its standard input, else /dev/null */
        CHILD_OUT = 1 << 1,       /* pipe from its standard output, else ours */
        CHILD_ERR = 1 << 2,       /* pipe from its standard error, else ours */
        CHILD_SESSION = 1 << 3,   /* a session of its own: it outlives us and our terminal */
        CHILD_DIE = 1 << 4,       /* gets SIGKILL when this process ends (prctl PR_SET_PDEATHSIG) */
        CHILD_OUR_GROUP = 1 << 5, /* stays in our process group: what ends us ends it */
} ChildFlags;

/* Starts argv[0] (an absolute path, or a name looked up in our PATH) with exactly the environment env
 * (NULL: ours). A program that cannot be executed is an error here, not an early exit. */
int child_start(char *const *argv, char *const *env, ChildFlags flags, Child *ret, Error *reterr);

/* Raises this process's soft limit of open files to the hard one. What child_start() starts gets what
 * it was before: programs that use select(2), or close every possible descriptor, rely on a low one. */
int child_raise_files(Error *reterr);

/* Signals the whole group; 0 also when it is gone. */
int child_kill(const Child *c, int signal);

/* Reaps it: 1 and *ret_status as waitpid(2) gives it, 0 when it still runs (never waits), or negative
 * errno. After 1 pid is 0, but what is left of the group can still be signalled before that. */
int child_reap(Child *c, int *ret_status);

/* Kills what still runs, closes the descriptors, reaps. */
void child_done(Child *c);

/* Runs argv to its end and collects its output (both at most max bytes; -EFBIG kills it). For
 * providers and tools, never on the loop. timeout_ms 0 is no limit; -ETIMEDOUT kills the group.
 * *ret_status as waitpid(2). ret_out and ret_err may be NULL. */
int child_run(char *const *argv, char *const *env, const char *input, size_t max, int timeout_ms,
              char **ret_out, char **ret_err, int *ret_status, Error *reterr);

/* The same with flags of its own; pipes are made for all three. */
int child_run_with(char *const *argv, char *const *env, ChildFlags flags, const char *input,
                   size_t max, int timeout_ms, char **ret_out, char **ret_err, int *ret_status,
                   Error *reterr);

/* "exited with code 1", "was ended by signal 9 (Killed)"; buf of at least 64 bytes. */
char *child_status_format(int status, char buf[static 64]);
