/* A failure is an int that steers the program (negative errno) and one sentence for a person. */
#pragma once

#include <errno.h>
#include <stdarg.h>

#include "orchestrator/base/cleanup.h"

typedef struct Error {
        int code;      /* negative errno, 0 when unset */
        char *message; /* owned, one sentence for a person, may be NULL */
} Error;

/* Records a failure and returns code. The first cause wins: a second call changes nothing and still
 * returns its own code. e may be NULL. Out of memory leaves the message NULL. */
int error_set(Error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int error_setv(Error *e, int code, const char *fmt, va_list args)
        __attribute__((format(printf, 3, 0)));

/* Puts "context: " before the sentence already there, or sets it when there is none. Returns code. */
int error_prefix(Error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The sentence, or strerror's word for the code; never NULL. Valid as long as e is unchanged. */
const char *error_text(const Error *e, int code);

/* Forgets the failure, so that e can be used again. */
void error_done(Error *e);

#define auto_error auto_cleanup(error_done) Error
