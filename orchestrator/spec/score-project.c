/* Several Score files as one project. Identity is the text "type.class#id"; resources of one identity
 * are one resource, and whoever gives params or metadata for it must give the same. The order of
 * provisioning is Kahn's algorithm in rounds, each round sorted, so it never depends on anything but the
 * files themselves. */
#include <stdio.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/placeholder.h"
#include "orchestrator/spec/score.h"

/* A resource while its declarations are gathered. */
typedef struct Draft {
        ScoreResource resource;
        const ScoreDocument *metadata_from;
        bool params_given, done;
} Draft;

typedef struct Builder {
        ScoreProject *project;
        SpecFaults *faults;
        Draft *drafts;
        size_t n_drafts, room;
        Map *by_key; /* key -> index + 1 */
} Builder;

static void resource_done(ScoreResource *s) {
        free(s->key);
        free(s->type);
        free(s->class);
        free(s->id);
        free(s->workload);
        free(s->name);
        free(s->pointer);
        json_decref(s->params);
        json_decref(s->metadata);
        strv_free(s->depends);
        *s = (ScoreResource){ 0 };
}

ScoreProject *score_project_free(ScoreProject *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_resources; i++)
                resource_done(&p->resources[i]);
        for (size_t i = 0; i < p->n_documents; i++)
                score_document_free(p->documents[i]);
        free(p->resources);
        free(p->documents);
        json_decref(p->names);
        free(p);
        return NULL;
}

const ScoreResource *score_project_find(const ScoreProject *p, const char *key) {
        for (size_t i = 0; i < p->n_resources; i++)
                if (streq(p->resources[i].key, key))
                        return &p->resources[i];
        return NULL;
}

const char *score_project_key(const ScoreProject *p, const char *workload, const char *name) {
        return json_string_value(json_object_get(json_object_get(p->names, workload), name));
}

/* ---- documents ---- */

static int compare_documents(const void *a, const void *b) {
        const ScoreDocument *x = *(ScoreDocument *const *) a, *y = *(ScoreDocument *const *) b;
        int n = strcmp(x->workload, y->workload);

        return n != 0 ? n : strcmp(x->file, y->file);
}

static void check_workload_names(Builder *b) {
        ScoreProject *p = b->project;

        for (size_t i = 1; i < p->n_documents; i++)
                if (streq(p->documents[i]->workload, p->documents[i - 1]->workload))
                        score_document_fault(
                                p->documents[i], b->faults, SPEC_STAGE_SEMANTIC, "/metadata/name",
                                "give each workload a name of its own",
                                "The workload name '%s' is used a second time, first in %s",
                                p->documents[i]->workload, p->documents[i - 1]->file);
}

/* ---- declarations ---- */

static const char *text_of(const json_t *object, const char *key) {
        return json_string_value(json_object_get(object, key));
}

static char *resource_pointer(const char *name, const char *member) {
        auto_strbuf b = { 0 };

        strbuf_add(&b, "/resources");
        json_pointer_add(&b, name);
        if (member)
                json_pointer_add(&b, member);
        return strbuf_take(&b);
}

static int draft_new(Builder *b, const ScoreDocument *d, const char *name, const json_t *declared,
                     const char *key, Draft **ret) {
        const char *class = text_of(declared, "class"), *id = text_of(declared, "id");
        Draft *draft;
        ScoreResource *s;

        if (b->n_drafts == b->room) {
                size_t room = b->room ? b->room * 2 : 16;
                Draft *grown = reallocarray(b->drafts, room, sizeof(Draft));

                if (!grown)
                        return -ENOMEM;
                b->drafts = grown;
                b->room = room;
        }
        draft = &b->drafts[b->n_drafts];
        *draft = (Draft){ 0 };
        b->n_drafts++;
        s = &draft->resource;
        s->key = strdup(key);
        s->type = strdup(text_of(declared, "type"));
        s->class = strdup(class ? class : "default");
        s->id = id ? strdup(id) : str_format("%s.%s", d->workload, name);
        s->workload = strdup(d->workload);
        s->name = strdup(name);
        s->pointer = resource_pointer(name, NULL);
        s->document = d;
        s->params = json_object();
        s->metadata = json_object();
        if (!s->key || !s->type || !s->class || !s->id || !s->workload || !s->name || !s->pointer ||
            !s->params || !s->metadata)
                return -ENOMEM;
        *ret = draft;
        return map_put(b->by_key, s->key, (void *) b->n_drafts);
}

static void fault_differs(Builder *b, const Draft *draft, const ScoreDocument *d, const char *name,
                          const char *member) {
        auto_cleanup(freep) char *pointer = resource_pointer(name, member);

        score_document_fault(d, b->faults, SPEC_STAGE_SEMANTIC, pointer ? pointer : "",
                             "say the same everywhere, or say it once",
                             "The %s of the shared resource %s differ from those in workload '%s'",
                             member, draft->resource.key, draft->resource.workload);
}

/* Params count with the names and metadata of the workload that gave them first. */
static int take_params(Builder *b, Draft *draft, const ScoreDocument *d, const char *name,
                       json_t *params) {
        ScoreResource *s = &draft->resource;
        int r;

        if (!params)
                return 0;
        if (draft->params_given) {
                if (!json_equal(s->params, params))
                        fault_differs(b, draft, d, name, "params");
                return 0;
        }
        draft->params_given = true;
        json_decref(s->params);
        s->params = json_incref(params);
        s->document = d;
        free(s->pointer);
        s->pointer = resource_pointer(name, NULL);
        if (!s->pointer)
                return -ENOMEM;
        r = str_replace(&s->workload, d->workload);
        return r < 0 ? r : str_replace(&s->name, name);
}

static void take_metadata(Builder *b, Draft *draft, const ScoreDocument *d, const char *name,
                          json_t *metadata) {
        ScoreResource *s = &draft->resource;

        if (!metadata)
                return;
        if (draft->metadata_from) {
                if (!json_equal(s->metadata, metadata))
                        fault_differs(b, draft, d, name, "metadata");
                return;
        }
        draft->metadata_from = d;
        json_decref(s->metadata);
        s->metadata = json_incref(metadata);
}

char *score_resource_key(const char *workload, const char *name, const json_t *declared) {
        const char *class = text_of(declared, "class"), *id = text_of(declared, "id");

        return id ? str_format("%s.%s#%s", text_of(declared, "type"), class ? class : "default", id)
                  : str_format("%s.%s#%s.%s", text_of(declared, "type"), class ? class : "default",
                               workload, name);
}

static int strv_add_once(char ***v, const char *s) {
        return strv_contains(*v, s) ? 0 : strv_add(v, s);
}

static int add_references(const json_t *names, const char *string, char ***depends) {
        PlaceholderScan scan = { .string = string };
        PlaceholderPart part;
        int r = 0;

        while (r == 0 && placeholder_next(&scan, &part)) {
                auto_cleanup(strv_freep) char **parts = NULL;
                const char *key;

                if (!part.reference)
                        continue;
                parts = placeholder_split(part.text, part.size);
                if (!parts)
                        return -ENOMEM;
                if (!streq(parts[0], "resources") || !parts[1])
                        continue;
                key = text_of(names, parts[1]);
                r = key ? strv_add_once(depends, key) : 0;
        }
        return r;
}

/* names: resource name -> key, of the workload that wrote the value. */
static int add_depends(const json_t *names, json_t *value, char ***depends) {
        const char *key;
        json_t *item;
        size_t i;
        int r = 0;

        if (json_is_string(value))
                return add_references(names, json_string_value(value), depends);
        if (json_is_object(value))
                json_object_foreach(value, key, item)
                        if (r == 0)
                                r = add_depends(names, item, depends);
        if (json_is_array(value))
                json_array_foreach(value, i, item)
                        if (r == 0)
                                r = add_depends(names, item, depends);
        return r;
}

static int declare(Builder *b, const ScoreDocument *d, const char *name, json_t *declared,
                   const json_t *names) {
        const char *key = text_of(names, name);
        size_t at = (size_t) map_get(b->by_key, key);
        Draft *draft;
        int r = 0;

        if (at > 0)
                draft = &b->drafts[at - 1];
        else
                r = draft_new(b, d, name, declared, key, &draft);
        if (r < 0)
                return r;
        r = take_params(b, draft, d, name, json_object_get(declared, "params"));
        if (r < 0)
                return r;
        take_metadata(b, draft, d, name, json_object_get(declared, "metadata"));
        return add_depends(names, json_object_get(declared, "params"), &draft->resource.depends);
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int sorted_keys(json_t *object, const char ***ret, size_t *ret_n) {
        size_t n = json_object_size(object), i = 0;
        const char **keys = calloc(n + 1, sizeof(char *));
        const char *key;
        json_t *value;

        if (!keys)
                return -ENOMEM;
        json_object_foreach(object, key, value)
                keys[i++] = key;
        qsort(keys, n, sizeof(char *), compare_strings);
        *ret = keys;
        *ret_n = n;
        return 0;
}

static int declare_all(Builder *b, const ScoreDocument *d) {
        json_t *resources = json_object_get(d->json, "resources"), *names = json_object();
        auto_cleanup(freep) const char **keys = NULL;
        size_t n = 0;
        int r;

        if (!names || json_object_set_new(b->project->names, d->workload, names) < 0)
                return -ENOMEM;
        r = sorted_keys(resources, &keys, &n);
        for (size_t i = 0; r == 0 && i < n; i++) {
                auto_cleanup(freep) char *key = score_resource_key(
                        d->workload, keys[i], json_object_get(resources, keys[i]));

                if (!key || json_object_set_new(names, keys[i], json_string(key)) < 0)
                        r = -ENOMEM;
        }
        for (size_t i = 0; r == 0 && i < n; i++)
                r = declare(b, d, keys[i], json_object_get(resources, keys[i]), names);
        return r;
}

/* ---- order ---- */

/* Whether everything that it waits for is placed. */
static bool is_ready(const Builder *b, const Draft *draft) {
        for (char **key = draft->resource.depends; key && *key; key++) {
                size_t at = (size_t) map_get(b->by_key, *key);

                if (at > 0 && !b->drafts[at - 1].done)
                        return false;
        }
        return true;
}

static int compare_drafts(const void *a, const void *b) {
        const Draft *x = *(Draft *const *) a, *y = *(Draft *const *) b;

        return strcmp(x->resource.key, y->resource.key);
}

/* A circle is what is left when no resource is ready: follow what is not placed until one comes again. */
static void fault_cycle(Builder *b) {
        auto_cleanup(freep) bool *seen = calloc(b->n_drafts, sizeof(bool));
        auto_strbuf circle = { 0 };
        const Draft *at = NULL, *first;

        if (!seen)
                return;
        for (size_t i = 0; i < b->n_drafts; i++)
                if (!b->drafts[i].done &&
                    (!at || strcmp(b->drafts[i].resource.key, at->resource.key) < 0))
                        at = &b->drafts[i];
        for (int round = 0; round < 2; round++) {
                memset(seen, 0, b->n_drafts * sizeof(bool));
                first = at;
                while (at && !seen[at - b->drafts]) {
                        seen[at - b->drafts] = true;
                        if (round == 1 && circle.size < 400)
                                strbuf_addf(&circle, "%s -> ", at->resource.key);
                        for (char **key = at->resource.depends; key && *key; key++) {
                                size_t next = (size_t) map_get(b->by_key, *key);

                                if (next > 0 && !b->drafts[next - 1].done) {
                                        at = &b->drafts[next - 1];
                                        break;
                                }
                        }
                }
        }
        score_document_fault(first->resource.document, b->faults, SPEC_STAGE_SEMANTIC,
                             first->resource.pointer, "take one of the placeholders out",
                             "The params of these resources wait for each other in a circle: %s%s",
                             circle.text ? circle.text : "", first->resource.key);
}

static int arrange(Builder *b) {
        auto_cleanup(freep) Draft **round = calloc(b->n_drafts + 1, sizeof(Draft *));
        ScoreProject *p = b->project;
        size_t n_placed = 0, n;

        p->resources = calloc(b->n_drafts + 1, sizeof(ScoreResource));
        if (!round || !p->resources)
                return -ENOMEM;
        while (n_placed < b->n_drafts) {
                n = 0;
                for (size_t i = 0; i < b->n_drafts; i++)
                        if (!b->drafts[i].done && is_ready(b, &b->drafts[i]))
                                round[n++] = &b->drafts[i];
                if (n == 0) {
                        fault_cycle(b);
                        return -EINVAL;
                }
                qsort(round, n, sizeof(Draft *), compare_drafts);
                for (size_t i = 0; i < n; i++)
                        round[i]->done = true;
                for (size_t i = 0; i < n; i++)
                        p->resources[n_placed + i] = round[i]->resource;
                for (size_t i = 0; i < n; i++)
                        round[i]->resource = (ScoreResource){ 0 };
                n_placed += n;
                p->n_resources = n_placed;
        }
        return 0;
}

/* ---- all ---- */

static void builder_done(Builder *b) {
        for (size_t i = 0; i < b->n_drafts; i++)
                resource_done(&b->drafts[i].resource);
        free(b->drafts);
        map_free(b->by_key);
}

static int check_number(Builder *b) {
        if (b->n_drafts <= LIMIT_GRAPH_RESOURCES)
                return 0;
        score_document_fault(b->project->documents[0], b->faults, SPEC_STAGE_SEMANTIC, "/resources",
                             NULL, "There are %zu resources; %d is the most", b->n_drafts,
                             LIMIT_GRAPH_RESOURCES);
        return -EINVAL;
}

static void sort_depends(Builder *b) {
        for (size_t i = 0; i < b->n_drafts; i++)
                if (b->drafts[i].resource.depends)
                        qsort(b->drafts[i].resource.depends,
                              strv_length(b->drafts[i].resource.depends), sizeof(char *),
                              compare_strings);
}

static int build(Builder *b) {
        ScoreProject *p = b->project;
        size_t before = b->faults->n_items + b->faults->n_dropped;
        int r = 0;

        qsort(p->documents, p->n_documents, sizeof(ScoreDocument *), compare_documents);
        check_workload_names(b);
        if (b->faults->n_items + b->faults->n_dropped > before)
                return -EINVAL;
        for (size_t i = 0; r == 0 && i < p->n_documents; i++)
                r = declare_all(b, p->documents[i]);
        if (r == 0)
                r = check_number(b);
        if (r < 0)
                return r;
        sort_depends(b);
        r = arrange(b);
        if (r == 0 && b->faults->n_items + b->faults->n_dropped > before)
                return -EINVAL;
        return r;
}

int score_project_make(ScoreDocument **documents, size_t n_documents, ScoreProject **ret,
                       SpecFaults *faults, Error *reterr) {
        auto_cleanup(score_project_freep) ScoreProject *p = calloc(1, sizeof(*p));
        auto_cleanup(builder_done)
                Builder b = { .project = p, .faults = faults, .by_key = map_new(NULL) };
        size_t before = faults->n_items;
        int r;

        if (p)
                p->documents = calloc(n_documents + 1, sizeof(ScoreDocument *));
        if (!p || !p->documents) {
                for (size_t i = 0; i < n_documents; i++)
                        score_document_free(documents[i]);
                return -ENOMEM;
        }
        for (size_t i = 0; i < n_documents; i++)
                p->documents[p->n_documents++] = documents[i];
        p->names = json_object();
        if (!p->names || !b.by_key)
                return -ENOMEM;
        r = build(&b);
        if (r == -EINVAL && faults->n_items > before)
                return error_set(reterr, r, "%s:%u:%u: %s", faults->items[before].file,
                                 faults->items[before].line, faults->items[before].column,
                                 faults->items[before].message);
        if (r < 0)
                return r;
        *ret = TAKE(p);
        return 0;
}
