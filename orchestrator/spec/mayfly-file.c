/* mayfly.yaml: what Score cannot say. The table is the whole grammar; the rest of this file holds what
 * needs to know more than one key. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/json.h"
#include "orchestrator/spec/file.h"
#include "orchestrator/spec/plan-internal.h"
#include "orchestrator/spec/shape.h"

static int check_path(const char *text, Error *reterr) {
        return plan_path_is_local(text)
                       ? 0
                       : error_set(reterr, -EINVAL,
                                   "'%.200s' must be a path inside the repository, without '..'",
                                   text);
}

static const Shape build_fields[] = {
        { .name = "command",
          .kind = SHAPE_COMMAND,
          .required = true,
          .help = "Run in the workload's folder before it starts: a list, or one line for the shell" },
        { .name = "inputs",
          .kind = SHAPE_TEXTS,
          .check = check_path,
          .help = "Files (shell patterns) that the result depends on; when none of them changed, the "
                  "build is not repeated" },
        { .name = "timeout",
          .kind = SHAPE_DURATION,
          .min = MS_PER_SECOND,
          .help = "A build that takes longer fails" },
        { 0 },
};

static const Shape workload_fields[] = {
        { .name = "build",
          .kind = SHAPE_FIELDS,
          .fields = build_fields,
          .help = "Runs once for each commit" },
        { .name = "command",
          .kind = SHAPE_COMMAND,
          .help = "Runs the container with 'image: .' that has no command of its own" },
        { .name = "public",
          .kind = SHAPE_BOOLEAN,
          .help = "false: never published; true: preferred for the environment's address" },
        { .name = "seed",
          .kind = SHAPE_COMMAND,
          .help = "Fills the data of a new environment: runs once in its life, after 'migrate'" },
        { .name = "migrate",
          .kind = SHAPE_COMMAND,
          .help = "Brings data up to the code: runs before each start, so it must be repeatable" },
        { 0 },
};
static const Shape workload = { .kind = SHAPE_FIELDS, .fields = workload_fields };

static const Shape lease_fields[] = {
        { .name = "sleep_after_idle",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_MINUTE,
          .help = "Sleep when nobody visited for this long" },
        { .name = "delete_after_asleep",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_MINUTE,
          .help = "Delete after sleeping this long" },
        { .name = "delete_after_age",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_MINUTE,
          .help = "Delete at this age" },
        { .name = "delete_after_close",
          .kind = SHAPE_DURATION,
          .or_off = true,
          .min = MS_PER_MINUTE,
          .help = "Delete this long after the branch is gone" },
        { 0 },
};

static const Shape mayfly_fields[] = {
        { .name = "version",
          .kind = SHAPE_INTEGER,
          .min = 1,
          .max = 1,
          .help = "The version of this format" },
        { .name = "score",
          .kind = SHAPE_TEXTS,
          .check = check_path,
          .help = "The Score files of the product; without this, score.yaml" },
        { .name = "workloads",
          .kind = SHAPE_MAP,
          .inner = &workload,
          .help = "What Score cannot say, for each workload" },
        { .name = "lease",
          .kind = SHAPE_FIELDS,
          .fields = lease_fields,
          .help = "Wishes for the life of an environment, within the admin's bounds" },
        { 0 },
};

const Shape mayfly_shape = { .kind = SHAPE_FIELDS, .fields = mayfly_fields };

static void file_fault(Planner *p, const char *pointer, const char *hint, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

static void file_fault(Planner *p, const char *pointer, const char *hint, const char *fmt, ...) {
        auto_cleanup(freep) char *text = NULL;
        YamlEntry *entry = NULL;
        YamlNode *node = yaml_at(p->mayfly_root, pointer, &entry);
        YamlPlace place = entry ? entry->place : node ? node->place : (YamlPlace){ 0 };
        auto_strbuf b = { 0 };
        va_list args;

        va_start(args, fmt);
        strbuf_addv(&b, fmt, args);
        va_end(args);
        text = strbuf_take(&b);
        spec_faults_add(p->faults, SPEC_STAGE_SEMANTIC, p->mayfly_name, place.line, place.column,
                        pointer, hint, "%s", text ? text : "Out of memory");
}

static void check_lease(Planner *p) {
        const char *name;
        json_t *value;

        json_object_foreach(p->lease, name, value) {
                auto_cleanup(freep) char *pointer = str_format("/lease/%s", name);
                int64_t max = config_clock_max(p->context->config, name);
                char text[TIME_TEXT_MAX];

                if (config_clock_exceeds(json_integer_value(value), max))
                        file_fault(p, pointer ? pointer : "", NULL,
                                   "'%s' may be at most %s here: that is the admin's bound", name,
                                   duration_format(max, text));
        }
}

int mayfly_file_load(Planner *p, const char *file, const char *text, size_t size,
                     json_t **ret_score) {
        auto_cleanup(json_decrefp) json_t *json = NULL;
        json_t *value;
        int r;

        p->mayfly_name = strdup(file);
        if (!p->mayfly_name)
                return -ENOMEM;
        r = spec_file_read(file, text, size, &p->mayfly_tree, &p->mayfly_root, p->faults,
                           p->reterr);
        if (r < 0)
                return r;
        *ret_score = NULL;
        if (!p->mayfly_root || p->mayfly_root->kind == YAML_KIND_NULL)
                return 0;
        r = shape_read(&mayfly_shape, p->mayfly_root, "", p->faults, &json);
        if (r < 0)
                return r == -EINVAL ? spec_faults_error(p->faults, p->reterr) : r;
        value = json_object_get(json, "workloads");
        if (value && json_object_update(p->settings, value) < 0)
                return -ENOMEM;
        value = json_object_get(json, "lease");
        if (value && json_object_update(p->lease, value) < 0)
                return -ENOMEM;
        check_lease(p);
        value = json_object_get(json, "score");
        if (json_array_size(value) > LIMIT_SPEC_SCORE_FILES) {
                file_fault(p, "/score", NULL, "There may be at most %d Score files",
                           LIMIT_SPEC_SCORE_FILES);
                return spec_faults_error(p->faults, p->reterr);
        }
        *ret_score = value ? json_incref(value) : NULL;
        return 0;
}

void mayfly_file_score_fault(Planner *p, size_t i, const Error *error, int r) {
        auto_cleanup(freep) char *pointer = str_format("/score/%zu", i);

        file_fault(p, pointer ? pointer : "", NULL, "%s", error_text(error, r));
}

int mayfly_file_check(Planner *p) {
        const char *names[LIMIT_SPEC_SCORE_FILES + 1] = { NULL };
        const char *name;
        json_t *value;

        for (size_t i = 0; i < p->project->n_documents && i < LIMIT_SPEC_SCORE_FILES; i++)
                names[i] = p->project->documents[i]->workload;
        json_object_foreach(p->settings, name, value) {
                auto_strbuf pointer = { 0 };
                const char *nearest;

                if (!p->mayfly_root || plan_document(p, name))
                        continue;
                strbuf_add(&pointer, "/workloads");
                json_pointer_add(&pointer, name);
                nearest = strv_nearest(names, name);
                file_fault(p, pointer.broken ? "" : pointer.text, nearest,
                           "No Score file has a workload named '%s'%s%s%s", name,
                           nearest ? "; did you mean '" : "", nearest ? nearest : "",
                           nearest ? "'?" : "");
        }
        return 0;
}
