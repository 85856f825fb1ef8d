#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/branches.h"
#include "orchestrator/api/render.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

static const char *field(ApiCall *c, const char *name) {
        return json_string_value(json_object_get(c->body, name));
}

/* ---- reading ---- */

typedef struct List {
        Manager *m;
        json_t *list;
} List;

static int list_add(void *userdata, const Environment *e) {
        List *l = userdata;

        return json_array_append_new(l->list, render_environment(l->m, e)) < 0 ? -ENOMEM : 0;
}

int api_environment_list(ApiCall *c, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        const char *project = http_request_query(c->request, "project");
        List l = { .m = c->m, .list = json_array() };
        int r = 0;

        c->result = json_pack("{s:o}", "environments", l.list);
        if (!c->result)
                return -ENOMEM;
        if (project)
                r = ledger_project_get(c->m->ledger, project, &p, reterr);
        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no project '%s'", project);
        }
        return r == 0 ? ledger_environment_each(c->m->ledger, p.id, api_query_flag(c, "gone"),
                                                list_add, &l, reterr)
                      : r;
}

static int environment_get(ApiCall *c, Environment *ret, Error *reterr) {
        int r = ledger_environment_get(c->m->ledger, c->args[0], ret, reterr);

        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no environment '%s'", c->args[0]);
        }
        return r;
}

static int add_generation(void *userdata, const Generation *g) {
        return json_array_append_new(userdata, render_generation(g)) < 0 ? -ENOMEM : 0;
}

static int add_resource(void *userdata, const Resource *r) {
        return json_array_append_new(userdata, render_resource(r)) < 0 ? -ENOMEM : 0;
}

int api_environment_show(ApiCall *c, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        json_t *generations = json_array(), *resources = json_array();
        int r = environment_get(c, &e, reterr);

        if (r == 0)
                r = ledger_generation_each(c->m->ledger, e.id, add_generation, generations, reterr);
        if (r == 0)
                r = ledger_resource_each(c->m->ledger, e.id, api_query_flag(c, "removed"),
                                         add_resource, resources, reterr);
        if (r == 0) {
                c->result = render_environment(c->m, &e);
                r = c->result ? 0 : -ENOMEM;
        }
        if (r < 0) {
                json_decref(generations);
                json_decref(resources);
                return r;
        }
        (void) json_object_set_new(c->result, "generations", generations);
        (void) json_object_set_new(c->result, "resources", resources);
        return 0;
}

int api_environment_why(ApiCall *c, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        int r = environment_get(c, &e, reterr);

        return r == 0 ? engine_why(c->m->engine, e.id, &c->result, reterr) : r;
}

/* ---- making ---- */

static int commit_check(const char *commit, Error *reterr) {
        size_t n = strlen(commit);

        if ((n != 40 && n != 64) || strspn(commit, "0123456789abcdef") != n)
                return error_set(reterr, -EINVAL,
                                 "A commit is its full name of 40 (or 64) hex digits, not '%.80s'",
                                 commit);
        return 0;
}

static void add_on_branches(void *userdata, int r, const Branches *b, const Error *error) {
        ApiCall *c = userdata;
        const char *branch = field(c, "branch"), *commit = NULL;
        auto_error own = { 0 };

        c->job = NULL;
        if (r == 0) {
                error = &own;
                commit = branches_find(b, branch);
                if (!commit)
                        r = error_set(&own, -ENOENT,
                                      "There is no branch '%.255s' in the repository of '%s'",
                                      branch, field(c, "project"));
        }
        if (r == 0)
                r = engine_push(c->m->engine, &c->actor, field(c, "project"), branch, commit,
                                &c->environment, &own);
        api_finish(c, r, error);
}

int api_environment_add(ApiCall *c, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        const char *project = field(c, "project"), *commit = field(c, "commit");
        const char *branch = field(c, "branch");
        int r = ledger_project_get(c->m->ledger, project, &p, reterr);

        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no project '%s'", project);
        }
        if (r == 0 && (!*branch || strlen(branch) > LIMIT_BRANCH_BYTES))
                r = error_set(reterr, -EINVAL, "A branch name has 1 to %d bytes",
                              LIMIT_BRANCH_BYTES);
        if (r < 0)
                return r;
        if (!commit) {
                r = branches_list(c->m, p.repository, add_on_branches, c, &c->job, reterr);
                return r == 0 ? API_LATER : r;
        }
        r = commit_check(commit, reterr);
        return r == 0 ? engine_push(c->m->engine, &c->actor, project, branch, commit,
                                    &c->environment, reterr)
                      : r;
}

/* ---- changing ---- */

/* Resolves the name once, so that the answer is about the environment that was changed. */
static int environment_target(ApiCall *c, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        int r = environment_get(c, &e, reterr);

        if (r == 0)
                c->environment = TAKE(e.id);
        return r;
}

typedef int (*EnvironmentFunc)(Engine *e, const EngineActor *a, const char *environment,
                               Error *reterr);

static int change(ApiCall *c, EnvironmentFunc func, Error *reterr) {
        int r = environment_target(c, reterr);

        return r == 0 ? func(c->m->engine, &c->actor, c->environment, reterr) : r;
}

int api_environment_down(ApiCall *c, Error *reterr) {
        return change(c, engine_down, reterr);
}

int api_environment_sleep(ApiCall *c, Error *reterr) {
        return change(c, engine_sleep, reterr);
}

int api_environment_wake(ApiCall *c, Error *reterr) {
        return change(c, engine_wake, reterr);
}

int api_environment_unpin(ApiCall *c, Error *reterr) {
        return change(c, engine_unpin, reterr);
}

int api_environment_retry(ApiCall *c, Error *reterr) {
        return change(c, engine_retry, reterr);
}

int api_environment_extend(ApiCall *c, Error *reterr) {
        int64_t by = json_integer_value(json_object_get(c->body, "by_ms"));
        int r = environment_target(c, reterr);

        if (r == 0 && (by <= 0 || by > 3650 * MS_PER_DAY))
                return error_set(reterr, -EINVAL, "'by_ms' must be from 1 to ten years");
        return r == 0 ? engine_extend(c->m->engine, &c->actor, c->environment, by, reterr) : r;
}

int api_environment_pin(ApiCall *c, Error *reterr) {
        const json_t *until = json_object_get(c->body, "until_ms");
        const char *reason = field(c, "reason");
        int64_t now = engine_now_ms(c->m->engine), left = 0;
        int r = environment_target(c, reterr);

        if (r < 0)
                return r;
        /* who asks looks at the wall clock, which may be set wrong: what counts is how long */
        if (until)
                left = json_integer_value(until) - clock_wall_ms(&clock_system);
        if (until && left <= 0)
                return error_set(reterr, -EINVAL, "'until_ms' has passed already");
        if (reason && strlen(reason) > LIMIT_API_TEXT_BYTES)
                return error_set(reterr, -EINVAL, "A reason has at most %d bytes",
                                 LIMIT_API_TEXT_BYTES);
        return engine_pin(c->m->engine, &c->actor, c->environment,
                          until && left < INT64_MAX - now ? now + left : INT64_MAX, reason, reterr);
}
