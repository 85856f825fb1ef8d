#include "orchestrator/spec/score.h"

#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/override.h"
#include "orchestrator/spec/score-parts.h"

ScoreDocument *score_document_free(ScoreDocument *d) {
        if (!d)
                return NULL;
        json_decref(d->json);
        yaml_tree_free(d->tree);
        free(d->file);
        free(d);
        return NULL;
}

/* ---- stage yaml ---- */

/* The root map of one YAML text. -EINVAL with faults. */
static int parse_map(YamlTree *t, const char *file, const char *text, size_t size, YamlNode **ret,
                     SpecFaults *faults) {
        YamlNode *root = NULL;
        int r;

        r = yaml_parse(t, file, text, size, &root);
        if (r == -EBADMSG) {
                spec_faults_add_yaml(faults, t);
                return -EINVAL;
        }
        if (r < 0)
                return r;
        if (!root) {
                spec_faults_add(faults, SPEC_STAGE_YAML, file, 1, 1, "",
                                "begin it with apiVersion: score.dev/v1b1", "The file is empty");
                return -EINVAL;
        }
        if (root->kind != YAML_KIND_MAP) {
                spec_faults_add(faults, SPEC_STAGE_YAML, file, root->place.line, root->place.column,
                                "", "begin it with apiVersion: score.dev/v1b1",
                                "The file must hold a map, not %s",
                                yaml_kind_to_string(root->kind));
                return -EINVAL;
        }
        *ret = root;
        return 0;
}

static int apply_overrides(ScoreDocument *d, const ScoreOverrides *o, SpecFaults *faults) {
        YamlNode *from;
        int r = 0;

        if (o && o->file) {
                r = parse_map(d->tree, o->file, o->text, o->size, &from, faults);
                if (r == 0)
                        r = override_merge(d->tree, d->root, from);
        }
        for (size_t i = 0; o && r == 0 && i < o->n_properties; i++) {
                auto_error e = { 0 };

                r = override_property(d->tree, d->root, o->properties[i], &e);
                if (r < 0 && r != -ENOMEM) {
                        spec_faults_add(faults, SPEC_STAGE_YAML, "--override-property", 0, 0, "",
                                        NULL, "%s", error_text(&e, r));
                        r = -EINVAL;
                }
        }
        return r;
}

static void notice_second_document(const YamlTree *t, SpecFaults *notices) {
        YamlPlace place = yaml_second_document(t);

        if (notices && place.line > 0)
                spec_faults_add(notices, SPEC_STAGE_YAML, place.file, place.line, place.column, "",
                                "one file holds one workload: put the next in a file of its own",
                                "Only the first document of a file is read; this one is not");
}

/* ---- all stages ---- */

/* Each stage only sees what the one before found good. */
static int run_stages(ScoreDocument *d, const char *text, size_t size,
                      const ScoreOverrides *overrides, SpecFaults *faults, SpecFaults *notices) {
        size_t before = faults->n_items + faults->n_dropped;
        int r;

        r = parse_map(d->tree, d->file, text, size, &d->root, faults);
        if (r < 0)
                return r;
        notice_second_document(d->tree, notices);
        r = apply_overrides(d, overrides, faults);
        if (r < 0)
                return r;
        r = score_upgrade(d->tree, d->root, faults, notices);
        if (r < 0)
                return r;
        if (faults->n_items + faults->n_dropped == before)
                score_check_schema(d->root, faults);
        if (faults->n_items + faults->n_dropped == before)
                r = score_check_meaning(d->root, d->file, text, size, faults, notices);
        if (r == 0 && faults->n_items + faults->n_dropped > before)
                r = -EINVAL;
        return faults->no_memory ? -ENOMEM : r;
}

static int first_fault(const SpecFaults *faults, size_t from, Error *reterr) {
        const SpecFault *fault = from < faults->n_items ? &faults->items[from] : NULL;

        if (!fault)
                return error_set(reterr, -EINVAL, "The dependency file has faults");
        return error_set(reterr, -EINVAL, "%s:%u:%u: %s", fault->file, fault->line, fault->column,
                         fault->message);
}

int score_document_load(const char *file, const char *text, size_t size,
                        const ScoreOverrides *overrides, ScoreDocument **ret, SpecFaults *faults,
                        SpecFaults *notices, Error *reterr) {
        auto_cleanup(score_document_freep) ScoreDocument *d = calloc(1, sizeof(*d));
        size_t before = faults->n_items;
        int r;

        if (!d)
                return -ENOMEM;
        d->tree = yaml_tree_new();
        d->file = strdup(file);
        if (!d->tree || !d->file)
                return -ENOMEM;
        r = run_stages(d, text, size, overrides, faults, notices);
        if (r == -EINVAL)
                return first_fault(faults, before, reterr);
        if (r < 0)
                return r;
        r = yaml_to_json(d->root, &d->json, reterr);
        if (r < 0)
                return r;
        d->workload =
                json_string_value(json_object_get(json_object_get(d->json, "metadata"), "name"));
        *ret = TAKE(d);
        return 0;
}

void score_document_fault(const ScoreDocument *d, SpecFaults *faults, SpecStage stage,
                          const char *pointer, const char *hint, const char *fmt, ...) {
        auto_cleanup(freep) char *around = strdup(pointer), *text = NULL;
        YamlPlace place = d->root->place;
        YamlEntry *entry = NULL;
        YamlNode *node = NULL;
        va_list args;
        char *slash;

        va_start(args, fmt);
        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        va_end(args);
        while (around && !(node = yaml_at(d->root, around, &entry)) &&
               (slash = strrchr(around, '/')))
                *slash = 0;
        if (entry)
                place = entry->place;
        if (node && node->place.line > 0 && node->kind != YAML_KIND_NULL &&
            node->kind != YAML_KIND_MAP)
                place = node->place;
        spec_faults_add(faults, stage, place.file, place.line, place.column, pointer, hint, "%s",
                        text ? text : "Out of memory");
}
