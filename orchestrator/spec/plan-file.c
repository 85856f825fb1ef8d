/* Finding and reading the dependency file: mayfly.yaml, else score.yaml, else compose.yaml. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/compose.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/plan-internal.h"

typedef struct Documents {
        ScoreDocument **items;
        size_t n;
} Documents;

static void documents_done(Documents *d) {
        for (size_t i = 0; i < d->n; i++)
                score_document_free(d->items[i]);
        free(d->items);
}

static int document_add(Planner *p, const char *file, const char *text, size_t size,
                        Documents *to) {
        ScoreDocument **grown, *d;
        int r;

        grown = reallocarray(to->items, to->n + 1, sizeof(ScoreDocument *));
        if (!grown)
                return -ENOMEM;
        to->items = grown;
        r = score_document_load(file, text, size, p->options->overrides, &d, p->faults,
                                p->options->notices, NULL);
        if (r < 0)
                return r == -EINVAL && planner_failed(p)
                               ? 0
                               : r; /* the other files may have faults too */
        to->items[to->n++] = d;
        return 0;
}

static int project_make(Planner *p, Documents *documents) {
        auto_error error = { 0 };
        size_t n = documents->n;
        int r;

        if (planner_failed(p))
                return spec_faults_error(p->faults, p->reterr);
        documents->n = 0; /* taken over */
        r = score_project_make(documents->items, n, &p->project, p->faults, &error);
        if (r < 0)
                return planner_failed(p) ? spec_faults_error(p->faults, p->reterr)
                                         : error_set(p->reterr, r, "%s", error_text(&error, r));
        return 0;
}

static int load_listed(Planner *p, const json_t *list) {
        auto_cleanup(documents_done) Documents documents = { 0 };
        const json_t *item;
        size_t i;
        int r;

        json_array_foreach(list, i, item) {
                auto_cleanup(freep) char *text = NULL;
                auto_error error = { 0 };
                size_t size;

                r = planner_read(p, json_string_value(item), LIMIT_SPEC_FILE_BYTES, &text, &size,
                                 &error);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        mayfly_file_score_fault(p, i, &error, r);
                        continue;
                }
                r = document_add(p, json_string_value(item), text, size, &documents);
                if (r < 0)
                        return r;
        }
        r = project_make(p, &documents);
        if (r < 0)
                return r;
        return mayfly_file_check(p);
}

static int load_score(Planner *p, const char *file, const char *text, size_t size) {
        auto_cleanup(documents_done) Documents documents = { 0 };
        int r;

        r = document_add(p, file, text, size, &documents);
        if (r == 0)
                r = project_make(p, &documents);
        return r < 0 ? r : mayfly_file_check(p);
}

static void place_set(YamlNode *node, YamlPlace place) {
        node->place = place;
        for (size_t i = 0; node->kind == YAML_KIND_LIST && i < node->n_items; i++)
                place_set(node->items[i], place);
        for (size_t i = 0; node->kind == YAML_KIND_MAP && i < node->n_entries; i++) {
                node->entries[i].place = place;
                place_set(node->entries[i].value, place);
        }
}

/* A document made from another file keeps the places of that file: outer ones first. */
static void places_set(ScoreDocument *d, const json_t *places) {
        for (size_t depth = 0; depth < 8; depth++) {
                const char *pointer;
                json_t *at;

                json_object_foreach((json_t *) places, pointer, at) {
                        size_t steps = 0;
                        YamlEntry *entry = NULL;
                        YamlNode *node;
                        YamlPlace place = { .file = d->file };

                        for (const char *c = pointer; *c; c++)
                                steps += *c == '/';
                        node = steps == depth ? yaml_at(d->root, pointer, &entry) : NULL;
                        if (!node)
                                continue;
                        place.line = (uint32_t) json_integer_value(json_array_get(at, 0));
                        place.column = (uint32_t) json_integer_value(json_array_get(at, 1));
                        place_set(node, place);
                        if (entry)
                                entry->place = place;
                }
        }
}

/* What mayfly.yaml says of a workload wins over what Compose says. */
static int settings_merge(Planner *p, const json_t *made) {
        const char *name;
        json_t *value;

        json_object_foreach((json_t *) made, name, value) {
                json_t *said = json_object_get(p->settings, name);

                if (said ? json_object_update_missing(said, value) < 0
                         : json_object_set(p->settings, name, value) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* A compose file becomes Score documents and settings. */
static int load_compose(Planner *p, const char *file, const char *text, size_t size) {
        ComposeRequest request = { .file = file,
                                   .text = text,
                                   .size = size,
                                   .config = p->options->sketch ? NULL : p->context->config,
                                   .reader = p->reader,
                                   .faults = p->faults,
                                   .notices = p->options->notices };
        auto_cleanup(documents_done) Documents documents = { 0 };
        auto_cleanup(json_decrefp) json_t *made = NULL;
        const json_t *item;
        size_t i;
        int r;

        r = compose_convert(&request, &made, NULL, p->reterr);
        if (r == 0)
                r = settings_merge(p, json_object_get(made, "workloads"));
        if (r < 0)
                return r;
        json_array_foreach(json_object_get(made, "documents"), i, item) {
                auto_cleanup(freep) char *score =
                        json_text(json_object_get(item, "score"));

                r = score ? document_add(p, file, score, strlen(score), &documents) : -ENOMEM;
                if (r < 0)
                        return r;
                if (documents.n == i + 1)
                        places_set(documents.items[i], json_object_get(item, "places"));
        }
        r = project_make(p, &documents);
        return r < 0 ? r : mayfly_file_check(p);
}

static int load_first(Planner *p, size_t from);

static int load_mayfly(Planner *p, const char *file, const char *text, size_t size) {
        auto_cleanup(json_decrefp) json_t *score = NULL;
        int r;

        r = mayfly_file_load(p, file, text, size, &score);
        if (r < 0)
                return r;
        return score ? load_listed(p, score) : load_first(p, 2);
}

static const struct {
        const char *name;
        int (*load)(Planner *p, const char *file, const char *text, size_t size);
} kinds[] = {
        { "mayfly.yaml", load_mayfly },
        { "mayfly.yml", load_mayfly },
        { "score.yaml", load_score },
        { "score.yml", load_score },
        { "compose.yaml", load_compose },
        { "compose.yml", load_compose },
        { "docker-compose.yaml", load_compose },
        { "docker-compose.yml", load_compose },
};

/* The first of the kinds, from this one on, that is there. */
static int load_first(Planner *p, size_t from) {
        int r;

        for (size_t i = from; i < N_ELEMENTS(kinds); i++) {
                auto_cleanup(freep) char *text = NULL;
                auto_error error = { 0 };
                size_t size;

                r = planner_read(p, kinds[i].name, LIMIT_SPEC_FILE_BYTES, &text, &size, &error);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return error_set(p->reterr, r == -ENOMEM ? r : -EINVAL, "%s",
                                         error_text(&error, r));
                return kinds[i].load(p, kinds[i].name, text, size);
        }
        return error_set(
                p->reterr, -ENOENT,
                "There is no dependency file: put a score.yaml, a mayfly.yaml that names Score "
                "files, or a compose.yaml at the top of the repository");
}

static bool file_is(const char *file, const char *kind) {
        const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;

        return str_after(name, kind) ||
               (streq(kind, "compose") && str_after(name, "docker-compose"));
}

/* Files that a person named: one of ours, or Score files. */
static int load_named(Planner *p) {
        auto_cleanup(documents_done) Documents documents = { 0 };
        int r;

        for (size_t i = 0; i < p->options->n_files; i++) {
                const char *file = p->options->files[i];
                auto_cleanup(freep) char *text = NULL;
                bool mayfly = file_is(file, "mayfly"), compose = file_is(file, "compose");
                size_t size;

                r = planner_read(p, file, LIMIT_SPEC_FILE_BYTES, &text, &size, p->reterr);
                if (r < 0)
                        return r;
                if ((mayfly || compose) && p->options->n_files > 1)
                        return error_set(p->reterr, -EINVAL,
                                         "'%s' stands for a whole project: name it alone", file);
                if (mayfly || compose)
                        return mayfly ? load_mayfly(p, file, text, size)
                                      : load_compose(p, file, text, size);
                r = document_add(p, file, text, size, &documents);
                if (r < 0)
                        return r;
        }
        return project_make(p, &documents);
}

int plan_file_load(Planner *p) {
        return p->options->n_files > 0 ? load_named(p) : load_first(p, 0);
}
