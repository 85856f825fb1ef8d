/* From a checkout to a graph, step by step. Faults are gathered as far as that makes sense: first all of
 * the files, then all of what they mean together. */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/plan-internal.h"

bool planner_failed(const Planner *p) {
        return p->faults->n_items + p->faults->n_dropped > p->n_faults_before;
}

__attribute__((format(printf, 5, 0))) static void fault_to(const ScoreDocument *d, SpecFaults *to,
                                                           const char *pointer, const char *hint,
                                                           const char *fmt, va_list args) {
        auto_cleanup(freep) char *text = NULL;

        if (vasprintf(&text, fmt, args) < 0)
                text = NULL;
        if (to)
                score_document_fault(d, to, SPEC_STAGE_SEMANTIC, pointer, hint, "%s",
                                     text ? text : "Out of memory");
}

void planner_fault(const Planner *p, const ScoreDocument *d, const char *pointer, const char *hint,
                   const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        fault_to(d, p->faults, pointer, hint, fmt, args);
        va_end(args);
}

void planner_note(const Planner *p, const ScoreDocument *d, const char *pointer, const char *hint,
                  const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        fault_to(d, p->options->sketch ? p->options->notices : p->faults, pointer, hint, fmt, args);
        va_end(args);
}

const json_t *planner_settings(const Planner *p, const char *workload, const char *name) {
        return json_object_get(json_object_get(p->settings, workload), name);
}

bool plan_path_is_local(const char *path) {
        if (*path == '/' || !*path)
                return false;
        for (const char *at = path; at; at = strchr(at, '/')) {
                at += *at == '/';
                if (at[0] == '.' && at[1] == '.' && (!at[2] || at[2] == '/'))
                        return false;
        }
        return true;
}

int planner_read(const Planner *p, const char *path, size_t max, char **ret, size_t *ret_size,
                 Error *reterr) {
        if (!plan_path_is_local(path))
                return error_set(reterr, -EXDEV,
                                 "'%.200s' leads out of the checkout, which is refused", path);
        return p->reader->read(p->reader->userdata, path, max, ret, ret_size, reterr);
}

char *plan_folder(const char *file) {
        const char *slash = strrchr(file, '/');

        return slash ? strndup(file, (size_t) (slash - file)) : strdup("");
}

char *plan_join(const char *folder, const char *path) {
        while (str_after(path, "./"))
                path += 2;
        return *folder ? str_format("%s/%s", folder, path) : strdup(path);
}

const ScoreDocument *plan_document(const Planner *p, const char *workload) {
        for (size_t i = 0; i < p->project->n_documents; i++)
                if (streq(p->project->documents[i]->workload, workload))
                        return p->project->documents[i];
        return NULL;
}

static void planner_done(Planner *p) {
        score_project_free(p->project);
        json_decref(p->settings);
        json_decref(p->lease);
        graph_free(p->graph);
        free(p->mayfly_name);
        yaml_tree_free(p->mayfly_tree);
}

static int planner_init(Planner *p, Error *reterr) {
        p->reterr = reterr;
        p->settings = json_object();
        p->lease = json_object();
        p->graph = calloc(1, sizeof(Graph));
        return p->settings && p->lease && p->graph ? 0 : -ENOMEM;
}

static json_t *order_of(const ScoreProject *project) {
        json_t *order = json_array();

        for (size_t i = 0; i < project->n_resources; i++)
                if (json_array_append_new(order, json_string(project->resources[i].key)) < 0) {
                        json_decref(order);
                        return NULL;
                }
        return order;
}

static int planner_finish(Planner *p, Graph **ret) {
        int r;

        if (planner_failed(p))
                return spec_faults_error(p->faults, p->reterr);
        p->graph->lease = json_incref(p->lease);
        r = graph_sort(p->graph, p->reterr);
        if (r < 0)
                return r == -ELOOP || r == -EEXIST ? -EINVAL : r;
        if (p->options->ret_order) {
                *p->options->ret_order = order_of(p->project);
                if (!*p->options->ret_order)
                        return -ENOMEM;
        }
        *ret = TAKE(p->graph);
        return 0;
}

int plan_make_with(const PlanContext *context, const SpecReader *reader, const PlanOptions *options,
                   Graph **ret, SpecFaults *faults, Error *reterr) {
        auto_cleanup(planner_done)
                Planner p = { .context = context,
                              .reader = reader,
                              .options = options,
                              .faults = faults,
                              .n_faults_before = faults->n_items + faults->n_dropped };
        static int (*const steps[])(Planner * p) = { plan_file_load, plan_node_bootstrap,
                                                     plan_resources, plan_workloads, plan_publish };
        int r;

        r = planner_init(&p, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < N_ELEMENTS(steps); i++) {
                r = steps[i](&p);
                if (r < 0)
                        return r;
        }
        return planner_finish(&p, ret);
}

int plan_make(const PlanContext *context, const SpecReader *reader, Graph **ret, SpecFaults *faults,
              Error *reterr) {
        return plan_make_with(context, reader, &(PlanOptions){ 0 }, ret, faults, reterr);
}

int plan_bootstrap(const PlanContext *context, Graph **ret, Error *reterr) {
        auto_cleanup(planner_done) Planner p = { .context = context };
        int r;

        r = planner_init(&p, reterr);
        if (r < 0)
                return r;
        r = plan_node_bootstrap(&p);
        if (r < 0)
                return r;
        p.graph->workloads = json_object();
        p.graph->lease = json_object();
        if (!p.graph->workloads || !p.graph->lease)
                return -ENOMEM;
        r = graph_sort(p.graph, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(p.graph);
        return 0;
}
