/* HAProxy's Runtime API (management guide, section 9.3) over its Unix socket: one connection for each
 * question, one question at a time, never waiting on the loop. */
#pragma once

#include "orchestrator/base/error.h"
#include "orchestrator/glue/loop.h"

typedef struct Runtime Runtime;

int runtime_new(Loop *loop, const char *socket_path, Runtime **ret, Error *reterr);
/* Forgets what was asked; nothing is called any more. */
Runtime *runtime_free(Runtime *r);

/* answer is everything that came, NULL when r is negative. */
typedef void (*RuntimeFunc)(void *userdata, int r, const char *answer);
/* Queues a line of commands (it becomes the Runtime's) that ends with a newline. done is called in a
 * later turn. */
int runtime_ask(Runtime *r, char *command, RuntimeFunc done, void *userdata);
/* Gives up all questions that wait, with -ECANCELED. */
void runtime_cancel(Runtime *r);

/* The same, waiting: for the start only. *ret is owned. */
int runtime_ask_now(const char *socket_path, const char *command, int timeout_ms, char **ret,
                    Error *reterr);

/* A connection that says nothing: *ret is readable when the process at the other end has ended or is
 * about to. */
int runtime_watch(const char *socket_path, int *ret, Error *reterr);

DEFINE_CLEANUP(Runtime *, runtime_free)
