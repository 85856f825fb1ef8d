/* Sleep, wake and repair of what is live.
 *
 * Falling asleep: the route says "asleep" in the same commit as the first intent, so a visitor is held
 * at the door before anything stops. Waking: the network first when it was not proved since the start
 * (a reboot takes namespaces away), then the workloads in order; the route says "direct" when all are
 * ready. A resource that the world lost is made again, a bounded number of times. */
#include "orchestrator/engine/private.h"

#define VISIT_EVERY_MS (60 * 1000)

static bool is_workload(const Part *p) {
        return streq(p->row.type, "workload");
}

static bool is_live(View *v, const Part *p) {
        return p->row.generation == v->env.live_generation && part_alive(p);
}

static int level_move(View *v, EnvLevel to, EventKind kind, const char *text, Error *reterr) {
        int r = ledger_environment_move_level(v->e->ledger, &v->env, to, reterr);

        if (r < 0)
                return r;
        v->again = true;
        return event_add(v->e, kind, event_of(v), "%s %s", v->env.label, text);
}

int level_visit(View *v, Error *reterr) {
        if (!v->look->visited)
                return 0;
        v->look->visited = false;
        v->look->visit_taken = true;
        if (v->env.level != LEVEL_AWAKE && v->env.state == ENV_READY && !v->env.wake_wanted) {
                v->env.wake_wanted = true;
                v->changed = true;
        }
        /* One write a minute at most: the front knows the exact time and is asked when it matters. */
        if (v->e->now_ms - v->env.used_ms >= VISIT_EVERY_MS || v->env.wake_wanted) {
                v->env.used_ms = v->e->now_ms;
                v->changed = true;
        }
        return 0;
}

/* ---- what was lost ---- */

static bool part_troubled(const Part *p) {
        return p->row.inspect || (p->row.state != RES_READY && p->row.state != RES_ASLEEP);
}

/* A shared resource counts when the live graph has it; one that only a failed generation wanted waits
 * for the next one. */
int level_counts(View *v, const Part *p, bool *ret, Error *reterr) {
        Graph *graph = NULL;
        int r = 0;

        *ret = is_live(v, p);
        if (*ret || p->row.generation != 0 || !part_alive(p))
                return 0;
        r = view_graph(v, v->env.live_generation, &graph, reterr);
        *ret = r == 0 && graph && graph_find(graph, p->row.key);
        return r;
}

/* What it is built on has failed: so has it, until both are tried again. */
static int fail_with(View *v, Part *p, const Part *on, Error *reterr) {
        int r;

        free(p->row.cause);
        p->row.cause = str_format("%s '%s' has failed: %s", on->row.type,
                                  on->row.name ? on->row.name : on->row.key,
                                  on->row.cause ? on->row.cause : "no cause noted");
        if (!p->row.cause)
                return -ENOMEM;
        p->row.retry_ms = time_add(v->e->now_ms, LIMIT_STUCK_RETRY_MS);
        r = part_move(v, p, RES_FAILED, reterr);
        if (r < 0)
                return r;
        return event_add(v->e, EVENT_RESOURCE_FAILED, event_of(v),
                         "%s '%s' cannot be made again: %s", p->row.type,
                         p->row.name ? p->row.name : p->row.key, p->row.cause);
}

static Part *failed_below(View *v, Part *p) {
        GraphNode *node;

        if (p->row.generation == 0 || view_node(v, p, &node, NULL) < 0)
                return NULL;
        for (char *const *key = node->depends; key && *key; key++) {
                Part *on = view_find(v, *key, v->env.live_generation);

                if (on && on->row.state == RES_FAILED)
                        return on;
        }
        return NULL;
}

static int repair_part(View *v, Part *p, Error *reterr) {
        Generation *under_way = view_under_way(v);

        if (view_call(v, p))
                return 0;
        switch (p->row.state) {
        case RES_READY:
                return p->row.inspect ? resource_inspect(v, p, reterr) : 0;
        case RES_PROVISIONING:
                /* A shared one is being brought to what the generation under way asks for. */
                if (p->row.generation == 0 && under_way && under_way->state == GEN_PROVISIONING)
                        return 0;
                if (failed_below(v, p))
                        return fail_with(v, p, failed_below(v, p), reterr);
                return resource_provision(v, p, NULL, v->env.live_generation, reterr);
        case RES_FAILED:
                if (p->row.retry_ms == 0 || p->row.retry_ms > v->e->now_ms ||
                    (p->row.generation == 0 && under_way && under_way->state == GEN_PROVISIONING))
                        return 0;
                p->row.tries = LIMIT_TRANSIENT_TRIES - 1;
                p->row.retry_ms = 0;
                if (is_workload(p) && v->env.level == LEVEL_STOPPED) {
                        v->env.wake_wanted = true; /* it comes up running, so the others must too */
                        v->changed = true;
                }
                return part_move(v, p, RES_PROVISIONING, reterr);
        default:
                return 0;
        }
}

static int repair_step(View *v, Error *reterr) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                bool counts;
                int r;

                if (!part_alive(p) || !part_troubled(p))
                        continue;
                r = level_counts(v, p, &counts, reterr);
                if (r == 0 && counts)
                        r = repair_part(v, p, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- falling asleep ---- */

static int fall_begin(View *v, Error *reterr) {
        v->env.sleep_wanted = false;
        v->changed = true;
        if (view_under_way(v))
                return 0; /* what is being built would wake it at once */
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                int r;

                if (!is_live(v, p) || !is_workload(p) || p->row.state != RES_READY ||
                    !p->row.cause || view_call(v, p))
                        continue;
                free(TAKE(p->row.cause)); /* of another time: refused_sleep() means this one */
                p->row.tries = 0;
                r = part_save(v, p, reterr);
                if (r < 0)
                        return r;
        }
        return level_move(v, LEVEL_FALLING, EVENT_ENVIRONMENT_FALLING, "falls asleep", reterr);
}

static int fall_part(View *v, Part *p, bool *ret_down, Error *reterr) {
        int r;

        *ret_down = p->row.state == RES_ASLEEP || p->row.state == RES_FAILED;
        if (view_call(v, p) || *ret_down)
                return 0;
        if (p->row.state != RES_READY && p->row.state != RES_FALLING)
                return 0; /* being repaired: first that, then sleep */
        if (p->row.inspect)
                return resource_inspect(v, p, reterr);
        r = call_resource(
                v, p, &(CallWish){ .verb = "sleep", .generation = v->env.live_generation }, reterr);
        if (r <= 0)
                return r;
        return p->row.state == RES_FALLING ? part_save(v, p, reterr)
                                           : part_move(v, p, RES_FALLING, reterr);
}

/* After a try that ended for good the row is ready again and keeps its cause. */
static bool refused_sleep(const Part *p) {
        return p->row.state == RES_READY && p->row.cause != NULL;
}

static bool any_refused(View *v) {
        for (size_t i = 0; i < v->n_parts; i++)
                if (is_live(v, v->parts[i]) && is_workload(v->parts[i]) &&
                    refused_sleep(v->parts[i]) && !view_call(v, v->parts[i]))
                        return true;
        return false;
}

static int fall_step(View *v, Error *reterr) {
        bool down = true, refused = any_refused(v), one;
        int r;

        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];

                if (!is_live(v, p) || !is_workload(p))
                        continue;
                if (refused && p->row.state == RES_READY) {
                        down = down && !view_call(v, p);
                        continue;
                }
                r = fall_part(v, p, &one, reterr);
                if (r < 0)
                        return r;
                down = down && one;
        }
        if (!down)
                return 0;
        if (refused) { /* the others come back up beside it, and the idle clock starts again */
                v->env.used_ms = v->e->now_ms;
                v->changed = true;
                return level_move(v, LEVEL_WAKING, EVENT_ENVIRONMENT_WAKING,
                                  "could not fall asleep and stays awake", reterr);
        }
        if (v->env.asleep_ms == 0) /* one that could not be woken has slept all the time */
                v->env.asleep_ms = v->e->now_ms;
        v->changed = true;
        return level_move(v, LEVEL_STOPPED, EVENT_ENVIRONMENT_STOPPED, "is asleep", reterr);
}

/* ---- waking ---- */

/* The order among workloads: one that needs another, also by way of what lies between them, waits. The
 * answer is kept for the step: in layers of services there are more ways than anybody can walk. One that
 * is asked about while it is being asked stands in a ring and holds nobody. */
static bool waits_for_sleeper(View *v, Part *p) {
        GraphNode *node;

        if (p->order != ORDER_UNKNOWN)
                return p->order == ORDER_WAITS;
        p->order = ORDER_ASKED;
        if (view_node(v, p, &node, NULL) < 0)
                return false;
        for (char *const *key = node->depends; key && *key && p->order != ORDER_WAITS; key++) {
                Part *on = view_find(v, *key, v->env.live_generation);

                if (on && on != p &&
                    ((is_workload(on) && on->row.state != RES_READY) || waits_for_sleeper(v, on)))
                        p->order = ORDER_WAITS;
        }
        if (p->order == ORDER_ASKED)
                p->order = ORDER_FREE;
        return p->order == ORDER_WAITS;
}

static bool network_sound(View *v, Part *p) {
        return p->row.state == RES_READY && !p->row.inspect && map_get(v->e->sound, p->row.uid);
}

static int wake_network(View *v, Part *p, Error *reterr) {
        if (view_call(v, p) || p->row.state != RES_READY || network_sound(v, p))
                return 0;
        p->row.inspect = false; /* to provision is to look and to make */
        return resource_provision(v, p, NULL, v->env.live_generation, reterr);
}

static int wake_workload(View *v, Part *p, Error *reterr) {
        bool asleep = p->row.state == RES_ASLEEP;
        int r;

        if (view_call(v, p) || (!asleep && p->row.state != RES_WAKING) || waits_for_sleeper(v, p))
                return 0;
        for (size_t i = 0; i < v->n_parts; i++)
                if (is_live(v, v->parts[i]) && streq(v->parts[i]->row.type, "network") &&
                    !network_sound(v, v->parts[i]))
                        return 0;
        if (asleep)
                p->row.tries = 0;
        r = call_resource(v, p,
                          &(CallWish){ .verb = p->row.inspect ? "inspect" : "wake",
                                       .generation = v->env.live_generation },
                          reterr);
        if (r <= 0)
                return r;
        return asleep ? part_move(v, p, RES_WAKING, reterr) : part_save(v, p, reterr);
}

/* What had begun to wake and cannot go on lies down again; how far it came is looked at next time. */
static int sleep_again(View *v, Error *reterr) {
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                int r;

                if (!is_live(v, p) || p->row.state != RES_WAKING)
                        continue;
                p->row.inspect = true;
                p->row.retry_ms = 0;
                r = part_move(v, p, RES_ASLEEP, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int wake_done(View *v, bool failed, Error *reterr) {
        v->env.wake_wanted = false;
        v->changed = true;
        if (failed) {
                int r = sleep_again(v, reterr);

                if (r < 0)
                        return r;
                if (!any_refused(v))
                        return level_move(v, LEVEL_FALLING, EVENT_ENVIRONMENT_FALLING,
                                          "could not be woken and falls asleep again", reterr);
        }
        v->env.used_ms = v->e->now_ms;
        v->env.asleep_ms = 0;
        return level_move(v, LEVEL_AWAKE, EVENT_ENVIRONMENT_AWAKE,
                          failed ? "could neither be woken whole nor put to sleep, and stays awake"
                                 : "is awake",
                          reterr);
}

/* What was left asleep beside one that had failed wakes when that is well again. */
static bool sleepers_may_wake(View *v) {
        bool any = false;

        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];

                if (!is_live(v, p) || !is_workload(p))
                        continue;
                if (p->row.state != RES_READY && p->row.state != RES_ASLEEP)
                        return false;
                any = any || p->row.state == RES_ASLEEP;
        }
        return any;
}

static int wake_step(View *v, Error *reterr) {
        bool all = true, failed = false, busy = false;

        for (size_t i = 0; i < v->n_parts; i++)
                v->parts[i]->order = ORDER_UNKNOWN;
        for (size_t i = 0; i < v->n_parts; i++) {
                Part *p = v->parts[i];
                int r = 0;

                if (!is_live(v, p))
                        continue;
                if (streq(p->row.type, "network"))
                        r = wake_network(v, p, reterr);
                else if (is_workload(p))
                        r = wake_workload(v, p, reterr);
                if (r < 0)
                        return r;
                failed = failed || p->row.state == RES_FAILED;
                busy = busy || view_call(v, p);
                if (is_workload(p))
                        all = all && p->row.state == RES_READY && !p->row.inspect;
        }
        if (all)
                return wake_done(v, false, reterr);
        return failed && !busy ? wake_done(v, true, reterr) : 0;
}

int level_step(View *v, Error *reterr) {
        int r;

        if (v->env.live_generation == 0)
                return 0;
        r = repair_step(v, reterr);
        if (r < 0)
                return r;
        switch (v->env.level) {
        case LEVEL_AWAKE:
                if (v->env.wake_wanted) {
                        v->env.wake_wanted = false;
                        v->changed = true;
                }
                if (v->env.sleep_wanted)
                        return fall_begin(v, reterr);
                return sleepers_may_wake(v) ? level_move(v, LEVEL_WAKING, EVENT_ENVIRONMENT_WAKING,
                                                         "wakes what was left asleep", reterr)
                                            : 0;
        case LEVEL_FALLING:
                return fall_step(v, reterr);
        case LEVEL_STOPPED:
                if (v->env.sleep_wanted) {
                        v->env.sleep_wanted = false;
                        v->changed = true;
                }
                if (!v->env.wake_wanted)
                        return 0;
                return level_move(v, LEVEL_WAKING, EVENT_ENVIRONMENT_WAKING, "wakes", reterr);
        default:
                return wake_step(v, reterr);
        }
}
