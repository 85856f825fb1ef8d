/* Which environments are worth a look. Marking is cheap and may happen any number of times; one turn
 * looks at each marked one. A look that cannot start a call because no place is free waits in a second
 * queue, first come first served. When places become free those that wait are looked at before those
 * that just had one, and who still got none keeps its place in the queue: so no environment starves
 * behind busy ones. */
#include "orchestrator/engine/private.h"

/* Looks in one turn; what is left is done in the next one, so that a turn stays short. */
#define LOOKS_PER_TURN       64
#define LOOK_FAILED_FIRST_MS 1000
#define LOOK_FAILED_LAST_MS  (10 * 60 * 1000)

void look_free(void *p) {
        Look *look = p;

        if (!look)
                return;
        scrub_done(&look->gone);
        free(look->id);
        free(look);
}

Look *look_get(Engine *e, const char *environment_id) {
        Look *look = map_get(e->looks, environment_id);

        if (look)
                return look;
        look = calloc(1, sizeof(Look));
        if (!look)
                return NULL;
        look->id = strdup(environment_id);
        if (!look->id || map_put(e->looks, environment_id, look) < 0) {
                look_free(look);
                return NULL;
        }
        return look;
}

static void queue_push(Look **first, Look **last, Look *look) {
        look->next = NULL;
        if (*last)
                (*last)->next = look;
        else
                *first = look;
        *last = look;
}

static Look *queue_pop(Look **first, Look **last) {
        Look *look = *first;

        if (!look)
                return NULL;
        *first = look->next;
        if (!*first)
                *last = NULL;
        look->next = NULL;
        return look;
}

static void queue_remove(Look **first, Look **last, Look *look) {
        Look *before = NULL;

        for (Look *at = *first; at; before = at, at = at->next) {
                if (at != look)
                        continue;
                if (before)
                        before->next = at->next;
                else
                        *first = at->next;
                if (*last == at)
                        *last = before;
                at->next = NULL;
                return;
        }
}

static void look_unwait(Engine *e, Look *look) {
        if (look->waiting)
                queue_remove(&e->waiting[look->waiting].first, &e->waiting[look->waiting].last,
                             look);
        look->waiting = LOOK_WAITS_NOT;
}

static void look_queue(Engine *e, Look *look) {
        if (look->queued)
                return;
        look_unwait(e, look);
        look->queued = true;
        queue_push(&e->dirty, &e->dirty_last, look);
}

void look_mark(Engine *e, const char *environment_id) {
        Look *look = look_get(e, environment_id);

        if (look)
                look_queue(e, look);
        else
                log_error("No memory to look at environment %s", environment_id);
}

static int mark_one(void *userdata, const Environment *env) {
        look_mark(userdata, env->id);
        return 0;
}

void look_mark_all(Engine *e) {
        auto_error error = { 0 };
        int r;

        r = ledger_environment_each(e->ledger, NULL, false, mark_one, e, &error);
        if (r < 0)
                log_error("Cannot list the environments: %s", error_text(&error, r));
}

void look_wait(Engine *e, Look *look, LookWait what) {
        Look **at = &e->waiting[what].first;

        if (look->queued || look->waiting == what || look->waiting == LOOK_WAITS_FOR_PLACE)
                return; /* with a place it sees for itself whether it may build */
        look_unwait(e, look);
        look->waiting = what;
        if (look->ticket == 0)
                look->ticket = ++e->last_ticket;
        if (!*at || e->waiting[what].last->ticket < look->ticket) {
                queue_push(&e->waiting[what].first, &e->waiting[what].last, look);
                return;
        }
        while ((*at)->ticket < look->ticket) /* the last one's is not */
                at = &(*at)->next;
        look->next = *at;
        *at = look;
}

void look_release_waiting(Engine *e, LookWait what, unsigned n) {
        Look *first = NULL, *last = NULL, *look;

        while (n-- > 0 && (look = queue_pop(&e->waiting[what].first, &e->waiting[what].last))) {
                look->waiting = LOOK_WAITS_NOT;
                look->queued = true;
                queue_push(&first, &last, look);
        }
        if (!first)
                return;
        last->next = e->dirty;
        e->dirty = first;
        if (!e->dirty_last)
                e->dirty_last = last;
}

void look_again_at(Look *look, int64_t ms) {
        if (look->again_ms == 0 || ms < look->again_ms)
                look->again_ms = ms;
}

int64_t look_next_time(Engine *e) {
        int64_t next = INT64_MAX;
        size_t at = 0;
        Look *look;

        while ((look = map_next(e->looks, &at, NULL)))
                if (look->again_ms > 0 && look->again_ms < next)
                        next = look->again_ms;
        return next;
}

/* One environment, in a part of the turn of its own: a failure undoes only this part. */
static int look_run(Engine *e, Look *look, Error *reterr) {
        auto_error error = { 0 };
        View v = { 0 };
        int r, undone;

        look->looked = true;
        if (look->again_ms <= e->now_ms)
                look->again_ms = 0;
        r = ledger_savepoint(e->ledger, reterr);
        if (r < 0)
                return r;
        r = view_load(e, look, &v, &error);
        if (r == 0)
                r = environment_step(&v, &error);
        else if (r == -ENOENT)
                r = 0; /* made in a turn that was taken back */
        view_done(&v);
        if (r == 0) {
                look->failures = 0;
                return ledger_savepoint_keep(e->ledger, reterr);
        }
        undone = ledger_savepoint_undo(e->ledger, NULL);
        if (undone < 0)
                return error_set(reterr, undone, "%s",
                                 error_text(&error, r)); /* the whole turn fails */

        /* Something about this one environment: the others go on, this one is tried again later. */
        log_error("Environment %s cannot be looked at: %s", look->id, error_text(&error, r));
        call_undo_environment(e, look->id);
        int64_t delay = LOOK_FAILED_FIRST_MS << (look->failures < 10 ? look->failures : 10);
        look->failures++;
        look_again_at(look,
                      e->now_ms + (delay < LOOK_FAILED_LAST_MS ? delay : LOOK_FAILED_LAST_MS));
        return 0;
}

/* A place that was free for one that did not need it is there for the next one that waits. */
static Look *look_next(Engine *e) {
        if (!e->dirty && e->n_builds < LIMIT_PROVIDER_BUILDS)
                look_release_waiting(e, LOOK_WAITS_FOR_BUILD, LIMIT_PROVIDER_BUILDS - e->n_builds);
        if (!e->dirty && e->n_running < LIMIT_PROVIDER_CALLS)
                look_release_waiting(e, LOOK_WAITS_FOR_PLACE, LIMIT_PROVIDER_CALLS - e->n_running);
        return queue_pop(&e->dirty, &e->dirty_last);
}

int look_run_dirty(Engine *e, Error *reterr) {
        Look *look;
        size_t at = 0;

        while ((look = map_next(e->looks, &at, NULL)))
                if (look->again_ms > 0 && look->again_ms <= e->now_ms)
                        look_queue(e, look);

        for (unsigned n = 0; n < LOOKS_PER_TURN && (look = look_next(e)); n++) {
                int r;

                look->queued = false;
                r = look_run(e, look, reterr);
                if (r < 0) {
                        look_queue(e, look);
                        return r;
                }
        }
        return 0;
}

void look_turn_failed(Engine *e) {
        size_t at = 0;
        Look *look;

        while ((look = map_next(e->looks, &at, NULL))) {
                if (look->visit_taken)
                        look->visited = true;
                if (look->looked)
                        look_queue(e, look);
                look->looked = look->visit_taken = false;
        }
}

void look_turn_done(Engine *e) {
        size_t at = 0;
        Look *look;

        const char *id;

        while ((look = map_next(e->looks, &at, &id))) {
                look->looked = look->visit_taken = false;
                if (!look->queued && !look->waiting && !look->visited && !look->asking &&
                    !look->answered && !look->uncertain && look->again_ms == 0 &&
                    look->failures == 0 &&
                    (look->pushed_ms == 0 || e->now_ms - look->pushed_ms > LIMIT_COMPARE_MS))
                        map_remove(e->looks, id); /* nothing to remember */
        }
}
