/* What the schema cannot say: placeholders must be references that can mean something, and `before`
 * must name other containers without a circle. Besides, notices for what is valid and yet surely not
 * meant. */
#include <stdio.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/score-parts.h"

typedef struct Meaning {
        const char *file, *text, *end; /* the Score file itself, to find references in it */
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

static void fault_unknown_resource(Meaning *m, const PlaceholderPart *part, const char *name,
                                   YamlPlace place) {
        auto_cleanup(freep) char *hint = NULL;
        const char *near;

        near = strv_nearest(m->resource_names, name);
        if (near)
                hint = str_format("did you mean '%s'?", near);
        else
                hint = str_format("declare it: resources: {%.63s: {type: TYPE}}", name);
        say(m, m->faults, place, hint,
            "'${%.*s}' names the resource '%.63s', which is not declared",
            part->size > 80 ? 80 : (int) part->size, part->text, name);
}

static bool begins_character(const char *s) {
        return ((unsigned char) *s & 0xc0) != 0x80;
}

/* The byte at a place of the file, or NULL. */
static const char *byte_at(const Meaning *m, YamlPlace place) {
        const char *s = m->text;

        for (uint32_t line = 1; s && line < place.line; line++) {
                s = memchr(s, '\n', (size_t) (m->end - s));
                s = s ? s + 1 : NULL;
        }
        for (uint32_t column = 1; s && s < m->end && column < place.column;)
                if (++s < m->end)
                        column += begins_character(s);
        return s;
}

/* Where a reference stands in the file: the first time that its text comes at or behind *at. When it
 * does not come (it was written with escapes), the value's own place. */
static YamlPlace place_of(const Meaning *m, const YamlNode *node, const PlaceholderPart *part,
                          const char **at) {
        YamlPlace place = node->place;
        const char *s, *found;

        if (!m->text || !streq(place.file, m->file) || m->faults->n_items >= LIMIT_SPEC_FAULTS)
                return place;
        s = byte_at(m, place);
        if (!*at)
                *at = s;
        found = *at ? memmem(*at, (size_t) (m->end - *at), part->text - 2, part->size + 3) : NULL;
        if (!found)
                return place;
        *at = found + 1;
        while (s < found) {
                if (*s++ == '\n') {
                        place.line++;
                        place.column = 1;
                } else {
                        place.column += begins_character(s);
                }
        }
        return place;
}

static bool placeholder_good(const Meaning *m, const PlaceholderPart *part) {
        auto_cleanup(strv_freep) char **parts = NULL;
        int r = placeholder_check(part->text, part->size, &parts, NULL, NULL);

        if (r == -ENOMEM) {
                spec_faults_no_memory(m->faults);
                return true;
        }
        return r == 0 && (!streq(parts[0], "resources") || map_get(m->resources, parts[1]));
}

static void check_string(Meaning *m, const YamlNode *node) {
        PlaceholderScan scan = { .string = node->text };
        PlaceholderPart part;
        const char *at = NULL;

        if (node->kind != YAML_KIND_STRING)
                return;
        while (placeholder_next(&scan, &part)) {
                auto_cleanup(strv_freep) char **parts = NULL;
                auto_error e = { 0 };
                const char *hint = NULL;

                if (!part.reference)
                        continue;
                if (placeholder_good(m, &part))
                        continue;
                if (m->faults->n_items >= LIMIT_SPEC_FAULTS) { /* no hints for what is not kept */
                        m->faults->n_dropped++;
                        continue;
                }
                if (placeholder_check(part.text, part.size, &parts, &hint, &e) < 0 && e.code != 0)
                        say(m, m->faults, place_of(m, node, &part, &at), hint, "%s",
                            error_text(&e, e.code));
                else if (!parts)
                        spec_faults_no_memory(m->faults);
                else
                        fault_unknown_resource(m, &part, parts[1], place_of(m, node, &part, &at));
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
static const YamlEntry *find_circle(Meaning *m, const YamlEntry *container, Map *colours,
                                    const YamlEntry **ret_container) {
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
                if (colour == GREY) {
                        circle = &before->entries[i];
                        *ret_container = container;
                }
                if (colour == WHITE)
                        circle = find_circle(m, next, colours, ret_container);
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

static void check_circle(Meaning *m, const YamlEntry *container, Map *colours) {
        const YamlEntry *from = container, *circle = NULL;
        size_t size;

        if (map_get(colours, container->key) == WHITE)
                circle = find_circle(m, container, colours, &from);
        if (!circle)
                return;
        size = enter(m, from->key);
        enter(m, "before");
        enter(m, circle->key);
        say(m, m->faults, circle->place, "take one of these entries out",
            "These containers wait for each other in a circle");
        leave(m, size);
}

static void check_before(Meaning *m, const YamlNode *containers) {
        auto_cleanup(map_freep) Map *colours = map_new(NULL);

        for (size_t i = 0; colours && i < containers->n_entries; i++) {
                const YamlEntry *container = &containers->entries[i];
                const YamlNode *before = yaml_get(container->value, "before");
                size_t size = enter(m, container->key);

                enter(m, "before");
                for (size_t j = 0; before && j < before->n_entries; j++) {
                        size_t last = enter(m, before->entries[j].key);

                        check_before_entry(m, container, &before->entries[j]);
                        leave(m, last);
                }
                leave(m, size);
                check_circle(m, container, colours);
        }
}

/* ---- notices ---- */

static void notice_literal(Meaning *m, const YamlNode *node, const char *what) {
        size_t size = enter(m, what);

        if (node && node->kind == YAML_KIND_STRING && placeholder_in(node->text))
                say(m, m->notices, node->place,
                    "placeholders work in variables, files, volume sources and params",
                    "Nothing is put in for '${...}' in %s; it stays as it is", what);
        leave(m, size);
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

int score_check_meaning(const YamlNode *root, const char *file, const char *text, size_t size,
                        SpecFaults *faults, SpecFaults *notices) {
        const YamlNode *containers = yaml_get(root, "containers"),
                       *resources = yaml_get(root, "resources");
        auto_cleanup(meaning_done) Meaning m = {
                .file = file,
                .text = text,
                .end = text + size,
                .faults = faults,
                .notices = notices,
        };
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
