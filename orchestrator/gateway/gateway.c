#include "orchestrator/gateway/gateway.h"

#include <string.h>

#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/door.h"
#include "orchestrator/gateway/haproxy.h"

struct Gateway {
        GatewaySetup setup;
        char *listen, *domain, *haproxy_listen, *haproxy_program,
                *run_dir; /* what setup points at */
        Sites *sites;
        Door *door;
        Haproxy *haproxy; /* NULL: the door alone */
        bool ending;      /* who asked may be gone already */
};

static void on_host_changed(void *userdata, const char *host) {
        auto_cleanup(site_unrefp) Site *old = NULL;
        auto_error error = { 0 };
        Gateway *g = userdata;
        Site *now = NULL;
        int r;

        r = sites_read(g->sites, host, &old, &now, &error);
        if (r < 0) {
                log_error("The route of %s cannot be read, it answers as before: %s", host,
                          error_text(&error, r));
                return;
        }
        if (old)
                old->listed = false;
        if (g->haproxy)
                haproxy_site_changed(g->haproxy, host);
        door_site_changed(g->door, old, now);
}

/* ---- activity ---- */

typedef struct Question {
        Gateway *gateway;
        char *environment_id;
        void (*done)(void *done_userdata, const char *environment_id,
                     const FrontActivity *activity);
        void *done_userdata;
} Question;

static Question *question_free(Question *q) {
        if (q)
                free(q->environment_id);
        free(q);
        return NULL;
}

DEFINE_CLEANUP(Question *, question_free)

/* What the door saw of a host while it belonged to this environment. */
static void activity_of_door(Gateway *g, const char *environment_id, const char *host,
                             FrontActivity *ret) {
        const Site *s = sites_get(g->sites, host);

        *ret = (FrontActivity){ .known = true };
        if (s && streq(s->environment_id, environment_id))
                door_activity(g->door, s, ret);
}

static void on_haproxy_activity(void *userdata, const char *host, const FrontActivity *theirs) {
        auto_cleanup(question_freep) Question *q = userdata;
        FrontActivity both;

        if (q->gateway->ending)
                return;
        activity_of_door(q->gateway, q->environment_id, host, &both);
        if (theirs->last_visit_ms > both.last_visit_ms)
                both.last_visit_ms = theirs->last_visit_ms;
        both.open += theirs->open;
        both.known = theirs->known;
        q->done(q->done_userdata, q->environment_id, &both);
}

static void on_activity(void *userdata, const char *environment_id, const char *host,
                        void (*done)(void *done_userdata, const char *environment_id,
                                     const FrontActivity *activity),
                        void *done_userdata) {
        auto_cleanup(question_freep) Question *q = NULL;
        FrontActivity activity = { 0 };
        Gateway *g = userdata;

        if (!g->haproxy) {
                activity_of_door(g, environment_id, host, &activity);
                done(done_userdata, environment_id, &activity);
                return;
        }
        q = calloc(1, sizeof(Question));
        if (q)
                *q = (Question){ g, strdup(environment_id), done, done_userdata };
        if (!q || !q->environment_id ||
            haproxy_activity(g->haproxy, host, on_haproxy_activity, q) < 0) {
                done(done_userdata, environment_id, &activity); /* not known */
                return;
        }
        q = NULL;
}

FrontOps gateway_front(Gateway *g) {
        return (FrontOps){ .host_changed = on_host_changed,
                           .activity = on_activity,
                           .userdata = g };
}

/* ---- start and end ---- */

static int gateway_copy_setup(Gateway *g, const GatewaySetup *setup) {
        struct {
                char **to;
                const char *from, **field;
        } strings[] = {
                { &g->listen, setup->listen, &g->setup.listen },
                { &g->domain, setup->domain, &g->setup.domain },
                { &g->haproxy_listen, setup->haproxy_listen, &g->setup.haproxy_listen },
                { &g->haproxy_program, setup->haproxy_program, &g->setup.haproxy_program },
                { &g->run_dir, setup->run_dir, &g->setup.run_dir },
        };

        g->setup = *setup;
        for (size_t i = 0; i < N_ELEMENTS(strings); i++) {
                if (str_replace(strings[i].to, strings[i].from) < 0)
                        return -ENOMEM;
                *strings[i].field = *strings[i].to;
        }
        return 0;
}

int gateway_new(const GatewaySetup *setup, Gateway **ret, Error *reterr) {
        auto_cleanup(gateway_freep) Gateway *g = calloc(1, sizeof(Gateway));
        int r;

        if (!g)
                return -ENOMEM;
        r = gateway_copy_setup(g, setup);
        if (r == 0)
                r = sites_new(g->setup.ledger, &g->sites, reterr);
        if (r == 0)
                r = door_new(&g->setup, g->sites, setup->haproxy_listen != NULL, &g->door, reterr);
        if (r == 0 && setup->haproxy_listen)
                r = haproxy_new(&g->setup, g->sites, door_address(g->door), &g->haproxy, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(g);
        return 0;
}

Gateway *gateway_free(Gateway *g) {
        if (!g)
                return NULL;
        g->ending = true;
        haproxy_free(g->haproxy);
        door_free(g->door);
        sites_free(g->sites);
        free(g->listen);
        free(g->domain);
        free(g->haproxy_listen);
        free(g->haproxy_program);
        free(g->run_dir);
        free(g);
        return NULL;
}

uint16_t gateway_port(const Gateway *g) {
        const Address *a = door_address(g->door);

        if (g->haproxy)
                return haproxy_port(g->haproxy);
        return ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port);
}

void gateway_stop_haproxy(Gateway *g) {
        if (g->haproxy)
                haproxy_stop(g->haproxy);
}
