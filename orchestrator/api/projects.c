#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/branches.h"
#include "orchestrator/api/compare.h"
#include "orchestrator/api/render.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/ledger/name.h"
#include "reaper/reaper.h"

static const char *field(ApiCall *c, const char *name) {
        return json_string_value(json_object_get(c->body, name));
}

/* ---- reading ---- */

static int list_add(void *userdata, const Project *p) {
        json_t *list = userdata;

        return json_array_append_new(list, render_project(p)) < 0 ? -ENOMEM : 0;
}

int api_project_list(ApiCall *c, Error *reterr) {
        json_t *list = json_array();

        c->result = json_pack("{s:o}", "projects", list);
        if (!c->result)
                return -ENOMEM;
        return ledger_project_each(c->m->ledger, list_add, list, reterr);
}

static int project_get(ApiCall *c, const char *name, Project *ret, Error *reterr) {
        int r = ledger_project_get(c->m->ledger, name, ret, reterr);

        if (r == 0 && ret->removed_ms > 0)
                r = -ENOENT;
        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no project '%s'", name);
        }
        return r;
}

static int result_project(ApiCall *c, const char *name, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        int r = project_get(c, name, &p, reterr);

        if (r < 0)
                return r;
        c->result = json_pack("{s:o}", "project", render_project(&p));
        return c->result ? 0 : -ENOMEM;
}

int api_project_show(ApiCall *c, Error *reterr) {
        return result_project(c, c->args[0], reterr);
}

/* ---- adding: the repository is asked first, so that a wrong address is said at once ---- */

static int clocks_check(const json_t *clocks, Error *reterr) {
        const char *name;
        json_t *value;

        json_object_foreach((json_t *) clocks, name, value) {
                if (reaper_clock_from_string(name) < 0)
                        return error_set(reterr, -EINVAL, "There is no clock '%s'", name);
                if (!json_is_integer(value) || json_integer_value(value) < 0 ||
                    json_integer_value(value) > 3650 * MS_PER_DAY)
                        return error_set(reterr, -EINVAL,
                                         "The clock '%s' must be milliseconds of at most ten years",
                                         name);
        }
        return 0;
}

static int text_check(ApiCall *c, const char *name, Error *reterr) {
        const char *text = field(c, name);

        if (text && strlen(text) > LIMIT_API_TEXT_BYTES)
                return error_set(reterr, -EINVAL, "The field '%s' has at most %d bytes", name,
                                 LIMIT_API_TEXT_BYTES);
        return 0;
}

static int add_check(ApiCall *c, Error *reterr) {
        static const char *const texts[] = { "team", "owner" };
        const char *base = field(c, "base_branch");
        int r = project_name_check(field(c, "name"), reterr);

        if (r == 0)
                r = repository_check(field(c, "repository"), reterr);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(texts); i++)
                r = text_check(c, texts[i], reterr);
        if (r == 0 && base && (!*base || strlen(base) > LIMIT_BRANCH_BYTES))
                r = error_set(reterr, -EINVAL, "A branch name has 1 to %d bytes",
                              LIMIT_BRANCH_BYTES);
        return r == 0 ? clocks_check(json_object_get(c->body, "clocks"), reterr) : r;
}

static void add_on_branches(void *userdata, int r, const Branches *b, const Error *error) {
        ApiCall *c = userdata;
        auto_cleanup(freep) char *id = NULL;
        auto_error own = { 0 };

        c->job = NULL;
        if (r == 0 && !field(c, "base_branch"))
                (void) json_object_set_new(c->body, "base_branch", json_string(b->head ?: "main"));
        if (r == 0) {
                r = engine_project_add(c->m->engine, &c->actor, c->body, &id, &own);
                if (r == 0)
                        r = result_project(c, id, &own);
                error = &own;
        }
        api_finish(c, r, error);
}

int api_project_add(ApiCall *c, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        int r = add_check(c, reterr);

        if (r == 0 && ledger_project_get(c->m->ledger, field(c, "name"), &p, NULL) == 0 &&
            p.removed_ms == 0)
                r = error_set(reterr, -EEXIST, "There is a project '%s' already", p.name);
        if (r == 0)
                r = branches_list(c->m, field(c, "repository"), add_on_branches, c, &c->job,
                                  reterr);
        return r == 0 ? API_LATER : r;
}

int api_project_remove(ApiCall *c, Error *reterr) {
        return engine_project_remove(c->m->engine, &c->actor, c->args[0], reterr);
}

/* ---- pushes ---- */

int api_project_push(ApiCall *c, Error *reterr) {
        const char *commit = field(c, "commit");
        int r = engine_push(c->m->engine, &c->actor, c->args[0], field(c, "branch"), commit,
                            &c->environment, reterr);

        if (r == 0)
                compare_soon(c->m, c->args[0]);
        return r;
}

/* ---- comparing ---- */

static void compare_on_list(void *userdata, int r, const Branches *b, const Error *error) {
        ApiCall *c = userdata;
        auto_error own = { 0 };
        json_t *report = NULL;

        c->job = NULL;
        if (r == 0) {
                r = engine_compare_begun(c->m->engine, &c->actor, c->args[0], b->list, b->complete,
                                         b->began_ms, &report, &own);
                error = &own;
        }
        if (r == 0)
                c->result = json_pack("{s:I, s:b, s:o}", "branches",
                                      (json_int_t) json_array_size(b->list), "complete",
                                      b->complete, "report", report ?: json_object());
        api_finish(c, r, error);
}

int api_project_compare(ApiCall *c, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        int r = project_get(c, c->args[0], &p, reterr);

        if (r == 0)
                r = branches_list(c->m, p.repository, compare_on_list, c, &c->job, reterr);
        return r == 0 ? API_LATER : r;
}
