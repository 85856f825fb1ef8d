/* What the schema cannot say: placeholders must be references that can mean something, and `before`
 * must name other containers without a circle. Besides, notices for what is valid and yet surely not
 * meant. */
#include <stdio.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/score-parts.h"

typedef struct Meaning {
        const YamlNode *root;
        SpecFaults *faults, *notices;
        StrBuf pointer;
        Map *resources, *containers; /* name -> its YamlEntry */
        const char **resource_names; /* for "did you mean", ends with NULL */
} Meaning;

static size_t enter(Meaning *m, const char *key) {
        size_t size = m->pointer.size;

        json_pointer_add(&m->pointer, key);
        return size;
}

static void leave(Meaning *m, size_t size) {
        if (m->pointer.text && !m->pointer.broken) {
                m->pointer.size = size;
                m->pointer.text[size] = 0;
        }
}

static void say(Meaning *m, SpecFaults *to, YamlPlace place, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 5, 6)));

static void say(Meaning *m, SpecFaults *to, YamlPlace place, const char *hint, const char *fmt,
                ...) {
        auto_cleanup(freep) char *text = NULL;
        va_list args;

        if (!to)
                return;
        va_start(args, fmt);
        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        va_end(args);
        spec_faults_add(to, SPEC_STAGE_SEMANTIC, place.file, place.line, place.column,
                        m->pointer.text ? m->pointer.text : "", hint, "%s",
                        text ? text : "Out of memory");
}

/* ---- placeholders ---- */

static void check_resource_known(Meaning *m, const PlaceholderPart *part, const char *name,
                                 YamlPlace place) {
        auto_cleanup(freep) char *hint = NULL;
        const char *near;

        if (map_get(m->resources, name))
                return;
        near = strv_nearest(m->resource_names, name);
        if (near)
                hint = str_format("did you mean '%s'?", near);
        else
                hint = str_format("declare it: resources: {%.63s: {type: TYPE}}", name);
        say(m, m->faults, place, hint,
            "'${%.*s}' names the resource '%.63s', which is not declared",
            part->size > 80 ? 80 : (int) part->size, part->text, name);
}

static void check_string(Meaning *m, const YamlNode *node) {
        PlaceholderScan scan = { .string = node->text };
        PlaceholderPart part;

        if (node->kind != YAML_KIND_STRING)
                return;
        while (placeholder_next(&scan, &part)) {
                auto_cleanup(strv_freep) char **parts = NULL;
                auto_error e = { 0 };
                const char *hint = NULL;

                if (!part.reference)
                        continue;
                if (placeholder_check(part.text, part.size, &parts, &hint, &e) < 0)
                        say(m, m->faults, node->place, hint, "%s", error_text(&e, e.code));
                else if (streq(parts[0], "resources"))
                        check_resource_known(m, &part, parts[1], node->place);
        }
}

/* Every string at any depth; keys are never expanded. */
static void check_strings(Meaning *m, const YamlNode *node) {
        check_string(m, node);
        for (size_t i = 0; node->kind == YAML_KIND_MAP && i < node->n_entries; i++) {
                size_t size = enter(m, node->entries[i].key);

                check_strings(m, node->entries[i].value);
                leave(m, size);
        }
        for (size_t i = 0; node->kind == YAML_KIND_LIST && i < node->n_items; i++) {
                char at[24];
                size_t size;

                snprintf(at, sizeof(at), "%zu", i);
                size = enter(m, at);
                check_strings(m, node->items[i]);
                leave(m, size);
        }
}

/* KEY of every entry of a map: volumes.*.source */
static void check_member(Meaning *m, const YamlNode *map, const char *key) {
        for (size_t i = 0; map && i < map->n_entries; i++) {
                const YamlNode *no_expand = yaml_get(map->entries[i].value, "noExpand");
                const YamlNode *value = yaml_get(map->entries[i].value, key);
                size_t size = enter(m, map->entries[i].key), inner;

                if (value && !(no_expand && no_expand->boolean)) {
                        inner = enter(m, key);
                        check_string(m, value);
                        leave(m, inner);
                }
                leave(m, size);
        }
}

/* ---- before ---- */

enum {
        WHITE,
        GREY,
        BLACK
};

/* The place of the entry that closes a circle, or NULL. */
static const YamlEntry *find_circle(Meaning *m, const YamlEntry *container, Map *colours) {
        const YamlNode *before = yaml_get(container->value, "before");
        const YamlEntry *circle = NULL;

        if (map_put(colours, container->key, (void *) GREY) < 0)
                return NULL;
        for (size_t i = 0; !circle && before && i < before->n_entries; i++) {
                const YamlEntry *next = map_get(m->containers, before->entries[i].key);
                size_t colour;

                if (!next || next == container)
                        continue;
                colour = (size_t) map_get(colours, next->key);
                if (colour == GREY)
                        circle = &before->entries[i];
                else if (colour == WHITE)
                        circle = find_circle(m, next, colours);
        }
        return map_put(colours, container->key, (void *) BLACK) < 0 ? NULL : circle;
}

static void check_before_entry(Meaning *m, const YamlEntry *container, const YamlEntry *entry) {
        const YamlNode *ready = yaml_get(entry->value, "ready");

        if (streq(entry->key, container->key))
                say(m, m->faults, entry->place, "name another container",
                    "A container cannot start before itself");
        else if (!map_get(m->containers, entry->key))
                say(m, m->faults, entry->place, "it names a container of this file",
                    "There is no container '%.63s'", entry->key);
        else if (ready && streq(ready->text, "healthy") &&
                 !yaml_get(container->value, "readinessProbe") &&
                 !yaml_get(container->value, "livenessProbe"))
                say(m, m->notices, ready->place, "give it a readinessProbe, or wait for 'started'",
                    "The container '%.63s' has no probe, so it can never be healthy",
                    container->key);
}

static void check_before(Meaning *m, const YamlNode *containers) {
        auto_cleanup(map_freep) Map *colours = map_new(NULL);
        const YamlEntry *circle;

        for (size_t i = 0; i < containers->n_entries; i++) {
                const YamlEntry *container = &containers->entries[i];
                const YamlNode *before = yaml_get(container->value, "before");
                size_t size = enter(m, container->key), inner = enter(m, "before");

                for (size_t j = 0; before && j < before->n_entries; j++) {
                        size_t last = enter(m, before->entries[j].key);

                        check_before_entry(m, container, &before->entries[j]);
                        leave(m, last);
                }
                circle = colours && map_get(colours, container->key) == WHITE
                                 ? find_circle(m, container, colours)
                                 : NULL;
                if (circle)
                        say(m, m->faults, circle->place, "take one of these entries out",
                            "These containers wait for each other in a circle");
                leave(m, inner);
                leave(m, size);
        }
}

/* ---- notices ---- */

static void notice_literal(Meaning *m, const YamlNode *node, const char *what) {
        if (node && node->kind == YAML_KIND_STRING && placeholder_in(node->text))
                say(m, m->notices, node->place,
                    "placeholders work in variables, files, volume sources and params",
                    "Nothing is put in for '${...}' in %s; it stays as it is", what);
}

static void notice_container(Meaning *m, const YamlNode *container) {
        static const char *const lists[] = { "command", "args" };

        notice_literal(m, yaml_get(container, "image"), "image");
        for (size_t i = 0; i < N_ELEMENTS(lists); i++) {
                const YamlNode *list = yaml_get(container, lists[i]);

                for (size_t j = 0; list && j < list->n_items; j++)
                        notice_literal(m, list->items[j], lists[i]);
        }
}

static void notice_resource(Meaning *m, const YamlEntry *resource) {
        const YamlNode *type = yaml_get(resource->value, "type");

        if (type && streq(type->text, "route") &&
            !yaml_get(yaml_get(resource->value, "params"), "host"))
                say(m, m->notices, resource->place, "params: {host: \"${resources.dns.host}\"}",
                    "This route has no host: the environment's own is taken here, other tools refuse it");
}

/* ---- all ---- */

static void check_container(Meaning *m, const YamlEntry *entry) {
        size_t size = enter(m, entry->key), inner = enter(m, "variables");
        const YamlNode *variables = yaml_get(entry->value, "variables");

        if (variables)
                check_strings(m, variables);
        leave(m, inner);
        inner = enter(m, "files");
        check_member(m, yaml_get(entry->value, "files"), "content");
        leave(m, inner);
        inner = enter(m, "volumes");
        check_member(m, yaml_get(entry->value, "volumes"), "source");
        leave(m, inner);
        notice_container(m, entry->value);
        leave(m, size);
}

static void check_resource(Meaning *m, const YamlEntry *entry) {
        const YamlNode *params = yaml_get(entry->value, "params");
        size_t size = enter(m, entry->key), inner;

        if (params) {
                inner = enter(m, "params");
                check_strings(m, params);
                leave(m, inner);
        }
        notice_resource(m, entry);
        leave(m, size);
}

static int index_names(const YamlNode *map, Map **ret) {
        Map *names = map_new(NULL);

        *ret = names;
        for (size_t i = 0; names && map && i < map->n_entries; i++)
                if (map_put(names, map->entries[i].key, &map->entries[i]) < 0)
                        return -ENOMEM;
        return names ? 0 : -ENOMEM;
}

static int meaning_start(Meaning *m, const YamlNode *containers, const YamlNode *resources) {
        size_t n = resources ? resources->n_entries : 0;

        m->resource_names = calloc(n + 1, sizeof(char *));
        if (!m->resource_names || index_names(containers, &m->containers) < 0 ||
            index_names(resources, &m->resources) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                m->resource_names[i] = resources->entries[i].key;
        return 0;
}

static void meaning_done(Meaning *m) {
        strbuf_done(&m->pointer);
        map_free(m->resources);
        map_free(m->containers);
        free(m->resource_names);
}

int score_check_meaning(const YamlNode *root, SpecFaults *faults, SpecFaults *notices) {
        const YamlNode *containers = yaml_get(root, "containers"),
                       *resources = yaml_get(root, "resources");
        auto_cleanup(meaning_done)
                Meaning m = { .root = root, .faults = faults, .notices = notices };
        size_t size;
        int r;

        r = meaning_start(&m, containers, resources);
        if (r < 0)
                return r;
        size = enter(&m, "containers");
        for (size_t i = 0; i < containers->n_entries; i++)
                check_container(&m, &containers->entries[i]);
        check_before(&m, containers);
        leave(&m, size);
        size = enter(&m, "resources");
        for (size_t i = 0; resources && i < resources->n_entries; i++)
                check_resource(&m, &resources->entries[i]);
        leave(&m, size);
        return 0;
}
