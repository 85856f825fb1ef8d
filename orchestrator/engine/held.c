/* A ledger that was put back (ledger/anchor.c) knows nothing of the renewals, pins and visits since it was
 * copied, and by its own facts half of what lives may be due. So until somebody has looked, renewed what
 * must stay and released it, nothing is removed at all, not even what a newer commit replaced. At the
 * release every deadline moves by the time that the ledger has lost: an environment then has as long to
 * live as it had when the copy was taken. And all that is ready is asked for again: what it was changed to
 * meanwhile, and where it answers now, only its provider knows. */
#include <inttypes.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

/* {"reason","since_ms","from_ms",...}; "released_ms" once it is over. NULL when there is none. */
static int held_value(Engine *e, json_t **ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        *ret = NULL;
        r = ledger_value_get(e->ledger, "held", &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(reterr, r, "Cannot read whether the ledger is held");
        *ret = json_loads(text, 0, NULL);
        return *ret ? 0 : error_set(reterr, -EBADMSG, "The value 'held' is damaged");
}

/* ---- deadlines that were moved ---- */

static int moves_load(Engine *e, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *list = NULL;
        int r;

        e->n_moves = 0;
        r = ledger_value_get(e->ledger, "moved", &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(reterr, r, "Cannot read by how much deadlines were moved");
        list = json_loads(text, 0, NULL);
        if (!json_is_array(list) || json_array_size(list) > LIMIT_CLOCK_MOVES)
                return error_set(reterr, -EBADMSG, "The value 'moved' is damaged");
        for (; e->n_moves < json_array_size(list); e->n_moves++) {
                const json_t *move = json_array_get(list, e->n_moves);

                e->moves[e->n_moves] = (ReaperMove){
                        .by_ms = json_integer_value(json_object_get(move, "by_ms")),
                        .at_ms = json_integer_value(json_object_get(move, "at_ms")),
                };
        }
        return 0;
}

/* Of two releases, what began before the first one has both times. */
static int moves_add(Engine *e, int64_t by_ms, int64_t at_ms, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *list = json_array();

        if (e->n_moves ==
            LIMIT_CLOCK_MOVES) { /* the two oldest become one, later rather than earlier */
                e->moves[1].by_ms = time_add(e->moves[1].by_ms, e->moves[0].by_ms);
                memmove(e->moves, e->moves + 1, --e->n_moves * sizeof(*e->moves));
        }
        e->moves[e->n_moves++] = (ReaperMove){ by_ms, at_ms };
        for (size_t i = 0; i < e->n_moves; i++)
                if (json_array_append_new(list, json_pack("{s:I, s:I}", "by_ms",
                                                          (json_int_t) e->moves[i].by_ms, "at_ms",
                                                          (json_int_t) e->moves[i].at_ms)) < 0)
                        return -ENOMEM;
        text = json_dumps(list, JSON_COMPACT);
        return text ? ledger_value_set(e->ledger, "moved", text, reterr) : -ENOMEM;
}

static int collect(void *userdata, const Environment *env) {
        char ***ids = userdata;
        bool gone = env->state == ENV_DELETING || env->state == ENV_GONE;

        return gone || (env->extended_until_ms == 0 && env->pinned_until_ms == 0)
                       ? 0
                       : strv_add(ids, env->id);
}

static int move_one(Input *in, const char *id, int64_t by_ms, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        int r;

        r = ledger_environment_get(in->e->ledger, id, &env, reterr);
        if (r < 0)
                return r;
        if (env.extended_until_ms > 0)
                env.extended_until_ms = time_add(env.extended_until_ms, by_ms);
        if (env.pinned_until_ms > 0)
                env.pinned_until_ms = time_add(env.pinned_until_ms, by_ms);
        return ledger_environment_update(in->e->ledger, &env, reterr);
}

int deadlines_move(Input *in, int64_t by_ms, int64_t at_ms, const char *why, Error *reterr) {
        auto_cleanup(strv_freep) char **ids = NULL;
        char by[TIME_TEXT_MAX];
        int r;

        r = ledger_environment_each(in->e->ledger, NULL, false, collect, &ids, reterr);
        for (char **id = ids; r == 0 && id && *id; id++)
                r = move_one(in, *id, by_ms, reterr);
        if (r == 0)
                r = moves_add(in->e, by_ms, at_ms, reterr);
        return r < 0 ? r
                     : event_add(in->e, EVENT_LEASES_MOVED,
                                 (EventWhere){ .actor = in->who, .trace = in->trace },
                                 "All deadlines are later by %s, %s", clock_say_length(by_ms, by),
                                 why);
}

/* ---- the hold ---- */

int held_load(Engine *e, Error *reterr) {
        json_auto_t *value = NULL;
        int r = held_value(e, &value, reterr);

        if (r < 0)
                return r;
        e->held = value && !json_object_get(value, "released_ms");
        json_decref(e->freeze_held);
        e->freeze_held = TAKE(value);
        return moves_load(e, reterr);
}

static int collect_ready(void *userdata, const Resource *r) {
        return r->state == RES_READY ? strv_add(userdata, r->uid) : 0;
}

static int ask_again(Input *in, Error *reterr) {
        auto_cleanup(strv_freep) char **uids = NULL;
        int r;

        r = ledger_resource_each(in->e->ledger, NULL, false, collect_ready, &uids, reterr);
        for (char **uid = uids; r == 0 && uid && *uid; uid++) {
                auto_cleanup(resource_done) Resource res = { 0 };

                r = ledger_resource_get(in->e->ledger, *uid, &res, reterr);
                if (r < 0)
                        break;
                res.inspect = true; /* it may be somebody else's by now */
                res.applied = res.retry_ms = 0;
                r = str_replace(&res.cause, "the ledger was put back: what it knows of it is old");
                if (r == 0)
                        r = ledger_resource_move(in->e->ledger, &res, RES_PROVISIONING, reterr);
        }
        return r;
}

int held_release(Input *in, int64_t *moved_ms, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        Engine *e = in->e;
        int64_t from, lost;
        int r;

        r = held_value(e, &value, reterr);
        if (r < 0 || !value)
                return r;
        from = json_integer_value(json_object_get(value, "from_ms"));
        lost = from > 0 && from < e->now_ms ? e->now_ms - from : 0;
        r = deadlines_move(in, lost, e->now_ms, "which the ledger has lost", reterr);
        if (r == 0)
                r = ask_again(in, reterr);
        if (r < 0)
                return r;
        if (json_object_set_new(value, "released_ms", json_integer(e->now_ms)) < 0)
                return -ENOMEM;
        text = json_dumps(value, JSON_COMPACT);
        r = text ? ledger_value_set(e->ledger, "held", text, reterr) : -ENOMEM;
        if (r < 0)
                return r;
        e->held = false;
        *moved_ms = time_add(*moved_ms, lost);
        return 0;
}
