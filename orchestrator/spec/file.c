#include "orchestrator/spec/file.h"

static void yaml_faults(const YamlTree *tree, SpecFaults *faults) {
        size_t n;
        const YamlProblem *problems = yaml_problems(tree, &n);

        for (size_t i = 0; i < n; i++)
                spec_faults_add(faults, SPEC_STAGE_YAML, problems[i].place.file,
                                problems[i].place.line, problems[i].place.column, "",
                                problems[i].hint, "%s", problems[i].message);
}

int spec_file_read(const char *file, const char *text, size_t size, YamlTree **ret,
                   YamlNode **ret_root, SpecFaults *faults, Error *reterr) {
        auto_cleanup(yaml_tree_freep) YamlTree *tree = yaml_tree_new();
        YamlPlace second;
        int r;

        r = tree ? yaml_parse(tree, file, text, size, ret_root) : -ENOMEM;
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                yaml_faults(tree, faults);
                return spec_faults_error(faults, reterr);
        }
        second = yaml_second_document(tree);
        if (second.line > 0) {
                spec_faults_add(faults, SPEC_STAGE_YAML, file, second.line, second.column, "", NULL,
                                "There must be one document in this file, not two");
                return spec_faults_error(faults, reterr);
        }
        *ret = TAKE(tree);
        return 0;
}

int spec_faults_error(SpecFaults *faults, Error *reterr) {
        const SpecFault *f;

        spec_faults_sort(faults);
        if (faults->n_items == 0 || faults->no_memory)
                return -ENOMEM; /* faults that could not be kept */
        f = &faults->items[0];
        if (f->line > 0)
                return error_set(reterr, -EINVAL, "%s:%u:%u: %s", f->file, f->line, f->column,
                                 f->message);
        return error_set(reterr, -EINVAL, "%s: %s", f->file, f->message);
}
