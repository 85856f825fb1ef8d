/* What people were told, and when. An input that the engine accepted waits for its commit; then it is a
 * promise, and the checks hold the engine to it. One whose answer was lost in a crash may be in the ledger or
 * not: nothing is promised either way. */
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/base/limits.h"
#include "tests/sim/sim.h"

static int64_t lesser(int64_t a, int64_t b) {
        return a < b ? a : b;
}

static int64_t greater(int64_t a, int64_t b) {
        return a > b ? a : b;
}

/* ---- of a branch ---- */

static void kept_push(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->promises[a->branch] = a->promise;
        if (!lease)
                return;
        s->forge.pushed_ms[a->branch] = a->told_ms;
        lease->closed_ms = 0;
        lease->closed_unsure = false;
        lease->used_ms = greater(lease->used_ms, a->at_ms);
}

static void kept_close(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->promises[a->branch] = a->promise;
        if (lease && lease->closed_ms == 0)
                lease->closed_ms = a->at_ms;
}

static void kept_down(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->promises[a->branch] = a->promise;
        if (!a->alive)
                return; /* twice is once */
        if (lease && lease->pinned_ms > sim_now(s) + CLOCK_SLACK_MS)
                sim_violation(s, "a pin or extension that was acknowledged wins",
                              "the deletion of %s was accepted and it is pinned", a->environment);
        if (s->frozen && !s->releasing)
                sim_violation(s, "a freeze that was acknowledged wins",
                              "the deletion of %s was accepted", a->environment);
}

static void lost_branch(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->promises[a->branch] = (Promise){ 0 };
        if (!lease || a->kind != ACK_CLOSE || lease->closed_ms != 0)
                return;
        lease->closed_ms = a->at_ms; /* perhaps: a list may find it closed any time later */
        lease->closed_unsure = true;
}

/* ---- of a lease ---- */

static void kept_pin(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->pinned_ms = a->until_ms;
}

static void lost_pin(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->pinned_ms = lesser(lease->pinned_ms, a->until_ms);
}

/* "An extension" is added to what is left of the one before. */
static void kept_extend(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->extended_ms = greater(lease->extended_ms, a->at_ms) + a->by_ms;
        lease->used_ms = greater(lease->used_ms, a->at_ms);
}

static void kept_use(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->use_unsure = false;
        lease->used_ms = greater(lease->used_ms, a->at_ms);
}

static void kept_wake(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->sleep_asked = false;
        kept_use(s, a, lease);
}

static void kept_sleep(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->sleep_asked = true;
}

static void lost_lease(Sim *s, const Acknowledgement *a, Lease *lease) {
}

static void lost_use(Sim *s, const Acknowledgement *a, Lease *lease) {
        lease->use_unsure = true;
}

/* ---- of everything ---- */

static void kept_freeze(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->frozen = true;
}

static void kept_unfreeze(Sim *s, const Acknowledgement *a, Lease *lease) {
        if (s->held) {
                s->released_true_ms = s->true_ms;
                if (a->accept) /* what was lost and what is accepted overlap: nothing more is promised */
                        s->moved_unsure = true;
                else
                        leases_move(s, sim_now(s) - s->held_from_ms);
        }
        if (a->accept)
                clock_accepted(s);
        s->held = s->frozen = s->stepped = s->releasing = false;
        if (a->accept || s->wall_ms == s->true_ms)
                s->step_ms = 0; /* nothing is left to notice */
        s->away_until_ms = 0;
        s->drift_ms += LIMIT_CLOCK_STEP_MS; /* trusted time may go there now */
}

static void lost_freeze(Sim *s, const Acknowledgement *a, Lease *lease) {
        s->frozen = s->held; /* not known */
        if (a->kind != ACK_UNFREEZE)
                return;
        if (s->held) { /* from now on it may be released */
                s->released_true_ms = s->true_ms;
                s->moved_unsure = true;
        }
        if (a->accept)
                s->moved_unsure = s->base_unsure = true;
        s->frozen = s->held = s->releasing = s->stepped = false;
        s->away_until_ms = 0;
        s->drift_ms += LIMIT_CLOCK_STEP_MS;
}

static void kept_orphan(Sim *s, const Acknowledgement *a, Lease *lease) {
        assert(map_put(s->asked, a->environment, s) == 0);
}

static const struct {
        void (*kept)(Sim *s, const Acknowledgement *a, Lease *lease);
        void (*lost)(Sim *s, const Acknowledgement *a, Lease *lease);
        enum {
                OF_BRANCH,
                OF_LEASE,
                OF_ALL
        } of;
} kinds[_ACK_MAX] = {
        [ACK_PUSH] = { kept_push, lost_branch, OF_BRANCH },
        [ACK_CLOSE] = { kept_close, lost_branch, OF_BRANCH },
        [ACK_DOWN] = { kept_down, lost_branch, OF_BRANCH },
        [ACK_PIN] = { kept_pin, lost_pin, OF_LEASE },
        [ACK_EXTEND] = { kept_extend, lost_lease, OF_LEASE },
        [ACK_USE] = { kept_use, lost_use, OF_LEASE },
        [ACK_WAKE] = { kept_wake, lost_use, OF_LEASE },
        [ACK_SLEEP] = { kept_sleep, kept_sleep, OF_LEASE },
        [ACK_FREEZE] = { kept_freeze, lost_freeze, OF_ALL },
        [ACK_ORPHAN] = { kept_orphan, lost_lease, OF_ALL },
        [ACK_UNFREEZE] = { kept_unfreeze, lost_freeze, OF_ALL },
};

/* ---- waiting ---- */

static Lease *lease_of(Sim *s, Acknowledgement *a) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *name = NULL;

        if (kinds[a->kind].of == OF_ALL)
                return NULL;
        if (*a->environment)
                return lease_get(s, a->environment);
        name = str_format("shop/%s", people_branch(a->branch));
        if (ledger_environment_get(s->ledger, name, &env, NULL) < 0)
                return NULL;
        snprintf(a->environment, sizeof(a->environment), "%s", env.id);
        return lease_get(s, env.id);
}

static void lost(Sim *s, Acknowledgement *a) {
        Lease *lease = lease_of(s, a);

        if (lease)
                lease->unsure = true;
        kinds[a->kind].lost(s, a, lease);
}

static void on_commit(void *userdata, int r, const Error *error) {
        Acknowledgement *a = userdata;
        Sim *s = a->sim;

        for (Acknowledgement **at = &s->acknowledgements; *at; at = &(*at)->next)
                if (*at == a) {
                        *at = a->next;
                        break;
                }
        if (s->dead) /* a killed daemon tells nobody anything */
                lost(s, a);
        else if (r == 0)
                kinds[a->kind].kept(s, a, lease_of(s, a));
        else if (a->kind == ACK_USE) /* a visit is not asked for twice: the next turn takes it up */
                lost(s, a);
        s->releasing = s->releasing && a->kind != ACK_UNFREEZE;
        free(a);
}

void acknowledge(Sim *s, Acknowledgement a) {
        Acknowledgement *waiting = malloc(sizeof(Acknowledgement));

        assert(waiting);
        *waiting = a;
        waiting->sim = s;
        waiting->at_ms = sim_now(s);
        waiting->told_ms = engine_now_ms(s->engine);
        waiting->next = s->acknowledgements;
        s->acknowledgements = waiting;
        engine_after_commit(s->engine, on_commit, waiting);
}

void acknowledge_of(Sim *s, AckKind kind, const char *environment) {
        Acknowledgement a = { .kind = kind };

        snprintf(a.environment, sizeof(a.environment), "%s", environment);
        acknowledge(s, a);
}

void acknowledge_branch(Sim *s, AckKind kind, unsigned branch, Promise promise) {
        acknowledge(s, (Acknowledgement){ .kind = kind, .branch = branch, .promise = promise });
}

void acknowledge_lost(Sim *s) {
        while (s->acknowledgements) {
                Acknowledgement *a = s->acknowledgements;

                s->acknowledgements = a->next;
                lost(s, a);
                free(a);
        }
}

/* The order of what was said about one branch in one turn: the last one counts, so each acknowledgement
 * carries the whole promise as it is after it. */
Promise promised(Sim *s, unsigned branch) {
        for (Acknowledgement *a = s->acknowledgements; a; a = a->next)
                if (kinds[a->kind].of == OF_BRANCH && a->branch == branch)
                        return a->promise;
        return s->promises[branch];
}
