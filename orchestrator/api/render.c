#include "orchestrator/api/render.h"

#include <string.h>

#include "orchestrator/base/str.h"

/* Stored JSON text as a value; null for NULL or damage. */
static json_t *stored(const char *text) {
        json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

        return json ?: json_null();
}

/* 0 in a time column means "not". */
static json_t *time_json(int64_t ms) {
        return ms > 0 && ms != INT64_MAX ? json_integer(ms) : json_null();
}

json_t *render_project(const Project *p) {
        return json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:o}", "id", p->id,
                         "name", p->name, "repository", p->repository, "base_branch",
                         p->base_branch, "team", p->team, "owner", p->owner, "clocks",
                         stored(p->clocks), "created_ms", time_json(p->created_ms), "removed_ms",
                         time_json(p->removed_ms), "compared_ms", time_json(p->compared_ms));
}

static json_t *pinned_json(const Environment *e) {
        if (e->pinned_until_ms == 0)
                return json_null();
        return json_pack("{s:o, s:s?, s:s?}", "until_ms", time_json(e->pinned_until_ms), "by",
                         e->pinned_by, "reason", e->pin_reason);
}

static json_t *gone_json(const Environment *e) {
        if (!e->gone_by && !e->gone_why)
                return json_null();
        return json_pack("{s:s?, s:s?}", "by", e->gone_by, "why", e->gone_why);
}

json_t *render_environment(const Manager *m, const Environment *e) {
        auto_cleanup(freep) char *url = manager_url(m, e->label);
        json_t *out = json_pack(
                "{s:s, s:s, s:s, s:s, s:s?, s:s?, s:s, s:s, s:I, s:I, s:I}", "id", e->id, "label",
                e->label, "project", e->project, "branch", e->branch, "commit", e->commit, "url",
                url, "state", env_state_to_string(e->state), "level", env_level_to_string(e->level),
                "wanted_generation", (json_int_t) e->wanted_generation, "live_generation",
                (json_int_t) e->live_generation, "slot", (json_int_t) e->slot);
        json_t *more = json_pack(
                "{s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                "s:o, s:o}",
                "cause", e->cause, "owner", e->owner, "team", e->team, "trust", e->trust, "trace",
                e->trace, "created_ms", time_json(e->created_ms), "used_ms", time_json(e->used_ms),
                "asleep_ms", time_json(e->asleep_ms), "closed_ms", time_json(e->closed_ms),
                "deleted_ms", time_json(e->deleted_ms), "extended_until_ms",
                time_json(e->extended_until_ms), "due_ms", time_json(e->due_ms), "pinned",
                pinned_json(e), "gone", gone_json(e), "lease", stored(e->lease));

        if (!out || !more || json_object_update(out, more) < 0) {
                json_decref(out);
                out = NULL;
        }
        json_decref(more);
        return out;
}

json_t *render_generation(const Generation *g) {
        return json_pack("{s:I, s:s?, s:s, s:s?, s:s?, s:o, s:o, s:o}", "number",
                         (json_int_t) g->number, "commit", g->commit, "state",
                         gen_state_to_string(g->state), "cause", g->cause, "trace", g->trace,
                         "created_ms", time_json(g->created_ms), "ready_ms", time_json(g->ready_ms),
                         "ended_ms", time_json(g->ended_ms));
}

static json_t *names_json(char *const *names) {
        json_t *out = json_array();

        for (; out && names && *names; names++)
                (void) json_array_append_new(out, json_string(*names));
        return out;
}

json_t *render_resource(const Resource *r) {
        json_auto_t *live = stored(r->live);

        /* what its provider says of how it came about, beside what it keeps for itself */
        return json_pack(
                "{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s, s:I, s:s, s:s?, s:s?, s:s?, s:I, s:o, "
                "s:o, s:o, s:o, s:o, s:o, s:o}",
                "uid", r->uid, "key", r->key, "type", r->type, "class", r->class, "id", r->id,
                "name", r->name, "workload", r->workload, "provider", r->provider, "generation",
                (json_int_t) r->generation, "state", res_state_to_string(r->state), "cause",
                r->cause, "cause_class", r->cause_class, "detail",
                json_string_value(json_object_get(live, "detail")), "tries", (json_int_t) r->tries,
                "retry_ms", time_json(r->retry_ms), "created_ms", time_json(r->created_ms),
                "ready_ms", time_json(r->ready_ms), "removed_ms", time_json(r->removed_ms),
                "outputs", stored(r->outputs), "secret", names_json(r->secret), "notes",
                names_json(r->notes));
}

json_t *render_event(const Event *e, const char *label) {
        return json_pack("{s:I, s:I, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:o}", "number",
                         (json_int_t) e->number, "time_ms", (json_int_t) e->time_ms, "kind",
                         e->kind, "environment_id", e->environment_id, "environment", label,
                         "project_id", e->project_id, "actor", e->actor, "trace", e->trace, "text",
                         e->text, "data", stored(e->data));
}

int render_environment_by_id(Manager *m, const char *which, json_t **ret, Error *reterr) {
        auto_cleanup(environment_done) Environment e = { 0 };
        int r = ledger_environment_get(m->ledger, which, &e, reterr);

        if (r < 0)
                return r;
        *ret = render_environment(m, &e);
        return *ret ? 0 : -ENOMEM;
}
