/* The engine's life and its turn:
 *
 *   inputs and replies mark environments -> apply the replies -> what is due -> look at each marked
 *   environment -> one commit -> start calls, tell the front, answer who waits.
 *
 * When the commit fails, everything of the turn is taken back: replies stay to be applied again, the
 * environments stay marked, calls that were to be started are dropped (nothing was done for them), and
 * who waits gets the failure. Calls that run go on; they have their intent from an earlier commit. */
#include <stdio.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/engine/private.h"

#define LEDGER_AGAIN_MS (10 * 1000)
#define UNWELL_MS       (60 * 1000)

int engine_new(const EngineSetup *setup, Engine **ret, Error *reterr) {
        auto_cleanup(engine_freep) Engine *e = calloc(1, sizeof(Engine));

        if (!e)
                return -ENOMEM;
        e->setup = *setup;
        e->ledger = setup->ledger;
        e->config = setup->config;
        e->boot = strdup(setup->boot_id && strlen(setup->boot_id) < 64 ? setup->boot_id : "");
        e->looks = map_new(look_free);
        e->calls = map_new(call_free);
        e->busy = map_new(NULL);
        e->slow = map_new(free);
        e->patience = map_new(free);
        e->sound = map_new(NULL);
        e->looked = map_new(free);
        e->refused = map_new(free);
        e->watches = map_new(free);
        e->lists = map_new(list_end_free);
        e->parsed = map_new(NULL);
        if (!e->boot || !e->looks || !e->calls || !e->busy || !e->slow || !e->patience ||
            !e->sound || !e->looked || !e->refused || !e->watches || !e->lists || !e->parsed)
                return -ENOMEM;
        *ret = TAKE(e);
        return 0;
}

Engine *engine_free(Engine *e) {
        if (!e)
                return NULL;
        map_free(e->busy);
        map_free(e->calls);
        map_free(e->looks);
        map_free(e->slow);
        map_free(e->patience);
        map_free(e->sound);
        map_free(e->looked);
        map_free(e->refused);
        map_free(e->watches);
        map_free(e->lists);
        parsed_forget(e, true);
        map_free(e->parsed);
        strv_free(e->hosts);
        late_answers_free(e);
        verifies_free(e);
        free(e->lookers);
        free(e->waiters);
        free(e->followers);
        freeze_done(e);
        free(e->boot);
        free(e);
        return NULL;
}

void engine_set_config(Engine *e, const Config *config) {
        e->config = config;
        look_mark_all(e);
        e->setup.wanted(e->setup.userdata);
}

/* ---- start ---- */

typedef struct OpenIntents {
        Intent *items;
        size_t n;
} OpenIntents;

static int collect_intent(void *userdata, const Intent *i) {
        OpenIntents *o = userdata;
        Intent *grown = reallocarray(o->items, o->n + 1, sizeof(Intent));
        Intent copy = { 0 };

        if (!grown)
                return -ENOMEM;
        o->items = grown;
        copy.id = strdup(i->id);
        copy.resource_uid = strdup(i->resource_uid);
        copy.verb = strdup(i->verb);
        o->items[o->n++] = copy;
        return copy.id && copy.resource_uid && copy.verb ? 0 : -ENOMEM;
}

static void open_intents_done(OpenIntents *o) {
        for (size_t i = 0; i < o->n; i++)
                intent_done(&o->items[i]);
        free(o->items);
}

/* What an earlier life began and did not see the end of: unknown, so it is inspected first. */
static int resume_intents(Engine *e, Error *reterr) {
        auto_cleanup(open_intents_done) OpenIntents open = { 0 };
        int r;

        r = ledger_intent_each_open(e->ledger, collect_intent, &open, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < open.n; i++) {
                auto_cleanup(resource_done) Resource res = { 0 };

                r = ledger_resource_get(e->ledger, open.items[i].resource_uid, &res, reterr);
                if (r == -EBADMSG) { /* spoilt: the intent stays open, nothing goes on from it */
                        if (reterr)
                                error_done(reterr);
                        continue;
                }
                if (r < 0)
                        return r;
                res.inspect = true;
                res.emptied = false;
                res.retry_ms = 0;
                r = ledger_resource_update(e->ledger, &res, reterr);
                if (r == 0)
                        r = ledger_intent_end(e->ledger, open.items[i].id, "unknown",
                                              "The daemon ended before the answer came", e->now_ms,
                                              reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

int engine_start(Engine *e, Error *reterr) {
        int r;

        r = clock_load(e, reterr);
        if (r < 0)
                return r;
        clock_turn(e);
        look_mark_all(e);
        r = list_start_all(e, reterr);
        if (r < 0)
                return r;
        e->started = true;
        e->setup.wanted(e->setup.userdata);
        return 0;
}

/* ---- the turn ---- */

/* Once, when its time comes: one that then waits for something else is looked at when that changes. Marked
 * in every turn, more of them than one turn looks at would keep the daemon busy for ever. */
static int mark_resource(void *userdata, const Resource *r) {
        look_mark(userdata, r->environment_id);
        return 0;
}

static int turn_work(Engine *e, Error *reterr) {
        int r;

        r = clock_check(e, reterr);
        if (r == 0 && !e->resumed) /* until a turn that did it is committed */
                r = resume_intents(e, reterr);
        if (r == 0 && !e->resumed)
                r = orphans_resume(e, reterr);
        if (r == 0)
                r = call_apply_replies(e, reterr);
        if (r == 0)
                r = ledger_resource_each_retry(e->ledger, e->retried_ms, e->now_ms, mark_resource,
                                               e, reterr);
        if (r == 0)
                r = reap_due(e, reterr);
        if (r == 0)
                r = orphans_step(e, reterr);
        if (r == 0)
                r = strays_relook(e, reterr);
        if (r == 0)
                r = look_run_dirty(e, reterr);
        if (r == 0)
                r = watch_step(e, reterr);
        if (r == 0)
                verifies_step(e);
        if (r == 0 && ledger_is_open(e->ledger))
                r = prune_step(e, reterr);
        if (r == 0 && ledger_is_open(e->ledger))
                r = clock_store(e, reterr);
        return r;
}

static void answer_waiters(Engine *e, int result, const Error *error) {
        Waiter *waiters = TAKE(e->waiters);
        size_t n = e->n_waiters;

        e->n_waiters = 0;
        for (size_t i = 0; i < n; i++)
                waiters[i].done(waiters[i].userdata, result, error);
        free(waiters);
}

static void turn_succeeded(Engine *e) {
        auto_cleanup(strv_freep) char **hosts = TAKE(e->hosts);
        bool events = e->events_added;

        e->events_added = false;
        e->again_ms = 0;
        e->retried_ms = e->now_ms;
        if (e->marking)
                e->marked_boot_ms = e->boot_ms;
        e->marking = false;
        clock_done(e);
        e->resumed = true;
        call_turn_done(e);
        look_turn_done(e);
        /* The route moves before anything behind it is stopped. */
        for (char **h = hosts; h && *h; h++) {
                crash_point("front.before");
                if (e->setup.front.host_changed)
                        e->setup.front.host_changed(e->setup.front.userdata, *h);
                crash_point("front.after");
        }
        call_start_queued(e);
        answer_waiters(e, 0, NULL);
        for (size_t i = 0; events && i < e->n_followers; i++)
                e->followers[i].func(e->followers[i].userdata);
}

static void turn_failed(Engine *e, int result, const Error *error) {
        log_error("A turn could not be committed, nothing of it was done: %s",
                  error_text(error, result));
        ledger_rollback(e->ledger);
        e->hosts = strv_free(e->hosts);
        e->events_added = e->marking = false;
        clock_not_done(e);
        call_turn_failed(e);
        look_turn_failed(e);
        if (freeze_load(e, NULL) < 0)
                e->frozen = true; /* unknown is not "free" */
        e->unwell_until_ms = time_add(e->now_ms, UNWELL_MS);
        free(e->unwell_why);
        e->unwell_why = str_format("the ledger cannot be written: %s", error_text(error, result));
        e->again_ms = time_add(e->now_ms, LEDGER_AGAIN_MS);
        answer_waiters(e, result, error);
}

static int64_t earlier(int64_t a, int64_t b) {
        return a < b ? a : b;
}

/* One timer, to the next thing that happens by time alone. */
static void turn_arm(Engine *e) {
        int64_t next = INT64_MAX, due = INT64_MAX, retry = INT64_MAX;

        if (e->again_ms > 0) {
                next = e->again_ms;
        } else {
                if (ledger_environment_next_due(e->ledger, &due, NULL) < 0 ||
                    ledger_resource_next_retry(e->ledger, e->now_ms, &retry, NULL) < 0)
                        next = time_add(e->now_ms, LEDGER_AGAIN_MS);
                /* What is due already was handled by this turn; it says itself when to look again. */
                if (due > e->now_ms)
                        next = earlier(next, due);
                next = earlier(next, retry);
                next = earlier(next, look_next_time(e));
                next = earlier(next, watch_next_time(e));
                next = earlier(next, strays_next_time(e));
        }
        if (next != INT64_MAX)
                next = next > e->now_ms ? next - e->offset_ms : e->now_ms + 1 - e->offset_ms;
        e->setup.arm(e->setup.userdata, next == INT64_MAX ? REAPER_NEVER : next);
}

int engine_turn(Engine *e, Error *reterr) {
        auto_error error = { 0 };
        int r;

        clock_turn(e);
        crash_point("engine.turn");
        r = turn_work(e, &error);
        if (r == 0)
                r = ledger_commit(e->ledger, &error);
        if (r < 0)
                turn_failed(e, r, &error);
        else
                turn_succeeded(e);
        parsed_forget(e, e->n_running == 0);
        turn_arm(e);
        e->turn = false;
        if (r == 0 && (e->dirty || e->replies || e->n_waiters > 0))
                e->setup.wanted(e->setup.userdata);
        return r < 0 ? error_set(reterr, r, "%s", error_text(&error, r)) : 0;
}

/* ---- what comes from below ---- */

ProviderEvents engine_provider_events(Engine *e) {
        return (ProviderEvents){ .on_line = call_on_line,
                                 .on_reply = call_on_reply,
                                 .userdata = e };
}

static void on_visit(void *userdata, const char *environment_id) {
        Engine *e = userdata;
        Look *look = look_get(e, environment_id);

        if (!look)
                return;
        look->visited = true;
        look_mark(e, environment_id);
        e->setup.wanted(e->setup.userdata);
}

static void on_refused(void *userdata, const char *environment_id) {
        refused_visitor(userdata, environment_id);
}

FrontEvents engine_front_events(Engine *e) {
        return (FrontEvents){ .on_visit = on_visit, .on_refused = on_refused, .userdata = e };
}
