/* mayflyd.yaml into the struct, and the rules that a table of keys cannot say. The table is
 * config-shape.c. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/shape.h"

typedef struct Loader {
        Config *config;
        YamlNode *root;
        const char *file;
        SpecFaults *faults;
        bool bad;
} Loader;

__attribute__((format(printf, 3, 4))) static void fault(Loader *l, const char *path,
                                                        const char *fmt, ...) {
        auto_cleanup(freep) char *text = NULL;
        YamlNode *node = yaml_at(l->root, path, NULL);
        va_list args;

        l->bad = true;
        va_start(args, fmt);
        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        va_end(args);
        spec_faults_add(l->faults, SPEC_STAGE_SEMANTIC, l->file, node ? node->place.line : 0,
                        node ? node->place.column : 0, path, NULL, "%s", text ? text : "");
}

static const struct {
        const char *name;
        size_t offset;
} clocks[] = {
        { "sleep_after_idle", offsetof(ConfigClocks, sleep_after_idle) },
        { "delete_after_asleep", offsetof(ConfigClocks, delete_after_asleep) },
        { "delete_after_age", offsetof(ConfigClocks, delete_after_age) },
        { "delete_after_close", offsetof(ConfigClocks, delete_after_close) },
};

static int64_t *clock_at(ConfigClocks *c, size_t i) {
        return (int64_t *) ((char *) c + clocks[i].offset);
}

/* A clock that is off never ends, so it is beyond every bound. */
bool config_clock_exceeds(int64_t ms, int64_t max) {
        return max > 0 && (ms == 0 || ms > max);
}

int64_t config_clock_max(const Config *c, const char *name) {
        for (size_t i = 0; i < N_ELEMENTS(clocks); i++)
                if (streq(clocks[i].name, name))
                        return *clock_at((ConfigClocks *) &c->clocks_max, i);
        return -1;
}

static void load_clocks(Loader *l, const json_t *json) {
        const json_t *bounds = json_object_get(json_object_get(json, "bounds"), "clocks");
        const json_t *said = json_object_get(json, "clocks");

        for (size_t i = 0; i < N_ELEMENTS(clocks); i++) {
                int64_t *clock = clock_at(&l->config->clocks, i);
                int64_t *max = clock_at(&l->config->clocks_max, i);
                const json_t *wish = json_object_get(said, clocks[i].name);
                const json_t *limit = json_object_get(bounds, clocks[i].name);

                if (limit && json_integer_value(limit) > 0)
                        *max = json_integer_value(limit);
                if (wish)
                        *clock = json_integer_value(wish);
                if (!config_clock_exceeds(*clock, *max))
                        continue;
                if (wish) {
                        auto_cleanup(freep) char *path = str_format("/clocks/%s", clocks[i].name);

                        fault(l, path ? path : "", "'%s' is beyond its own bound", clocks[i].name);
                }
                *clock = *max;
        }
}

static void load_project_clocks(Loader *l, const char *name, const json_t *said) {
        const char *clock;
        json_t *value;

        json_object_foreach((json_t *) said, clock, value) {
                auto_cleanup(freep) char *path = str_format("/projects/%s/clocks/%s", name, clock);

                if (config_clock_exceeds(json_integer_value(value),
                                         config_clock_max(l->config, clock)))
                        fault(l, path ? path : "",
                              "'%s' of project '%s' is beyond the bound in "
                              "bounds.clocks",
                              clock, name);
        }
}

static int load_texts(Loader *l, const json_t *json) {
        const struct {
                const char *name;
                char **to;
        } texts[] = {
                { "domain", &l->config->domain },
                { "listen", &l->config->listen },
                { "front", &l->config->front },
                { "front_listen", &l->config->front_listen },
        };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                const char *text = json_string_value(json_object_get(json, texts[i].name));

                r = text ? str_replace(texts[i].to, text) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool address_is_loopback(const char *text) {
        return str_after(text, "127.") || str_after(text, "[::1]:");
}

static int load_front(Loader *l, const json_t *json) {
        Config *c = l->config;
        int r;

        r = load_texts(l, json);
        if (r < 0)
                return r;
        c->front_beyond_loopback = json_is_true(json_object_get(json, "front_beyond_loopback"));
        if (streq(c->front, "door") && c->front_listen)
                fault(l, "/front_listen",
                      "'front_listen' is HAProxy's address: it needs front: haproxy");
        if (streq(c->front, "haproxy") && !c->front_listen) {
                r = str_replace(&c->front_listen, "127.0.0.1:8200");
                if (r < 0)
                        return r;
        }
        if (!address_is_loopback(c->listen) && !c->front_beyond_loopback)
                fault(l, "/listen",
                      "The door would listen beyond this machine; use front: haproxy for that, or say "
                      "front_beyond_loopback: true");
        return 0;
}

static int load_match(Definition *d, const json_t *match) {
        const struct {
                const char *name;
                char **to;
        } texts[] = {
                { "type", &d->type },       { "class", &d->class },   { "id", &d->id },
                { "project", &d->project }, { "branch", &d->branch }, { "trust", &d->trust }
        };
        int r;

        for (size_t i = 0; i < N_ELEMENTS(texts); i++) {
                r = str_replace(texts[i].to,
                                json_string_value(json_object_get(match, texts[i].name)));
                if (r < 0)
                        return r;
        }
        return 0;
}

static json_t *object_or_empty(const json_t *json, const char *name) {
        json_t *value = json_object_get(json, name);

        return value ? json_deep_copy(value) : json_object();
}

static int load_definition(Loader *l, size_t i, const json_t *json) {
        auto_cleanup(freep) char *path = str_format("/definitions/%zu", i);
        auto_cleanup(json_decrefp) json_t *none = json_object(), *laid = NULL;
        Definition *d = &l->config->definitions[l->config->n_definitions];
        const YamlNode *node = path ? yaml_at(l->root, path, NULL) : NULL;
        auto_error error = { 0 };
        int r;

        *d = (Definition){ .line = node ? node->place.line : 0,
                           .deadline_ms = json_integer_value(json_object_get(json, "deadline")),
                           .params = object_or_empty(json, "params"),
                           .defaults = object_or_empty(json, "defaults"),
                           .bounds = object_or_empty(json, "bounds"),
                           .config = object_or_empty(json, "config") };
        l->config->n_definitions++;
        r = str_replace(&d->name, json_string_value(json_object_get(json, "name")));
        if (r == 0)
                r = str_replace(&d->provider, json_string_value(json_object_get(json, "provider")));
        if (r == 0)
                r = load_match(d, json_object_get(json, "match"));
        if (r < 0 || !d->params || !d->defaults || !d->bounds || !d->config || !none || !path)
                return -ENOMEM;
        for (size_t j = 0; j + 1 < l->config->n_definitions; j++)
                if (streq(l->config->definitions[j].name, d->name))
                        fault(l, path, "The name '%s' is used twice", d->name);
        r = definition_lay(d, none, &laid, &error);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                fault(l, path, "%s", error_text(&error, r));
        return 0;
}

static int load_definitions(Loader *l, const json_t *list) {
        const Definition *a, *b;
        Config *c = l->config;
        Definition *grown;
        size_t i;
        json_t *item;
        int r;

        if (json_array_size(list) > LIMIT_CONFIG_DEFINITIONS) {
                fault(l, "/definitions", "There may be at most %d definitions",
                      LIMIT_CONFIG_DEFINITIONS);
                return 0;
        }
        grown = reallocarray(c->definitions, c->n_definitions + json_array_size(list) + 1,
                             sizeof(Definition));
        if (!grown)
                return -ENOMEM;
        c->definitions = grown;
        json_array_foreach(list, i, item) {
                r = load_definition(l, i, item);
                if (r < 0)
                        return r;
        }
        if (!l->bad && config_find_tie(c, &a, &b) > 0) {
                auto_cleanup(freep) char *path = NULL;

                path = str_format("/definitions/%zu",
                                  (size_t) (b - c->definitions) -
                                          (c->n_definitions - json_array_size(list)));
                fault(l, path ? path : "",
                      "The definitions '%s' (line %u) and '%s' name the same things and can match the "
                      "same resource: neither is more specific",
                      a->name, a->line, b->name);
        }
        return 0;
}

static int load(Loader *l, const json_t *json) {
        const struct {
                const char *name;
                json_t **to;
        } objects[] = { { "values", &l->config->values },
                        { "providers", &l->config->providers },
                        { "projects", &l->config->projects } };
        const char *name;
        json_t *value;
        int r;

        for (size_t i = 0; i < N_ELEMENTS(objects); i++) {
                value = object_or_empty(json, objects[i].name);
                if (!value)
                        return -ENOMEM;
                json_decref(*objects[i].to);
                *objects[i].to = value;
        }
        load_clocks(l, json);
        json_object_foreach(l->config->projects, name, value)
                load_project_clocks(l, name, json_object_get(value, "clocks"));
        r = load_front(l, json);
        if (r < 0)
                return r;
        return load_definitions(l, json_object_get(json, "definitions"));
}

/* ---- the file ---- */

int config_parse(const char *file, const char *text, size_t size, Config **ret, SpecFaults *faults,
                 Error *reterr) {
        auto_cleanup(yaml_tree_freep) YamlTree *tree = NULL;
        auto_cleanup(json_decrefp) json_t *json = NULL;
        auto_cleanup(config_freep) Config *c = NULL;
        Loader l = { .file = file, .faults = faults };
        int r;

        if (size > LIMIT_CONFIG_BYTES)
                return error_set(reterr, -EFBIG, "'%s' is larger than %d bytes", file,
                                 LIMIT_CONFIG_BYTES);
        r = spec_file_read(file, text, size, &tree, &l.root, faults, reterr);
        if (r < 0)
                return r;
        r = config_default(&c, reterr);
        if (r < 0)
                return r;
        if (l.root && l.root->kind != YAML_KIND_NULL) { /* an empty file says nothing */
                r = shape_read(&config_shape, l.root, "", faults, &json);
                if (r == -EINVAL)
                        return spec_faults_error(faults, reterr);
                if (r < 0)
                        return r;
                l.config = c;
                r = load(&l, json);
                if (r < 0)
                        return r;
                if (l.bad)
                        return spec_faults_error(faults, reterr);
        }
        *ret = TAKE(c);
        return 0;
}
