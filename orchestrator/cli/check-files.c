#include "orchestrator/cli/check-files.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/faults.h"
#include "orchestrator/spec/compose.h"
#include "orchestrator/spec/config.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/shape.h"

/* The file's text, or -EINVAL after the fault that it is too large. */
static int input_of(Inputs *inputs, const char *name, SpecFaults *faults, const Input **ret) {
        *ret = inputs_find(inputs, name);
        return input_too_large(*ret, faults) ? -EINVAL : 0;
}

int check_mayfly_file(Inputs *inputs, const char *name, SpecFaults *faults, json_t **ret_score,
                      Error *reterr) {
        auto_cleanup(yaml_tree_freep) YamlTree *tree = NULL;
        auto_cleanup(json_decrefp) json_t *json = NULL;
        const Input *input;
        YamlNode *root;
        json_t *score;
        int r;

        r = input_of(inputs, name, faults, &input);
        if (r == 0)
                r = spec_file_read(name, input->text, input->size, &tree, &root, faults, reterr);
        if (r == 0 && root && root->kind != YAML_KIND_NULL)
                r = shape_read(&mayfly_shape, root, "", faults, &json);
        if (r < 0)
                return r;
        score = json_object_get(json, "score");
        *ret_score = score ? json_incref(score) : json_pack("[s]", "score.yaml");
        return *ret_score ? 0 : -ENOMEM;
}

int check_config_file(Inputs *inputs, const char *name, SpecFaults *faults, Error *reterr) {
        auto_cleanup(config_freep) Config *config = NULL;
        const Input *input;
        int r;

        r = input_of(inputs, name, faults, &input);
        return r < 0 ? r : config_parse(name, input->text, input->size, &config, faults, reterr);
}

static int read_beneath(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                        Error *reterr) {
        return read_file_beneath(*(int *) userdata, path, max, ret, ret_size, reterr);
}

int check_compose_file(Inputs *inputs, const char *name, SpecFaults *faults, SpecFaults *notices,
                       json_t **ret_report, Error *reterr) {
        const char *slash = strrchr(name, '/');
        auto_cleanup(freep) char *folder = NULL;
        auto_cleanup(json_decrefp) json_t *made = NULL;
        auto_cleanup(closep) int fd = -1;
        SpecReader reader = { .read = read_beneath, .userdata = &fd };
        ComposeRequest request = { .file = name, .faults = faults, .notices = notices };
        const Input *input;
        int r;

        r = input_of(inputs, name, faults, &input);
        if (r < 0)
                return r;
        folder = slash ? strndup(name, (size_t) (slash - name + 1)) : strdup(".");
        if (!folder)
                return -ENOMEM;
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        request.text = input->text;
        request.size = input->size;
        request.reader = fd >= 0 ? &reader : NULL;
        return compose_convert(&request, &made, ret_report, reterr);
}

void compose_report_print(FILE *out, const json_t *report) {
        json_int_t last = 0, line;

        /* by line; what was said of one line stays in its order */
        for (;;) {
                json_int_t next = INT64_MAX;
                const json_t *item;
                size_t i;

                json_array_foreach(report, i, item) {
                        line = json_integer_value(json_object_get(item, "line"));
                        if (line > last && line < next)
                                next = line;
                }
                if (next == INT64_MAX)
                        return;
                json_array_foreach(report, i, item) {
                        const char *path = json_string_value(json_object_get(item, "path"));
                        const char *text = json_string_value(json_object_get(item, "text"));
                        auto_strbuf b = { 0 };

                        if (json_integer_value(json_object_get(item, "line")) != next)
                                continue;
                        terminal_safe(&b, path, strlen(path));
                        strbuf_add(&b, *path ? ": " : "");
                        terminal_safe(&b, text, strlen(text));
                        fprintf(out, "%5lld  %-8s  %s\n", (long long) next,
                                json_string_value(json_object_get(item, "verdict")),
                                b.broken ? "" : b.text);
                }
                last = next;
        }
}
