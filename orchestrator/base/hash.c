/* The map: entries in insertion order in one array, and an open-addressed index into it. */
#include "orchestrator/base/hash.h"

#include <errno.h>
#include <string.h>

#include "orchestrator/base/id.h"

typedef struct Entry {
        char *key; /* owned, NULL when removed */
        void *value;
        uint64_t hash;
} Entry;

struct Map {
        Entry *entries;
        size_t n_used, n_room, n_live;
        uint32_t *index; /* entry number + 1, 0 when free; n_index is a power of two */
        size_t n_index;
        uint64_t seed;
        void (*release)(void *value);
};

uint64_t hash_bytes(uint64_t seed, const void *data, size_t size) {
        const unsigned char *at = data;
        uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;

        for (size_t i = 0; i < size; i++)
                h = (h ^ at[i]) * UINT64_C(0x100000001b3);
        return h ^ h >> 32;
}

uint64_t hash_string(uint64_t seed, const char *s) {
        return hash_bytes(seed, s, strlen(s));
}

Map *map_new(void (*release)(void *value)) {
        Map *m = calloc(1, sizeof(Map));

        if (!m)
                return NULL;
        m->release = release;
        m->seed = random_u64(&random_system);
        return m;
}

void map_free(Map *m) {
        if (!m)
                return;
        for (size_t i = 0; i < m->n_used; i++) {
                if (m->entries[i].key && m->release)
                        m->release(m->entries[i].value);
                free(m->entries[i].key);
        }
        free(m->entries);
        free(m->index);
        free(m);
}

static void index_put(Map *m, uint32_t number, uint64_t hash) {
        size_t slot = hash & (m->n_index - 1);

        while (m->index[slot])
                slot = (slot + 1) & (m->n_index - 1);
        m->index[slot] = number + 1;
}

/* Makes room for one more entry, dropping removed ones and rebuilding the index. */
static int map_grow(Map *m) {
        size_t room, n_index, n = 0;
        uint32_t *index;
        Entry *entries;

        room = m->n_live * 2 < 8 ? 8 : m->n_live * 2;
        n_index = 16;
        while (n_index < room * 2)
                n_index *= 2;
        entries = calloc(room, sizeof(Entry));
        index = calloc(n_index, sizeof(uint32_t));
        if (!entries || !index) {
                free(entries);
                free(index);
                return -ENOMEM;
        }
        for (size_t i = 0; i < m->n_used; i++)
                if (m->entries[i].key)
                        entries[n++] = m->entries[i];
        free(m->entries);
        free(m->index);
        m->entries = entries;
        m->index = index;
        m->n_index = n_index;
        m->n_room = room;
        m->n_used = n;
        for (size_t i = 0; i < n; i++)
                index_put(m, (uint32_t) i, entries[i].hash);
        return 0;
}

static Entry *map_find(const Map *m, const char *key) {
        uint64_t hash = hash_string(m->seed, key);

        if (m->n_index == 0)
                return NULL;
        for (size_t slot = hash & (m->n_index - 1); m->index[slot];
             slot = (slot + 1) & (m->n_index - 1)) {
                Entry *e = m->entries + m->index[slot] - 1;

                if (e->key && e->hash == hash && strcmp(e->key, key) == 0)
                        return e;
        }
        return NULL;
}

int map_put(Map *m, const char *key, void *value) {
        Entry *e = map_find(m, key);
        char *copy;

        if (e) {
                if (m->release && e->value != value)
                        m->release(e->value);
                e->value = value;
                return 0;
        }
        if (m->n_used == m->n_room) {
                int r = map_grow(m);

                if (r < 0)
                        return r;
        }
        copy = strdup(key);
        if (!copy)
                return -ENOMEM;
        e = m->entries + m->n_used;
        *e = (Entry){ .key = copy, .value = value, .hash = hash_string(m->seed, key) };
        index_put(m, (uint32_t) m->n_used, e->hash);
        m->n_used++;
        m->n_live++;
        return 0;
}

void *map_get(const Map *m, const char *key) {
        Entry *e = map_find(m, key);

        return e ? e->value : NULL;
}

int map_remove(Map *m, const char *key) {
        Entry *e = map_find(m, key);

        if (!e)
                return 0;
        if (m->release)
                m->release(e->value);
        free(e->key);
        e->key = NULL;
        e->value = NULL;
        m->n_live--;
        return 1;
}

size_t map_size(const Map *m) {
        return m->n_live;
}

void *map_next(const Map *m, size_t *at, const char **ret_key) {
        while (*at < m->n_used) {
                const Entry *e = m->entries + (*at)++;

                if (!e->key)
                        continue;
                if (ret_key)
                        *ret_key = e->key;
                return e->value;
        }
        return NULL;
}
