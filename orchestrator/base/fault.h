/* Places where tests make things go wrong. A package is built with fault-fallback.c, in which these
 * are empty; meson option "points" selects fault.c.
 *
 * Crash points: MAYFLY_CRASH=NAME:N in the environment makes the N-th pass over the point NAME end
 * the process with SIGKILL. MAYFLY_POINTS=FILE appends each point's name to FILE as it is passed, so
 * that a test can enumerate them. With MAYFLY_CRASH_ONCE=FILE only the process that manages to make FILE
 * dies: the wish is inherited by every provider, and a provider that always dies proves nothing.
 *
 * Countdowns: fault_arm("alloc", n, m) makes calls n to n+m-1 of fault_hit("alloc") true. */
#pragma once

#include <stdbool.h>

void crash_point(const char *name);

bool fault_hit(const char *kind);
void fault_arm(const char *kind, unsigned n, unsigned times);
/* True when an armed countdown has fired since fault_arm(). */
bool fault_fired(void);
