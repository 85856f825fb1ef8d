/* Providers whose readings are behind what they did: for a while a list has not what was just made, and still
 * has what was just removed; an inspection cannot say whether the one is there ("uncertain": the protocol's
 * word for it) and still shows the other. What they do, they do at once. */
#include <stdlib.h>

#include "tests/sim/sim.h"

typedef struct Faded {
        char *uid, *marker, *type, *provider;
        int64_t removed_ms;
} Faded;

static void faded_free(void *p) {
        Faded *f = p;

        if (!f)
                return;
        free(f->uid);
        free(f->marker);
        free(f->type);
        free(f->provider);
        free(f);
}

void stale_set_up(Sim *s) {
        static const int64_t behind_ms[] = { 0, 90 * MS_PER_SECOND, 10 * MS_PER_MINUTE,
                                             30 * MS_PER_MINUTE };

        s->faded = map_new(faded_free);
        assert(s->faded);
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
        Faded *f;

        if (s->behind_ms == 0)
                return;
        f = calloc(1, sizeof(Faded));
        assert(f);
        *f = (Faded){ .uid = strdup(t->uid),
                      .marker = strdup(t->marker),
                      .type = strdup(t->type),
                      .provider = strdup(t->provider),
                      .removed_ms = s->true_ms };
        assert(map_put(s->faded, t->uid, f) == 0);
}

bool stale_hides(Sim *s, const Thing *t) {
        return s->behind_ms > 0 && is_behind(s, t->made_ms);
}

const char *stale_shows(Sim *s, const char *uid) {
        const Faded *f = map_get(s->faded, uid);

        return f && is_behind(s, f->removed_ms) ? f->marker : NULL;
}

void stale_list(Sim *s, const Work *w, void (*item)(Sim *s, const Work *w, json_t *taken)) {
        size_t at = 0;
        Faded *f;

        while ((f = map_next(s->faded, &at, NULL)))
                if (streq(f->provider, w->provider) && is_behind(s, f->removed_ms))
                        item(s, w,
                             json_pack("{s:s, s:s, s:s, s:s, s:s}", "uid", f->uid, "marker",
                                       f->marker, "type", f->type, "present", "present", "level",
                                       "awake"));
}
