#include "orchestrator/cli/input.h"

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

const Input *inputs_find(const Inputs *inputs, const char *name) {
        for (size_t i = 0; i < inputs->n_items; i++)
                if (streq(inputs->items[i].name, name))
                        return &inputs->items[i];
        return NULL;
}

int inputs_keep(Inputs *inputs, const char *name, char *text, size_t size) {
        auto_cleanup(freep) char *owned = text, *copy = strdup(name);
        Input *grown;

        grown = reallocarray(inputs->items, inputs->n_items + 1, sizeof(Input));
        if (grown)
                inputs->items = grown;
        if (!copy || !grown)
                return -ENOMEM;
        grown[inputs->n_items++] = (Input){ TAKE(copy), TAKE(owned), size };
        return 0;
}

int inputs_read(Inputs *inputs, const char *path, const Input **ret, Error *reterr) {
        auto_error e = { 0 };
        char *text = NULL;
        size_t size = 0;
        int r;

        if (streq(path, "-"))
                r = read_fd(STDIN_FILENO, LIMIT_SPEC_FILE_BYTES, &text, &size, &e);
        else
                r = read_file(path, LIMIT_SPEC_FILE_BYTES, &text, &size, &e);
        if (r < 0 && r != -EFBIG)
                return error_set(reterr, r, "Cannot read '%s': %s", path, strerror(-r));
        r = inputs_keep(inputs, path, text, size);
        if (r < 0)
                return r;
        if (ret)
                *ret = &inputs->items[inputs->n_items - 1];
        return 0;
}

void inputs_done(Inputs *inputs) {
        for (size_t i = 0; i < inputs->n_items; i++) {
                free(inputs->items[i].name);
                free(inputs->items[i].text);
        }
        free(inputs->items);
        *inputs = (Inputs){ 0 };
}

int override_options_add(OverrideOptions *o, const char *property) {
        const char **grown = reallocarray(o->properties, o->n_properties + 1, sizeof(char *));

        if (!grown)
                return -ENOMEM;
        grown[o->n_properties++] = property;
        o->properties = grown;
        return 0;
}

void override_options_done(OverrideOptions *o) {
        free(o->properties);
        *o = (OverrideOptions){ 0 };
}

bool input_too_large(const Input *input, SpecFaults *faults) {
        if (input->text)
                return false;
        spec_faults_add(faults, SPEC_STAGE_YAML, input->name, 0, 0, "",
                        "a dependency file says what is needed; keep data in files of its own",
                        "The file has more than %d bytes", LIMIT_SPEC_FILE_BYTES);
        return true;
}

int input_load_score(Inputs *inputs, const char *name, const OverrideOptions *options,
                     ScoreDocument **ret, SpecFaults *faults, SpecFaults *notices, Error *reterr) {
        ScoreOverrides overrides = { .properties = options->properties,
                                     .n_properties = options->n_properties };
        const Input *input;
        int r;

        if (options->file) {
                r = inputs_read(inputs, options->file, &input, reterr);
                if (r < 0)
                        return r;
                if (input_too_large(input, faults))
                        return -EINVAL;
                overrides.file = input->name;
                overrides.text = input->text;
                overrides.size = input->size;
        }
        input = inputs_find(inputs, name);
        if (input_too_large(input, faults))
                return -EINVAL;
        return score_document_load(input->name, input->text, input->size, &overrides, ret, faults,
                                   notices, reterr);
}
