#include "orchestrator/spec/fault.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static const char *const stages[_SPEC_STAGE_MAX] = {
        [SPEC_STAGE_YAML] = "yaml",
        [SPEC_STAGE_UPGRADE] = "upgrade",
        [SPEC_STAGE_SCHEMA] = "schema",
        [SPEC_STAGE_SEMANTIC] = "semantic",
};

const char *spec_stage_to_string(SpecStage stage) {
        return stage >= 0 && stage < _SPEC_STAGE_MAX ? stages[stage] : NULL;
}

static void fault_done(SpecFault *fault) {
        free(fault->file);
        free(fault->path);
        free(fault->message);
        free(fault->hint);
        *fault = (SpecFault){ 0 };
}

/* Room grows in powers of two, so the array needs no field for it. */
static SpecFault *faults_grow(SpecFaults *f) {
        SpecFault *items;

        if (f->n_items == 0 || (f->n_items & (f->n_items - 1)) == 0) {
                items = reallocarray(f->items, f->n_items ? f->n_items * 2 : 1, sizeof(SpecFault));
                if (!items)
                        return NULL;
                f->items = items;
        }
        f->items[f->n_items] = (SpecFault){ 0 };
        return &f->items[f->n_items];
}

void spec_faults_no_memory(SpecFaults *f) {
        f->no_memory = true;
        f->n_dropped++;
}

void spec_faults_add(SpecFaults *f, SpecStage stage, const char *file, unsigned line,
                     unsigned column, const char *path, const char *hint, const char *fmt, ...) {
        SpecFault *fault;
        va_list args;
        int r;

        if (f->n_items >= LIMIT_SPEC_FAULTS) {
                f->n_dropped++;
                return;
        }
        fault = faults_grow(f);
        if (!fault) {
                spec_faults_no_memory(f);
                return;
        }
        va_start(args, fmt);
        r = vasprintf(&fault->message, fmt, args);
        va_end(args);
        if (r < 0)
                fault->message = NULL;
        else
                utf8_repair(fault->message); /* "%.80s" may have cut a character */
        fault->stage = stage;
        fault->line = line;
        fault->column = column;
        if (!fault->message || str_replace(&fault->file, file ? file : "") < 0 ||
            str_replace(&fault->path, path ? path : "") < 0 ||
            str_replace(&fault->hint, hint) < 0) {
                fault_done(fault);
                spec_faults_no_memory(f);
                return;
        }
        f->n_items++;
}

void spec_faults_add_yaml(SpecFaults *faults, const YamlTree *t) {
        size_t n;
        const YamlProblem *problems = yaml_problems(t, &n);

        for (size_t i = 0; i < n; i++)
                spec_faults_add(faults, SPEC_STAGE_YAML, problems[i].place.file,
                                problems[i].place.line, problems[i].place.column, "",
                                problems[i].hint, "%s", problems[i].message);
}

/* An insertion sort: it is stable, and there are at most LIMIT_SPEC_FAULTS. */
void spec_faults_sort(SpecFaults *f) {
        unsigned *files = calloc(f->n_items ? f->n_items : 1, sizeof(*files));

        if (!files)
                return;
        for (size_t i = 0; i < f->n_items; i++)
                for (files[i] = 0; files[i] < i; files[i]++)
                        if (streq(f->items[files[i]].file, f->items[i].file))
                                break;
        for (size_t i = 1; i < f->n_items; i++) {
                SpecFault fault = f->items[i];
                unsigned file = files[i];
                size_t j;

                for (j = i; j > 0; j--) {
                        const SpecFault *before = &f->items[j - 1];

                        if (files[j - 1] != file         ? files[j - 1] < file
                            : before->line != fault.line ? before->line < fault.line
                                                         : before->column <= fault.column)
                                break;
                        f->items[j] = *before;
                        files[j] = files[j - 1];
                }
                f->items[j] = fault;
                files[j] = file;
        }
        free(files);
}

json_t *spec_faults_to_json(const SpecFaults *f) {
        json_t *list = json_array();

        for (size_t i = 0; list && i < f->n_items; i++) {
                const SpecFault *fault = &f->items[i];
                json_t *item = json_pack("{s:s, s:i, s:i, s:s, s:s, s:s}", "file", fault->file,
                                         "line", (int) fault->line, "column", (int) fault->column,
                                         "path", fault->path, "stage", stages[fault->stage],
                                         "message", fault->message);

                if (item && fault->hint)
                        json_object_set_new(item, "hint", json_string(fault->hint));
                if (!item || json_array_append_new(list, item) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list;
}

void spec_faults_done(SpecFaults *f) {
        for (size_t i = 0; i < f->n_items; i++)
                fault_done(&f->items[i]);
        free(f->items);
        *f = (SpecFaults){ 0 };
}
