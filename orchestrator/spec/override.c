#include "orchestrator/spec/override.h"

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

int override_merge(YamlTree *t, YamlNode *into, const YamlNode *from) {
        int r;

        for (size_t i = 0; i < from->n_entries; i++) {
                const YamlEntry *entry = &from->entries[i];
                YamlNode *value = entry->value, *there = yaml_get(into, entry->key);

                if (value->kind == YAML_KIND_NULL) {
                        yaml_remove(into, entry->key);
                        continue;
                }
                if (value->kind == YAML_KIND_MAP) {
                        /* merging into a fresh map takes the nulls out as well */
                        if (!there || there->kind != YAML_KIND_MAP)
                                there = yaml_new_map(t, value->place);
                        if (!there)
                                return -ENOMEM;
                        there->odd_keys = there->odd_keys || value->odd_keys;
                        r = override_merge(t, there, value);
                        if (r < 0)
                                return r;
                        if (yaml_get(into, entry->key) == there)
                                continue;
                        value = there;
                }
                r = yaml_set(t, into, entry->key, entry->place, value);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The path up to its next "." as an owned step; *path is left behind the dot, NULL at the end. */
static char *step_take(const char **path) {
        auto_strbuf step = { 0 };
        const char *s = *path;

        for (; *s && *s != '.'; s++) {
                if (*s == '\\' && (s[1] == '.' || s[1] == '\\'))
                        s++;
                strbuf_addc(&step, *s);
        }
        *path = *s ? s + 1 : NULL;
        return strbuf_take(&step);
}

/* A step into a list: -1 is "behind the last". */
static int index_of(const YamlNode *list, const char *step, bool may_append, size_t *ret,
                    Error *reterr) {
        uint64_t at;
        const char *number = *step == '+' ? step + 1 : step;

        if (streq(step, "-1") && may_append) {
                *ret = list->n_items;
                return 0;
        }
        while (number[0] == '0' && number[1])
                number++;
        if (str_to_u64(*number == '-' ? number + 1 : number, UINT64_MAX, &at) == -EINVAL)
                return error_set(reterr, -EINVAL, "'%.*s' is not the index of a list",
                                 yaml_clip(step), step);
        if (str_to_u64(number, SIZE_MAX, &at) < 0 || at >= list->n_items)
                return error_set(reterr, -ERANGE,
                                 "The index %.*s is out of range: the list has %zu items",
                                 yaml_clip(step), step, list->n_items);
        *ret = at;
        return 0;
}

static int set_in_list(YamlTree *t, YamlNode *list, const char *step, YamlNode *value,
                       Error *reterr) {
        size_t at;
        int r;

        r = index_of(list, step, value != NULL, &at, reterr);
        if (r < 0)
                return r;
        if (!value)
                yaml_remove_at(list, at);
        else if (at == list->n_items)
                return yaml_append(t, list, value);
        else
                list->items[at] = value;
        return 0;
}

/* The child that a step leads to, made when a map has none. */
static int descend(YamlTree *t, YamlNode *node, const char *step, YamlPlace place, YamlNode **ret,
                   Error *reterr) {
        size_t at;
        int r;

        if (node->kind == YAML_KIND_LIST) {
                r = index_of(node, step, false, &at, reterr);
                if (r < 0)
                        return r;
                *ret = node->items[at];
                return 0;
        }
        *ret = yaml_get(node, step);
        if (*ret)
                return 0;
        *ret = yaml_new_map(t, place);
        return *ret ? yaml_set(t, node, step, place, *ret) : -ENOMEM;
}

int override_path(YamlTree *t, YamlNode *root, const char *path, YamlNode *value, Error *reterr) {
        const YamlPlace nowhere = { "--override-property", 0, 0 };
        YamlPlace place = value ? value->place : nowhere;
        YamlNode *node = root;
        unsigned depth = 0;
        int r;

        if (value && value->kind == YAML_KIND_NULL)
                value = NULL;
        for (;;) {
                auto_cleanup(freep) char *step = step_take(&path);

                if (!step)
                        return -ENOMEM;
                if (node->kind != YAML_KIND_MAP && node->kind != YAML_KIND_LIST)
                        return error_set(reterr, -EINVAL, "There is no '%.*s' in what is %s",
                                         yaml_clip(step), step, yaml_kind_to_string(node->kind));
                if (++depth > LIMIT_SPEC_DEPTH)
                        return error_set(reterr, -EINVAL, "The path has more than %d steps",
                                         LIMIT_SPEC_DEPTH);
                if (!path && node->kind == YAML_KIND_LIST)
                        return set_in_list(t, node, step, value, reterr);
                if (!path && value)
                        return yaml_set(t, node, step, place, value);
                if (!path) {
                        yaml_remove(node, step);
                        return 0;
                }
                r = descend(t, node, step, place, &node, reterr);
                if (r < 0)
                        return r;
        }
}

int override_property(YamlTree *t, YamlNode *root, const char *property, Error *reterr) {
        const char *equals = strchr(property, '=');
        auto_cleanup(freep) char *path = NULL;
        const YamlProblem *problems;
        YamlNode *value = NULL;
        size_t n;
        int r;

        if (!equals || equals == property)
                return error_set(reterr, -EINVAL, "'%.*s' is not PATH=VALUE", yaml_clip(property),
                                 property);
        path = strndup(property, (size_t) (equals - property));
        if (!path)
                return -ENOMEM;
        if (equals[1]) {
                r = yaml_parse(t, "--override-property", equals + 1, strlen(equals + 1), &value);
                if (r == -EBADMSG) {
                        problems = yaml_problems(t, &n);
                        return error_set(reterr, -EINVAL, "%s: %s", path,
                                         n > 0 ? problems[n - 1].message : "The value is not YAML");
                }
                if (r < 0)
                        return r;
        }
        r = override_path(t, root, path, value, reterr);
        return r < 0 ? error_prefix(reterr, r, "%.*s", yaml_clip(path), path) : 0;
}
