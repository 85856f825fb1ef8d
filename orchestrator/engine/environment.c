/* One look at one environment: every part takes the steps that it can take now, until nothing moves any
 * more; then the environment's own state, its route and its deadline follow from what is there. */
#include "orchestrator/engine/private.h"

#define ROUNDS 64

/* ---- deleting ---- */

int environment_delete(View *v, const char *who, const char *why, Error *reterr) {
        int r;

        r = str_replace(&v->env.gone_by, who);
        if (r == 0)
                r = str_replace(&v->env.gone_why, why);
        if (r < 0)
                return r;
        v->env.deleted_ms = v->e->now_ms;
        v->env.wake_wanted = v->env.sleep_wanted = false;
        free(TAKE(v->env.cause));
        v->changed = v->again = true;
        r = ledger_environment_move(v->e->ledger, &v->env, ENV_DELETING, reterr);
        if (r < 0)
                return r;
        return event_add(v->e, EVENT_ENVIRONMENT_DELETING, event_by(v, who),
                         "%s is being deleted: %s", v->env.label, why);
}

/* A freeze by a person holds every deletion; one by a clock step only what a clock decided. */
static bool deletion_held(View *v) {
        if (!v->e->frozen)
                return false;
        return v->e->held || !v->e->frozen_by_clock ||
               (v->env.gone_by && streq(v->env.gone_by, "reaper"));
}

static int gone(View *v, Error *reterr) {
        EventWhere where = event_of(v);
        char digest[SHA256_HEX];
        int r;

        r = ledger_environment_move(v->e->ledger, &v->env, ENV_GONE, reterr);
        if (r == 0) /* the receipt says where the address leads from now on */
                r = route_step(v, reterr);
        if (r == 0)
                r = receipt_write(v, digest, reterr);
        if (r < 0)
                return r;
        where.data = json_pack("{s:s}", "receipt", digest);
        return event_add(v->e, EVENT_ENVIRONMENT_GONE, where, "%s is gone; nothing of it is left",
                         v->env.label);
}

static int deleting(View *v, Error *reterr) {
        int r;

        if (!deletion_held(v)) {
                r = removal_step(v, reterr);
                if (r < 0)
                        return r;
        }
        r = generation_step(v, reterr); /* ends its generations */
        if (r < 0)
                return r;
        for (size_t i = 0; i < v->n_parts; i++)
                if (part_alive(v->parts[i]) || view_call(v, v->parts[i]))
                        return 0;
        for (size_t i = 0; i < v->n_gens; i++)
                if (v->gens[i].state != GEN_REMOVED && v->gens[i].state != GEN_FAILED)
                        return 0;
        return gone(v, reterr);
}

/* ---- the state that follows from the parts ---- */

static int broken_part(View *v, Part **ret, Error *reterr) {
        *ret = NULL;
        if (v->env.live_generation == 0)
                return 0;
        for (size_t i = 0; i < v->n_parts && !*ret; i++) {
                bool counts;
                int r;

                if (v->parts[i]->row.state != RES_FAILED)
                        continue;
                r = level_counts(v, v->parts[i], &counts, reterr);
                if (r < 0)
                        return r;
                if (counts)
                        *ret = v->parts[i];
        }
        return 0;
}

static EnvState state_of(View *v, const Part *broken) {
        Generation *g = view_under_way(v);

        if (v->env.live_generation > 0 && !broken)
                return ENV_READY;
        if (g)
                return g->state == GEN_WANTED && v->env.state == ENV_WANTED ? ENV_WANTED
                                                                            : ENV_BUILDING;
        return ENV_FAILED;
}

static const struct {
        EventKind kind;
        const char *text;
} moved[_ENV_STATE_MAX] = {
        [ENV_BUILDING] = { EVENT_ENVIRONMENT_BUILDING, "is being built" },
        [ENV_READY] = { EVENT_ENVIRONMENT_READY, "is ready" },
        [ENV_FAILED] = { EVENT_ENVIRONMENT_FAILED, "does not work" },
};

static int move_to(View *v, EnvState to, Error *reterr) {
        int r;

        if (v->env.state == to)
                return 0;
        if (v->env.state == ENV_READY && to == ENV_BUILDING) { /* by way of what happened */
                r = move_to(v, ENV_FAILED, reterr);
                if (r < 0)
                        return r;
        }
        if (v->env.state == ENV_WANTED && to == ENV_READY) {
                r = move_to(v, ENV_BUILDING, reterr);
                if (r < 0)
                        return r;
        }
        r = ledger_environment_move(v->e->ledger, &v->env, to, reterr);
        if (r < 0 || !moved[to].text)
                return r;
        return event_add(v->e, moved[to].kind, event_of(v), "%s %s%s%s", v->env.label,
                         moved[to].text, to == ENV_FAILED && v->env.cause ? ": " : "",
                         to == ENV_FAILED && v->env.cause ? v->env.cause : "");
}

static int settle(View *v, Error *reterr) {
        Part *broken;
        EnvState to;
        int r;

        r = broken_part(v, &broken, reterr);
        if (r < 0)
                return r;
        to = state_of(v, broken);
        if (to == ENV_FAILED && broken) {
                free(v->env.cause);
                v->env.cause = str_format("%s '%s': %s", broken->row.type,
                                          broken->row.name ? broken->row.name : broken->row.key,
                                          broken->row.cause ? broken->row.cause : "it failed");
                if (!v->env.cause)
                        return -ENOMEM;
                v->changed = true;
        } else if (to == ENV_FAILED && !v->env.cause) {
                r = str_replace(&v->env.cause,
                                v->env.closed_ms ? "The branch was deleted before a preview of "
                                                   "it was ready"
                                                 : "No generation of it is wanted");

                if (r < 0)
                        return r;
                v->changed = true;
        } else if (to == ENV_READY && v->env.cause && v->env.state == ENV_FAILED &&
                   v->env.live_generation == v->env.wanted_generation) {
                free(TAKE(v->env.cause));
                v->changed = true;
        }
        return move_to(v, to, reterr);
}

static int steps(View *v, Error *reterr) {
        int r;

        if (v->env.state == ENV_DELETING)
                return deleting(v, reterr);
        r = level_visit(v, reterr);
        if (r == 0)
                r = generation_step(v, reterr);
        if (r == 0)
                r = level_step(v, reterr);
        if (r == 0)
                r = removal_step(v, reterr);
        return r;
}

int environment_step(View *v, Error *reterr) {
        int r;

        if (v->env.state == ENV_GONE)
                return 0;
        for (unsigned round = 0; round == 0 || v->again; round++) {
                if (round == ROUNDS) {
                        log_debug("environment %s still moves; the next turn goes on", v->env.id);
                        look_mark(v->e, v->env.id);
                        break;
                }
                v->again = false;
                r = steps(v, reterr);
                if (r < 0)
                        return r;
                if (v->again || v->env.state == ENV_DELETING || v->env.state == ENV_GONE)
                        continue;
                r = settle(v, reterr);
                if (r == 0)
                        r = policy_refresh(v, reterr);
                if (r == 0)
                        r = reap_step(v, reterr); /* may begin the deletion: once more round */
                if (r < 0)
                        return r;
        }
        if (v->changed && v->env.state != ENV_GONE) {
                r = ledger_environment_update(v->e->ledger, &v->env, reterr);
                if (r < 0)
                        return r;
        }
        return route_step(v, reterr);
}
