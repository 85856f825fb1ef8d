#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"
#include "orchestrator/ledger/name.h"

/* {"sleep_after_idle": "30m" or milliseconds, ...} as milliseconds. */
static int clocks_read(const json_t *clocks, json_t **ret, Error *reterr) {
        json_auto_t *object = json_object();
        const char *name;
        json_t *value;
        int64_t ms;
        int r;

        json_object_foreach((json_t *) clocks, name, value) {
                if (reaper_clock_from_string(name) < 0)
                        return error_set(reterr, -EINVAL, "There is no clock '%.60s'", name);
                ms = json_integer_value(value);
                if (json_is_string(value)) {
                        r = duration_parse(json_string_value(value), &ms, reterr);
                        if (r < 0)
                                return r;
                } else if (!json_is_integer(value) || ms < 0)
                        return error_set(reterr, -EINVAL,
                                         "The clock '%s' needs a duration like 30m", name);
                if (json_object_set_new(object, name, json_integer(ms)) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(object);
        return 0;
}

static const char *text_of(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text && *text ? text : NULL;
}

static int project_fill(Input *in, const json_t *json, Project *p, Error *reterr) {
        json_t *clocks_json = json_object_get(json, "clocks");
        json_auto_t *clocks = NULL;
        char id[ID_SIZE];
        int r = 0;

        id_make(in->e->setup.random, 'p', id);
        p->created_ms = in->e->now_ms;
        if (json_is_object(clocks_json)) {
                r = clocks_read(clocks_json, &clocks, reterr);
                if (r < 0)
                        return r;
                p->clocks = json_dumps(clocks, JSON_COMPACT | JSON_SORT_KEYS);
                if (!p->clocks)
                        return -ENOMEM;
        }
        r = str_replace(&p->id, id);
        if (r == 0)
                r = str_replace(&p->name, text_of(json, "name"));
        if (r == 0)
                r = str_replace(&p->repository, text_of(json, "repository"));
        if (r == 0)
                r = str_replace(&p->base_branch, text_of(json, "base_branch"));
        if (r == 0)
                r = str_replace(&p->team, text_of(json, "team"));
        if (r == 0)
                r = str_replace(&p->owner, text_of(json, "owner"));
        return r;
}

static int project_add(Input *in, const json_t *json, char **ret_id, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 }, before = { 0 };
        int r;

        r = ledger_project_get(in->e->ledger, text_of(json, "name"), &before, NULL);
        if (r == 0 && before.removed_ms == 0)
                return error_set(reterr, -EEXIST, "There is a project '%s' already: %s",
                                 before.name, before.repository);
        if (r < 0 && r != -ENOENT)
                return r;
        r = project_fill(in, json, &p, reterr);
        if (r == 0)
                r = ledger_project_insert(in->e->ledger, &p, reterr);
        if (r == 0)
                r = event_add(
                        in->e, EVENT_PROJECT_ADDED,
                        (EventWhere){ .project_id = p.id, .actor = in->who, .trace = in->trace },
                        "Project %s was added: %s", p.name, p.repository);
        if (r == 0 && ret_id)
                *ret_id = TAKE(p.id);
        return r;
}

int engine_project_add(Engine *e, const EngineActor *a, const json_t *project, char **ret_id,
                       Error *reterr) {
        Input in;
        int r;

        if (!text_of(project, "name") || !text_of(project, "repository"))
                return error_set(reterr, -EINVAL, "A project needs a name and a repository");
        r = project_name_check(text_of(project, "name"), reterr);
        if (r == 0)
                r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        return input_end(&in, project_add(&in, project, ret_id, reterr), reterr);
}

typedef struct Removing {
        char **ids;
} Removing;

static int collect_living(void *userdata, const Environment *env) {
        Removing *removing = userdata;

        return env->state == ENV_DELETING ? 0 : strv_add(&removing->ids, env->id);
}

static int project_remove(Input *in, Project *p, Error *reterr) {
        Removing removing = { 0 };
        int r;

        r = ledger_environment_each(in->e->ledger, p->id, false, collect_living, &removing, reterr);
        for (char **id = removing.ids; r == 0 && id && *id; id++) {
                auto_cleanup(environment_done) Environment env = { 0 };

                r = input_environment(in, *id, &env, reterr);
                if (r == 0)
                        r = down_input(in, &env, "its project was removed", reterr);
        }
        strv_free(removing.ids);
        if (r < 0)
                return r;
        p->removed_ms = in->e->now_ms;
        r = ledger_project_update(in->e->ledger, p, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_PROJECT_REMOVED,
                         (EventWhere){ .project_id = p->id, .actor = in->who, .trace = in->trace },
                         "Project %s was removed", p->name);
}

int engine_project_remove(Engine *e, const EngineActor *a, const char *name, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        Input in;
        int r;

        r = ledger_project_get(e->ledger, name, &p, reterr);
        if (r == 0 && p.removed_ms > 0)
                return error_set(reterr, -ENOENT, "No project '%s'", name);
        if (r == 0)
                r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        return input_end(&in, project_remove(&in, &p, reterr), reterr);
}
