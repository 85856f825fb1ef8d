/* A 64-bit hash and a map from strings to pointers. Not for secrets and not a proof of identity:
 * glue/crypto.h has SHA-256 for that. The map is seeded, so hostile keys cannot choose its chains. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/cleanup.h"

/* FNV-1a, 64 bits (Fowler, Noll, Vo), started from seed. Stable: may be stored. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t size);
uint64_t hash_string(uint64_t seed, const char *s);

typedef struct Map Map;

/* NULL when out of memory. release is called for a value that is replaced or left; may be NULL. */
Map *map_new(void (*release)(void *value));
void map_free(Map *m);
/* Copies key. 0 or -ENOMEM. */
int map_put(Map *m, const char *key, void *value);
void *map_get(const Map *m, const char *key);
/* 1 when the key was there, else 0. */
int map_remove(Map *m, const char *key);
size_t map_size(const Map *m);
/* Walks in insertion order. Start with *at = 0; returns NULL at the end. Removing the key just
 * returned is allowed, adding is not. */
void *map_next(const Map *m, size_t *at, const char **ret_key);

DEFINE_CLEANUP(Map *, map_free)
