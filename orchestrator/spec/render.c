#include "orchestrator/spec/render.h"

#include <stdio.h>

#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"

typedef struct Renderer {
        const ScoreDocument *document;
        const json_t *outputs, *metadata, *resources;
        SpecFaults *faults;
        StrBuf pointer;
        int r; /* -ENOMEM ends it; faults do not */
} Renderer;

static json_t *lookup(void *userdata, const char *name) {
        const Renderer *v = userdata;

        return json_object_get(v->outputs, name);
}

/* The identity of the resource when the source is "${resources.NAME}" and nothing else. */
static char *volume_identity(Renderer *v, const char *string) {
        auto_cleanup(freep) char *name = NULL;
        char *key = NULL;

        v->r = v->r < 0 ? v->r : placeholder_whole_resource(string, &name);
        if (name && json_object_get(v->resources, name)) {
                key = score_resource_key(v->document->workload, name,
                                         json_object_get(v->resources, name));
                v->r = key ? v->r : -ENOMEM;
        }
        return key;
}

/* The string resolved, a new reference; a fault leaves it as it is. */
static json_t *resolved(Renderer *v, json_t *string, bool volume) {
        auto_cleanup(freep) char *text =
                volume ? volume_identity(v, json_string_value(string)) : NULL;
        json_t *made = NULL;
        auto_error e = { 0 };
        int r = 0;

        if (!text)
                r = placeholder_substitute(json_string_value(string), v->metadata, lookup, v, &text,
                                           &e);
        if (r == -ENOMEM)
                v->r = r;
        else if (r < 0)
                score_document_fault(v->document, v->faults, SPEC_STAGE_SEMANTIC,
                                     v->pointer.text ? v->pointer.text : "",
                                     r == -ENOENT ? "say it in the file given with --outputs"
                                                  : NULL,
                                     "%s", error_text(&e, r));
        if (r == 0)
                made = json_string(text);
        if (r == 0 && !made)
                v->r = -ENOMEM;
        return made ? made : json_incref(string);
}

static size_t enter(Renderer *v, const char *key) {
        size_t size = v->pointer.size;

        json_pointer_add(&v->pointer, key);
        return size;
}

static void leave(Renderer *v, size_t size) {
        if (v->pointer.text && !v->pointer.broken) {
                v->pointer.size = size;
                v->pointer.text[size] = 0;
        }
}

/* Every string at any depth, in place. */
static void render_tree(Renderer *v, json_t *tree) {
        const char *key;
        json_t *value;
        void *next;
        size_t i;

        json_object_foreach_safe(tree, next, key, value) {
                size_t size = enter(v, key);

                if (json_is_string(value))
                        json_object_set_new(tree, key, resolved(v, value, false));
                else
                        render_tree(v, value);
                leave(v, size);
        }
        json_array_foreach(tree, i, value) {
                char at[24];
                size_t size;

                snprintf(at, sizeof(at), "%zu", i);
                size = enter(v, at);
                if (json_is_string(value))
                        json_array_set_new(tree, i, resolved(v, value, false));
                else
                        render_tree(v, value);
                leave(v, size);
        }
}

/* One member of every entry of a map: files.*.content, volumes.*.source. */
static void render_member(Renderer *v, json_t *map, const char *member, bool volume) {
        const char *key;
        json_t *entry;

        json_object_foreach(map, key, entry) {
                json_t *value = json_object_get(entry, member);
                size_t size = enter(v, key), inner = enter(v, member);

                if (json_is_string(value) && !json_is_true(json_object_get(entry, "noExpand")))
                        json_object_set_new(entry, member, resolved(v, value, volume));
                leave(v, inner);
                leave(v, size);
        }
}

static void render_container(Renderer *v, json_t *container) {
        size_t size = enter(v, "variables");

        render_tree(v, json_object_get(container, "variables"));
        leave(v, size);
        size = enter(v, "files");
        render_member(v, json_object_get(container, "files"), "content", false);
        leave(v, size);
        size = enter(v, "volumes");
        render_member(v, json_object_get(container, "volumes"), "source", true);
        leave(v, size);
}

static void render_document(Renderer *v, json_t *json) {
        size_t size = enter(v, "containers"), inner;
        const char *key;
        json_t *item;

        json_object_foreach(json_object_get(json, "containers"), key, item) {
                inner = enter(v, key);
                render_container(v, item);
                leave(v, inner);
        }
        leave(v, size);
        size = enter(v, "resources");
        json_object_foreach(json_object_get(json, "resources"), key, item) {
                size_t last;

                inner = enter(v, key);
                last = enter(v, "params");
                render_tree(v, json_object_get(item, "params"));
                leave(v, last);
                leave(v, inner);
        }
        leave(v, size);
}

int score_render(const ScoreDocument *d, const json_t *outputs, json_t **ret, SpecFaults *faults) {
        Renderer v = { .document = d,
                       .outputs = outputs,
                       .faults = faults,
                       .metadata = json_object_get(d->json, "metadata"),
                       .resources = json_object_get(d->json, "resources") };
        json_auto_t *json = json_deep_copy(d->json);
        size_t before = faults->n_items + faults->n_dropped;

        if (!json)
                return -ENOMEM;
        render_document(&v, json);
        strbuf_done(&v.pointer);
        if (v.r < 0)
                return v.r;
        if (faults->n_items + faults->n_dropped > before)
                return -EINVAL;
        *ret = json_incref(json);
        return 0;
}
