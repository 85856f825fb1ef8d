/* The forge: what its branches are at, the triggers that tell of it (lost, late, repeated, in another
 * order) and the listings (stale, partial, empty, or said to be complete and not). */
#include <stdio.h>

#include "orchestrator/base/limits.h"
#include "tests/sim/sim.h"

/* A branch that nobody ever pushes, so that no list is empty by right. */
#define TRUNK        "trunk"
#define TRUNK_COMMIT "0000000000000000000000000000000000000000"

/* ---- triggers ---- */

static void deliver(Sim *s, const Trigger *t) {
        auto_cleanup(freep) char *id = NULL;
        Promise p = promised(s, t->branch);
        const char *commit = *t->commit ? t->commit : NULL;
        auto_error error = { 0 };
        int r;

        s->forge.delivered[s->forge.n_delivered++ % N_TRIGGERS] = *t;
        r = engine_push(s->engine, &people_actor, "shop", people_branch(t->branch), commit, &id,
                        &error);
        sim_say(s, "%s %s %.12s: %s", commit ? "push" : "close", people_branch(t->branch),
                t->commit,
                r < 0 ? error_text(&error, r)
                : id  ? id
                      : "nothing there");
        if (r < 0)
                return;
        if (commit) {
                s->count.pushes++;
                p = (Promise){ 0 };
                snprintf(p.commit, sizeof(p.commit), "%s", commit);
        } else
                p.closed = true;
        acknowledge_branch(s, commit ? ACK_PUSH : ACK_CLOSE, t->branch, p);
}

static void trigger(Sim *s, unsigned branch) {
        Trigger t = { .branch = branch };

        memcpy(t.commit, s->forge.commit[branch], sizeof(t.commit));
        if (sim_trouble(s, 8))
                sim_say(s, "a trigger of %s is lost", people_branch(branch));
        else if (sim_trouble(s, 12) && s->forge.n_late < N_TRIGGERS)
                s->forge.late[s->forge.n_late++] = t;
        else
                deliver(s, &t);
}

void forge_deliver_late(Sim *s) {
        unsigned n = s->forge.n_late, pick;
        Trigger t;

        if (n == 0)
                return;
        pick = sim_below(s, n); /* in any order */
        t = s->forge.late[pick];
        s->forge.late[pick] = s->forge.late[n - 1];
        s->forge.n_late--;
        deliver(s, &t);
}

void forge_deliver_again(Sim *s) {
        unsigned n = s->forge.n_delivered < N_TRIGGERS ? s->forge.n_delivered : N_TRIGGERS;

        if (n > 0 && !s->kind_step) {
                Trigger t = s->forge.delivered[sim_below(s, n)];

                deliver(s, &t);
        }
}

/* ---- people push ---- */

static void remember(Sim *s) {
        if (!sim_percent(s, 30))
                return;
        memcpy(s->forge.stale, s->forge.commit, sizeof(s->forge.stale));
        s->forge.stale_ms = engine_now_ms(s->engine);
}

static void commit_new(Sim *s, unsigned branch, unsigned files) {
        snprintf(s->forge.commit[branch], sizeof(s->forge.commit[branch]), "%02u%038x", files,
                 ++s->forge.n_commits);
}

void forge_push_files(Sim *s, unsigned branch, unsigned files) {
        commit_new(s, branch, files);
        trigger(s, branch);
}

void forge_push(Sim *s, unsigned branch) {
        char *commit = s->forge.commit[branch], *earlier = s->forge.earlier[branch];
        const char *closed = s->forge.closed[branch];
        unsigned variant = sim_below(s, N_FILES), what = sim_below(s, 100);
        char before[48];

        remember(s);
        if (!*commit && *closed && what < 30) { /* opened again as it was */
                memcpy(commit, closed, sizeof(before));
                trigger(s, branch);
                return;
        }
        if (*commit && what < 15) { /* the same again */
                trigger(s, branch);
                return;
        }
        memcpy(before, commit, sizeof(before));
        if (*earlier && what < 25) /* a force-push back */
                memcpy(commit, earlier, sizeof(before));
        else /* the richest files more often */
                commit_new(s, branch, what < 50 ? 2 : variant);
        if (*before)
                memcpy(earlier, before, sizeof(before));
        trigger(s, branch);
}

void forge_close(Sim *s, unsigned branch) {
        remember(s);
        if (*s->forge.commit[branch])
                memcpy(s->forge.closed[branch], s->forge.commit[branch],
                       sizeof(s->forge.commit[branch]));
        s->forge.commit[branch][0] = 0;
        trigger(s, branch);
}

/* ---- listings ---- */

typedef struct Listing {
        bool complete, stale, empty;
        unsigned missing; /* branch; N_BRANCHES: none */
} Listing;

static json_t *listing(Sim *s, const Listing *l) {
        json_t *list = json_pack("[{s:s, s:s}]", "name", TRUNK, "commit", TRUNK_COMMIT);

        for (unsigned i = 0; i < N_BRANCHES; i++) {
                const char *commit = l->stale ? s->forge.stale[i] : s->forge.commit[i];

                if (*commit && i != l->missing)
                        json_array_append_new(list, json_pack("{s:s, s:s}", "name",
                                                              people_branch(i), "commit", commit));
        }
        if (l->empty)
                json_array_clear(list);
        return list;
}

static bool contains(const json_t *list, const char *name) {
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) list, i, item)
                if (streq(json_string_value(item), name))
                        return true;
        return false;
}

static const char *listed(const json_t *list, const char *name) {
        json_t *item;
        size_t i;

        json_array_foreach((json_t *) list, i, item)
                if (streq(world_text(item, "name"), name))
                        return world_text(item, "commit");
        return NULL;
}

/* "A list that took a while says nothing about branches that were pushed since." */
static void check_older_list(Sim *s, unsigned branch, const json_t *report) {
        if (contains(json_object_get(report, "closed"), people_branch(branch)) ||
            contains(json_object_get(report, "pushed"), people_branch(branch)))
                sim_violation(s, "a list says nothing of what came since", "%s",
                              people_branch(branch));
}

static void compare(Sim *s, const Listing *l) {
        json_auto_t *list = listing(s, l), *report = NULL;
        int64_t now = engine_now_ms(s->engine);
        bool begun =
                l->stale && s->forge.stale_ms > 0 && s->forge.stale_ms > now - LIMIT_COMPARE_MS;
        int r = begun ? engine_compare_begun(s->engine, &people_actor, "shop", list, l->complete,
                                             s->forge.stale_ms, &report, NULL)
                      : engine_compare(s->engine, &people_actor, "shop", list, l->complete, &report,
                                       NULL);

        sim_say(s, "compare %zu branches, complete %d, stale %d: %d", json_array_size(list),
                l->complete, l->stale, r);
        if (r < 0)
                return;
        if ((!l->complete || l->empty) && json_array_size(json_object_get(report, "closed")) > 0)
                sim_violation(s, "nothing is closed on a partial or empty list", "%zu branches",
                              json_array_size(list));
        for (unsigned i = 0; i < N_BRANCHES; i++) {
                const char *commit = listed(list, people_branch(i));
                Promise p = promised(s, i);

                if (begun && s->forge.pushed_ms[i] > s->forge.stale_ms)
                        check_older_list(s, i, report);
                if (contains(json_object_get(report, "closed"), people_branch(i))) {
                        if (commit)
                                sim_violation(s, "nothing is closed on a partial or empty list",
                                              "%s is in the list", people_branch(i));
                        p.closed = true;
                        acknowledge_branch(s, ACK_CLOSE, i, p);
                } else if (commit &&
                           contains(json_object_get(report, "pushed"), people_branch(i))) {
                        p = (Promise){ 0 };
                        snprintf(p.commit, sizeof(p.commit), "%s", commit);
                        acknowledge_branch(s, ACK_PUSH, i, p);
                }
        }
}

void forge_compare(Sim *s) {
        unsigned missing = sim_below(s, N_BRANCHES);
        Listing l = { .complete = !sim_trouble(s, 20),
                      .stale = sim_trouble(s, 15),
                      .empty = sim_trouble(s, 10),
                      .missing = N_BRANCHES };

        if (sim_trouble(s, 20))
                l.missing = missing;
        compare(s, &l);
}

void forge_set_up(Sim *s) {
        compare(s, &(Listing){ .complete = true, .missing = N_BRANCHES });
}

/* What is late arrives. Then listings, more than one, because the first may be no newer than a push; and
 * apart, because trusted time stands still for a while after a step back within the tolerance. */
void forge_catch_up(Sim *s) {
        while (s->forge.n_late > 0) {
                forge_deliver_late(s);
                sim_turns(s);
        }
        for (unsigned i = 0; i < 3; i++) {
                sim_advance(s, LIMIT_CLOCK_STEP_MS + MS_PER_MINUTE);
                compare(s, &(Listing){ .complete = true, .missing = N_BRANCHES });
                sim_turns(s);
        }
}
