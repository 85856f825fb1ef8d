/* libyaml's events into our tree. Scanning and parsing are libyaml's; what a scalar means is
 * yaml-scalar.c's; here are documents, anchors, merge keys, repeated keys and the limits.
 *
 * An alias is copied when it is met, so a bomb is counted while it unfolds and ends at the limit. Two
 * limits stop it: the number of nodes, and yaml.v3's own rule that not nearly all of a document may come
 * from aliases. */
#include "orchestrator/glue/yaml.h"

#include <math.h>
#include <stdio.h>
#include <yaml.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/yaml-arena.h"
#include "orchestrator/glue/yaml-scalar.h"

#define ALIAS_RATIO_MIN_NODES 1000 /* yaml.v3: small documents may be all aliases */
#define ALIAS_RATIO_MAX       0.99

typedef struct Parser {
        YamlTree *tree;
        const char *file;
        yaml_parser_t yaml;
        Raw *stack[LIMIT_SPEC_DEPTH]; /* open lists and maps; a map's children stand in items */
        size_t depth;
        Map *anchors;
        Raw *root;
        int r; /* -ENOMEM or -EBADMSG: stop */
} Parser;

/* ---- problems ---- */

/* Keeps a problem and ends the parsing. */
#define stop(p, place, hint, ...)                                          \
        ({                                                                 \
                if ((p)->r == 0)                                           \
                        tree_problem((p)->tree, place, hint, __VA_ARGS__); \
                (p)->r = -EBADMSG;                                         \
        })

static YamlPlace place_of(const Parser *p, yaml_mark_t mark) {
        return (YamlPlace){ p->file, (uint32_t) mark.line + 1, (uint32_t) mark.column + 1 };
}

/* The reader says where by a byte offset only. */
static YamlPlace place_of_offset(const Parser *p, const char *text, size_t size, size_t offset) {
        YamlPlace place = { p->file, 1, 1 };

        for (size_t i = 0; i < size && i < offset; i++)
                if (text[i] == '\n') {
                        place.line++;
                        place.column = 1;
                } else if (((unsigned char) text[i] & 0xc0) != 0x80) {
                        place.column++;
                }
        return place;
}

static void problem_of_parser(Parser *p, const char *text, size_t size) {
        static const struct {
                const char *problem, *hint;
        } hints[] = {
                { "found character that cannot start any token",
                  "indent with spaces, YAML takes no tabs; put text that begins with @, ` or % in quotes" },
                { "mapping values are not allowed in this context",
                  "put text that holds \": \" in quotes, and begin each key in the column of its siblings" },
                { "did not find expected key", "begin each key in the column of its siblings" },
                { "could not find expected ':'", "each line of a map is KEY: VALUE" },
                { "did not find expected '-' indicator",
                  "begin each item in the column of its siblings" },
                { "invalid leading UTF-8 octet", "save the file as UTF-8" },
                { "invalid trailing UTF-8 octet", "save the file as UTF-8" },
                { "incomplete UTF-8 octet sequence", "save the file as UTF-8" },
        };
        const char *problem = p->yaml.problem ? p->yaml.problem : "it is not YAML", *hint = NULL;
        YamlPlace place;

        if (p->yaml.error == YAML_MEMORY_ERROR) {
                p->r = -ENOMEM;
                return;
        }
        place = p->yaml.error == YAML_READER_ERROR
                        ? place_of_offset(p, text, size, p->yaml.problem_offset)
                        : place_of(p, p->yaml.problem_mark);
        for (size_t i = 0; i < N_ELEMENTS(hints); i++)
                if (streq(problem, hints[i].problem))
                        hint = hints[i].hint;
        stop(p, place, hint, "This is not YAML: %s%s%s", problem, p->yaml.context ? " " : "",
             p->yaml.context ? p->yaml.context : "");
}

/* ---- nodes ---- */

/* Every node passes here, those of a copy too. */
static Raw *node_new(Parser *p, YamlKind kind, YamlPlace place, bool aliased) {
        YamlTree *t = p->tree;
        Raw *raw;

        t->n_aliased += aliased;
        if (++t->n_nodes > LIMIT_SPEC_NODES) {
                stop(p, place, NULL, "There are more than %d values", LIMIT_SPEC_NODES);
                return NULL;
        }
        if (aliased && t->n_nodes > ALIAS_RATIO_MIN_NODES &&
            (double) t->n_aliased / (double) t->n_nodes > ALIAS_RATIO_MAX) {
                stop(p, place, "write the values out", "Nearly everything here comes from aliases");
                return NULL;
        }
        raw = tree_alloc(t, sizeof(Raw));
        if (!raw) {
                p->r = -ENOMEM;
                return NULL;
        }
        raw->node.kind = kind;
        raw->node.place = place;
        raw->node.text = "";
        return raw;
}

static Raw *node_copy(Parser *p, const Raw *from, size_t depth) {
        const YamlNode *node = &from->node;
        Raw *copy;

        if (depth > LIMIT_SPEC_DEPTH) {
                stop(p, node->place, NULL, "This is nested more than %d levels deep",
                     LIMIT_SPEC_DEPTH);
                return NULL;
        }
        copy = node_new(p, node->kind, node->place, true);
        if (!copy)
                return NULL;
        copy->odd = from->odd;
        copy->node.plain = node->plain;
        copy->node.text = node->text;
        switch (node->kind) {
        case YAML_KIND_LIST:
                for (size_t i = 0; i < node->n_items; i++) {
                        Raw *item = node_copy(p, (Raw *) node->items[i], depth + 1);

                        if (!item || yaml_append(p->tree, &copy->node, &item->node) < 0)
                                return NULL;
                }
                break;
        case YAML_KIND_MAP:
                copy->node.odd_keys = node->odd_keys;
                copy->node.entries = tree_alloc(p->tree, node->n_entries * sizeof(YamlEntry));
                if (!copy->node.entries)
                        return NULL;
                copy->node.room_entries = node->n_entries;
                for (size_t i = 0; i < node->n_entries; i++) {
                        Raw *value = node_copy(p, (Raw *) node->entries[i].value, depth + 1);

                        if (!value)
                                return NULL;
                        copy->node.entries[i] = node->entries[i];
                        copy->node.entries[copy->node.n_entries++].value = &value->node;
                }
                break;
        default:
                copy->node.integer = node->integer; /* as wide as the boolean and the double */
        }
        return copy;
}

/* ---- maps: repeated keys, merges ---- */

static bool is_collection(const YamlNode *node) {
        return node->kind == YAML_KIND_LIST || node->kind == YAML_KIND_MAP;
}

/* yaml.v3 compares keys as they are written: an alias by its name, 1 and "1" as the same. */
static int compare_raw_keys(const void *a, const void *b) {
        const Raw *x = *(Raw *const *) a, *y = *(Raw *const *) b;
        int n = strcmp(x->alias ? x->alias : x->node.text, y->alias ? y->alias : y->node.text);

        if (!x->alias != !y->alias)
                return x->alias ? 1 : -1;
        if (n != 0)
                return n;
        if (x->node.place.line != y->node.place.line)
                return x->node.place.line < y->node.place.line ? -1 : 1;
        return x->node.place.column < y->node.place.column ? -1 : 1;
}

static bool same_raw_key(const Raw *x, const Raw *y) {
        return !x->alias == !y->alias &&
               streq(x->alias ? x->alias : x->node.text, y->alias ? y->alias : y->node.text);
}

/* All of them are said; the parsing goes on. */
static void keys_check(Parser *p, Raw *const *keys, size_t n) {
        const Raw *first = keys[0];

        for (size_t i = 0; i < n; i++) {
                const YamlNode *key = &keys[i]->node;

                if (is_collection(key)) {
                        tree_problem(p->tree, key->place, NULL, "A key must be text, not %s",
                                     yaml_kind_to_string(key->kind));
                } else if (i > 0 && same_raw_key(first, keys[i])) {
                        tree_problem(p->tree, key->place, "keep one of them",
                                     "The key '%.*s' is here a second time, first in line %u",
                                     yaml_clip(key->text), key->text, first->node.place.line);
                } else {
                        first = keys[i];
                }
        }
}

/* map's items are key, value, key, value. */
static int map_check_keys(Parser *p, const YamlNode *pairs) {
        size_t n = pairs->n_items / 2;
        auto_cleanup(freep) Raw **keys = n > 0 ? calloc(n, sizeof(Raw *)) : NULL;

        if (n == 0)
                return 0;
        if (!keys)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                keys[i] = (Raw *) pairs->items[2 * i];
        qsort(keys, n, sizeof(Raw *), compare_raw_keys);
        keys_check(p, keys, n);
        return 0;
}

/* Entries by key while a map with merges is put together. */
static int map_add(Parser *p, YamlNode *map, Map *index, const YamlEntry *entry, bool replace) {
        size_t at = (size_t) map_get(index, entry->key);
        int r;

        if (at > 0) {
                if (replace)
                        map->entries[at - 1] = *entry;
                return 0;
        }
        r = tree_grow(p->tree, (void **) &map->entries, map->n_entries, &map->room_entries,
                      sizeof(YamlEntry));
        if (r < 0)
                return r;
        map->entries[map->n_entries++] = *entry;
        return map_put(index, entry->key, (void *) map->n_entries);
}

static int map_merge_one(Parser *p, YamlNode *map, Map *index, const Raw *from) {
        int r = 0;

        if (from->node.kind != YAML_KIND_MAP) {
                stop(p, from->node.place, NULL, "'<<' takes a map or a list of maps, not %s",
                     yaml_kind_to_string(from->node.kind));
                return p->r;
        }
        for (size_t i = 0; r == 0 && i < from->node.n_entries; i++) {
                YamlEntry entry = from->node.entries[i];

                entry.odd = false; /* yaml.v3: merged keys become text */
                r = map_add(p, map, index, &entry, false);
        }
        return r;
}

/* What is written in the map itself wins, then what is merged first. */
static int map_merge(Parser *p, YamlNode *map, Map *index, const Raw *from) {
        int r = 0;

        if (from->node.kind != YAML_KIND_LIST || from->alias)
                return map_merge_one(p, map, index, from);
        for (size_t i = 0; r == 0 && i < from->node.n_items; i++)
                r = map_merge_one(p, map, index, (Raw *) from->node.items[i]);
        return r;
}

static int map_fill(Parser *p, YamlNode *map, YamlNode *const *items, size_t n_items, bool simple) {
        auto_cleanup(map_freep) Map *index = simple ? NULL : map_new(NULL);
        const Raw *merge = NULL;
        int r;

        if (!simple && !index)
                return -ENOMEM;
        for (size_t i = 0; i < n_items; i += 2) {
                const Raw *key = (Raw *) items[i];
                YamlEntry entry = { key->node.text, key->node.place, key->odd, items[i + 1] };

                if (key->merge) {
                        merge = (Raw *) items[i + 1];
                        continue;
                }
                map->odd_keys = map->odd_keys || key->odd;
                if (simple)
                        map->entries[map->n_entries++] = entry;
                else if ((r = map_add(p, map, index, &entry, true)) < 0)
                        return r;
        }
        return merge ? map_merge(p, map, index, merge) : 0;
}

static int map_finish(Parser *p, Raw *raw) {
        YamlNode *map = &raw->node, pairs = *map;
        bool simple = true; /* no merge, no key that two spellings can name */
        int r;

        r = map_check_keys(p, &pairs);
        if (r < 0)
                return r;
        for (size_t i = 0; i < pairs.n_items; i += 2) {
                const Raw *key = (Raw *) pairs.items[i];

                simple = simple && !key->merge && !key->alias;
        }
        map->items = NULL;
        map->n_items = map->room_items = 0;
        if (simple) {
                map->room_entries = pairs.n_items / 2;
                map->entries = tree_alloc(p->tree, map->room_entries * sizeof(YamlEntry));
                if (!map->entries)
                        return -ENOMEM;
        }
        return map_fill(p, map, pairs.items, pairs.n_items, simple);
}

/* ---- events ---- */

static void attach(Parser *p, Raw *raw, const char *anchor) {
        if (!raw)
                return;
        if (anchor) {
                if (!p->anchors)
                        p->anchors = map_new(NULL);
                if (!p->anchors || map_put(p->anchors, anchor, raw) < 0)
                        p->r = -ENOMEM;
        }
        if (p->depth == 0)
                p->root = raw;
        else if (yaml_append(p->tree, &p->stack[p->depth - 1]->node, &raw->node) < 0)
                p->r = -ENOMEM;
}

static void on_open(Parser *p, YamlKind kind, const yaml_event_t *event, const char *anchor) {
        YamlPlace place = place_of(p, event->start_mark);
        Raw *raw;

        if (p->depth >= LIMIT_SPEC_DEPTH) {
                stop(p, place, NULL, "This is nested more than %d levels deep", LIMIT_SPEC_DEPTH);
                return;
        }
        raw = node_new(p, kind, place, false);
        attach(p, raw, anchor);
        if (!raw)
                return;
        raw->open = true;
        raw->odd = true;
        p->stack[p->depth++] = raw;
}

static void on_close(Parser *p) {
        Raw *raw = p->stack[--p->depth];
        int r;

        raw->open = false;
        if (raw->node.kind == YAML_KIND_MAP) {
                r = map_finish(p, raw);
                if (r < 0 && p->r == 0)
                        p->r = r;
        }
}

static void on_alias(Parser *p, const yaml_event_t *event) {
        const char *name = (const char *) event->data.alias.anchor;
        YamlPlace place = place_of(p, event->start_mark);
        Raw *meant = p->anchors ? map_get(p->anchors, name) : NULL, *copy;

        if (!meant) {
                stop(p, place, NULL, "There is no anchor '&%.*s' above this alias", yaml_clip(name),
                     name);
                return;
        }
        if (meant->open) {
                stop(p, place, NULL, "The value of '&%.*s' contains itself", yaml_clip(name), name);
                return;
        }
        if (++p->tree->n_aliases > LIMIT_SPEC_ALIASES) {
                stop(p, place, NULL, "There are more than %d aliases", LIMIT_SPEC_ALIASES);
                return;
        }
        copy = node_copy(p, meant, p->depth);
        if (!copy) {
                if (p->r == 0)
                        p->r = -ENOMEM;
                return;
        }
        copy->alias = yaml_text(p->tree, name);
        attach(p, copy, NULL);
}

/* The tag in its short form, or NULL for none and for "!". */
static const char *short_tag(const char *tag, char room[static 64]) {
        const char *after;

        if (!tag || streq(tag, "!") || !*tag)
                return NULL;
        after = str_after(tag, "tag:yaml.org,2002:");
        snprintf(room, 64, "%s%s", after ? "!!" : "", after ? after : tag);
        return room;
}

static void scalar_set(Parser *p, Raw *raw, const char *tag) {
        YamlNode *node = &raw->node;
        YamlScalar value;
        int r = yaml_scalar_resolve(tag, node->text, &value);

        if (r == -ENOMEM) {
                p->r = r;
                return;
        }
        if (r < 0) {
                stop(p, node->place, NULL, "'%.*s' cannot be read as %.*s", yaml_clip(node->text),
                     node->text, yaml_clip(tag), tag);
                return;
        }
        node->kind = value.kind;
        if (value.kind == YAML_KIND_BOOLEAN)
                node->boolean = value.boolean;
        else if (value.kind == YAML_KIND_INTEGER)
                node->integer = value.integer;
        else if (value.kind == YAML_KIND_FLOAT)
                node->number = value.number;
}

static void binary_set(Parser *p, Raw *raw) {
        auto_cleanup(freep) char *data = NULL;
        size_t size;
        int r;

        r = yaml_binary_decode(raw->node.text, &data, &size);
        if (r == -ENOMEM)
                p->r = r;
        else if (r < 0)
                stop(p, raw->node.place, NULL, "This is not base64");
        else if (memchr(data, 0, size) || !utf8_valid(data, size))
                stop(p, raw->node.place, NULL, "Bytes that are no text cannot be read here");
        else if (!(raw->node.text = tree_strndup(p->tree, data, size)))
                p->r = -ENOMEM;
}

static void on_scalar(Parser *p, const yaml_event_t *event) {
        const char *value = (const char *) event->data.scalar.value;
        bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        Raw *raw = node_new(p, YAML_KIND_STRING, place_of(p, event->start_mark), false);
        char room[64];
        const char *tag = short_tag((const char *) event->data.scalar.tag, room);

        if (!raw)
                return;
        if (memchr(value, 0, event->data.scalar.length)) {
                stop(p, raw->node.place, "binaryContent holds any bytes",
                     "Text must not contain the character NUL");
                return;
        }
        raw->node.text = tree_strndup(p->tree, value, event->data.scalar.length);
        if (!raw->node.text) {
                p->r = -ENOMEM;
                return;
        }
        raw->node.plain = plain && !tag;
        if (plain && streq(value, "<<") && (!tag || streq(tag, "!!merge")))
                raw->merge = true;
        else if (tag && streq(tag, "!!binary"))
                binary_set(p, raw);
        else if (tag || plain)
                scalar_set(p, raw, tag);
        raw->odd = (tag && !streq(tag, "!!str")) || raw->node.kind != YAML_KIND_STRING;
        attach(p, raw, (const char *) event->data.scalar.anchor);
}

static void on_document(Parser *p, const yaml_event_t *event) {
        const yaml_version_directive_t *version = event->data.document_start.version_directive;

        if (version && (version->major != 1 || version->minor != 1))
                stop(p, place_of(p, event->start_mark), "leave the %YAML line out",
                     "YAML %d.%d is not read here, only 1.1", version->major, version->minor);
}

/* One event of the first document; false when it is over. */
static bool on_event(Parser *p, const yaml_event_t *event) {
        switch (event->type) {
        case YAML_DOCUMENT_START_EVENT:
                on_document(p, event);
                break;
        case YAML_SCALAR_EVENT:
                on_scalar(p, event);
                break;
        case YAML_ALIAS_EVENT:
                on_alias(p, event);
                break;
        case YAML_SEQUENCE_START_EVENT:
                on_open(p, YAML_KIND_LIST, event, (const char *) event->data.sequence_start.anchor);
                break;
        case YAML_MAPPING_START_EVENT:
                on_open(p, YAML_KIND_MAP, event, (const char *) event->data.mapping_start.anchor);
                break;
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                on_close(p);
                break;
        case YAML_DOCUMENT_END_EVENT:
        case YAML_STREAM_END_EVENT:
                return false;
        default:
                break;
        }
        return true;
}

/* What follows the first document is not read; it is only noted that something is there. */
static void look_behind(Parser *p) {
        yaml_event_t event;

        if (!yaml_parser_parse(&p->yaml, &event)) {
                p->tree->second = place_of(p, p->yaml.problem_mark);
                return;
        }
        if (event.type == YAML_DOCUMENT_START_EVENT)
                p->tree->second = place_of(p, event.start_mark);
        yaml_event_delete(&event);
}

static void parse_document(Parser *p, const char *text, size_t size) {
        bool more = true;

        while (more && p->r == 0) {
                yaml_event_t event;

                if (!yaml_parser_parse(&p->yaml, &event)) {
                        problem_of_parser(p, text, size);
                        return;
                }
                more = on_event(p, &event);
                yaml_event_delete(&event);
        }
        if (p->r == 0)
                look_behind(p);
}

int yaml_parse(YamlTree *t, const char *file, const char *text, size_t size, YamlNode **ret) {
        Parser p = { .tree = t, .file = yaml_text(t, file) };
        size_t problems = t->n_problems;

        t->second = (YamlPlace){ 0 };
        if (!p.file)
                return -ENOMEM;
        if (size > LIMIT_SPEC_FILE_BYTES) {
                stop(&p, ((YamlPlace){ p.file, 0, 0 }), NULL, "The file has more than %d bytes",
                     LIMIT_SPEC_FILE_BYTES);
                return -EBADMSG;
        }
        if (!yaml_parser_initialize(&p.yaml))
                return -ENOMEM;
        yaml_parser_set_input_string(&p.yaml, (const unsigned char *) text, size);
        parse_document(&p, text, size);
        yaml_parser_delete(&p.yaml);
        map_free(p.anchors);
        if (p.r == 0 && t->n_problems > problems)
                p.r = -EBADMSG;
        if (p.r < 0)
                return p.r;
        *ret = p.root ? &p.root->node : NULL;
        return 0;
}
