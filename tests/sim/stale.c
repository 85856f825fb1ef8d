/* Providers whose readings are behind what they did: for a while a list has not what was just made, and still
 * has what was just removed; an inspection cannot say whether the one is there ("uncertain": the protocol's
 * word for it) and still shows the other. What they do, they do at once. */
#include <stdlib.h>

#include "tests/sim/sim.h"

void stale_set_up(Sim *s) {
        static const int64_t behind_ms[] = { 0, 90 * MS_PER_SECOND, 10 * MS_PER_MINUTE,
                                             30 * MS_PER_MINUTE };

        s->faded = world_things();
        if (s->seed >= STALE_SEEDS)
                s->behind_ms = behind_ms[s->seed / 4 % N_ELEMENTS(behind_ms)];
}

void stale_done(Sim *s) {
        map_free(s->faded);
}

static bool is_behind(Sim *s, int64_t since_ms) {
        bool behind = !s->quiet_world && s->true_ms - since_ms < s->behind_ms;

        s->count.stale += behind;
        return behind;
}

void stale_made(Sim *s, Thing *t) {
        t->made_ms = s->true_ms;
        (void) map_remove(s->faded, t->uid); /* it need not have been there */
}

void stale_removed(Sim *s, const Thing *t) {
        Thing *f;

        if (s->behind_ms == 0)
                return;
        f = calloc(1, sizeof(Thing));
        assert(f);
        *f = (Thing){ .uid = strdup(t->uid),
                      .marker = strdup(t->marker),
                      .type = strdup(t->type),
                      .provider = strdup(t->provider),
                      .awake = true,
                      .removed_ms = s->true_ms };
        assert(map_put(s->faded, t->uid, f) == 0);
}

bool stale_hides(Sim *s, const Thing *t) {
        return is_behind(s, t->made_ms);
}

const char *stale_shows(Sim *s, const char *uid) {
        const Thing *f = map_get(s->faded, uid);

        return f && is_behind(s, f->removed_ms) ? f->marker : NULL;
}

const Thing *stale_next(Sim *s, size_t *at) {
        Thing *f;

        while ((f = map_next(s->faded, at, NULL)))
                if (is_behind(s, f->removed_ms))
                        return f;
        return NULL;
}
