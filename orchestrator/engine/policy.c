/* Which clock lengths hold for an environment: the installation's, then what an admin says of the
 * project, then the project's own, then the wishes of its dependency file; all inside the admin's
 * bounds. A change is noted with its time, so that it never makes anything due at once. */
#include "orchestrator/engine/private.h"

static void lay_over(const json_t *clocks, int64_t length_ms[static _REAPER_CLOCK_KIND_MAX]) {
        const char *name;
        json_t *value;

        json_object_foreach((json_t *) clocks, name, value) {
                ReaperClockKind kind = reaper_clock_from_string(name);

                if (kind >= 0 && json_is_integer(value) && json_integer_value(value) >= 0)
                        length_ms[kind] = json_integer_value(value);
        }
}

/* False when there is a text and it cannot be read, for lack of memory too. */
static bool lay_text(const char *text, int64_t length_ms[static _REAPER_CLOCK_KIND_MAX]) {
        json_auto_t *clocks = text ? json_loads(text, 0, NULL) : NULL;

        lay_over(clocks, length_ms);
        return !text || json_is_object(clocks);
}

static void clocks_list(const ConfigClocks *c, int64_t ret[static _REAPER_CLOCK_KIND_MAX]) {
        ret[REAPER_SLEEP_AFTER_IDLE] = c->sleep_after_idle;
        ret[REAPER_DELETE_AFTER_ASLEEP] = c->delete_after_asleep;
        ret[REAPER_DELETE_AFTER_AGE] = c->delete_after_age;
        ret[REAPER_DELETE_AFTER_CLOSE] = c->delete_after_close;
}

void policy_of(Engine *e, const Environment *env, const Project *project, ReaperPolicy *ret) {
        int64_t bound[_REAPER_CLOCK_KIND_MAX];
        json_t *admin = json_object_get(e->config->projects, project->name);

        *ret = (ReaperPolicy){ .effective_ms = env->policy_ms,
                               .grace_ms = env->policy_ms > 0 ? LIMIT_POLICY_GRACE_MS : 0 };
        clocks_list(&e->config->clocks, ret->clock_ms);
        lay_over(json_object_get(admin, "clocks"), ret->clock_ms);
        /* Without one of them the shorter lengths below it would hold. */
        ret->known =
                lay_text(project->clocks, ret->clock_ms) && lay_text(env->lease, ret->clock_ms);
        clocks_list(&e->config->clocks_max, bound);
        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++) {
                if (ret->clock_ms[i] < 0) /* nobody said anything: it ends nothing */
                        ret->clock_ms[i] = 0;
                /* Off is the longest of all, so a bound holds for it too. */
                if (bound[i] > 0 && (ret->clock_ms[i] == 0 || ret->clock_ms[i] > bound[i]))
                        ret->clock_ms[i] = bound[i];
        }
}

static char *lengths_text(const ReaperPolicy *p) {
        json_auto_t *object = json_object();

        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++)
                if (json_object_set_new(object, reaper_clock_to_string(i),
                                        json_integer(p->clock_ms[i])) < 0)
                        return NULL;
        return json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
}

int policy_refresh(View *v, Error *reterr) {
        auto_cleanup(project_done) Project project = { 0 };
        auto_cleanup(freep) char *text = NULL;
        ReaperPolicy policy;
        int r;

        r = ledger_project_get(v->e->ledger, v->env.project_id, &project, reterr);
        if (r < 0)
                return r;
        policy_of(v->e, &v->env, &project, &policy);
        if (!policy.known)
                return 0; /* nothing is judged by it */
        text = lengths_text(&policy);
        if (!text)
                return -ENOMEM;
        if (streq_null(text, v->env.clocks))
                return 0;
        /* The first lengths of all hold from the beginning. Those of a dependency file come later, perhaps
         * long after the branch: like any other change they make nothing due at once. */
        if (v->env.clocks)
                v->env.policy_ms = v->e->now_ms;
        free(v->env.clocks);
        v->env.clocks = TAKE(text);
        v->changed = true;
        return 0;
}
