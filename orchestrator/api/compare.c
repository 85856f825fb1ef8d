#include "orchestrator/api/compare.h"

#include <string.h>

#include "orchestrator/api/branches.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"

#define COMPARE_AFTER_USEC 2000000 /* pushes come in bunches */

typedef struct Compare {
        Manager *m;
        char *project;
        LoopSource *timer;
        BranchesJob *job;
        bool again; /* asked for while git looked: it may have looked before */
} Compare;

static void compare_free(void *value) {
        Compare *c = value;

        if (!c)
                return;
        loop_source_free(c->timer);
        branches_cancel(c->job);
        free(c->project);
        free(c);
}

static void compare_on_branches(void *userdata, int r, const Branches *b, const Error *error) {
        static const EngineActor actor = { .who = "compare" };
        Compare *c = userdata;
        Manager *m = c->m;
        auto_cleanup(freep) char *project = TAKE(c->project);
        auto_error own = { 0 };
        json_t *report = NULL;
        bool again = c->again;

        c->job = NULL;
        map_remove(m->compares, project);
        if (r == 0) {
                r = engine_compare_begun(m->engine, &actor, project, b->list, b->complete,
                                         b->began_ms, &report, &own);
                error = &own;
                manager_want_turn(m);
        }
        json_decref(report);
        if (r < 0 && r != -ENOENT) /* removed meanwhile */
                log_warning("The branches of '%s' were not compared: %s", project,
                            error_text(error, r));
        if (again)
                compare_soon(m, project);
}

static void compare_on_time(void *userdata) {
        Compare *c = userdata;
        Manager *m = c->m;
        auto_cleanup(project_done) Project p = { 0 };
        auto_cleanup(freep) char *name = strdup(c->project);
        auto_error error = { 0 };
        int r = ledger_project_get(m->ledger, c->project, &p, &error);

        if (r == 0)
                r = branches_list(m, p.repository, compare_on_branches, c, &c->job, &error);
        if (r == 0)
                return;
        map_remove(m->compares, name ?: "");
        if (r != -ENOENT)
                log_warning("The branches of '%s' cannot be compared: %s", name ?: "",
                            error_text(&error, r));
}

static int compare_add(Manager *m, const char *project, uint64_t after_usec, Error *reterr) {
        Compare *c = map_get(m->compares, project);
        int r;

        if (c && c->job) {
                c->again = true;
                return 0;
        }
        if (c) /* it will see it */
                return loop_timer_arm_after(c->timer, after_usec);
        c = calloc(1, sizeof(Compare));
        if (!c)
                return -ENOMEM;
        c->m = m;
        c->project = strdup(project);
        r = c->project
                    ? loop_add_timer(m->loop, "comparison", compare_on_time, c, &c->timer, reterr)
                    : -ENOMEM;
        if (r == 0)
                r = map_put(m->compares, project, c);
        if (r < 0) {
                compare_free(c);
                return r;
        }
        return loop_timer_arm_after(c->timer, after_usec);
}

void compare_soon(Manager *m, const char *project) {
        auto_error error = { 0 };
        int r = compare_add(m, project, COMPARE_AFTER_USEC, &error);

        if (r < 0)
                log_warning("The branches of '%s' will not be compared: %s", project,
                            error_text(&error, r));
}

static int compare_project(void *userdata, const Project *p) {
        return p->removed_ms > 0 ? 0 : compare_add(userdata, p->name, 0, NULL);
}

int compare_start(Manager *m, Error *reterr) {
        m->compares = map_new(compare_free);
        if (!m->compares)
                return -ENOMEM;
        return ledger_project_each(m->ledger, compare_project, m, reterr);
}

void compare_stop(Manager *m) {
        map_free(TAKE(m->compares));
}
