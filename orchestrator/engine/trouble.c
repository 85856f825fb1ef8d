/* What a failure means for its resource, by class (design, section 4): again, later, or not at all. */
#include "orchestrator/base/limits.h"
#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

static const struct {
        bool final;       /* trying again would not help */
        bool attempt;     /* counts */
        bool inspect;     /* the world is not as thought: look before anything else */
        int64_t delay_ms; /* the first delay; 0: grows with the attempts */
        int64_t most_ms,
                patience_ms; /* doubled up to the first of them; no attempt till the second */
} classes[_PROVIDER_CLASS_MAX] = {
        [PROVIDER_INVALID] = { .final = true },
        [PROVIDER_DENIED] = { .final = true },
        [PROVIDER_GONE] = { .attempt = true, .inspect = true },
        [PROVIDER_CONFLICT] = { .attempt = true, .inspect = true },
        [PROVIDER_DEPENDENCY] = { .delay_ms = 2000,
                                  .most_ms = 30 * 1000,
                                  .patience_ms = LIMIT_DEPENDENCY_MS },
        [PROVIDER_THROTTLED] = { .delay_ms = 5000,
                                 .most_ms = LIMIT_SLOW_MS,
                                 .patience_ms = LIMIT_THROTTLED_MS },
        [PROVIDER_TRANSIENT] = { .attempt = true },
        [PROVIDER_UNRECOVERABLE] = { .final = true },
};

const char *part_title(const Part *p) {
        return p->row.name ? p->row.name : p->row.key;
}

/* 10 s x 2^n, half of it by chance, so that many that failed together do not come back together. */
static int64_t backoff(Engine *e, int64_t tries) {
        int64_t delay = LIMIT_TRANSIENT_FIRST_MS;

        for (int64_t i = 1; i < tries && i < LIMIT_TRANSIENT_TRIES; i++)
                delay *= 2;
        return delay / 2 + (int64_t) random_below(e->setup.random, (uint64_t) delay / 2 + 1);
}

/* Since when a resource has been waiting for what is not its own trouble (a dependency, a provider that is
 * asked too much), and how often that was said. Beside the ledger: a restart begins to wait anew. */
typedef struct Patience {
        ProviderClass class;
        int64_t since_ms;
        unsigned n;
} Patience;

void patience_end(Engine *e, const char *uid) {
        map_remove(e->patience, uid);
}

static Patience *patience_of(Engine *e, const char *uid, ProviderClass class) {
        Patience *p = map_get(e->patience, uid);

        if (!p) {
                p = calloc(1, sizeof(Patience));
                if (!p || map_put(e->patience, uid, p) < 0) {
                        free(p);
                        return NULL;
                }
                p->class = _PROVIDER_CLASS_INVALID;
        }
        if (p->class != class)
                *p = (Patience){ .class = class, .since_ms = e->now_ms };
        return p;
}

/* How long to wait until the next try of something that waits for others; 1 in *ret_attempt when it has
 * waited long enough for this one to count. */
static int patience_delay(Engine *e, const Part *p, ProviderClass class, int64_t *ret_delay,
                          bool *ret_attempt) {
        Patience *patience = patience_of(e, p->row.uid, class);
        int64_t delay = classes[class].delay_ms;

        if (!patience)
                return -ENOMEM;
        for (unsigned i = 0; i < patience->n && delay < classes[class].most_ms; i++)
                delay *= 2;
        patience->n++;
        *ret_delay = delay < classes[class].most_ms ? delay : classes[class].most_ms;
        *ret_attempt = e->now_ms - patience->since_ms > classes[class].patience_ms;
        return 0;
}

int trouble(View *v, Part *p, Call *c, Error *reterr) {
        Engine *e = v->e;
        ProviderClass class = c->class == PROVIDER_OK ? PROVIDER_TRANSIENT : c->class;
        bool attempt = classes[class].attempt, final = classes[class].final;
        auto_cleanup(freep) char *former = TAKE(p->row.cause);
        char wait[TIME_TEXT_MAX];
        int64_t delay = 0;
        bool told;
        int r;

        p->row.cause = view_scrub(v, c->message ? c->message : "The provider gave no reason");
        r = p->row.cause ? 0 : -ENOMEM;
        told = r == 0 && streq_null(former, p->row.cause);
        if (r == 0)
                r = str_replace(&p->row.cause_class, provider_class_to_string(class));
        if (r == 0 && classes[class].patience_ms > 0)
                r = patience_delay(e, p, class, &delay, &attempt);
        if (r < 0)
                return r;
        p->row.inspect = p->row.inspect || c->unknown || classes[class].inspect;
        if (attempt && ++p->row.tries >= LIMIT_TRANSIENT_TRIES)
                final = true;
        if (final)
                return 1;
        if (delay == 0)
                delay = backoff(e, p->row.tries);
        if (c->retry_after_ms > delay)
                delay = c->retry_after_ms < LIMIT_STUCK_RETRY_MS ? c->retry_after_ms
                                                                 : LIMIT_STUCK_RETRY_MS;
        p->row.retry_ms = time_add(e->now_ms, delay);
        if (class == PROVIDER_THROTTLED)
                provider_slow(e, p->row.provider, p->row.retry_ms);
        if (told && !attempt)
                return 0; /* the same again: events are kept for ever */
        return event_add(e, EVENT_RESOURCE_TROUBLE, event_of(v),
                         "%s of %s '%s' failed (%s): %s; again in %s", c->verb, p->row.type,
                         part_title(p), provider_class_to_string(class), p->row.cause,
                         duration_format(delay, wait));
}

int give_up(View *v, Part *p, Call *c, Error *reterr) {
        Generation *g =
                p->row.generation ? view_generation(v, p->row.generation) : view_under_way(v);
        /* Something shared that a new generation asked to change is still there as it was, as far as is
         * known; what is found missing or taken is not. */
        bool shared = p->row.generation == 0 && p->row.ready_ms > 0 && g &&
                      streq(c->verb, "provision") && c->generation == g->number &&
                      g->number != v->env.live_generation;
        int r = 0;

        p->row.retry_ms = 0;
        if (!shared && v->env.live_generation > 0 &&
            (p->row.generation == 0 || p->row.generation == v->env.live_generation))
                p->row.retry_ms = time_add(v->e->now_ms, LIMIT_STUCK_RETRY_MS);
        p->row.applied = 0;
        if (shared)
                p->row.tries = 0;
        if (p->row.state != RES_FAILED && (!shared || p->row.state != RES_READY))
                r = part_move(v, p, shared ? RES_READY : RES_FAILED, reterr);
        else
                r = part_save(v, p, reterr);
        if (r == 0)
                r = event_add(v->e, EVENT_RESOURCE_FAILED, event_of(v), "%s '%s' failed (%s): %s",
                              p->row.type, part_title(p), p->row.cause_class, p->row.cause);
        if (r == 0 && generation_under_way(g))
                r = generation_fail(v, g, "%s '%s': %s", p->row.type, part_title(p), p->row.cause);
        return r;
}

int nonsense(View *v, Part *p, Call *c, Error *reterr) {
        c->class = PROVIDER_TRANSIENT;
        c->unknown = true;
        if (!c->message)
                c->message = strdup("The provider's answer makes no sense");
        return trouble(v, p, c, reterr);
}

void part_calm(Part *p) {
        p->row.inspect = false;
        p->row.retry_ms = 0;
        free(TAKE(p->row.cause));
        free(TAKE(p->row.cause_class));
}
