/* Orphans and ghosts: what complete lists showed on one side only. A sighting is all that a list does;
 * nothing is removed or adopted unless a person says so, and then through the gates of judge(). A
 * partial list may add a first sighting and never counts as another one.
 *
 * While an orphan is known the engine lists again twice a day, so that one seen by chance of timing does
 * not stay unconfirmed; when none is known nothing is asked. */
#include <stdio.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

/* ---- what a list showed ---- */

typedef struct Sweep {
        Engine *e;
        Call *c;
        bool complete;
        char **gone; /* uids that this list has no more */
        char **over; /* of those being removed: whose end it decides */
        char **ghosts;
        size_t n_known;
} Sweep;

static void sweep_done(Sweep *s) {
        strv_free(s->gone);
        strv_free(s->over);
        strv_free(s->ghosts);
}

static int sweep_known(void *userdata, const Stray *s) {
        Sweep *sweep = userdata;

        if (!streq(s->kind, "orphan"))
                return 0;
        sweep->n_known++;
        if (!sweep->complete)
                return 0;
        if (s->removing)
                return orphan_waits_for(s, sweep->c->started_ms) ? strv_add(&sweep->over, s->uid)
                                                                 : 0;
        return map_get(sweep->c->list->listed, s->uid) ? 0 : strv_add(&sweep->gone, s->uid);
}

static int sweep_resource(void *userdata, const Resource *r) {
        const ListRun *l = ((Sweep *) userdata)->c->list;
        Sweep *s = userdata;

        if (!streq(r->provider, s->c->provider) ||
            (map_get(l->seen, r->uid) && !map_get(l->lost, r->uid)) ||
            (r->state != RES_READY && r->state != RES_ASLEEP) || r->ready_ms >= s->c->started_ms)
                return 0;
        return strv_length(s->ghosts) < LIMIT_ORPHANS ? strv_add(&s->ghosts, r->uid) : 0;
}

static int orphan_left(Engine *e, const char *uid, Error *reterr) {
        auto_cleanup(stray_done) Stray s = { 0 };
        int r;

        r = ledger_stray_get(e->ledger, uid, &s, reterr);
        if (r == 0)
                r = ledger_stray_remove(e->ledger, uid, reterr);
        if (r < 0)
                return r;
        return event_add(e, EVENT_ORPHAN_GONE, stray_where(e, &s, "engine"), "%s has no more of %s",
                         s.provider, s.marker);
}

/* n_known: how many orphans there are; NULL for a ghost. */
static int see(Sweep *s, Stray *row, bool complete, size_t *n_known, Error *reterr) {
        auto_cleanup(stray_done) Stray before = { 0 };
        Engine *e = s->e;
        int r = ledger_stray_get(e->ledger, row->uid, &before, NULL);

        if (r < 0 && r != -ENOENT)
                return r;
        if (r == 0 && streq(before.kind, row->kind)) {
                if (!complete || before.removing || !streq(before.provider, row->provider))
                        return 0;
                before.times++;
                before.last_ms = e->now_ms;
                return ledger_stray_put(e->ledger, &before, reterr);
        }
        if (r == 0 && before.removing)
                return 0; /* first that */
        if (n_known && (*n_known)++ >= LIMIT_ORPHANS) {
                s->c->list->cut = true;
                return 0;
        }
        row->first_ms = row->last_ms = e->now_ms;
        row->times = complete;
        r = ledger_stray_put(e->ledger, row, reterr);
        if (r < 0 || !streq(row->kind, "orphan"))
                return r;
        return event_add(e, EVENT_ORPHAN_FOUND, stray_where(e, row, "engine"),
                         "%s has something of ours that the ledger does not know: %s%s%s",
                         row->provider, row->marker, row->detail && *row->detail ? ", " : "",
                         row->detail ? row->detail : "");
}

static char *words(const json_t *item, const char *key) {
        const char *text = json_string_value(json_object_get(item, key));

        return text_clean(text ? text : "");
}

static int see_orphan(Sweep *s, const json_t *item, Error *reterr) {
        auto_cleanup(stray_done) Stray row = { .uid = words(item, "uid"),
                                               .kind = strdup("orphan"),
                                               .provider = strdup(s->c->provider),
                                               .type = words(item, "type"),
                                               .marker = words(item, "marker"),
                                               .detail = words(item, "detail") };
        const char *slash = row.marker ? strchr(row.marker, '/') : NULL,
                   *end = slash ? strchr(slash + 1, '/') : NULL;

        if (!row.uid || !row.kind || !row.provider || !row.type || !row.marker || !row.detail)
                return -ENOMEM;
        row.environment_id = end ? strndup(slash + 1, (size_t) (end - slash - 1)) : strdup("");
        if (!row.environment_id)
                return -ENOMEM;
        return see(s, &row, s->complete, &s->n_known, reterr);
}

/* A ledger that was put back may have a row of before its thing was asked for, with the thing long in the
 * world. The world is right: from here on the row's removal is the thing's. */
static int resource_was_touched(Engine *e, Resource *res, Error *reterr) {
        int r;

        res->touched = true;
        r = ledger_resource_update(e->ledger, res, reterr);
        if (r < 0)
                return r;
        look_mark(e, res->environment_id);
        return event_add(e, EVENT_RESOURCE_FOUND,
                         (EventWhere){ .environment_id = res->environment_id, .actor = "engine" },
                         "%s has %s '%s', which the ledger took for not yet asked for",
                         res->provider, res->type, res->name ? res->name : res->key);
}

/* "INSTALLATION/unknown/UID": how a provider lists what has our name and no mark of its own, such as a
 * folder that is just being made, or removed. */
static bool is_unmarked(const Engine *e, const char *marker, const char *uid) {
        const char *rest = str_after(marker, ledger_installation(e->ledger));

        rest = rest ? str_after(rest, "/unknown/") : NULL;
        return rest && streq(rest, uid);
}

/* Something that the ledger did not have alive when the line came. */
static int see_stranger(Sweep *s, const json_t *item, Error *reterr) {
        const char *uid = json_string_value(json_object_get(item, "uid")) ?: "";
        const char *marker = json_string_value(json_object_get(item, "marker")) ?: "";
        auto_cleanup(resource_done) Resource known = { 0 };
        int r = ledger_resource_get(s->e->ledger, uid, &known, NULL);

        if (r == -EBADMSG)
                return 0; /* its row is spoilt, but it has one */
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot look for the resource %s", uid);
        if (r == -ENOENT)
                return see_orphan(s, item, reterr);
        if (!streq(known.provider, s->c->provider) ||
            (!streq(known.marker, marker) && !is_unmarked(s->e, marker, uid)))
                return see_orphan(s, item, reterr);
        if (known.state != RES_REMOVED)
                return known.touched ? 0 : resource_was_touched(s->e, &known, reterr);
        /* Removed while the list was being made: it was still there when it was listed. */
        if (known.touched && known.removed_ms >= s->c->started_ms)
                return 0;
        return see_orphan(s, item, reterr);
}

static int see_ghosts(Sweep *s, Error *reterr) {
        int r = 0;

        for (char **uid = s->ghosts; r == 0 && uid && *uid; uid++) {
                auto_cleanup(resource_done) Resource res = { 0 };

                r = ledger_resource_get(s->e->ledger, *uid, &res, reterr);
                if (r == 0)
                        r = see(s,
                                &(Stray){ .uid = res.uid,
                                          .kind = (char *) "ghost",
                                          .provider = res.provider,
                                          .type = res.type,
                                          .marker = res.marker,
                                          .detail = map_get(s->c->list->lost, res.uid)
                                                            ? (char *) "only its mark is there"
                                                            : NULL,
                                          .environment_id = res.environment_id },
                                true, NULL, reterr);
        }
        return r;
}

int strays_update(Engine *e, Call *c, bool complete, bool absent_counts, Error *reterr) {
        auto_cleanup(sweep_done) Sweep s = { .e = e, .c = c, .complete = complete };
        json_t *item;
        size_t i;
        int r;

        r = ledger_stray_each(e->ledger, c->provider, sweep_known, &s, reterr);
        for (char **uid = s.gone; r == 0 && uid && *uid; uid++)
                r = orphan_left(e, *uid, reterr);
        for (char **uid = s.over; r == 0 && uid && *uid; uid++)
                r = orphan_confirmed(e, *uid, map_get(c->list->listed, *uid) != NULL, reterr);
        json_array_foreach(c->list->strangers, i, item) {
                if (r == 0)
                        r = see_stranger(&s, item, reterr);
        }
        if (r == 0 && absent_counts)
                r = ledger_resource_each(e->ledger, NULL, false, sweep_resource, &s, reterr);
        return r == 0 ? see_ghosts(&s, reterr) : r;
}

int stray_is_there(Engine *e, const char *uid, Error *reterr) {
        auto_cleanup(stray_done) Stray s = { 0 };

        if (ledger_stray_get(e->ledger, uid, &s, NULL) < 0 || !streq(s.kind, "ghost"))
                return 0;
        return ledger_stray_remove(e->ledger, uid, reterr);
}

/* ---- judging: freeze, protection, too young, owner, marker ---- */

static bool id_valid(const char *id, char letter) {
        return strlen(id) == ID_SIZE - 1 && *id == letter &&
               strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz") == ID_SIZE - 1;
}

static int verdict(StrayVerdict *v, const char *word, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));

static int verdict(StrayVerdict *v, const char *word, const char *fmt, ...) {
        va_list args;

        v->word = word;
        va_start(args, fmt);
        vsnprintf(v->text, sizeof(v->text), fmt, args);
        va_end(args);
        return 0;
}

/* The uid is a resource's that lives, and this is not that resource. */
static bool judge_other(Engine *e, const Stray *s, StrayVerdict *ret) {
        auto_cleanup(resource_done) Resource known = { 0 };
        int r = ledger_resource_get(e->ledger, s->uid, &known, NULL);

        if (r < 0 && r != -ENOENT)
                return verdict(ret, "uncertain", "what the ledger has of it cannot be read") == 0;
        if (r < 0 || known.state == RES_REMOVED)
                return false;
        if (streq(known.provider, s->provider))
                return verdict(ret, "uncertain",
                               "the ledger has it under the marker %s; look at it by hand",
                               known.marker) == 0;
        return verdict(ret, "orphan", "the ledger has it as a %s of %s", known.type,
                       known.provider) == 0;
}

static int judge_owner(Engine *e, const Stray *s, const Environment *env, StrayVerdict *ret) {
        auto_cleanup(resource_done) Resource known = { 0 };

        if (env->state == ENV_GONE)
                return verdict(ret, "orphan", "%s is gone, this was left of it", env->label);
        if (ledger_resource_get(e->ledger, s->uid, &known, NULL) == 0)
                return verdict(ret, "orphan", "%s had it removed, and it is there", env->label);
        return verdict(ret, "owned",
                       "%s is %s and may be using it; adopt it, and it goes when that goes",
                       env->label, env_state_to_string(env->state));
}

int stray_judge(Engine *e, const Stray *s, bool young_too, StrayVerdict *ret, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char seen[TIME_TEXT_MAX];
        const char *why;
        int64_t until_ms;
        int r;

        if (s->removing)
                return verdict(ret, "removing", "%s", s->cause ? s->cause : "it is being removed");
        why = freeze_holds(e, &until_ms);
        if (why)
                return verdict(ret, "held", "nothing is removed now: %s", why);
        r = id_valid(s->environment_id, 'e')
                    ? ledger_environment_get(e->ledger, s->environment_id, &env, NULL)
                    : -ENOENT;
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot read the environment of %s", s->uid);
        if (r == 0 && env.state != ENV_GONE && env.pinned_until_ms > e->now_ms)
                return verdict(ret, "protected", "%s is pinned", env.label);
        if (!young_too &&
            (s->times < LIMIT_ORPHAN_TIMES || e->now_ms - s->first_ms < LIMIT_ORPHAN_AGE_MS))
                return verdict(ret, "young",
                               "seen in %lld complete lists over %s; it takes %d over 24h",
                               (long long) s->times, duration_format(e->now_ms - s->first_ms, seen),
                               LIMIT_ORPHAN_TIMES);
        if (judge_other(e, s, ret))
                return 0;
        if (r == 0)
                return judge_owner(e, s, &env, ret);
        if (!id_valid(s->environment_id, 'e') || !id_valid(s->uid, 'r') || !*s->type)
                return verdict(ret, "uncertain",
                               "it has only the name of something of ours; look at it and remove "
                               "it by hand");
        return verdict(ret, "orphan", "the ledger knows no environment of its marker");
}

/* ---- telling ---- */

typedef struct Telling {
        Engine *e;
        json_t *orphans, *ghosts;
} Telling;

json_t *stray_json(const Stray *s, const StrayVerdict *v) {
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:I, s:I, s:I, s:s?, s:s?, s:s*}", "uid",
                         s->uid, "provider", s->provider, "type", s->type, "marker", s->marker,
                         "environment", s->environment_id, "detail",
                         s->detail && *s->detail ? s->detail : NULL, "first_ms",
                         (json_int_t) s->first_ms, "last_ms", (json_int_t) s->last_ms, "times",
                         (json_int_t) s->times, "verdict", v ? v->word : NULL, "text",
                         v ? v->text : NULL, "cause", s->cause);
}

/* The engine looks at a ghost itself, so all there is to tell is how far that is. */
static int tell_ghost(Telling *t, const Stray *s) {
        auto_cleanup(resource_done) Resource res = { 0 };
        StrayVerdict v;

        if (ledger_resource_get(t->e->ledger, s->uid, &res, NULL) < 0 || res.state == RES_REMOVED ||
            res.state == RES_PROVISIONING)
                return 0;
        verdict(&v, "ghost",
                res.state == RES_ASLEEP ? "it is looked at, and made again, when its preview wakes"
                : res.inspect           ? "it is being looked at; what is missing is made again"
                                        : "a look found it there, or it was made again");
        return json_array_append_new(t->ghosts, stray_json(s, &v)) < 0 ? -ENOMEM : 0;
}

static int tell_one(void *userdata, const Stray *s) {
        Telling *t = userdata;
        StrayVerdict v;
        int r;

        if (!streq(s->kind, "orphan"))
                return tell_ghost(t, s);
        r = stray_judge(t->e, s, false, &v, NULL);
        if (r < 0)
                return r;
        return json_array_append_new(t->orphans, stray_json(s, &v)) < 0 ? -ENOMEM : 0;
}

int engine_orphans(Engine *e, json_t **ret, Error *reterr) {
        json_auto_t *orphans = json_array(), *ghosts = json_array();
        Telling t = { e, orphans, ghosts };
        int r;

        clock_look(e);
        r = ledger_stray_each(e->ledger, NULL, tell_one, &t, reterr);
        if (r < 0)
                return r;
        *ret = json_pack("{s:O, s:O, s:o}", "orphans", orphans, "ghosts", ghosts, "lists",
                         list_ends_json(e));
        return *ret ? 0 : -ENOMEM;
}

/* ---- looking again ---- */

static bool lists_under_way(Engine *e) {
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL)))
                if (c->kind == CALL_LIST && (c->state == CALL_QUEUED || c->state == CALL_RUNNING))
                        return true;
        return false;
}

int engine_orphans_look(Engine *e, void (*done)(void *userdata, int r, const Error *error),
                        void *userdata, Error *reterr) {
        Waiter *grown;
        int r = 0;

        clock_look(e);
        if (e->n_lookers >= LIMIT_PROVIDER_STREAMS)
                return error_set(reterr, -EBUSY, "Many wait for a look already");
        grown = reallocarray(e->lookers, e->n_lookers + 1, sizeof(Waiter));
        if (!grown)
                return -ENOMEM;
        e->lookers = grown;
        r = list_start_known(e, reterr);
        if (r < 0)
                return r;
        e->lookers[e->n_lookers++] = (Waiter){ done, userdata };
        lookers_answer(e);
        e->setup.wanted(e->setup.userdata);
        return 0;
}

void engine_orphans_forget(Engine *e, void *userdata) {
        for (size_t i = 0; i < e->n_lookers;)
                if (e->lookers[i].userdata == userdata)
                        e->lookers[i] = e->lookers[--e->n_lookers];
                else
                        i++;
}

/* What was found is told after the commit that stores it. */
void lookers_answer(Engine *e) {
        if (e->n_lookers == 0 || lists_under_way(e))
                return;
        while (e->n_lookers > 0) {
                Waiter w = e->lookers[--e->n_lookers];

                engine_after_commit(e, w.done, w.userdata);
        }
}

static int64_t relook_ms(Engine *e) {
        int64_t oldest = INT64_MAX;

        if (ledger_stray_oldest_look(e->ledger, &oldest, NULL) < 0 || oldest == INT64_MAX)
                return INT64_MAX;
        if (oldest < e->relooked_ms)
                oldest = e->relooked_ms;
        return time_add(oldest, LIMIT_ORPHAN_LOOK_MS);
}

int strays_relook(Engine *e, Error *reterr) {
        if (relook_ms(e) > e->now_ms || lists_under_way(e))
                return 0;
        e->relooked_ms = e->now_ms;
        return list_start_known(e, reterr);
}

int64_t strays_next_time(Engine *e) {
        /* The end of a list that is under way is a turn of its own. */
        int64_t look = lists_under_way(e) ? INT64_MAX : relook_ms(e), retry = INT64_MAX;

        if (ledger_stray_next(e->ledger, e->now_ms, &retry, NULL) < 0)
                retry = INT64_MAX;
        return look < retry ? look : retry;
}
