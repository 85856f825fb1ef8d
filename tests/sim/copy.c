/* An old copy of the database is put back while the world has moved on. The ledger must notice, and hold
 * everything destructive until an admin has renewed what must stay and released it; then every deadline has
 * moved by what was lost. */
#include <stdlib.h>

#include "tests/sim/sim.h"

typedef struct CopyFacts {
        Promise promises[N_BRANCHES];
        int64_t newest, time_ms; /* its newest event */
        int64_t from_ms;         /* the same in promised time */
        Map *leases;
        int64_t shift_ms;
        Moves moves;
        bool held;
} CopyFacts;

static int64_t newest_event(Sim *s) {
        int64_t number = 0;

        assert(ledger_event_before_last(s->ledger, NULL, 0, &number, NULL) == 0);
        return number;
}

void copy_free(Sim *s) {
        s->copy = store_free(s->copy);
        if (s->copy_facts)
                map_free(s->copy_facts->leases);
        free(s->copy_facts);
        s->copy_facts = NULL;
}

void copy_take(Sim *s) {
        sim_turns(s);
        /* Not while the clock is wrong; not with a turn that failed: what it holds is not committed. */
        if (s->wall_ms != s->true_ms || ledger_is_open(s->ledger) || s->acknowledgements)
                return;
        copy_free(s);
        s->copy = store_copy(s->store);
        s->copy_facts = calloc(1, sizeof(CopyFacts));
        assert(s->copy_facts);
        memcpy(s->copy_facts->promises, s->promises, sizeof(s->promises));
        s->copy_facts->leases = leases_copy(s->leases);
        s->copy_facts->moves = s->moves;
        s->copy_facts->shift_ms = s->shift_ms;
        s->copy_facts->held = s->held;
        s->copy_facts->newest = newest_event(s);
        assert(ledger_event_last_ms(s->ledger, &s->copy_facts->time_ms, NULL) == 0);
        s->copy_facts->from_ms = sim_now(s) - (engine_now_ms(s->engine) - s->copy_facts->time_ms);
        sim_say(s, "a copy of the database is taken, %lld events",
                (long long) s->copy_facts->newest);
}

/* How long each environment's lease had to go, by the copy itself. */
static int note_left(void *userdata, const Environment *env) {
        Sim *s = userdata;
        json_auto_t *why = NULL;
        json_t *clock;
        size_t i;

        if (env->state == ENV_DELETING || env->state == ENV_GONE)
                return 0;
        assert(engine_why(s->engine, env->id, &why, NULL) == 0);
        json_array_foreach(json_object_get(why, "clocks"), i, clock) {
                auto_cleanup(freep) char *key =
                        str_format("%s/%s", env->id, world_text(clock, "name"));
                int64_t *left = calloc(1, sizeof(int64_t));

                assert(left);
                if (json_is_true(json_object_get(clock, "running")))
                        *left = json_integer_value(json_object_get(clock, "due_ms")) -
                                s->copy_facts->time_ms;
                assert(map_put(s->left_ms, key, left) == 0);
        }
        return 0;
}

/* What was seen in the ledger before does not bind this one. */
static void facts_back(Sim *s, bool older) {
        const CopyFacts *f = s->copy_facts;

        if (!older)
                return;
        memcpy(s->promises, f->promises, sizeof(s->promises));
        leases_lose(s, leases_copy(f->leases));
        s->moves = f->moves;
        s->moved_unsure = s->moved_unsure || f->held;
        s->shift_ms = f->shift_ms;
        s->held_from_ms = f->from_ms;
        s->base_unsure = s->base_unsure || s->base_ms != 0 || s->accepted_ms != 0;
        s->held = s->frozen = true;
        s->stepped = false;
        receipt_forget(s, true);
        check_forget(s);
}

void copy_put_back(Sim *s) {
        int64_t newest;
        bool kind, older;

        sim_turns(s);
        if (!s->copy || ledger_is_open(s->ledger))
                return;
        newest = newest_event(s);
        older = s->copy_facts->newest < newest;
        sim_say(s, "an old copy of the database is put back: %lld of %lld events",
                (long long) s->copy_facts->newest, (long long) newest);
        sim_stop(s, false); /* the admin stops the daemon for it, and looks at the clock */
        s->wall_ms = s->true_ms;
        s->step_ms = 0;
        world_crash(s);
        store_put(s->store, s->copy);
        s->count.put_back++;
        map_free(s->left_ms);
        s->left_ms = map_new(free);
        s->released_true_ms = 0;
        facts_back(s, older);
        sim_start(s);
        if (older && !ledger_held(s->ledger))
                sim_violation(s, "an older database is recognised and held", "%lld events are lost",
                              (long long) (newest - s->copy_facts->newest));
        if (!older && ledger_held(s->ledger)) { /* it was started in between, and that is seen */
                s->held = s->frozen = true;
                s->held_from_ms = s->copy_facts->from_ms;
                s->moved_unsure = s->moved_unsure || s->copy_facts->held;
        }
        world_orphan_all(s);
        if (older)
                orphans_put_back(s);
        kind = s->kind_step;
        s->kind_step = true; /* the front tells of no visits that would move a clock */
        assert(ledger_environment_each(s->ledger, NULL, true, note_left, s, NULL) == 0);
        s->kind_step = kind;
        check_everything(s);
}
