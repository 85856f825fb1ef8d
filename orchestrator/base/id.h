/* Identifiers and randomness. Names of things in the world are made from these before the things
 * exist, so they are short, safe in paths, labels and interface names, and never reused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Random {
        void (*fill)(void *userdata, void *buf, size_t size);
        void *userdata;
} Random;

/* getrandom(2). */
extern const Random random_system;

uint64_t random_u64(const Random *random);
/* Uniform in [0, n); n > 0. */
uint64_t random_below(const Random *random, uint64_t n);

/* One letter for the kind and 19 of [0-9a-z], about 98 bits: "e3k9..." for an environment. */
#define ID_SIZE 21
void id_make(const Random *random, char kind, char buf[static ID_SIZE]);
/* Whether text looks like one: the letter, then [0-9a-z], no longer than id_make() makes them. */
bool id_possible(const char *text, char kind);

/* A W3C trace id (Trace Context, section 3.2.2.3): 32 lower-case hex digits, not all zero. */
#define TRACE_SIZE 33
void trace_make(const Random *random, char buf[static TRACE_SIZE]);
