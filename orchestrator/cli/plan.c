/* mayfly plan: what would be made of these files, in which order, by whom and why. Works anywhere,
 * without a daemon. Without the server's configuration it cannot know which types that server serves, so
 * what only the configuration decides is a notice, not a fault. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/cli/commands.h"
#include "orchestrator/cli/faults.h"
#include "orchestrator/cli/input.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/glue/table.h"
#include "orchestrator/spec/plan.h"

enum {
        PLANNED = 0,
        INVALID = 1,
        NOT_READABLE = 2
};

typedef struct Plan {
        Inputs inputs;
        OverrideOptions overrides;
        SpecFaults faults, notices;
        Config *config;
        const char *config_file, *project, *branch, *trust;
        bool json, dot;

        int root_fd; /* the folder that stands for the top of the checkout */
        char *root;
        char **files;       /* relative to it; NULL: search */
        char *const *given; /* the same as they were given */
        Graph *graph;
        json_t *order;
} Plan;

static const char help[] =
        "mayfly plan [OPTION]... [FILE]...\n"
        "Says what would be made of a dependency file, in which order, by which provider, and\n"
        "why by that one. FILE is a mayfly.yaml, a compose.yaml, or Score files that are one\n"
        "project together; a folder, or nothing for this folder, is searched like a checkout.\n"
        "\n"
        "  --json                         for programs\n"
        "  --dot                          the graph as a picture for Graphviz\n"
        "  --config MAYFLYD.YAML          the server's definitions; without it the built-in ones\n"
        "  --project NAME --branch NAME --trust member|approved|stranger\n"
        "                                 whose environment, for definitions that ask\n"
        "  --overrides-file FILE          merged over the Score file (one Score file only)\n"
        "  --override-property PATH=VALUE sets one value, an empty one deletes; may be repeated\n"
        "  --help\n"
        "\n"
        "Exit status: 0 it can be made, 1 it has faults, 2 not readable or wrong use.\n";

/* ---- files ---- */

static int read_beneath(void *userdata, const char *path, size_t max, char **ret, size_t *ret_size,
                        Error *reterr) {
        Plan *p = userdata;
        char *copy;
        int r;

        if (streq(path, "-"))
                r = read_fd(STDIN_FILENO, max, ret, ret_size, reterr);
        else
                r = read_file_beneath(p->root_fd, path, max, ret, ret_size, reterr);
        if (r < 0)
                return r;
        copy = malloc(*ret_size + 1);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, *ret, *ret_size + 1);
        return inputs_keep(&p->inputs, path, copy, *ret_size);
}

/* Cuts the folder a to the one that is around the file b too. */
static void common_folder(char *a, const char *b) {
        size_t n = 0, last = 0;

        for (; a[n] && a[n] == b[n]; n++)
                if (a[n] == '/')
                        last = n;
        if (!a[n] && b[n] == '/')
                last = n;
        a[last ? last : 1] = 0;
}

static bool stands_for_project(const char *file) {
        const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;

        return str_after(base, "mayfly") || str_after(base, "compose") ||
               str_after(base, "docker-compose");
}

static bool is_folder(const char *path) {
        struct stat st;

        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool all_local(char *const *files, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (files[i][0] == '/' || strstr(files[i], "..") || stands_for_project(files[i]))
                        return false;
        return true;
}

/* Names far from here: the folder around them all is the top. */
static int files_elsewhere(Plan *p, char *const *files, size_t n, Error *reterr) {
        auto_cleanup(strv_freep) char **paths = NULL;
        int r;

        for (size_t i = 0; i < n; i++) {
                auto_cleanup(freep) char *path = realpath(files[i], NULL);

                if (!path)
                        return error_set(reterr, -errno, "Cannot read '%s': %s", files[i],
                                         strerror(errno));
                r = strv_add(&paths, path);
                if (r < 0)
                        return r;
        }
        p->root = strdup(paths[0]);
        if (!p->root)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                common_folder(p->root, paths[i]);
        for (size_t i = 0; i < n; i++) {
                const char *name = paths[i] + strlen(p->root);

                r = strv_add(&p->files, name + (*name == '/'));
                if (r < 0)
                        return r;
        }
        return 0;
}

static int files_choose(Plan *p, char *const *files, size_t n, Error *reterr) {
        int r = 0;

        if (n == 0 || (n == 1 && is_folder(files[0])))
                p->root = strdup(n == 0 ? "." : files[0]);
        else if (all_local(files, n)) {
                p->root = strdup(".");
                for (size_t i = 0; i < n && r == 0; i++)
                        r = strv_add(&p->files,
                                     str_after(files[i], "./") ? files[i] + 2 : files[i]);
        } else
                r = files_elsewhere(p, files, n, reterr);
        if (r < 0 || !p->root)
                return r < 0 ? r : -ENOMEM;
        p->root_fd = open(p->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p->root_fd < 0)
                return error_set(reterr, -errno, "Cannot open '%s': %s", p->root, strerror(errno));
        return 0;
}

static int config_load(Plan *p, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        size_t size;
        int r;

        if (!p->config_file)
                return config_default(&p->config, reterr);
        r = read_file(p->config_file, LIMIT_CONFIG_BYTES, &text, &size, reterr);
        if (r < 0)
                return r == -EINVAL ? -EIO : r;
        r = config_parse(p->config_file, text, size, &p->config, &p->faults, reterr);
        if (r == -EINVAL)
                (void) inputs_keep(&p->inputs, p->config_file, TAKE(text), size);
        return r;
}

/* ---- names: people want to read what they wrote ---- */

static void name_restore(const Plan *p, char **name) {
        for (size_t i = 0; i < strv_length(p->files) && p->given; i++)
                if (streq(*name, p->files[i])) {
                        (void) str_replace(name, p->given[i]); /* else the shorter name is shown */
                        return;
                }
        if (!streq(p->root, ".") && **name && **name != '/') {
                char *path = path_join(p->root, *name);

                if (path) {
                        free(*name);
                        *name = path;
                }
        }
}

static void names_restore(Plan *p) {
        for (size_t i = 0; p->root && i < p->faults.n_items; i++)
                name_restore(p, &p->faults.items[i].file);
        for (size_t i = 0; p->root && i < p->notices.n_items; i++)
                name_restore(p, &p->notices.items[i].file);
        for (size_t i = 0; p->root && i < p->inputs.n_items; i++)
                name_restore(p, &p->inputs.items[i].name);
}

/* ---- what people see ---- */

static int print_table(const Plan *p, Error *reterr) {
        static const char *const columns[] = { "RESOURCE", "PROVIDER", "LIVES WITH", "DEFINITION",
                                               NULL };
        auto_cleanup(table_freep) Table *t = NULL;
        int r;

        r = table_new(columns, &t, reterr);
        for (size_t i = 0; r == 0 && i < p->graph->n_nodes; i++) {
                const GraphNode *n = &p->graph->nodes[i];
                const char *cells[] = { n->key, *n->provider ? n->provider : "?",
                                        n->scope == GRAPH_SCOPE_GENERATION ? "generation"
                                                                           : "environment",
                                        n->definition, NULL };

                r = table_add(t, cells, reterr);
        }
        return r < 0 ? r : table_print(t, stdout, reterr);
}

static void print_quoted(const char *text) {
        auto_strbuf b = { 0 };

        terminal_safe(&b, text, strlen(text));
        putchar('"');
        for (const char *at = b.broken || !b.text ? "" : b.text; *at; at++) {
                if (*at == '"' || *at == '\\')
                        putchar('\\');
                putchar(*at);
        }
        putchar('"');
}

/* An arrow from what waits to what it waits for. */
static void print_dot(const Plan *p) {
        printf("digraph mayfly {\n        rankdir=LR;\n        node [shape=box];\n");
        for (size_t i = 0; i < p->graph->n_nodes; i++) {
                const GraphNode *n = &p->graph->nodes[i];

                printf("        ");
                print_quoted(n->key);
                printf("%s;\n", n->implicit ? " [style=rounded]" : "");
                for (char **d = n->depends; d && *d; d++) {
                        printf("        ");
                        print_quoted(n->key);
                        printf(" -> ");
                        print_quoted(*d);
                        printf(";\n");
                }
        }
        printf("}\n");
}

/* ---- what programs see ---- */

static json_t *containers_json(const GraphNode *n) {
        json_t *list = json_array(), *container;
        size_t i;

        json_array_foreach(json_object_get(n->params, "containers"), i, container) {
                const json_t *limits = json_object_get(container, "limits");

                json_array_append_new(
                        list, json_pack("{s:O, s:O, s:O, s:O, s:O, s:O}", "name",
                                        json_object_get(container, "name"), "image",
                                        json_object_get(container, "image"), "command",
                                        json_object_get(container, "command"), "args",
                                        json_object_get(container, "args"), "cpu_milli",
                                        json_object_get(limits, "cpu_milli"), "memory_bytes",
                                        json_object_get(limits, "memory_bytes")));
        }
        return list;
}

static json_t *ports_json(const GraphNode *n) {
        json_t *list = json_array(), *port;
        const char *name;

        json_object_foreach(json_object_get(n->params, "ports"), name, port) {
                json_t *copy = json_deep_copy(port);

                json_object_set_new(copy, "name", json_string(name));
                json_array_append_new(list, copy);
        }
        return list;
}

/* What a person wrote down; the checkout and the like go without saying. */
static json_t *waits_json(const Plan *p, const GraphNode *n) {
        json_t *list = json_array();

        for (char **d = n->depends; d && *d; d++) {
                const GraphNode *other = graph_find(p->graph, *d);

                if (!other->implicit || streq(other->type, "workload"))
                        json_array_append_new(list, json_string(*d));
        }
        return list;
}

static json_t *strings_json(char *const *v) {
        json_t *list = json_array();

        for (; v && *v; v++)
                json_array_append_new(list, json_string(*v));
        return list;
}

static int print_json(const Plan *p) {
        auto_cleanup(json_decrefp) json_t *resources = json_array(), *workloads = json_array(),
                                          *all = NULL;
        auto_cleanup(freep) char *text = NULL;

        for (size_t i = 0; i < p->graph->n_nodes; i++) {
                const GraphNode *n = &p->graph->nodes[i];

                json_array_append_new(resources,
                                      json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:b, s:o}", "key",
                                                n->key, "type", n->type, "provider", n->provider,
                                                "definition", n->definition, "lives_with",
                                                graph_scope_to_string(n->scope), "workload",
                                                n->workload, "implicit", n->implicit, "depends",
                                                strings_json(n->depends)));
                if (streq(n->type, "workload"))
                        json_array_append_new(
                                workloads,
                                json_pack(
                                        "{s:s, s:o, s:o, s:o, s:O*}", "name", n->id, "containers",
                                        containers_json(n), "ports", ports_json(n), "waits_for",
                                        waits_json(p, n), "public",
                                        json_object_get(json_object_get(p->graph->workloads, n->id),
                                                        "public")));
        }
        all = json_pack("{s:O, s:O, s:O, s:O, s:o}", "resources_in_order", p->order, "workloads",
                        workloads, "resources", resources, "lease", p->graph->lease, "notices",
                        spec_faults_to_json(&p->notices));
        text = all ? json_compact(all) : NULL;
        if (!text)
                return NOT_READABLE;
        printf("%s\n", text);
        return PLANNED;
}

static int report_faults(Plan *p) {
        bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");

        if (p->json)
                return faults_print_json(stdout, &p->faults, &p->notices) < 0 ? NOT_READABLE
                                                                              : INVALID;
        faults_print(stdout, &p->faults, NULL, &p->inputs, colour);
        faults_print(stdout, &p->notices, "notice", &p->inputs, colour);
        return INVALID;
}

static int report(Plan *p) {
        bool colour = isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
        auto_error error = { 0 };
        int r;

        if (p->json)
                return print_json(p);
        if (p->dot) {
                print_dot(p);
                return PLANNED;
        }
        r = print_table(p, &error);
        if (r < 0) {
                fprintf(stderr, "mayfly plan: %s\n", error_text(&error, r));
                return NOT_READABLE;
        }
        if (p->notices.n_items > 0)
                printf("\n");
        faults_print(stdout, &p->notices, "notice", &p->inputs, colour);
        return PLANNED;
}

/* ---- all ---- */

static int overrides_load(Plan *p, ScoreOverrides *ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        const Input *input;
        size_t size;
        int r;

        *ret = (ScoreOverrides){ .properties = p->overrides.properties,
                                 .n_properties = p->overrides.n_properties };
        if (!p->overrides.file)
                return 0;
        r = read_file(p->overrides.file, LIMIT_SPEC_FILE_BYTES, &text, &size, reterr);
        if (r == 0)
                r = inputs_keep(&p->inputs, p->overrides.file, TAKE(text), size);
        if (r < 0)
                return r;
        input = inputs_find(&p->inputs, p->overrides.file);
        ret->file = p->overrides.file;
        ret->text = input->text;
        ret->size = input->size;
        return 0;
}

static int make(Plan *p, Error *reterr) {
        SpecReader reader = { .read = read_beneath, .userdata = p };
        PlanContext context = { .config = p->config,
                                .project = p->project,
                                .repository = ".",
                                .branch = p->branch,
                                .commit = "0000000000000000000000000000000000000000",
                                .trust = p->trust };
        PlanOptions options = { .files = (const char *const *) p->files,
                                .n_files = strv_length(p->files),
                                .sketch = !p->config_file,
                                .notices = &p->notices,
                                .ret_order = &p->order };
        ScoreOverrides overrides;
        int r;

        r = overrides_load(p, &overrides, reterr);
        if (r < 0)
                return r;
        if (overrides.file || overrides.n_properties > 0)
                options.overrides = &overrides;
        return plan_make_with(&context, &reader, &options, &p->graph, &p->faults, reterr);
}

static int run(Plan *p, char *const *files, size_t n_files) {
        auto_error error = { 0 };
        int r;

        if (n_files > 1 && (p->overrides.file || p->overrides.n_properties > 0)) {
                fprintf(stderr, "mayfly plan: overrides belong to one Score file; give one\n");
                return NOT_READABLE;
        }
        r = config_load(p, &error);
        if (r == 0)
                r = files_choose(p, files, n_files, &error);
        if (r == 0) {
                p->given = files;
                r = make(p, &error);
                spec_faults_sort(
                        &p->faults); /* before the names change: the order is by file first */
                spec_faults_sort(&p->notices);
                names_restore(p);
        }
        if (r == 0)
                return report(p);
        if (p->faults.n_items + p->faults.n_dropped > 0)
                return report_faults(p);
        fprintf(stderr, "mayfly plan: %s\n", error_text(&error, r));
        return r == -EINVAL || r == -E2BIG ? INVALID : NOT_READABLE;
}

static void plan_done(Plan *p) {
        spec_faults_done(&p->faults);
        spec_faults_done(&p->notices);
        inputs_done(&p->inputs);
        override_options_done(&p->overrides);
        config_free(p->config);
        graph_free(p->graph);
        json_decref(p->order);
        strv_free(p->files);
        free(p->root);
        p->root_fd = fd_close(p->root_fd);
}

static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "dot", no_argument, NULL, 'd' },
        { "config", required_argument, NULL, 'c' },
        { "project", required_argument, NULL, 'P' },
        { "branch", required_argument, NULL, 'B' },
        { "trust", required_argument, NULL, 'T' },
        { "overrides-file", required_argument, NULL, 'o' },
        { "override-property", required_argument, NULL, 'p' },
        { "help", no_argument, NULL, 'h' },
        { NULL },
};

/* -1: go on; else the exit status. */
static int option_read(Plan *p, int option) {
        const struct {
                int option;
                const char **to;
        } texts[] = { { 'c', &p->config_file },
                      { 'P', &p->project },
                      { 'B', &p->branch },
                      { 'T', &p->trust },
                      { 'o', &p->overrides.file } };

        for (size_t i = 0; i < N_ELEMENTS(texts); i++)
                if (texts[i].option == option) {
                        *texts[i].to = optarg;
                        return -1;
                }
        switch (option) {
        case 'j':
                p->json = true;
                return -1;
        case 'd':
                p->dot = true;
                return -1;
        case 'p':
                return override_options_add(&p->overrides, optarg) < 0 ? NOT_READABLE : -1;
        case 'h':
                fputs(help, stdout);
                return PLANNED;
        default:
                return NOT_READABLE;
        }
}

int cmd_plan(int argc, char **argv) {
        auto_cleanup(plan_done)
                Plan p = { .root_fd = -1, .project = "", .branch = "", .trust = "member" };
        int option, status;

        optind = 0;
        while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                status = option_read(&p, option);
                if (status >= 0)
                        return status;
        }
        return run(&p, argv + optind, (size_t) (argc - optind));
}
