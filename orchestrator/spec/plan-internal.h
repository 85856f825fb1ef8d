/* The parts of the planner. It reads files (plan-file.c, mayfly-file.c, compose.c), joins the Score
 * documents into a project, and makes nodes of what is in it: plan-resource.c for what the file
 * declares, plan-workload.c and plan-container.c for what runs. */
#pragma once

#include "orchestrator/spec/plan.h"

typedef struct Planner {
        const PlanContext *context;
        const SpecReader *reader;
        const PlanOptions *options;
        SpecFaults *faults;
        size_t n_faults_before;
        Error *reterr;

        ScoreProject *project;
        /* object: workload -> {"command", "build", "public", "seed", "migrate", "waits_for": [workload],
         * "directory"}: what mayfly.yaml or Compose says beside Score */
        json_t *settings;
        json_t *lease;     /* object: clock -> ms */
        char *mayfly_name; /* mayfly.yaml as read, for places; NULL when there is none */
        YamlTree *mayfly_tree;
        YamlNode *mayfly_root;
        Graph *graph; /* under construction */
        size_t room;  /* of graph->nodes */
        size_t n_source_bytes;
} Planner;

#define KEY_CHECKOUT "checkout.default#checkout"
#define KEY_NETWORK  "network.default#network"
#define KEY_BUILDS   "volume.default#@builds"

/* plan.c */
bool planner_failed(const Planner *p);
/* A fault, or only a notice in a sketch. */
void planner_note(const Planner *p, const ScoreDocument *d, const char *pointer, const char *hint,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void planner_fault(const Planner *p, const ScoreDocument *d, const char *pointer, const char *hint,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* The settings of a workload, or NULL. */
const json_t *planner_settings(const Planner *p, const char *workload, const char *name);
/* Reads a file of the checkout whose path a person wrote: relative, no way out. */
int planner_read(const Planner *p, const char *path, size_t max, char **ret, size_t *ret_size,
                 Error *reterr);
bool plan_path_is_local(const char *path);
/* "a/b.yaml" -> "a", "b.yaml" -> "" : owned. */
char *plan_folder(const char *file);
/* folder + "/" + path without a leading "./" or an empty folder: owned. */
char *plan_join(const char *folder, const char *path);

/* plan-node.c: a node with provider, definition line, config and deadline from the definitions, params
 * laid in. params (a template) is taken over in any case. *ret is borrowed from the graph until the next
 * node is added. -ENOENT when nothing serves it, -EINVAL when a bound is broken; the sentence is in
 * reterr. */
typedef struct NodeWish {
        const char *type, *class, *id, *name, *workload;
        bool implicit;
        json_t *params;
        const json_t *metadata; /* copied; NULL: {} */
} NodeWish;
int plan_node_add(Planner *p, const NodeWish *wish, GraphNode **ret, Error *reterr);
int plan_node_depend(GraphNode *n, const char *key);
int plan_node_refer(GraphNode *n, const char *name, const char *key);
/* Refers to those of the workload's resources that the params mention. */
int plan_node_refer_used(Planner *p, GraphNode *n, const char *workload);
/* The nodes of the bootstrap. */
int plan_node_bootstrap(Planner *p);
/* {"$text": "${resources.@checkout.path}/FOLDER"} */
json_t *plan_directory(const char *folder);
int64_t plan_deadline(const GraphNode *n);

/* mayfly-file.c: fills settings and lease; *ret_score is the list of Score files (array), or NULL. */
int mayfly_file_load(Planner *p, const char *file, const char *text, size_t size,
                     json_t **ret_score);
/* After the project is known: faults for workloads that do not exist. */
int mayfly_file_check(Planner *p);
/* A Score file that it names cannot be read. */
void mayfly_file_score_fault(Planner *p, size_t i, const Error *error, int r);

/* plan-file.c: finds and reads the dependency file into p->project and p->settings. -ENOENT when there is
 * none; -EINVAL with faults. */
int plan_file_load(Planner *p);

/* plan-resource.c, plan-workload.c, plan-container.c, plan-command.c */
int plan_resources(Planner *p);
int plan_workloads(Planner *p);
int plan_publish(Planner *p); /* fills graph->workloads */
/* The containers of the workload node at this index of the graph. */
int plan_containers(Planner *p, const ScoreDocument *d, size_t at, bool images, json_t **ret);
/* The command for a container that has none: an array, or NULL after a fault. only: no other container
 * of the workload needs one too. */
int plan_command(Planner *p, const ScoreDocument *d, const char *container, bool only,
                 json_t **ret);
/* Puts the containers "migrate" and "seed" of mayfly.yaml before the others. */
int plan_hooks(Planner *p, const ScoreDocument *d, size_t at, json_t *containers);
/* The files of a container: array. */
int plan_files(Planner *p, const ScoreDocument *d, const char *container, const json_t *files,
               json_t **ret);
/* Absolute, normalised target of a file or volume: owned; NULL after a fault or out of memory. */
char *plan_target(Planner *p, const ScoreDocument *d, const char *pointer, const char *target);
/* The ports of a workload: {NAME: {"port", "target_port", "protocol"}}. */
json_t *plan_ports(const ScoreDocument *d);
const ScoreDocument *plan_document(const Planner *p, const char *workload);
/* The folder that the workload sees as its own, relative to the checkout: owned. */
char *plan_workload_folder(const Planner *p, const ScoreDocument *d);
char *base64_encode(const void *data, size_t size);
