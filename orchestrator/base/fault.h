/* Places where tests make things go wrong. A package is built with fault-fallback.c, in which these
 * are empty; meson option "points" selects fault.c.
 *
 * Crash points: MAYFLY_CRASH=NAME:N in the environment makes the N-th pass over the point NAME end
 * the process with SIGKILL; of NAME:N,NAME:N,... each wish counts from the moment that the one before it
 * came true. MAYFLY_POINTS=FILE appends each point's name to FILE as it is passed, so that a test can
 * see which there are. With MAYFLY_CRASH_COUNT=FILE all processes count together, one byte of FILE for
 * each pass: the wishes are inherited by every provider, and one that always dies proves nothing.
 *
 * Clock: MAYFLY_CLOCK=FILE adds the milliseconds that FILE holds to the wall clock, and is read at each
 * look at it, so that a test can set the clock of a running daemon.
 *
 * Countdowns: fault_arm("alloc", n, m) makes calls n to n+m-1 of fault_hit("alloc") true. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void crash_point(const char *name);
/* The point "call.VERB.WHEN" of a provider call. */
void crash_point_call(const char *when, const char *verb);

/* How far a test has set the wall clock. */
int64_t fault_clock_ms(void);

bool fault_hit(const char *kind);
void fault_arm(const char *kind, unsigned n, unsigned times);
/* True when an armed countdown has fired since fault_arm(). */
bool fault_fired(void);
