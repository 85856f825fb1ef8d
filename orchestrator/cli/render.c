/* mayfly render: a Score file as it will be, with overrides merged and placeholders filled in from the
 * outputs of a file. Nothing is looked up, so it works anywhere. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/faults.h"
#include "orchestrator/cli/input.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/render.h"

enum {
        DONE = 0,
        INVALID = 1,
        NOT_READABLE = 2
};

typedef struct Render {
        Inputs inputs;
        OverrideOptions overrides;
        SpecFaults faults, notices;
        const char *outputs_file;
        json_t *outputs; /* object: resource name -> its outputs */
        ScoreDocument *document;
        bool raw;
} Render;

static const char help[] =
        "mayfly render [OPTION]... FILE\n"
        "Prints a Score file as JSON with its placeholders filled in.\n"
        "\n"
        "  --outputs FILE                 JSON: {\"resources\": {NAME: {OUTPUT: VALUE}}}\n"
        "  --raw                          merged and upgraded only, placeholders as they are\n"
        "  --overrides-file FILE          merged over the Score file\n"
        "  --override-property PATH=VALUE sets one value, an empty one deletes; may be repeated\n"
        "  --help\n"
        "\n"
        "Exit status: 0 printed, 1 the file is invalid or an output is missing, 2 not readable.\n";

static int read_outputs(Render *v, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *root = NULL;
        json_error_t error;
        const char *name;
        json_t *value;
        size_t size;
        int r;

        r = read_file(v->outputs_file, LIMIT_SPEC_FILE_BYTES, &text, &size, reterr);
        if (r < 0)
                return r;
        root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
        if (!root)
                return error_set(reterr, -EBADMSG, "%s:%d:%d: %s", v->outputs_file, error.line,
                                 error.column, error.text);
        v->outputs = json_incref(json_object_get(root, "resources"));
        if (!json_is_object(v->outputs))
                return error_set(reterr, -EBADMSG, "%s must be {\"resources\": {NAME: {...}}}",
                                 v->outputs_file);
        json_object_foreach(v->outputs, name, value)
                if (!json_is_object(value))
                        return error_set(reterr, -EBADMSG,
                                         "%s: the outputs of '%s' must be an object",
                                         v->outputs_file, name);
        return 0;
}

static void render_done(Render *v) {
        score_document_free(v->document);
        json_decref(v->outputs);
        spec_faults_done(&v->faults);
        spec_faults_done(&v->notices);
        inputs_done(&v->inputs);
        override_options_done(&v->overrides);
}

static int print_document(const json_t *json) {
        auto_strbuf b = { 0 };

        json_write(&b, json, 2);
        if (b.broken)
                return -ENOMEM;
        printf("%s\n", b.text);
        return 0;
}

static int render(Render *v, const char *path, Error *reterr) {
        json_auto_t *resolved = NULL;
        int r;

        r = inputs_read(&v->inputs, path, NULL, reterr);
        if (r < 0)
                return r;
        if (v->outputs_file)
                r = read_outputs(v, reterr);
        if (r < 0)
                return r;
        r = input_load_score(&v->inputs, path, &v->overrides, &v->document, &v->faults, &v->notices,
                             reterr);
        if (r < 0)
                return r;
        if (v->raw)
                return print_document(v->document->json);
        r = score_render(v->document, v->outputs, &resolved, &v->faults);
        return r < 0 ? r : print_document(resolved);
}

static int run(Render *v, const char *path) {
        bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
        auto_error e = { 0 };
        int r;

        r = render(v, path, &e);
        if (v->faults.n_items > 0) {
                spec_faults_sort(&v->faults);
                faults_print(stderr, &v->faults, NULL, &v->inputs, colour);
                return INVALID;
        }
        if (r < 0) {
                fprintf(stderr, "mayfly render: %s\n", error_text(&e, r));
                return NOT_READABLE;
        }
        return DONE;
}

int cmd_render(int argc, char **argv) {
        static const struct option options[] = {
                { "outputs", required_argument, NULL, 'u' },
                { "raw", no_argument, NULL, 'r' },
                { "overrides-file", required_argument, NULL, 'o' },
                { "override-property", required_argument, NULL, 'p' },
                { "help", no_argument, NULL, 'h' },
                { NULL },
        };
        auto_cleanup(render_done) Render v = { 0 };
        int option;

        optind = 0;
        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
                switch (option) {
                case 'u':
                        v.outputs_file = optarg;
                        break;
                case 'r':
                        v.raw = true;
                        break;
                case 'o':
                        v.overrides.file = optarg;
                        break;
                case 'p':
                        if (override_options_add(&v.overrides, optarg) < 0)
                                return NOT_READABLE;
                        break;
                case 'h':
                        fputs(help, stdout);
                        return DONE;
                default:
                        return NOT_READABLE;
                }
        if (optind != argc - 1) {
                fputs(help, stderr);
                return NOT_READABLE;
        }
        return run(&v, argv[optind]);
}
