/* The tree after parsing: finding, changing, and copying to JSON. */
#include <math.h>
#include <stdio.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/yaml.h"

static const char *const kinds[_YAML_KIND_MAX] = {
        [YAML_KIND_NULL] = "nothing",     [YAML_KIND_BOOLEAN] = "a boolean",
        [YAML_KIND_INTEGER] = "a number", [YAML_KIND_FLOAT] = "a number",
        [YAML_KIND_STRING] = "text",      [YAML_KIND_TIMESTAMP] = "a date",
        [YAML_KIND_LIST] = "a list",      [YAML_KIND_MAP] = "a map",
};

const char *yaml_kind_to_string(YamlKind kind) {
        return (unsigned) kind < _YAML_KIND_MAX ? kinds[kind] : NULL;
}

int yaml_clip(const char *s) {
        size_t n = strnlen(s, 81);

        if (n <= 80)
                return (int) n;
        for (n = 80; n > 0 && ((unsigned char) s[n] & 0xc0) == 0x80;)
                n--;
        return (int) n;
}

YamlEntry *yaml_entry(const YamlNode *node, const char *key) {
        if (node && node->kind == YAML_KIND_MAP)
                for (size_t i = 0; i < node->n_entries; i++)
                        if (streq(node->entries[i].key, key))
                                return &node->entries[i];
        return NULL;
}

YamlNode *yaml_get(const YamlNode *node, const char *key) {
        YamlEntry *entry = yaml_entry(node, key);

        return entry ? entry->value : NULL;
}

/* Whether a step of a pointer ("a~1b", n bytes) means this key ("a/b"). */
static bool step_is(const char *step, size_t n, const char *key) {
        for (const char *end = step + n; step < end; step++, key++) {
                char c = *step;

                if (c == '~' && step + 1 < end && (step[1] == '0' || step[1] == '1'))
                        c = *++step == '0' ? '~' : '/';
                if (c != *key || !c)
                        return false;
        }
        return !*key;
}

static bool step_number(const char *step, size_t n, uint64_t *ret) {
        char digits[24];

        if (n >= sizeof(digits))
                return false;
        memcpy(digits, step, n);
        digits[n] = 0;
        return str_to_u64(digits, SIZE_MAX, ret) == 0;
}

YamlNode *yaml_at(YamlNode *root, const char *pointer, YamlEntry **ret_entry) {
        YamlNode *node = root;
        YamlEntry *entry = NULL;

        while (node && *pointer == '/') {
                const char *step = pointer + 1;
                size_t n = strcspn(step, "/");
                uint64_t at;

                entry = NULL;
                for (size_t i = 0; node->kind == YAML_KIND_MAP && !entry && i < node->n_entries;
                     i++)
                        if (step_is(step, n, node->entries[i].key))
                                entry = &node->entries[i];
                if (entry)
                        node = entry->value;
                else if (node->kind == YAML_KIND_LIST && step_number(step, n, &at) &&
                         at < node->n_items)
                        node = node->items[at];
                else
                        return NULL;
                pointer = step + n;
        }
        if (ret_entry)
                *ret_entry = entry;
        return node;
}

void yaml_remove(YamlNode *map, const char *key) {
        YamlEntry *entry = yaml_entry(map, key);

        if (!entry)
                return;
        map->n_entries--;
        memmove(entry, entry + 1,
                (size_t) (map->entries + map->n_entries - entry) * sizeof(YamlEntry));
}

void yaml_remove_at(YamlNode *list, size_t at) {
        list->n_items--;
        memmove(list->items + at, list->items + at + 1, (list->n_items - at) * sizeof(YamlNode *));
}

static int list_to_json(const YamlNode *node, json_t **ret, Error *reterr) {
        json_t *list = json_array(), *item = NULL;
        int r = list ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < node->n_items; i++) {
                r = yaml_to_json(node->items[i], &item, reterr);
                if (r == 0 && json_array_append_new(list, item) < 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                json_decref(list);
        else
                *ret = list;
        return r;
}

static int map_to_json(const YamlNode *node, json_t **ret, Error *reterr) {
        json_t *map, *value = NULL;
        int r = 0;

        if (node->odd_keys)
                return error_set(reterr, -EINVAL, "Line %u: keys must be text; put them in quotes",
                                 node->place.line);
        map = json_object();
        if (!map)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < node->n_entries; i++) {
                r = yaml_to_json(node->entries[i].value, &value, reterr);
                if (r == 0 && json_object_set_new(map, node->entries[i].key, value) < 0)
                        r = -ENOMEM;
        }
        if (r < 0)
                json_decref(map);
        else
                *ret = map;
        return r;
}

int yaml_to_json(const YamlNode *node, json_t **ret, Error *reterr) {
        json_t *value = NULL;

        switch (node->kind) {
        case YAML_KIND_LIST:
                return list_to_json(node, ret, reterr);
        case YAML_KIND_MAP:
                return map_to_json(node, ret, reterr);
        case YAML_KIND_BOOLEAN:
                value = json_boolean(node->boolean);
                break;
        case YAML_KIND_INTEGER:
                value = json_integer(node->integer);
                break;
        case YAML_KIND_FLOAT:
                if (!isfinite(node->number))
                        return error_set(reterr, -EINVAL, "Line %u: %s is not a number JSON knows",
                                         node->place.line, node->text);
                value = json_real(node->number);
                break;
        case YAML_KIND_STRING:
        case YAML_KIND_TIMESTAMP:
                value = json_string(node->text);
                break;
        default:
                value = json_null();
        }
        if (!value)
                return -ENOMEM;
        *ret = value;
        return 0;
}
