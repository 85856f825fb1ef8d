/* Calls: created in a look, started after its commit, their replies applied in a later turn.
 *
 *   queued --commit--> running --reply--> replied --commit--> (dropped)
 *      '--turn fails--> (dropped)  ^--------'--turn fails */
#include <assert.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/engine/private.h"

void call_free(void *p) {
        Call *c = p;

        if (!c)
                return;
        free(c->uid);
        free(c->environment_id);
        free(c->provider);
        free(c->verb);
        free(c->node);
        free(c->message);
        json_decref(c->request);
        json_decref(c->result);
        list_free(c->list);
        stream_orphan(c->stream);
        said_done(&c->said);
        free(c);
}

int call_new(Engine *e, CallKind kind, const char *provider, const char *verb, Call **ret) {
        Call *c = calloc(1, sizeof(Call));

        if (!c)
                return -ENOMEM;
        id_make(e->setup.random, 'c', c->id);
        c->kind = kind;
        c->provider = strdup(provider);
        c->verb = strdup(verb);
        if (!c->provider || !c->verb || map_put(e->calls, c->id, c) < 0) {
                call_free(c);
                return -ENOMEM;
        }
        if (kind == CALL_RESOURCE)
                e->n_running++;
        else
                e->n_streams++;
        *ret = c;
        return 0;
}

/* Out of the counts and of the way of its resource. */
static void call_leave(Engine *e, Call *c) {
        if (c->kind != CALL_RESOURCE) {
                e->n_streams--;
                return;
        }
        e->n_running--;
        if (c->build)
                e->n_builds--;
        if (c->uid && map_get(e->busy, c->uid) == c)
                map_remove(e->busy, c->uid);
}

static void call_drop(Engine *e, Call *c) {
        if (c->state == CALL_QUEUED || c->state == CALL_RUNNING)
                call_leave(e, c);
        map_remove(e->calls, c->id);
}

void call_abandon(Engine *e, Call *c) {
        call_drop(e, c);
}

/* ---- providers that asked for slowness ---- */

/* For what one resource was told all of them wait a while, and no longer: one answer must not stop every
 * removal for a day. */
void provider_slow(Engine *e, const char *provider, int64_t until_ms) {
        int64_t *slow = map_get(e->slow, provider), most = time_add(e->now_ms, LIMIT_SLOW_MS);

        if (until_ms > most)
                until_ms = most;
        if (!slow) {
                slow = calloc(1, sizeof(int64_t));
                if (!slow || map_put(e->slow, provider, slow) < 0) {
                        free(slow);
                        return;
                }
        }
        if (*slow < until_ms)
                *slow = until_ms;
}

int64_t provider_slow_until(Engine *e, const char *provider) {
        const int64_t *slow = map_get(e->slow, provider);

        return slow && *slow > e->now_ms ? *slow : 0;
}

/* ---- making one ---- */

static const struct {
        const char *verb;
        bool intent; /* changes the world */
        int64_t deadline_ms;
} verbs[] = {
        { "provision", true, 3 * 60 * 1000 },   { "inspect", false, 30 * 1000 },
        { "deprovision", true, 2 * 60 * 1000 }, { "sleep", true, 60 * 1000 },
        { "wake", true, 2 * 60 * 1000 },
};
#define BUILD_DEADLINE_MS (15 * 60 * 1000)

static unsigned calls_of(Engine *e, const char *environment_id) {
        unsigned n = 0;
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL)))
                if (c->kind == CALL_RESOURCE &&
                    (c->state == CALL_QUEUED || c->state == CALL_RUNNING) &&
                    streq(c->environment_id, environment_id))
                        n++;
        return n;
}

static bool has_place(View *v, const Part *p, bool build) {
        Engine *e = v->e;
        int64_t slow = provider_slow_until(e, p->row.provider);

        if (slow > 0) {
                look_again_at(v->look, slow);
                return false;
        }
        if (calls_of(e, v->env.id) >= LIMIT_PROVIDER_CALLS_PER_ENVIRONMENT)
                return false; /* the reply to each of them is a reason to look again */
        if (e->n_running >= LIMIT_PROVIDER_CALLS) {
                look_wait(e, v->look, LOOK_WAITS_FOR_PLACE);
                return false;
        }
        if (build && e->n_builds >= LIMIT_PROVIDER_BUILDS) {
                look_wait(e, v->look, LOOK_WAITS_FOR_BUILD);
                return false;
        }
        v->look->ticket = 0;
        return true;
}

static int call_fill(View *v, Part *p, Call *c, const CallWish *wish, int64_t deadline,
                     Error *reterr) {
        GraphNode *own;
        int r;

        c->uid = strdup(p->row.uid);
        c->environment_id = strdup(v->env.id);
        if (!c->uid || !c->environment_id || map_put(v->e->busy, c->uid, c) < 0)
                return -ENOMEM;
        c->generation = wish->generation;
        c->deadline_ms = deadline;
        if (streq(c->verb, "provision")) {
                json_auto_t *node = NULL;

                r = wish->node ? 0 : view_node(v, p, &own, reterr);
                if (r == 0)
                        r = graph_node_to_json(wish->node ? wish->node : own, &node);
                if (r < 0)
                        return r;
                c->node = json_dumps(node, JSON_COMPACT | JSON_SORT_KEYS);
                if (!c->node)
                        return -ENOMEM;
                if (wish->node && wish->node->deadline_ms > 0)
                        c->deadline_ms = wish->node->deadline_ms;
        }
        c->request = request_for_resource(v, p, c, wish);
        return c->request ? 0 : -ENOMEM;
}

int call_resource(View *v, Part *p, const CallWish *wish, Error *reterr) {
        bool build = streq(p->row.type, "build") && streq(wish->verb, "provision");
        Engine *e = v->e;
        size_t i = 0;
        Call *c;
        int r;

        while (i < N_ELEMENTS(verbs) && !streq(verbs[i].verb, wish->verb))
                i++;
        assert(i < N_ELEMENTS(verbs));
        if (map_get(e->busy, p->row.uid) || p->row.retry_ms > e->now_ms || !has_place(v, p, build))
                return 0;
        r = call_new(e, CALL_RESOURCE, p->row.provider, wish->verb, &c);
        if (r < 0)
                return r;
        c->intent = verbs[i].intent;
        c->build = build;
        if (build)
                e->n_builds++;
        r = call_fill(v, p, c, wish, build ? BUILD_DEADLINE_MS : verbs[i].deadline_ms, reterr);
        if (r == 0 && c->intent) {
                Intent intent = { .id = c->id,
                                  .resource_uid = c->uid,
                                  .environment_id = c->environment_id,
                                  .verb = c->verb,
                                  .provider = c->provider,
                                  .attempt = p->row.tries + 1,
                                  .created_ms = e->now_ms,
                                  .deadline_ms = c->deadline_ms };

                r = ledger_intent_insert(e->ledger, &intent, reterr);
        }
        if (r < 0) {
                call_drop(e, c);
                return r;
        }
        p->row.retry_ms = 0;
        watch_wanted(e, p->row.provider);
        return 1;
}

void call_cancel(Engine *e, Call *c) {
        if (!c->cancelled)
                c->cancel = true;
}

/* ---- after the commit ---- */

static void reply_push(Engine *e, Call *c) {
        c->replied = true;
        c->replied_boot_ms = clock_boot_ms(e->setup.clock);
        c->next_reply = NULL;
        if (e->replies_last)
                e->replies_last->next_reply = c;
        else
                e->replies = c;
        e->replies_last = c;
        e->setup.wanted(e->setup.userdata);
}

static void call_start(Engine *e, Call *c) {
        ProviderCall call = { .id = c->id,
                              .provider = c->provider,
                              .verb = c->verb,
                              .deadline_ms = c->deadline_ms,
                              .request = c->request,
                              .stream = c->kind != CALL_RESOURCE && c->kind != CALL_ORPHAN };
        auto_error error = { 0 };
        int r;

        c->state = CALL_RUNNING;
        c->started_ms = e->now_ms;
        crash_point_call("before", c->verb);
        r = e->setup.providers.start(e->setup.providers.userdata, &call, &error);
        crash_point_call("started", c->verb);
        json_decref(TAKE(c->request)); /* it may hold secrets: not kept longer than needed */
        if (r == 0)
                return;
        /* Nothing was begun, so nothing is unknown. */
        c->class = r == -ENOENT ? PROVIDER_UNRECOVERABLE : PROVIDER_TRANSIENT;
        c->message = text_clean(error_text(&error, r));
        if (c->kind == CALL_STREAM)
                stream_end(e, c);
        reply_push(e, c);
}

void call_start_queued(Engine *e) {
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL))) {
                if (c->state == CALL_RUNNING && c->cancel && !c->replied) {
                        c->cancel = false;
                        c->cancelled = true;
                        crash_point("engine.cancel.before");
                        e->setup.providers.cancel(e->setup.providers.userdata, c->id);
                        crash_point("engine.cancel.after");
                } else if (c->state == CALL_QUEUED)
                        call_start(e, c);
        }
}

void call_undo_environment(Engine *e, const char *environment_id) {
        size_t at = 0;
        Call *c;

        while ((c = map_next(e->calls, &at, NULL))) {
                if ((c->kind != CALL_RESOURCE && (environment_id || c->kind != CALL_ORPHAN)) ||
                    (environment_id && !streq(c->environment_id, environment_id)))
                        continue;
                if (c->state == CALL_QUEUED)
                        call_drop(e, c);
                else if (!c->cancelled)
                        c->cancel = false;
        }
}

void call_turn_failed(Engine *e) {
        call_undo_environment(e, NULL);
        for (Call *c = e->replies; c; c = c->next_reply) {
                if (c->state != CALL_REPLIED)
                        continue;
                c->state = CALL_RUNNING;
                if (c->kind != CALL_RESOURCE) {
                        e->n_streams++;
                        continue;
                }
                e->n_running++;
                if (c->build)
                        e->n_builds++;
                if (map_put(e->busy, c->uid, c) < 0)
                        log_error("No memory to keep track of call %s", c->id);
        }
}

void call_turn_done(Engine *e) {
        Call *next;

        for (Call *c = e->replies; c; c = next) {
                next = c->next_reply;
                map_remove(e->calls, c->id);
        }
        e->replies = e->replies_last = NULL;
}

/* ---- replies ---- */

void call_on_line(void *userdata, const char *call_id, const json_t *line) {
        Engine *e = userdata;
        Call *c = map_get(e->calls, call_id);
        const json_t *item;

        if (!c || c->replied)
                return;
        item = json_object_get(line, "item");
        if (c->kind == CALL_RESOURCE)
                said_on_line(c, line);
        else if (c->kind == CALL_STREAM)
                stream_on_line(e, c, line);
        else if (c->kind == CALL_LIST && item)
                list_on_line(e, c, item);
        else if (c->kind == CALL_WATCH && item)
                watch_on_line(e, c, item);
        else if (c->kind == CALL_VERIFY && item)
                verify_on_line(e, c, item);
}

void call_on_reply(void *userdata, const ProviderReply *reply) {
        Engine *e = userdata;
        Call *c = map_get(e->calls, reply->call_id);
        size_t i;
        json_t *item;

        if (!c || c->replied || c->state != CALL_RUNNING) {
                log_debug("A reply to the call %s, which is not under way", reply->call_id);
                return;
        }
        crash_point_call("answered", c->verb);
        clock_turn(e);
        c->class = (int) reply->class >= 0 && reply->class < _PROVIDER_CLASS_MAX
                           ? reply->class
                           : PROVIDER_TRANSIENT;
        c->message = reply->message ? strdup(reply->message) : NULL; /* cut later */
        c->retry_after_ms = reply->retry_after_ms;
        c->unknown = reply->unknown;
        if (json_is_object(reply->result))
                c->result = json_deep_copy(reply->result);
        if (c->kind == CALL_LIST && json_is_array(reply->items))
                json_array_foreach((json_t *) reply->items, i, item)
                        list_on_line(e, c, item);
        if (c->kind == CALL_VERIFY && json_is_array(reply->items))
                json_array_foreach((json_t *) reply->items, i, item)
                        verify_on_line(e, c, item);
        if (c->kind == CALL_STREAM)
                stream_end(e, c);
        reply_push(e, c);
}

/* A reply that could not be applied for a reason of its own must not be applied for ever: what it did
 * is then unknown. */
static int reply_give_up(Engine *e, Call *c, Error *reterr) {
        auto_cleanup(resource_done) Resource res = { 0 };
        int r;

        r = ledger_resource_get(e->ledger, c->uid, &res, reterr);
        if (r < 0)
                return r;
        if (c->intent) {
                r = ledger_intent_end(e->ledger, c->id, "unknown", NULL, e->now_ms, reterr);
                if (r < 0)
                        return r;
        }
        r = str_replace(&res.cause, "The provider's answer could not be kept");
        if (r < 0)
                return r;
        res.inspect = true;
        res.tries++;
        res.retry_ms = LIMIT_TRANSIENT_FIRST_MS << (res.tries < 13 ? res.tries : 13);
        if (res.retry_ms > LIMIT_STUCK_RETRY_MS)
                res.retry_ms = LIMIT_STUCK_RETRY_MS;
        res.retry_ms = time_add(e->now_ms, res.retry_ms);
        return ledger_resource_update(e->ledger, &res, reterr);
}

static int reply_apply(Engine *e, Call *c, Error *reterr) {
        Look *look = look_get(e, c->environment_id);
        auto_cleanup(view_done) View v = { 0 };
        Part *p = NULL;
        int r;

        if (!look)
                return -ENOMEM;
        r = view_load(e, look, &v, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < v.n_parts && !p; i++)
                if (streq(v.parts[i]->row.uid, c->uid))
                        p = v.parts[i];
        if (c->message) { /* it goes into the ledger and to people */
                char *clean = view_scrub(&v, c->message);

                if (!clean)
                        return -ENOMEM;
                free(c->message);
                c->message = clean;
        }
        if (!p)
                return error_set(reterr, -ENOENT, "No living resource %s for the reply to %s",
                                 c->uid, c->id);
        if (c->intent) {
                r = ledger_intent_end(e->ledger, c->id, provider_class_to_string(c->class),
                                      c->message, e->now_ms, reterr);
                if (r < 0)
                        return r;
        }
        r = outcome_apply(&v, p, c, reterr);
        if (r == 0)
                said_log(&v, p, c);
        if (r < 0 || !c->overtaken || p->row.state != RES_READY || p->row.inspect)
                return r;
        p->row.inspect = true;
        return part_save(&v, p, reterr);
}

static int reply_apply_part(Engine *e, Call *c, Error *reterr) {
        auto_error error = { 0 };
        int r;

        r = ledger_savepoint(e->ledger, reterr);
        if (r < 0)
                return r;
        call_leave(e, c);
        c->state = CALL_REPLIED;
        look_mark(e, c->environment_id);
        r = reply_apply(e, c, &error);
        if (r < 0) {
                log_error("The reply to %s of %s cannot be applied: %s", c->verb, c->uid,
                          error_text(&error, r));
                r = ledger_savepoint_undo(e->ledger, reterr);
                if (r == 0)
                        r = ledger_savepoint(e->ledger, reterr);
                if (r == 0)
                        r = reply_give_up(e, c, reterr);
                if (r < 0)
                        return r;
        }
        return ledger_savepoint_keep(e->ledger, reterr);
}

int call_apply_replies(Engine *e, Error *reterr) {
        unsigned n = 0, n_builds = 0;

        for (Call *c = e->replies; c; c = c->next_reply) {
                int r = 0;

                if (c->kind == CALL_RESOURCE) {
                        r = reply_apply_part(e, c, reterr);
                        n++;
                        n_builds += c->build;
                } else {
                        call_leave(e, c);
                        c->state = CALL_REPLIED;
                        if (c->kind == CALL_LIST)
                                r = list_end(e, c, reterr);
                        else if (c->kind == CALL_WATCH)
                                r = watch_end(e, c, reterr);
                        else if (c->kind == CALL_ORPHAN)
                                r = orphan_on_reply(e, c, reterr);
                        else if (c->kind == CALL_VERIFY)
                                verify_on_reply(e, c);
                }
                if (r < 0)
                        return r;
        }
        look_release_waiting(e, LOOK_WAITS_FOR_BUILD, n_builds);
        look_release_waiting(e, LOOK_WAITS_FOR_PLACE, n);
        return 0;
}
