/* A ledger that was put back (ledger/anchor.c) knows nothing of the renewals, pins and visits since it was
 * copied, and by its own facts half of what lives may be due. So until somebody has looked, renewed what
 * must stay and released it, nothing is removed at all, not even what a newer commit replaced. At the
 * release every deadline moves by the time that the ledger has lost: an environment then has as long to
 * live as it had when the copy was taken. */
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

static int moved_load(Engine *e, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        int r;

        e->moved_ms = e->moved_at_ms = 0;
        r = ledger_value_get(e->ledger, "moved", &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(reterr, r, "Cannot read by how much deadlines were moved");
        value = json_loads(text, 0, NULL);
        e->moved_ms = json_integer_value(json_object_get(value, "by_ms"));
        e->moved_at_ms = json_integer_value(json_object_get(value, "at_ms"));
        return 0;
}

int held_load(Engine *e, Error *reterr) {
        json_auto_t *value = NULL;
        int r = held_value(e, &value, reterr);

        if (r < 0)
                return r;
        e->held = value && !json_object_get(value, "released_ms");
        return moved_load(e, reterr);
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

/* Of two that were put back, what began before the first one has lost both times. */
static int moved_store(Input *in, int64_t by_ms, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        char by[TIME_TEXT_MAX];
        Engine *e = in->e;
        int r;

        text = str_format("{\"by_ms\":%" PRId64 ",\"at_ms\":%" PRId64 "}", e->moved_ms + by_ms,
                          e->now_ms);
        r = text ? ledger_value_set(e->ledger, "moved", text, reterr) : -ENOMEM;
        if (r < 0)
                return r;
        e->moved_ms += by_ms;
        e->moved_at_ms = e->now_ms;
        return event_add(e, EVENT_LEASES_MOVED,
                         (EventWhere){ .actor = in->who, .trace = in->trace },
                         "All deadlines are later by %s, which the ledger has lost",
                         duration_format(by_ms, by));
}

int held_release(Input *in, Error *reterr) {
        auto_cleanup(strv_freep) char **ids = NULL;
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        int64_t from, lost;
        int r;

        r = held_value(in->e, &value, reterr);
        if (r < 0 || !value)
                return r;
        from = json_integer_value(json_object_get(value, "from_ms"));
        lost = from > 0 && from < in->e->now_ms ? in->e->now_ms - from : 0;
        r = ledger_environment_each(in->e->ledger, NULL, false, collect, &ids, reterr);
        for (char **id = ids; r == 0 && id && *id; id++)
                r = move_one(in, *id, lost, reterr);
        if (r == 0)
                r = moved_store(in, lost, reterr);
        if (r < 0)
                return r;
        if (json_object_set_new(value, "released_ms", json_integer(in->e->now_ms)) < 0)
                return -ENOMEM;
        text = json_dumps(value, JSON_COMPACT);
        r = text ? ledger_value_set(in->e->ledger, "held", text, reterr) : -ENOMEM;
        if (r == 0)
                in->e->held = false;
        return r;
}
