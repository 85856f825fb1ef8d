/* Memory of a YAML tree: an arena, released as a whole. What a person changes later comes from it too. */
#include "orchestrator/glue/yaml-arena.h"

#include <stdio.h>

#include "orchestrator/base/str.h"

#define CHUNK_BYTES 16384

/* ---- the arena ---- */

void *tree_alloc(YamlTree *t, size_t size) {
        Chunk *c = t->chunks;
        void *p;

        size = (size + 15) & ~(size_t) 15;
        if (!c || c->room - c->used < size) {
                size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;

                c = malloc(sizeof(Chunk) + room);
                if (!c)
                        return NULL;
                *c = (Chunk){ .next = t->chunks, .room = room };
                t->chunks = c;
        }
        p = c->data + c->used;
        c->used += size;
        return memset(p, 0, size);
}

char *tree_strndup(YamlTree *t, const char *s, size_t size) {
        char *copy = tree_alloc(t, size + 1);

        return copy ? memcpy(copy, s, size) : NULL;
}

char *yaml_text(YamlTree *t, const char *text) {
        return tree_strndup(t, text, strlen(text));
}

int tree_grow(YamlTree *t, void **array, size_t n, size_t *room, size_t element) {
        size_t more = *room ? *room * 2 : 4;
        void *grown;

        if (n < *room)
                return 0;
        grown = tree_alloc(t, more * element);
        if (!grown)
                return -ENOMEM;
        if (n > 0)
                memcpy(grown, *array, n * element);
        *array = grown;
        *room = more;
        return 0;
}

YamlTree *yaml_tree_new(void) {
        return calloc(1, sizeof(YamlTree));
}

YamlTree *yaml_tree_free(YamlTree *t) {
        if (!t)
                return NULL;
        for (Chunk *c = t->chunks, *next; c; c = next) {
                next = c->next;
                free(c);
        }
        free(t);
        return NULL;
}

/* ---- problems ---- */

void tree_problem(YamlTree *t, YamlPlace place, const char *hint, const char *fmt, ...) {
        char text[512];
        va_list args;

        if (t->n_problems >= PROBLEMS_MAX)
                return;
        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        t->problems[t->n_problems++] = (YamlProblem){
                .place = place,
                .message = yaml_text(t, text) ?: "Out of memory",
                .hint = hint,
        };
}

const YamlProblem *yaml_problems(const YamlTree *t, size_t *ret_n) {
        *ret_n = t->n_problems;
        return t->problems;
}

YamlPlace yaml_second_document(const YamlTree *t) {
        return t->second;
}

/* ---- changing ---- */

static YamlNode *node_made(YamlTree *t, YamlKind kind, YamlPlace place, const char *text) {
        Raw *raw = tree_alloc(t, sizeof(Raw));

        if (!raw)
                return NULL;
        raw->node.kind = kind;
        raw->node.place = place;
        raw->node.text = yaml_text(t, text);
        return raw->node.text ? &raw->node : NULL;
}

YamlNode *yaml_new_string(YamlTree *t, YamlPlace place, const char *text) {
        return node_made(t, YAML_KIND_STRING, place, text);
}

YamlNode *yaml_new_map(YamlTree *t, YamlPlace place) {
        return node_made(t, YAML_KIND_MAP, place, "");
}

int yaml_set(YamlTree *t, YamlNode *map, const char *key, YamlPlace key_place, YamlNode *value) {
        YamlEntry *entry = yaml_entry(map, key), made = { .place = key_place, .value = value };
        int r;

        if (entry) {
                entry->place = key_place;
                entry->value = value;
                return 0;
        }
        made.key = yaml_text(t, key);
        if (!made.key)
                return -ENOMEM;
        r = tree_grow(t, (void **) &map->entries, map->n_entries, &map->room_entries,
                      sizeof(YamlEntry));
        if (r < 0)
                return r;
        map->entries[map->n_entries++] = made;
        return 0;
}

int yaml_append(YamlTree *t, YamlNode *list, YamlNode *value) {
        int r;

        r = tree_grow(t, (void **) &list->items, list->n_items, &list->room_items,
                      sizeof(YamlNode *));
        if (r < 0)
                return r;
        list->items[list->n_items++] = value;
        return 0;
}

int yaml_map_reserve(YamlTree *t, YamlNode *map, size_t n) {
        YamlEntry *entries;

        if (n <= map->room_entries)
                return 0;
        entries = tree_alloc(t, n * sizeof(YamlEntry));
        if (!entries)
                return -ENOMEM;
        if (map->n_entries > 0)
                memcpy(entries, map->entries, map->n_entries * sizeof(YamlEntry));
        map->entries = entries;
        map->room_entries = n;
        return 0;
}
