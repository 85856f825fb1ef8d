/* YAML into a tree of our own, in which every node knows its file, line and column. The dialect is the
 * one the Score tools read (gopkg.in/yaml.v3): YAML 1.1 numbers, 1.2 words, merge keys, repeated keys
 * refused, only the first document read. JSON is read too, being YAML.
 *
 * The tree may be changed after parsing (overrides, upgrades); what is put in keeps the place where it
 * was written. Everything belongs to the YamlTree and is released with it; nothing is shared between
 * two places of the tree, because aliases are copied. All strings are valid UTF-8 without NUL. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef enum YamlKind {
        YAML_KIND_NULL,
        YAML_KIND_BOOLEAN,
        YAML_KIND_INTEGER,
        YAML_KIND_FLOAT,
        YAML_KIND_STRING,
        YAML_KIND_TIMESTAMP, /* 2024-01-01: not a JSON type */
        YAML_KIND_LIST,
        YAML_KIND_MAP,
        _YAML_KIND_MAX,
} YamlKind;

/* "a number", "text", "a map", ... */
const char *yaml_kind_to_string(YamlKind kind);

typedef struct YamlPlace {
        const char *file;
        uint32_t line, column; /* from 1, in characters; 0: no place */
} YamlPlace;

typedef struct YamlNode YamlNode;

typedef struct YamlEntry {
        const char *key;
        YamlPlace place; /* of the key */
        bool odd;        /* the key is not text: 8080, true, null */
        YamlNode *value;
} YamlEntry;

struct YamlNode {
        YamlKind kind;
        YamlPlace place;
        bool plain;       /* a scalar written without quotes or block marks */
        bool odd_keys;    /* a map with a key that is not text, so no JSON object */
        const char *text; /* a scalar as it was written; "" for lists and maps */
        union {
                bool boolean;
                int64_t integer;
                double number;
                struct {
                        YamlNode **items;
                        size_t n_items, room_items;
                };
                struct {
                        YamlEntry *entries; /* in the order of the file */
                        size_t n_entries, room_entries;
                };
        };
};

typedef struct YamlTree YamlTree;

typedef struct YamlProblem {
        YamlPlace place;
        const char *message;
        const char *hint; /* or NULL */
} YamlProblem;

YamlTree *yaml_tree_new(void);
YamlTree *yaml_tree_free(YamlTree *t);

/* Reads the first document of text into *ret. -EBADMSG when it is not readable: yaml_problems() has the
 * reasons; -ENOMEM. *ret is NULL when there is no document at all. May be called again for another file
 * of the same tree; the limits of base/limits.h hold for the tree as a whole. */
int yaml_parse(YamlTree *t, const char *file, const char *text, size_t size, YamlNode **ret);
const YamlProblem *yaml_problems(const YamlTree *t, size_t *ret_n);
/* The place of a second document in the file read last, or line 0. */
YamlPlace yaml_second_document(const YamlTree *t);

/* The value under key, or NULL; node may be NULL or of any kind. */
YamlNode *yaml_get(const YamlNode *node, const char *key);
YamlEntry *yaml_entry(const YamlNode *node, const char *key);
/* What a JSON pointer ("/containers/web/files/~1etc~1x", "" for the root) names. *ret_entry (may be
 * NULL) is the map entry of the last step, NULL in lists. NULL when there is no such thing. */
YamlNode *yaml_at(YamlNode *root, const char *pointer, YamlEntry **ret_entry);

/* Changing the tree. Strings are copied into it. NULL or -ENOMEM when out of memory. */
YamlNode *yaml_new_string(YamlTree *t, YamlPlace place, const char *text);
YamlNode *yaml_new_map(YamlTree *t, YamlPlace place);
/* Puts the value under key, in place of the one there. */
int yaml_set(YamlTree *t, YamlNode *map, const char *key, YamlPlace key_place, YamlNode *value);
/* Room for n entries at least, so that entries may be filled in directly. */
int yaml_map_reserve(YamlTree *t, YamlNode *map, size_t n);
void yaml_remove(YamlNode *map, const char *key);
int yaml_append(YamlTree *t, YamlNode *list, YamlNode *value);
void yaml_remove_at(YamlNode *list, size_t at);
char *yaml_text(YamlTree *t, const char *text);

/* A JSON copy. Timestamps become the text they were written as; -EINVAL for a map with odd keys and for
 * numbers that JSON does not have. */
int yaml_to_json(const YamlNode *node, json_t **ret, Error *reterr);

/* For "%.*s" in messages: at most 80 bytes, ending with a whole character. */
int yaml_clip(const char *s);

static inline void yaml_tree_freep(YamlTree **t) {
        yaml_tree_free(*t);
}
