/* A branch is at a commit, or gone. The newest push wins; the same commit again changes nothing; a push
 * to a branch whose environment is being deleted begins a new one beside it. */
#include "orchestrator/engine/private.h"
#include "orchestrator/ledger/name.h"

static int commit_check(const char *commit, Error *reterr) {
        size_t n = strlen(commit);

        if ((n == 40 || n == 64) && strspn(commit, "0123456789abcdef") == n)
                return 0;
        return error_set(reterr, -EINVAL, "'%.80s' is not the full name of a commit", commit);
}

static int count_one(void *userdata, const Environment *env) {
        ++*(unsigned *) userdata;
        return 0;
}

static int environment_create(Input *in, const Project *project, const char *branch,
                              const char *commit, Environment *ret, Error *reterr) {
        json_t *admin = json_object_get(in->e->config->projects, project->name);
        const char *owner = json_string_value(json_object_get(admin, "owner"));
        const char *team = json_string_value(json_object_get(admin, "team"));
        char id[ID_SIZE], label[LIMIT_LABEL + 1];
        unsigned n = 0;
        int r;

        r = name_label(branch, project->name, label);
        if (r < 0)
                return error_set(reterr, r, "'%.100s' cannot be the name of a branch", branch);
        r = ledger_environment_each(in->e->ledger, NULL, false, count_one, &n, reterr);
        if (r < 0)
                return r;
        if (n >= LIMIT_ENVIRONMENTS)
                return error_set(reterr, -ENOSPC,
                                 "There are %d environments already, no more are made",
                                 LIMIT_ENVIRONMENTS);
        id_make(in->e->setup.random, 'e', id);
        Environment env = {
                .id = id,
                .project_id = project->id,
                .project = project->name,
                .branch = (char *) branch,
                .commit = (char *) commit,
                .label = label,
                .owner = (char *) (owner ? owner : project->owner),
                .team = (char *) (team ? team : project->team),
                .trust = (char *) "member",
                .trace = in->trace,
                .state = ENV_WANTED,
                .level = LEVEL_AWAKE,
                .created_ms = in->e->now_ms,
                .used_ms = in->e->now_ms,
                .due_ms = INT64_MAX,
        };
        r = ledger_environment_insert(in->e->ledger, &env, reterr);
        if (r == 0)
                r = event_add(in->e, EVENT_ENVIRONMENT_CREATED,
                              (EventWhere){ .environment_id = id,
                                            .project_id = project->id,
                                            .actor = in->who,
                                            .trace = in->trace },
                              "%s is wanted: branch '%s' of %s", label, branch, project->name);
        return r < 0 ? r : ledger_environment_get(in->e->ledger, id, ret, reterr);
}

/* The wanted generation is what the push asks for already. */
static int wanted_already(Input *in, const Environment *env, const char *commit, bool *ret,
                          Error *reterr) {
        auto_cleanup(generation_done) Generation g = { 0 };
        int r;

        *ret = false;
        if (env->wanted_generation == 0 || !streq(env->commit, commit))
                return 0;
        r = ledger_generation_get(in->e->ledger, env->id, env->wanted_generation, &g, reterr);
        if (r < 0)
                return r;
        /* One that was cancelled by closing is wanted anew. */
        *ret = streq(g.commit, commit) &&
               (g.state == GEN_LIVE || g.state == GEN_FAILED || generation_under_way(&g));
        return 0;
}

int generation_want(Input *in, Environment *env, const char *commit, Error *reterr) {
        Generation g = { .environment_id = env->id,
                         .number = env->wanted_generation + 1,
                         .commit = (char *) commit,
                         .trace = in->trace,
                         .state = GEN_WANTED,
                         .created_ms = in->e->now_ms };
        int r;

        r = ledger_generation_insert(in->e->ledger, &g, reterr);
        if (r < 0)
                return r;
        env->wanted_generation = g.number;
        r = str_replace(&env->commit, commit);
        if (r == 0)
                r = str_replace(&env->trace, in->trace);
        if (r == 0)
                r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r == 0)
                r = event_add(in->e, EVENT_GENERATION_WANTED,
                              (EventWhere){ .environment_id = env->id,
                                            .project_id = env->project_id,
                                            .actor = in->who,
                                            .trace = in->trace },
                              "%s: commit %.12s is wanted", env->label, commit);
        return r;
}

static int branch_gone(Input *in, Environment *env, Error *reterr) {
        int r;

        if (env->closed_ms > 0)
                return 0;
        env->closed_ms = in->e->now_ms;
        env->wake_wanted = false;
        r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_ENVIRONMENT_CLOSED,
                         (EventWhere){ .environment_id = env->id,
                                       .project_id = env->project_id,
                                       .actor = in->who,
                                       .trace = in->trace },
                         "%s: the branch '%s' was deleted", env->label, env->branch);
}

static int branch_at(Input *in, Environment *env, const char *commit, Error *reterr) {
        bool already;
        int r;

        r = wanted_already(in, env, commit, &already, reterr);
        if (r < 0)
                return r;
        env->used_ms = in->e->now_ms;
        if (env->closed_ms > 0) {
                env->closed_ms = 0;
                r = event_add(in->e, EVENT_ENVIRONMENT_REOPENED,
                              (EventWhere){ .environment_id = env->id,
                                            .project_id = env->project_id,
                                            .actor = in->who,
                                            .trace = in->trace },
                              "%s: the branch '%s' is back", env->label, env->branch);
        }
        if (r < 0)
                return r;
        return already ? ledger_environment_update(in->e->ledger, env, reterr)
                       : generation_want(in, env, commit, reterr);
}

int push_input(Input *in, const Project *project, const char *branch, const char *commit,
               char **ret_environment, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *id = NULL;
        Look *look;
        int r;

        r = ledger_environment_by_branch(in->e->ledger, project->id, branch, &env, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot look for the branch's environment");
        if (r == -ENOENT && !commit)
                return 0; /* nothing is there to close */
        if (r == -ENOENT)
                r = environment_create(in, project, branch, commit, &env, reterr);
        if (r < 0)
                return r;
        r = commit ? branch_at(in, &env, commit, reterr) : branch_gone(in, &env, reterr);
        if (r < 0)
                return r;
        look_mark(in->e, env.id);
        look = look_get(in->e, env.id);
        if (!look)
                return -ENOMEM;
        look->pushed_ms = in->e->now_ms;
        if (ret_environment) {
                id = strdup(env.id);
                if (!id)
                        return -ENOMEM;
                *ret_environment = TAKE(id);
        }
        return 0;
}

int engine_push(Engine *e, const EngineActor *a, const char *project, const char *branch,
                const char *commit, char **ret_environment, Error *reterr) {
        auto_cleanup(project_done) Project p = { 0 };
        char label[LIMIT_LABEL + 1];
        Input in;
        int r;

        if (ret_environment)
                *ret_environment = NULL;
        if (commit && (r = commit_check(commit, reterr)) < 0)
                return r;
        r = ledger_project_get(e->ledger, project, &p, reterr);
        if (r == 0 && p.removed_ms > 0)
                return error_set(reterr, -ENOENT, "No project '%s'", project);
        if (r < 0)
                return r;
        if (name_label(branch, p.name, label) < 0)
                return error_set(reterr, -EINVAL, "'%.100s' cannot be the name of a branch",
                                 branch);
        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        return input_end(&in, push_input(&in, &p, branch, commit, ret_environment, reterr), reterr);
}

/* ---- comparison with what the repository has ---- */

typedef struct Closing {
        Input *in;
        const json_t *now;    /* branch -> commit */
        const json_t *before; /* the same at the last complete comparison, or NULL */
        int64_t began_ms;     /* when the list was begun */
        json_t *closed, *pushed;
        char **ids; /* environments that are still open */
} Closing;

static int collect_open(void *userdata, const Environment *env) {
        Closing *c = userdata;

        if (env->state == ENV_DELETING || env->state == ENV_GONE)
                return 0;
        return strv_add(&c->ids, env->id);
}

/* The environment follows a push, or the deletion of its branch, that came when the list was under way
 * already: which of the two is the newer word is not known. A branch that is back at its commit has no
 * new generation; that is remembered beside the ledger, for no list outlives the daemon. */
static int is_newer(const Closing *c, const Environment *env, bool *ret, Error *reterr) {
        auto_cleanup(generation_done) Generation g = { 0 };
        const Look *look = map_get(c->in->e->looks, env->id);
        int r;

        *ret = look && look->pushed_ms > 0 && look->pushed_ms >= c->began_ms;
        if (*ret || env->wanted_generation == 0)
                return 0;
        r = ledger_generation_get(c->in->e->ledger, env->id, env->wanted_generation, &g, reterr);
        *ret = r == 0 && g.created_ms >= c->began_ms;
        return r;
}

static int compare_one(Closing *c, const char *id, bool complete, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        bool newer;
        int r;

        r = ledger_environment_get(c->in->e->ledger, id, &env, reterr);
        if (r < 0)
                return r;
        if (json_object_get(c->now, env.branch) || !complete || env.closed_ms > 0)
                return 0;
        r = is_newer(c, &env, &newer, reterr);
        if (r < 0 || newer)
                return r;
        r = branch_gone(c->in, &env, reterr);
        look_mark(c->in->e, env.id);
        if (r == 0 && json_array_append_new(c->closed, json_string(env.branch)) < 0)
                r = -ENOMEM;
        return r;
}

/* What was deleted at this very commit is not brought back by a comparison; nor at any other, when it was
 * pushed and deleted since the list was begun. */
static int was_here(Closing *c, const Project *project, const char *branch, const char *commit,
                    bool *ret, Error *reterr) {
        auto_cleanup(freep) char *name = str_format("%s/%s", project->name, branch);
        auto_cleanup(environment_done) Environment env = { 0 };
        int r = name ? ledger_environment_get(c->in->e->ledger, name, &env, NULL) : -ENOMEM;

        *ret = r == 0 && streq(env.project_id, project->id) && streq(env.commit, commit);
        if (r < 0 || *ret || !streq(env.project_id, project->id))
                return r == -ENOENT ? 0 : r;
        return is_newer(c, &env, ret, reterr);
}

/* The list says the same as the one before, and the environment stands elsewhere: the list may have been
 * made before the push that the environment follows. When that push was known before the list before this
 * one, it was a late trigger of something older, and the list is right. */
static int pushed_since(Engine *e, const Project *project, const Environment *env, bool *ret,
                        Error *reterr) {
        auto_cleanup(generation_done) Generation g = { 0 };
        int r = ledger_generation_get(e->ledger, env->id, env->wanted_generation, &g, reterr);

        *ret = r == 0 && g.created_ms >= project->compared_ms;
        return r;
}

/* A branch is taken up when it moved since the last comparison, or when its environment is there and
 * stands elsewhere. A branch that nobody pushed since mayfly knows the project stays without one. */
static int take_up(Closing *c, const Project *project, const char *branch, const char *commit,
                   Error *reterr) {
        const char *before = json_string_value(json_object_get(c->before, branch));
        auto_cleanup(environment_done) Environment env = { 0 };
        char label[LIMIT_LABEL + 1];
        int r;

        if (name_label(branch, project->name, label) < 0 || commit_check(commit, NULL) < 0)
                return 0;
        r = ledger_environment_by_branch(c->in->e->ledger, project->id, branch, &env, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot look for the branch's environment");
        if (r == -ENOENT) {
                bool here = !c->before || (before && streq(before, commit));

                r = here ? 0 : was_here(c, project, branch, commit, &here, reterr);
                if (r < 0 || here)
                        return r;
        } else {
                bool newer, closed = env.closed_ms > 0;

                r = is_newer(c, &env, &newer, reterr);
                if (r == 0 && !newer && !closed && before && streq(before, commit))
                        r = pushed_since(c->in->e, project, &env, &newer, reterr);
                if (r < 0)
                        return r;
                if (newer || (!closed && streq(env.commit, commit)))
                        return 0;
        }
        r = push_input(c->in, project, branch, commit, NULL, reterr);
        if (r == 0 && json_array_append_new(c->pushed, json_string(branch)) < 0)
                r = -ENOMEM;
        return r;
}

static int compare(Closing *c, Project *project, bool complete, Error *reterr) {
        const char *branch;
        json_t *commit;
        int r;

        r = ledger_environment_each(c->in->e->ledger, project->id, false, collect_open, c, reterr);
        if (r < 0)
                return r;
        /* An empty list is a failure of whoever made it until proved otherwise. */
        complete = complete && json_object_size(c->now) > 0;
        for (char **id = c->ids; id && *id; id++) {
                r = compare_one(c, *id, complete, reterr);
                if (r < 0)
                        return r;
        }
        json_object_foreach((json_t *) c->now, branch, commit) {
                r = take_up(c, project, branch, json_string_value(commit), reterr);
                if (r < 0)
                        return r;
        }
        if (!complete)
                return 0;
        project->compared_ms = c->in->e->now_ms;
        return ledger_project_update(c->in->e->ledger, project, reterr);
}

static int branches_object(const json_t *branches, json_t **ret, Error *reterr) {
        json_auto_t *object = json_object();
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) branches, i, item) {
                const char *name = json_string_value(json_object_get(item, "name"));
                json_t *commit = json_object_get(item, "commit");

                if (!name || !json_is_string(commit))
                        return error_set(reterr, -EINVAL,
                                         "A list of branches has items of name and commit");
                if (json_object_set(object, name, commit) < 0)
                        return -ENOMEM;
        }
        *ret = TAKE(object);
        return 0;
}

static int compare_store(Input *in, const char *name, const json_t *now, Error *reterr) {
        auto_cleanup(freep) char *text = json_dumps(now, JSON_COMPACT | JSON_SORT_KEYS);

        return text ? ledger_value_set(in->e->ledger, name, text, reterr) : -ENOMEM;
}

int engine_compare(Engine *e, const EngineActor *a, const char *project, const json_t *branches,
                   bool complete, json_t **ret_report, Error *reterr) {
        return engine_compare_begun(e, a, project, branches, complete, INT64_MAX, ret_report,
                                    reterr);
}

int engine_compare_begun(Engine *e, const EngineActor *a, const char *project,
                         const json_t *branches, bool complete, int64_t began_ms,
                         json_t **ret_report, Error *reterr) {
        json_auto_t *now = NULL, *before = NULL, *closed = json_array(), *pushed = json_array();
        auto_cleanup(freep) char *name = NULL, *text = NULL;
        auto_cleanup(project_done) Project p = { 0 };
        Closing c = { .closed = closed, .pushed = pushed, .began_ms = began_ms };
        Input in;
        int r;

        r = branches_object(branches, &now, reterr);
        if (r == 0)
                r = ledger_project_get(e->ledger, project, &p, reterr);
        if (r < 0)
                return r;
        if (p.removed_ms > 0)
                return error_set(reterr, -ENOENT, "No project '%s'", project);
        name = str_format("branches.%s", p.id);
        if (!name)
                return -ENOMEM;
        if (ledger_value_get(e->ledger, name, &text, NULL) == 0)
                before = json_loads(text, 0, NULL);
        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        c.in = &in;
        c.now = now;
        c.before = before;
        r = compare(&c, &p, complete, reterr);
        strv_free(c.ids);
        if (r == 0 && complete && json_object_size(now) > 0)
                r = compare_store(&in, name, now, reterr);
        r = input_end(&in, r, reterr);
        if (r == 0 && ret_report)
                *ret_report = json_pack("{s:b, s:I, s:O, s:O}", "complete", (int) complete,
                                        "branches", (json_int_t) json_object_size(now), "closed",
                                        closed, "pushed", pushed);
        return r;
}
