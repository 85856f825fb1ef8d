#include "orchestrator/spec/shape.h"

#include <inttypes.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/json.h"

typedef struct Reader {
        SpecFaults *faults;
        bool bad;
} Reader;

static int shape_value(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                       json_t **ret);

#define FAULT(v, place, path, hint, ...)                                                    \
        do {                                                                                \
                (v)->bad = true;                                                            \
                spec_faults_add((v)->faults, SPEC_STAGE_SCHEMA, (place).file, (place).line, \
                                (place).column, path, hint, __VA_ARGS__);                   \
        } while (0)

static char *path_add(const char *path, const char *key) {
        auto_strbuf b = { 0 };

        strbuf_add(&b, path);
        json_pointer_add(&b, key);
        return strbuf_take(&b);
}

static const char *name_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : "the file";
}

static int wrong_kind(Reader *v, const YamlNode *node, const char *path, const char *wanted) {
        FAULT(v, node->place, path, NULL, "'%s' must be %s, not %s", name_of(path), wanted,
              yaml_kind_to_string(node->kind));
        return 0;
}

static bool node_is_scalar(const YamlNode *node) {
        return node->kind == YAML_KIND_STRING || node->kind == YAML_KIND_BOOLEAN ||
               node->kind == YAML_KIND_INTEGER || node->kind == YAML_KIND_FLOAT;
}

/* ---- one value; *ret stays NULL when it has a fault ---- */

static void choice_fault(Reader *v, const Shape *shape, const YamlNode *node, const char *path) {
        auto_strbuf list = { 0 };

        for (const char *const *c = shape->choices; *c; c++)
                strbuf_addf(&list, "%s'%s'", c == shape->choices ? "" : c[1] ? ", " : " or ", *c);
        FAULT(v, node->place, path, strv_nearest(shape->choices, node->text), "'%s' must be %s",
              name_of(path), list.broken ? "one of the words it knows" : list.text);
}

static int read_text(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                     json_t **ret) {
        auto_error error = { 0 };

        if (node->kind != YAML_KIND_STRING)
                return wrong_kind(v, node, path, "text");
        if (!*node->text) {
                FAULT(v, node->place, path, NULL, "'%s' must not be empty", name_of(path));
                return 0;
        }
        if (shape->choices && !strv_contains((char *const *) shape->choices, node->text)) {
                choice_fault(v, shape, node, path);
                return 0;
        }
        if (shape->check && shape->check(node->text, &error) < 0) {
                FAULT(v, node->place, path, NULL, "%s", error_text(&error, -EINVAL));
                return 0;
        }
        *ret = json_string(node->text);
        return *ret ? 0 : -ENOMEM;
}

static int read_boolean(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                        json_t **ret) {
        if (node->kind != YAML_KIND_BOOLEAN)
                return wrong_kind(v, node, path, "true or false");
        *ret = json_boolean(node->boolean);
        return 0;
}

static int read_duration(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                         json_t **ret) {
        auto_error error = { 0 };
        int64_t ms = 0;

        if (node->kind == YAML_KIND_INTEGER || node->kind == YAML_KIND_FLOAT) {
                FAULT(v, node->place, path, "30s, 15m, 12h or 7d", "'%s' must say its unit",
                      name_of(path));
                return 0;
        }
        if (node->kind != YAML_KIND_STRING)
                return wrong_kind(v, node, path, "a duration such as 30m");
        if (!(shape->or_off && streq(node->text, "off")) &&
            (duration_parse(node->text, &ms, &error) < 0 || ms < shape->min)) {
                FAULT(v, node->place, path,
                      shape->or_off ? "30s, 15m, 12h, 7d or off" : "30s or 15m", "%s",
                      error.message ? error.message : "The duration is too short");
                return 0;
        }
        *ret = json_integer(ms);
        return *ret ? 0 : -ENOMEM;
}

static int read_integer(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                        json_t **ret) {
        if (node->kind != YAML_KIND_INTEGER)
                return wrong_kind(v, node, path, "a whole number");
        if (node->integer < shape->min || node->integer > shape->max) {
                FAULT(v, node->place, path, NULL, "'%s' must be from %" PRId64 " to %" PRId64,
                      name_of(path), shape->min, shape->max);
                return 0;
        }
        *ret = json_integer(node->integer);
        return *ret ? 0 : -ENOMEM;
}

static int read_scalar(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                       json_t **ret) {
        int r = node_is_scalar(node) ? yaml_to_json(node, ret, NULL) : -EINVAL;

        return r == 0 || r == -ENOMEM ? r
                                      : wrong_kind(v, node, path, "text, a number, true or false");
}

static int read_list(Reader *v, const Shape *inner, const YamlNode *node, const char *path,
                     json_t **ret) {
        auto_cleanup(json_decrefp) json_t *list = json_array();
        int r;

        if (node->kind != YAML_KIND_LIST)
                return wrong_kind(v, node, path, "a list");
        for (size_t i = 0; i < node->n_items; i++) {
                auto_cleanup(freep) char *at = str_format("%s/%zu", path, i);
                json_t *item = NULL;

                r = at ? shape_value(v, inner, node->items[i], at, &item) : -ENOMEM;
                if (r < 0)
                        return r;
                /* an item with faults leaves null, so that places in the list stay */
                if (json_array_append_new(list, item ? item : json_null()) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(list);
        return 0;
}

static int read_texts(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                      json_t **ret) {
        Shape inner = { .kind = SHAPE_TEXT, .check = shape->check, .choices = shape->choices };

        if (node->kind == YAML_KIND_LIST && node->n_items == 0) {
                FAULT(v, node->place, path, NULL, "'%s' must name at least one", name_of(path));
                return 0;
        }
        return read_list(v, &inner, node, path, ret);
}

static int read_scalars(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                        json_t **ret) {
        return read_list(v, &(Shape){ .kind = SHAPE_SCALAR }, node, path, ret);
}

static int read_command(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                        json_t **ret) {
        if (node->kind == YAML_KIND_LIST)
                return read_texts(v, shape, node, path, ret);
        if (node->kind != YAML_KIND_STRING)
                return wrong_kind(v, node, path, "a list of texts or one line for the shell");
        if (!*node->text) {
                FAULT(v, node->place, path, NULL, "'%s' must not be empty", name_of(path));
                return 0;
        }
        *ret = json_pack("[s, s, s]", "/bin/sh", "-c", node->text);
        return *ret ? 0 : -ENOMEM;
}

static int read_tree(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                     json_t **ret) {
        auto_error error = { 0 };
        int r;

        if (node->kind != YAML_KIND_MAP)
                return wrong_kind(v, node, path, "a map");
        r = yaml_to_json(node, ret, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                FAULT(v, node->place, path, NULL, "%s", error_text(&error, r));
        return 0;
}

static int read_map(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                    json_t **ret) {
        auto_cleanup(json_decrefp) json_t *object = json_object();
        int r;

        if (node->kind != YAML_KIND_MAP)
                return wrong_kind(v, node, path, "a map");
        if (node->odd_keys)
                FAULT(v, node->place, path, "quote the keys", "Every key of '%s' must be text",
                      name_of(path));
        for (size_t i = 0; i < node->n_entries; i++) {
                const YamlEntry *entry = &node->entries[i];
                auto_cleanup(freep) char *at = path_add(path, entry->key);
                auto_error error = { 0 };
                json_t *value = NULL;

                if (shape->check && shape->check(entry->key, &error) < 0)
                        FAULT(v, entry->place, at, NULL, "%s", error_text(&error, -EINVAL));
                r = at ? shape_value(v, shape->inner, entry->value, at, &value) : -ENOMEM;
                if (r < 0)
                        return r;
                if (value && json_object_set_new(object, entry->key, value) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(object);
        return 0;
}

static const Shape *field_find(const Shape *fields, const char *name) {
        for (; fields->name; fields++)
                if (streq(fields->name, name))
                        return fields;
        return NULL;
}

static void unknown_key(Reader *v, const Shape *shape, const YamlEntry *entry, const char *path,
                        const char *around) {
        const char *names[64] = { NULL }, *nearest;
        auto_strbuf known = { 0 };
        size_t n = 0;

        for (const Shape *f = shape->fields; f->name && n < N_ELEMENTS(names) - 1; f++) {
                strbuf_addf(&known, "%s%s", n > 0 ? ", " : "", f->name);
                names[n++] = f->name;
        }
        nearest = strv_nearest(names, entry->key);
        if (nearest)
                FAULT(v, entry->place, path, nearest, "There is no '%s' in %s; did you mean '%s'?",
                      entry->key, *around ? name_of(around) : "this file", nearest);
        else
                FAULT(v, entry->place, path, NULL, "There is no '%s' in %s; it knows: %s",
                      entry->key, *around ? name_of(around) : "this file",
                      known.broken ? "" : known.text);
}

static int read_fields(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                       json_t **ret) {
        auto_cleanup(json_decrefp) json_t *object = json_object();
        int r;

        if (node->kind != YAML_KIND_MAP)
                return wrong_kind(v, node, path, "a map");
        if (node->odd_keys)
                FAULT(v, node->place, path, "quote the keys", "Every key of '%s' must be text",
                      name_of(path));
        for (size_t i = 0; i < node->n_entries; i++) {
                const YamlEntry *entry = &node->entries[i];
                const Shape *field = field_find(shape->fields, entry->key);
                auto_cleanup(freep) char *at = path_add(path, entry->key);
                json_t *value = NULL;

                if (!at)
                        return -ENOMEM;
                if (!field) {
                        unknown_key(v, shape, entry, at, path);
                        continue;
                }
                r = shape_value(v, field, entry->value, at, &value);
                if (r < 0)
                        return r;
                if (value && json_object_set_new(object, entry->key, value) < 0)
                        return -ENOMEM;
        }
        for (const Shape *f = shape->fields; f->name; f++)
                if (f->required && !yaml_get(node, f->name))
                        FAULT(v, node->place, path, NULL, "'%s' is missing", f->name);
        *ret = TAKE(object);
        return 0;
}

static int read_inner_list(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                           json_t **ret) {
        return read_list(v, shape->inner, node, path, ret);
}

static int (*const readers[_SHAPE_KIND_MAX])(Reader *v, const Shape *shape, const YamlNode *node,
                                             const char *path, json_t **ret) = {
        [SHAPE_TEXT] = read_text,         [SHAPE_BOOLEAN] = read_boolean,
        [SHAPE_DURATION] = read_duration, [SHAPE_INTEGER] = read_integer,
        [SHAPE_TEXTS] = read_texts,       [SHAPE_COMMAND] = read_command,
        [SHAPE_SCALAR] = read_scalar,     [SHAPE_SCALARS] = read_scalars,
        [SHAPE_TREE] = read_tree,         [SHAPE_FIELDS] = read_fields,
        [SHAPE_MAP] = read_map,           [SHAPE_LIST] = read_inner_list,
};

static int shape_value(Reader *v, const Shape *shape, const YamlNode *node, const char *path,
                       json_t **ret) {
        return readers[shape->kind](v, shape, node, path, ret);
}

int shape_read(const Shape *shape, const YamlNode *node, const char *path, SpecFaults *faults,
               json_t **ret) {
        Reader v = { .faults = faults };
        json_t *value = NULL;
        int r;

        r = shape_value(&v, shape, node, path, &value);
        if (r < 0)
                return r;
        *ret = value ? value : json_null();
        return v.bad ? -EINVAL : 0;
}
