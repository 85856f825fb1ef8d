/* What a person does with orphans: removing and adopting, both explicit, both through stray_judge().
 *
 * A removal: the wish is committed; then the live thing is inspected, and only when it carries the marker
 * it was seen with is its removal written down (intent), done, and its outcome written; then it is looked
 * at once more. Whatever interrupts, the next start begins with the look again. Nothing is started under
 * a freeze, also when the wish is older than the freeze. */
#include <stdio.h>

#include "orchestrator/engine/private.h"

/* Of the environment that it was found to belong to, where the ledger has that: so its events, and what
 * is shown with its receipt, tell of it. */
EventWhere stray_where(Engine *e, const Stray *s, const char *actor) {
        auto_cleanup(environment_done) Environment env = { 0 };
        bool known = ledger_environment_get(e->ledger, s->environment_id, &env, NULL) == 0 &&
                     streq(env.id, s->environment_id);

        return (EventWhere){ .actor = actor ? actor : s->actor,
                             .environment_id = known ? s->environment_id : NULL,
                             .trace = s->trace,
                             .data = json_pack("{s:s, s:s, s:s, s:s}", "uid", s->uid, "marker",
                                               s->marker, "provider", s->provider, "type",
                                               s->type) };
}

/* ---- the wish ---- */

typedef struct Choice {
        Input *in;
        bool all, adopt;
        OrphanWish wish;
        json_t *report;
} Choice;

static int wish_removal(Choice *c, Stray *s, Error *reterr) {
        int r;

        s->removing = true;
        s->emptied = false;
        s->tries = s->retry_ms = 0;
        r = str_replace(&s->actor, c->in->who);
        if (r == 0)
                r = str_replace(&s->trace, c->in->trace);
        if (r == 0)
                r = str_replace(&s->cause, NULL);
        if (r == 0)
                r = ledger_stray_put(c->in->e->ledger, s, reterr);
        if (r < 0)
                return r;
        return event_add(c->in->e, EVENT_ORPHAN_REMOVING, stray_where(c->in->e, s, NULL),
                         "%s is to be removed", s->marker);
}

static int choose_removal(Choice *c, Stray *s, Error *reterr) {
        StrayVerdict v;
        bool may;
        int r;

        r = stray_judge(c->in->e, s, c->wish.young && !c->all, &v, reterr);
        if (r < 0)
                return r;
        may = streq(v.word, "orphan");
        if (!may && !c->all && !c->wish.dry_run)
                return error_set(reterr, -EPERM, "%s is not removed (%s): %s", s->uid, v.word,
                                 v.text);
        if (may && !c->wish.dry_run)
                r = wish_removal(c, s, reterr);
        if (r < 0)
                return r;
        json_t *one = stray_json(s, &v);

        (void) json_object_set_new(one, "chosen", json_boolean(may)); /* without memory: below */
        return json_array_append_new(c->report, one) < 0 ? -ENOMEM : 0;
}

/* ---- adopting ---- */

static int adoption_environment(Choice *c, const Stray *s, Environment *ret, Error *reterr) {
        auto_cleanup(resource_done) Resource known = { 0 };
        int r = *s->environment_id
                        ? ledger_environment_get(c->in->e->ledger, s->environment_id, ret, NULL)
                        : -ENOENT;

        if (s->removing)
                return error_set(reterr, -EBUSY, "%s is being removed", s->uid);
        if (r == -ENOENT)
                return error_set(reterr, -EPERM,
                                 "The ledger knows no environment '%s', so nothing would ever "
                                 "remove %s; remove it instead",
                                 s->environment_id, s->uid);
        if (r == 0 && ret->state == ENV_GONE)
                return error_set(reterr, -EPERM,
                                 "Its environment %s is gone, so nothing would ever remove %s; "
                                 "remove it instead",
                                 ret->label, s->uid);
        if (r == 0 && ledger_resource_get(c->in->e->ledger, s->uid, &known, NULL) == 0)
                return error_set(reterr, -EPERM, "%s had %s removed already; remove it instead",
                                 ret->label, s->uid);
        if (r == 0 && !*s->type)
                return error_set(reterr, -EPERM, "Nobody knows what %s is; look at it by hand",
                                 s->uid);
        return r;
}

static int adopt_row(Choice *c, const Stray *s, const Environment *env, Error *reterr) {
        auto_cleanup(freep) char *key = str_format(ADOPTED_KEY "%s", s->uid), *node = NULL;
        auto_cleanup(freep) char *cause =
                str_format("Adopted by %s; it is removed with the environment", c->in->who);
        json_auto_t *json = NULL, *nothing = json_object();
        int r;

        r = graph_node_to_json(&(GraphNode){ .key = key,
                                             .type = s->type,
                                             .class = (char *) "default",
                                             .id = (char *) "",
                                             .scope = GRAPH_SCOPE_ENVIRONMENT,
                                             .provider = s->provider,
                                             .definition = (char *) "adopted",
                                             .params = nothing,
                                             .config = nothing,
                                             .refs = nothing,
                                             .metadata = nothing },
                               &json);
        node = r == 0 ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
        if (!key || !cause || !node)
                return r < 0 ? r : -ENOMEM;
        /* "failed": what will not be tried again, and is looked at before it is removed. */
        return ledger_resource_insert(c->in->e->ledger,
                                      &(Resource){ .uid = s->uid,
                                                   .environment_id = env->id,
                                                   .key = key,
                                                   .type = s->type,
                                                   .class = (char *) "default",
                                                   .id = (char *) "",
                                                   .marker = s->marker,
                                                   .provider = s->provider,
                                                   .state = RES_FAILED,
                                                   .node = node,
                                                   .inspect = true,
                                                   .touched = true,
                                                   .cause = cause,
                                                   .created_ms = c->in->e->now_ms },
                                      reterr);
}

static int choose_adoption(Choice *c, Stray *s, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        StrayVerdict v = { .word = "owned" };
        int r = adoption_environment(c, s, &env, reterr);

        if (r < 0)
                return r;
        snprintf(v.text, sizeof(v.text), "it goes when %s goes", env.label);
        if (!c->wish.dry_run) {
                EventWhere where = stray_where(c->in->e, s, c->in->who);

                where.environment_id = env.id;
                where.project_id = env.project_id;
                where.trace = c->in->trace;
                r = adopt_row(c, s, &env, reterr);
                if (r == 0)
                        r = ledger_stray_remove(c->in->e->ledger, s->uid, reterr);
                if (r == 0)
                        r = event_add(c->in->e, EVENT_ORPHAN_ADOPTED, where,
                                      "%s belongs to %s from now on", s->marker, env.label);
                look_mark(c->in->e, env.id);
        }
        if (r < 0)
                return r;
        json_t *one = stray_json(s, &v);

        (void) json_object_set_new(one, "chosen", json_true());
        return json_array_append_new(c->report, one) < 0 ? -ENOMEM : 0;
}

/* ---- which ---- */

static int choose_one(Choice *c, const char *uid, Error *reterr) {
        auto_cleanup(stray_done) Stray s = { 0 };
        int r = ledger_stray_get(c->in->e->ledger, uid, &s, NULL);

        if (r == -ENOENT || (r == 0 && !streq(s.kind, "orphan")))
                return error_set(reterr, -ENOENT,
                                 "No orphan '%.60s' is known; 'mayfly orphans' lists them", uid);
        if (r < 0)
                return error_set(reterr, r, "Cannot read what is known of '%.60s'", uid);
        return c->adopt ? choose_adoption(c, &s, reterr) : choose_removal(c, &s, reterr);
}

static int collect_uid(void *userdata, const Stray *s) {
        return streq(s->kind, "orphan") && !s->removing ? strv_add(userdata, s->uid) : 0;
}

static int choose(Choice *c, char *const *uids, Error *reterr) {
        auto_cleanup(strv_freep) char **all = NULL;
        int r = 0;

        if (c->all) {
                r = ledger_stray_each(c->in->e->ledger, NULL, collect_uid, &all, reterr);
                uids = all;
        }
        for (; r == 0 && uids && *uids; uids++)
                r = choose_one(c, *uids, reterr);
        return r;
}

static int orphans_change(Engine *e, const EngineActor *a, char *const *uids, bool adopt,
                          OrphanWish wish, json_t **ret, Error *reterr) {
        json_auto_t *report = json_array();
        Input in;
        Choice c = { .in = &in, .all = !uids, .adopt = adopt, .wish = wish, .report = report };
        int r;

        if (!report)
                return -ENOMEM;
        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        r = input_end(&in, choose(&c, uids, reterr), reterr);
        if (r < 0)
                return r;
        *ret = json_pack("{s:b, s:O}", "dry_run", (int) wish.dry_run, "orphans", report);
        return *ret ? 0 : -ENOMEM;
}

int engine_orphans_remove(Engine *e, const EngineActor *a, char *const *uids, OrphanWish wish,
                          json_t **ret, Error *reterr) {
        return orphans_change(e, a, uids, false, wish, ret, reterr);
}

int engine_orphans_adopt(Engine *e, const EngineActor *a, char *const *uids, OrphanWish wish,
                         json_t **ret, Error *reterr) {
        return orphans_change(e, a, uids, true, wish, ret, reterr);
}

/* ---- carrying it out ---- */

static int orphan_call(Engine *e, const Stray *s, const char *verb, Call **ret) {
        Call *c;
        int r;

        r = call_new(e, CALL_ORPHAN, s->provider, verb, &c);
        if (r < 0)
                return r;
        c->deadline_ms = streq(verb, "inspect") ? 30 * 1000 : 2 * 60 * 1000;
        c->uid = strdup(s->uid);
        c->environment_id = strdup(s->environment_id);
        c->request = c->uid && c->environment_id
                             ? request_for_marked(e, c, s->type, s->marker, s->environment_id)
                             : NULL;
        if (!c->request) {
                call_abandon(e, c);
                return -ENOMEM;
        }
        if (ret)
                *ret = c;
        return 0;
}

static bool orphan_busy(Engine *e, const char *uid) {
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL)))
                if (c->kind == CALL_ORPHAN && streq(c->uid, uid) &&
                    (c->state == CALL_QUEUED || c->state == CALL_RUNNING))
                        return true;
        return false;
}

static bool orphans_held(Engine *e) {
        int64_t until_ms;

        return freeze_holds(e, &until_ms) != NULL;
}

static int start_look(void *userdata, const Stray *s) {
        Engine *e = userdata;

        if (orphan_busy(e, s->uid) || provider_slow_until(e, s->provider) > 0)
                return 0;
        return orphan_call(e, s, "inspect", NULL);
}

int orphans_step(Engine *e, Error *reterr) {
        if (orphans_held(e))
                return 0;
        return ledger_stray_each_removing(e->ledger, e->now_ms, start_look, e, reterr);
}

/* Given up, for now: it is an orphan like any other again, with the reason beside it. */
static int give_back(Engine *e, Stray *s, EventKind kind, const char *why, Error *reterr) {
        int r;

        s->removing = s->emptied = false;
        s->retry_ms = 0;
        free(TAKE(s->intent));
        r = str_replace(&s->cause, why);
        if (r == 0)
                r = ledger_stray_put(e->ledger, s, reterr);
        return r < 0 ? r
                     : event_add(e, kind, stray_where(e, s, NULL), "%s is not removed: %s",
                                 s->marker, why);
}

static int orphan_trouble(Engine *e, Stray *s, const Call *c, const char *why, Error *reterr) {
        bool final = c->class == PROVIDER_INVALID || c->class == PROVIDER_DENIED ||
                     c->class == PROVIDER_UNRECOVERABLE;
        auto_cleanup(freep) char *clean = text_clean(why ? why : "the provider gave no reason");
        int r;

        if (!clean)
                return -ENOMEM;
        if (final || ++s->tries >= LIMIT_TRANSIENT_TRIES)
                return give_back(e, s, EVENT_ORPHAN_STUCK, clean, reterr);
        s->emptied = false;
        s->retry_ms = time_add(e->now_ms, (int64_t) LIMIT_TRANSIENT_FIRST_MS << (s->tries - 1));
        free(TAKE(s->intent));
        r = str_replace(&s->cause, clean);
        return r < 0 ? r : ledger_stray_put(e->ledger, s, reterr);
}

/* Judged once more: since the wish its preview may have been pinned, or the ledger may have come to know it. */
static int begin_removal(Engine *e, Stray *s, Error *reterr) {
        Stray unwished = *s; /* what is being removed already is not judged */
        StrayVerdict v;
        Call *c;
        int r;

        unwished.removing = false;
        r = stray_judge(e, &unwished, true, &v, reterr);
        if (r < 0)
                return r;
        if (!streq(v.word, "orphan"))
                return give_back(e, s, EVENT_ORPHAN_STUCK, v.text, reterr);
        r = orphan_call(e, s, "deprovision", &c);
        if (r == 0)
                r = str_replace(&s->intent, c->id);
        return r < 0 ? r : ledger_stray_put(e->ledger, s, reterr);
}

/* An inspect asks for one thing and may be blind to a part of it: only a list that no longer has it ends
 * it. retry_ms says until when one is waited for, and so from when on it counts. */
static int wait_for_list(Engine *e, Stray *s, Error *reterr) {
        int r;

        if (++s->tries >= LIMIT_TRANSIENT_TRIES)
                return give_back(e, s, EVENT_ORPHAN_STUCK,
                                 "it is absent, but no complete list of its provider says so",
                                 reterr);
        s->retry_ms = time_add(e->now_ms, LIMIT_ORPHAN_CONFIRM_MS);
        r = ledger_stray_put(e->ledger, s, reterr);
        return r < 0 ? r : list_start_fresh(e, s->provider);
}

bool orphan_waits_for(const Stray *s, int64_t list_started_ms) {
        return s->removing && s->emptied && !s->intent && s->retry_ms > 0 &&
               s->retry_ms - LIMIT_ORPHAN_CONFIRM_MS <= list_started_ms;
}

int orphan_confirmed(Engine *e, const char *uid, bool listed, Error *reterr) {
        static const Call answered = { .class = PROVIDER_TRANSIENT };
        auto_cleanup(stray_done) Stray s = { 0 };
        int r = ledger_stray_get(e->ledger, uid, &s, reterr);

        if (r < 0)
                return r;
        if (listed)
                return orphan_trouble(e, &s, &answered, "it is still listed after its removal",
                                      reterr);
        r = ledger_stray_remove(e->ledger, uid, reterr);
        return r < 0 ? r
                     : event_add(e, EVENT_ORPHAN_REMOVED, stray_where(e, &s, NULL), "%s is gone",
                                 s.marker);
}

static int orphan_inspected(Engine *e, Stray *s, Call *c, Error *reterr) {
        const char *detail = json_string_value(json_object_get(c->result, "detail"));

        if (orphans_held(e))
                return 0; /* looked at again when it is released */
        switch (reply_seen(c, s->marker)) {
        case SEEN_FOREIGN:
                return give_back(e, s, EVENT_ORPHAN_STUCK,
                                 "what stands in its place carries another marker", reterr);
        case SEEN_ABSENT:
                if (!s->emptied) /* half-made parts may be left: the removal still runs */
                        return begin_removal(e, s, reterr);
                return wait_for_list(e, s, reterr);
        case SEEN_OURS:
                if (s->emptied)
                        return orphan_trouble(e, s, c, "it is still there after its removal",
                                              reterr);
                if (!json_is_string(json_object_get(c->result, "marker")))
                        return give_back(e, s, EVENT_ORPHAN_STUCK, "it shows no marker", reterr);
                return begin_removal(e, s, reterr);
        default:
                return orphan_trouble(e, s, c, c->message ? c->message : detail, reterr);
        }
}

static int orphan_deprovisioned(Engine *e, Stray *s, Call *c, Error *reterr) {
        EventWhere where = stray_where(e, s, NULL);
        json_t *removed = json_object_get(c->result, "removed");
        int r;

        if (c->class != PROVIDER_OK && c->class != PROVIDER_GONE) {
                json_decref(where.data);
                return orphan_trouble(e, s, c, c->message, reterr);
        }
        if (json_array_size(removed) <= LIMIT_REPORT_ENTRIES)
                (void) json_object_set(where.data, "removed", removed ?: json_null());
        s->emptied = true; /* that it is absent is still to be seen */
        s->retry_ms = 0;
        free(TAKE(s->intent));
        r = ledger_stray_put(e->ledger, s, reterr);
        if (r < 0) {
                json_decref(where.data);
                return r;
        }
        return event_add(e, EVENT_ORPHAN_REMOVING, where,
                         "%s was removed; looking whether it is gone", s->marker);
}

int orphan_on_reply(Engine *e, Call *c, Error *reterr) {
        auto_cleanup(stray_done) Stray s = { 0 };
        int r = ledger_stray_get(e->ledger, c->uid, &s, NULL);

        if (r == -ENOENT || (r == 0 && !s.removing))
                return 0;
        if (r < 0)
                return error_set(reterr, r, "Cannot read the orphan %s", c->uid);
        if (c->class == PROVIDER_THROTTLED)
                provider_slow(e, c->provider, time_add(e->now_ms, c->retry_after_ms));
        return streq(c->verb, "inspect") ? orphan_inspected(e, &s, c, reterr)
                                         : orphan_deprovisioned(e, &s, c, reterr);
}

/* ---- an earlier life's ---- */

static int collect_intent(void *userdata, const Stray *s) {
        return s->intent ? strv_add(userdata, s->uid) : 0;
}

/* What came of it is not known: the look comes first, as for everything. */
int orphans_resume(Engine *e, Error *reterr) {
        auto_cleanup(strv_freep) char **uids = NULL;
        int r = ledger_stray_each(e->ledger, NULL, collect_intent, &uids, reterr);

        for (char **uid = uids; r == 0 && uid && *uid; uid++) {
                auto_cleanup(stray_done) Stray s = { 0 };

                r = ledger_stray_get(e->ledger, *uid, &s, reterr);
                if (r < 0)
                        break;
                free(TAKE(s.intent));
                s.emptied = false;
                s.retry_ms = 0;
                r = ledger_stray_put(e->ledger, &s, reterr);
        }
        return r;
}
