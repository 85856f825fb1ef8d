/* One resource, one step at a time. A resource that has a call under way is never moved: its reply
 * moves it. So at most one thing at a time is tried on it, and what the ledger says of it is what was
 * known when that was begun. */
#include <stdlib.h>

#include "orchestrator/engine/private.h"

bool resource_depends_ready(View *v, const GraphNode *node, int64_t generation) {
        for (char *const *key = node->depends; key && *key; key++) {
                Part *p = view_find(v, *key, generation);

                if (!p || p->row.state != RES_READY)
                        return false;
        }
        return true;
}

int resource_inspect(View *v, Part *p, Error *reterr) {
        int64_t generation = p->row.generation ? p->row.generation : v->env.live_generation;
        int r;

        r = call_resource(v, p, &(CallWish){ .verb = "inspect", .generation = generation }, reterr);
        return r > 0 ? part_save(v, p, reterr) : r;
}

static int resource_unresolved(View *v, Part *p, int64_t generation, const char *why,
                               Error *reterr) {
        Generation *g = view_generation(v, generation);
        int r;

        r = str_replace(&p->row.cause, why);
        if (r == 0)
                r = str_replace(&p->row.cause_class, provider_class_to_string(PROVIDER_INVALID));
        if (r == 0 && p->row.state != RES_FAILED)
                r = part_move(v, p, RES_FAILED, reterr);
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_FAILED, event_of(v), "%s '%s': %s", p->row.type,
                              p->row.name ? p->row.name : p->row.key, why);
        if (r == 0 && generation_under_way(g))
                r = generation_fail(v, g, "%s '%s': %s", p->row.type,
                                    p->row.name ? p->row.name : p->row.key, why);
        return r;
}

int resource_provision(View *v, Part *p, const GraphNode *target, int64_t generation,
                       Error *reterr) {
        auto_error why = { 0 };
        json_auto_t *params = NULL;
        GraphNode *own;
        int r;

        if (view_call(v, p))
                return 0;
        if (!target) {
                r = view_node(v, p, &own, reterr);
                if (r < 0)
                        return r;
                target = own;
        }
        if (!resource_depends_ready(v, target, generation))
                return 0;
        if (p->row.inspect && p->row.touched)
                return resource_inspect(v, p, reterr);
        r = view_params(v, target, generation, &params, &why);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return resource_unresolved(v, p, generation, error_text(&why, r), reterr);
        r = call_resource(v, p,
                          &(CallWish){ .verb = "provision",
                                       .node = target,
                                       .params = params,
                                       .generation = generation },
                          reterr);
        if (r <= 0)
                return r;
        p->row.touched = true;
        p->row.emptied = false;
        if (p->row.state == RES_PROVISIONING)
                return part_save(v, p, reterr);
        r = part_move(v, p, RES_PROVISIONING, reterr);
        if (r < 0)
                return r;
        return event_add(v->e, EVENT_RESOURCE_PROVISIONING, event_of(v), "%s '%s' is being made",
                         p->row.type, p->row.name ? p->row.name : p->row.key);
}

/* A resource that should be ready and is not is provisioned again, a bounded number of times. */
int resource_repair(View *v, Part *p, const char *why, Error *reterr) {
        int64_t delay = LIMIT_TRANSIENT_FIRST_MS;
        int r;

        if (v->e->now_ms - p->row.ready_ms > LIMIT_REPAIR_CALM_MS)
                p->row.tries = 0;
        p->row.inspect = false;
        p->row.retry_ms = 0;
        if (p->row.tries > 0)
                p->row.retry_ms = time_add(v->e->now_ms,
                                           delay << (p->row.tries - 1 < 5 ? p->row.tries - 1 : 5));
        map_remove(v->e->sound, p->row.uid);
        r = str_replace(&p->row.cause, why);
        why = p->row.cause; /* it may be what was just replaced */
        if (r == 0 && p->row.tries >= LIMIT_TRANSIENT_TRIES) {
                p->row.retry_ms = time_add(v->e->now_ms, LIMIT_STUCK_RETRY_MS);
                r = part_move(v, p, RES_FAILED, reterr);
                if (r == 0)
                        r = event_add(v->e, EVENT_RESOURCE_FAILED, event_of(v),
                                      "%s '%s' ended %d times: %s", p->row.type,
                                      p->row.name ? p->row.name : p->row.key, LIMIT_TRANSIENT_TRIES,
                                      why);
                return r;
        }
        p->row.tries++;
        if (r == 0)
                r = part_move(v, p, RES_PROVISIONING, reterr);
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_REPAIR, event_of(v), "%s '%s' is made again: %s",
                              p->row.type, p->row.name ? p->row.name : p->row.key, why);
        return r;
}

/* What is built on it may go on with the one that is no more. */
int resource_made_again(View *v, const Part *p, Error *reterr) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < v->n_parts; i++) {
                Part *other = v->parts[i];
                GraphNode *node;

                if (other == p || other->row.state != RES_READY ||
                    (p->row.generation != 0 && other->row.generation != p->row.generation))
                        continue;
                r = view_node(v, other, &node, reterr);
                if (r < 0 || !strv_contains(node->depends, p->row.key))
                        continue;
                other->row.inspect = true;
                r = part_save(v, other, reterr);
        }
        return r;
}

/* ---- removal ---- */

int removal_looked(Engine *e, const Call *inspection) {
        int64_t *at = malloc(sizeof(*at));

        if (!at)
                return -ENOMEM;
        *at = inspection->replied_boot_ms;
        if (map_put(e->looked, inspection->uid, at) < 0) {
                free(at);
                return -ENOMEM;
        }
        return 0;
}

/* Each removal sees the live thing first: what the ledger knows of it may be a month old, or a copy that
 * was put back. The provider looks once more itself, and has the last word. */
static bool looked_just_now(const Engine *e, const char *uid) {
        const int64_t *at = map_get(e->looked, uid);

        return at && e->boot_ms - *at <= LIMIT_LOOKED_MS;
}

/* Children first: true while something living was built on this one. */
bool resource_needed_by(View *v, const Part *p) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *other = v->parts[i];
                GraphNode *node;

                if (other == p || !part_alive(other) ||
                    (p->row.generation != 0 && other->row.generation != p->row.generation))
                        continue;
                if (view_node(v, other, &node, NULL) == 0 &&
                    strv_contains(node->depends, p->row.key))
                        return true;
        }
        return false;
}

static int remove_begin(View *v, Part *p, Error *reterr) {
        Generation *g = view_generation(v, p->row.generation);
        bool served = g && g->ready_ms > 0 && p->row.state == RES_READY && p->row.type &&
                      streq(p->row.type, "workload") && v->env.state != ENV_DELETING;
        int r;

        if (!p->row.touched) {
                p->row.removed_ms = v->e->now_ms;
                p->row.retry_ms = 0;
                return part_move(v, p, RES_REMOVED, reterr);
        }
        p->row.tries = 0;
        p->row.emptied = false;
        /* Requests that the old generation still answers get a moment to end. */
        p->row.retry_ms = served ? time_add(v->e->now_ms, LIMIT_DRAIN_MS) : 0;
        map_remove(v->e->sound, p->row.uid);
        r = str_replace(&p->row.cause, NULL);
        if (r == 0)
                r = str_replace(&p->row.cause_class, NULL);
        return r == 0 ? part_move(v, p, RES_REMOVING, reterr) : r;
}

int resource_remove(View *v, Part *p, Error *reterr) {
        Call *c = view_call(v, p);
        int64_t generation = p->row.generation ? p->row.generation : v->env.wanted_generation;
        int r;

        if (c) {
                if (!streq(c->verb, "deprovision") && !streq(c->verb, "inspect"))
                        call_cancel(v->e, c);
                return 0;
        }
        if (p->row.state == RES_STUCK) {
                if (p->row.retry_ms > v->e->now_ms)
                        return 0;
                /* once more; the next failure parks it again */
                p->row.tries = LIMIT_TRANSIENT_TRIES - 1;
                p->row.retry_ms = 0;
                r = part_move(v, p, RES_REMOVING, reterr);
                if (r < 0)
                        return r;
        } else if (p->row.state != RES_REMOVING) {
                r = remove_begin(v, p, reterr);
                if (r < 0 || !part_alive(p))
                        return r;
        }
        if (p->row.emptied || p->row.inspect || !looked_just_now(v->e, p->row.uid))
                return resource_inspect(v, p, reterr);
        r = call_resource(v, p, &(CallWish){ .verb = "deprovision", .generation = generation },
                          reterr);
        if (r <= 0)
                return r;
        map_remove(v->e->looked, p->row.uid);
        r = receipt_note_attempt(v, p, reterr);
        return r == 0 ? part_save(v, p, reterr) : r;
}

static bool part_wanted(View *v, const Part *p) {
        Generation *under_way = view_under_way(v);

        if (v->env.state == ENV_DELETING)
                return false;
        return p->row.generation == 0 || p->row.generation == v->env.live_generation ||
               (under_way && under_way->number == p->row.generation);
}

/* In a graph something is always free to go. Rows of different generations of a file can, by ill luck,
 * wait for each other in a ring; then order gives way to ending. */
static bool order_holds(View *v) {
        bool any = false;

        for (size_t i = 0; i < v->n_parts; i++) {
                if (!part_alive(v->parts[i]) || part_wanted(v, v->parts[i]))
                        continue;
                any = true;
                if (!resource_needed_by(v, v->parts[i]))
                        return true;
        }
        return !any;
}

/* What belongs to generations goes before what they shared; one of them that is stuck holds only what it
 * is built on. */
static bool environment_first_generations(View *v, const Part *p) {
        if (p->row.generation != 0)
                return false;
        for (size_t i = 0; i < v->n_parts; i++)
                if (part_alive(v->parts[i]) && v->parts[i]->row.generation != 0 &&
                    v->parts[i]->row.state != RES_STUCK)
                        return true;
        return false;
}

int removal_step(View *v, Error *reterr) {
        bool order;

        if (frozen_by_person(v->e))
                return 0; /* the release looks at all of them */
        order = order_holds(v);
        if (v->e->unwell_until_ms > v->e->now_ms) {
                for (size_t i = 0; i < v->n_parts; i++)
                        if (part_alive(v->parts[i]) && !part_wanted(v, v->parts[i])) {
                                look_again_at(v->look, v->e->unwell_until_ms);
                                break;
                        }
                return 0;
        }
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                bool waits;
                int r;

                if (!part_alive(p) || part_wanted(v, p))
                        continue;
                waits = environment_first_generations(v, p) || (order && resource_needed_by(v, p));
                /* What waits is still told to stop what it is doing. */
                if (waits && !view_call(v, p))
                        continue;
                r = resource_remove(v, p, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}
