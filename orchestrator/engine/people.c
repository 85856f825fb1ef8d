/* What people ask of an environment. An accepted answer is kept: an extension, a pin or a freeze that
 * was acknowledged wins over every later deletion; once the deletion has begun the answer is a refusal
 * that says so, never a false yes. */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

#define EXTEND_MAX_MS (90 * MS_PER_DAY)

static int refuse_gone(const Environment *env, Error *reterr) {
        if (env->state != ENV_DELETING && env->state != ENV_GONE)
                return 0;
        return error_set(reterr, -ENOENT,
                         "%s is %s (%s: %s); push its branch again to get a new one", env->label,
                         env->state == ENV_GONE ? "gone" : "being deleted",
                         env->gone_by ? env->gone_by : "somebody",
                         env->gone_why ? env->gone_why : "no reason noted");
}

typedef int (*Change)(Input *in, Environment *env, const void *userdata, Error *reterr);

/* The frame of every change of one environment. */
static int change(Engine *e, const EngineActor *a, const char *name, Change func,
                  const void *userdata, Error *reterr) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Input in;
        int r;

        r = ledger_environment_get(e->ledger, name, &env, reterr);
        if (r == 0 && func != down_change)
                r = refuse_gone(&env, reterr);
        if (r == 0)
                r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        r = func(&in, &env, userdata, reterr);
        look_mark(e, env.id);
        return input_end(&in, r, reterr);
}

static EventWhere where(const Input *in, const Environment *env) {
        return (EventWhere){ .environment_id = env->id,
                             .project_id = env->project_id,
                             .actor = in->who,
                             .trace = in->trace };
}

/* ---- down ---- */

int down_input(Input *in, Environment *env, const char *why, Error *reterr) {
        Engine *e = in->e;
        int r;

        if (env->state == ENV_DELETING || env->state == ENV_GONE)
                return 0; /* twice is once */
        if (e->frozen && !e->frozen_by_clock)
                return error_set(
                        reterr, -EPERM,
                        "Nothing is deleted now, everything is frozen: %s; `mayfly unfreeze` "
                        "releases it",
                        e->freeze_reason ? e->freeze_reason : "no reason noted");
        if (env->pinned_until_ms > e->now_ms)
                return error_set(reterr, -EPERM, "%s is pinned by %s (%s); unpin it first",
                                 env->label, env->pinned_by ? env->pinned_by : "somebody",
                                 env->pin_reason ? env->pin_reason : "no reason noted");
        r = str_replace(&env->gone_by, in->who);
        if (r == 0)
                r = str_replace(&env->gone_why, why);
        if (r < 0)
                return r;
        env->deleted_ms = e->now_ms;
        env->wake_wanted = env->sleep_wanted = false;
        free(TAKE(env->cause));
        r = ledger_environment_move(e->ledger, env, ENV_DELETING, reterr);
        if (r < 0)
                return r;
        return event_add(e, EVENT_ENVIRONMENT_DELETING, where(in, env), "%s is being deleted: %s",
                         env->label, why);
}

int down_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        return down_input(in, env, "somebody asked for it", reterr);
}

int engine_down(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return change(e, a, environment, down_change, NULL, reterr);
}

/* ---- sleep, wake, retry ---- */

static int sleep_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        bool under_way;
        int r;

        if (env->level == LEVEL_STOPPED || env->level == LEVEL_FALLING) {
                if (!env->wake_wanted)
                        return 0;
                env->wake_wanted = false;
                return ledger_environment_update(in->e->ledger, env, reterr);
        }
        r = generation_is_under_way(in->e, env, &under_way);
        if (r < 0)
                return r;
        if (env->state != ENV_READY || under_way || env->level == LEVEL_WAKING)
                return error_set(reterr, -EBUSY, "%s is %s; it can sleep when that is over",
                                 env->label,
                                 under_way                    ? "being built"
                                 : env->level == LEVEL_WAKING ? "waking"
                                                              : env_state_to_string(env->state));
        env->sleep_wanted = true;
        return ledger_environment_update(in->e->ledger, env, reterr);
}

int engine_sleep(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return change(e, a, environment, sleep_change, NULL, reterr);
}

static int wake_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        if (env->state == ENV_FAILED)
                return error_set(reterr, -EBUSY, "%s failed: %s; try `mayfly retry`", env->label,
                                 env->cause ? env->cause : "no cause noted");
        if (env->state != ENV_READY)
                return error_set(reterr, -EBUSY, "%s is %s", env->label,
                                 env_state_to_string(env->state));
        env->used_ms = in->e->now_ms;
        env->sleep_wanted = false;
        env->wake_wanted = env->level != LEVEL_AWAKE;
        return ledger_environment_update(in->e->ledger, env, reterr);
}

int engine_wake(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return change(e, a, environment, wake_change, NULL, reterr);
}

typedef struct Retry {
        Input *in;
        int64_t live;
        char **uids;
} Retry;

static int collect_failed(void *userdata, const Resource *r) {
        Retry *retry = userdata;

        bool live = r->generation == retry->live || (r->generation == 0 && retry->live > 0);

        if (str_after(r->key, ADOPTED_KEY) && r->state == RES_FAILED)
                return 0; /* nobody knows how to make it */
        if (r->state != RES_STUCK && (r->state != RES_FAILED || !live || !r->touched))
                return 0;
        return strv_add(&retry->uids, r->uid);
}

static int retry_part(Input *in, const char *uid, Error *reterr) {
        auto_cleanup(resource_done) Resource res = { 0 };
        int r;

        r = ledger_resource_get(in->e->ledger, uid, &res, reterr);
        if (r < 0)
                return r;
        res.tries = 0;
        res.retry_ms = 0;
        /* A call that looks at it may be under way: its reply decides then. */
        if (map_get(in->e->busy, uid))
                return ledger_resource_update(in->e->ledger, &res, reterr);
        return ledger_resource_move(in->e->ledger, &res,
                                    res.state == RES_STUCK ? RES_REMOVING : RES_PROVISIONING,
                                    reterr);
}

static int retry_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        Retry retry = { .in = in, .live = env->live_generation > 0 ? env->live_generation : -1 };
        auto_cleanup(generation_done) Generation g = { 0 };
        unsigned n = 0;
        int r;

        r = ledger_resource_each(in->e->ledger, env->id, false, collect_failed, &retry, reterr);
        for (char **uid = retry.uids; r == 0 && uid && *uid; uid++, n++)
                r = retry_part(in, *uid, reterr);
        strv_free(retry.uids);
        if (r == 0 && env->wanted_generation > 0)
                r = ledger_generation_get(in->e->ledger, env->id, env->wanted_generation, &g,
                                          reterr);
        if (r < 0)
                return r;
        env->used_ms = in->e->now_ms;
        if (n > 0 && env->level != LEVEL_AWAKE)
                env->wake_wanted = true;
        if (env->closed_ms == 0 && g.state == GEN_FAILED) {
                auto_cleanup(freep) char *commit = strdup(g.commit);

                r = commit ? generation_want(in, env, commit, reterr) : -ENOMEM;
        } else if (n == 0)
                return error_set(reterr, -EALREADY, "Nothing of %s has failed", env->label);
        else
                r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_ENVIRONMENT_RETRIED, where(in, env), "%s is tried again",
                         env->label);
}

int engine_retry(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return change(e, a, environment, retry_change, NULL, reterr);
}

/* ---- extend, pin ---- */

static int64_t extend_max(const Engine *e) {
        int64_t max = e->config->clocks_max.delete_after_age;

        return max > 0 ? max : EXTEND_MAX_MS;
}

static int extend_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        int64_t by = *(const int64_t *) userdata, now = in->e->now_ms, until;
        char text[TIME_TEXT_MAX], longest[TIME_TEXT_MAX];
        int r;

        if (by <= 0)
                return error_set(reterr, -EINVAL, "An extension must be longer than nothing");
        until = time_add(env->extended_until_ms > now ? env->extended_until_ms : now, by);
        if (until - now > extend_max(in->e))
                return error_set(reterr, -ERANGE, "%s can be extended to at most %s from now",
                                 env->label, duration_format(extend_max(in->e), longest));
        env->extended_until_ms = until;
        env->used_ms = now;
        r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_ENVIRONMENT_EXTENDED, where(in, env),
                         "%s is not deleted before %s", env->label, time_format(until, text));
}

int engine_extend(Engine *e, const EngineActor *a, const char *environment, int64_t by_ms,
                  Error *reterr) {
        return change(e, a, environment, extend_change, &by_ms, reterr);
}

typedef struct Pin {
        int64_t until_ms;
        const char *reason;
} Pin;

static int pin_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        const Pin *pin = userdata;
        auto_cleanup(freep) char *reason =
                text_clean(pin->reason && *pin->reason ? pin->reason : "no reason given");
        char text[TIME_TEXT_MAX];
        int r;

        if (!reason)
                return -ENOMEM;
        if (pin->until_ms != INT64_MAX && pin->until_ms <= in->e->now_ms)
                return error_set(reterr, -EINVAL, "The end of a pin must lie ahead");
        env->pinned_until_ms = pin->until_ms;
        r = str_replace(&env->pinned_by, in->who);
        if (r == 0)
                r = str_replace(&env->pin_reason, reason);
        if (r == 0)
                r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_ENVIRONMENT_PINNED, where(in, env),
                         "%s is pinned until %s: %s", env->label,
                         pin->until_ms == INT64_MAX ? "it is unpinned"
                                                    : time_format(pin->until_ms, text),
                         reason);
}

int engine_pin(Engine *e, const EngineActor *a, const char *environment, int64_t until_ms,
               const char *reason, Error *reterr) {
        return change(e, a, environment, pin_change, &(Pin){ until_ms, reason }, reterr);
}

static int unpin_change(Input *in, Environment *env, const void *userdata, Error *reterr) {
        int r;

        if (env->pinned_until_ms == 0)
                return 0;
        env->pinned_until_ms = 0;
        free(TAKE(env->pinned_by));
        free(TAKE(env->pin_reason));
        r = ledger_environment_update(in->e->ledger, env, reterr);
        if (r < 0)
                return r;
        return event_add(in->e, EVENT_ENVIRONMENT_UNPINNED, where(in, env),
                         "%s is not pinned any more", env->label);
}

int engine_unpin(Engine *e, const EngineActor *a, const char *environment, Error *reterr) {
        return change(e, a, environment, unpin_change, NULL, reterr);
}

int engine_backup_made(Engine *e, const EngineActor *a, int64_t size, const char *digest,
                       Error *reterr) {
        Input in;
        int r = input_begin(e, a, &in, reterr);

        if (r < 0)
                return r;
        r = event_add(e, EVENT_BACKUP_MADE,
                      (EventWhere){ .actor = in.who,
                                    .trace = in.trace,
                                    .data = json_pack("{s:I, s:s}", "size", (json_int_t) size,
                                                      "sha256", digest) },
                      "A copy of the ledger was made: %" PRId64 " bytes, SHA-256 %s", size, digest);
        return input_end(&in, r, reterr);
}
