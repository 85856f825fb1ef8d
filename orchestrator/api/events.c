#include <string.h>

#include "orchestrator/api/api.h"
#include "orchestrator/api/render.h"
#include "orchestrator/api/streams.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"

/* A follower remembers the last event it wrote and pulls the next ones from the ledger when its client
 * has taken what was written: a slow client costs one page of memory, not a queue. */

#define FOLLOW_PAGE 100

struct Follower {
        Manager *m;
        Follower *next, **link;
        HttpRequest *request;
        int64_t after;
        char *environment_id; /* NULL: all */
};

/* Writes events as lines, or collects them. */
typedef struct Page {
        Manager *m;
        json_t *list;
        Follower *follower;
        int64_t last;
        size_t n;
} Page;

static int page_add(void *userdata, const Event *e) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Page *p = userdata;
        json_t *json;
        int r = 0;

        if (e->environment_id &&
            ledger_environment_get(p->m->ledger, e->environment_id, &env, NULL) < 0)
                env = (Environment){ 0 };
        json = render_event(e, env.label);
        if (!json)
                return -ENOMEM;
        p->last = e->number;
        p->n++;
        if (p->list)
                return json_array_append_new(p->list, json) < 0 ? -ENOMEM : 0;
        {
                auto_cleanup(freep) char *text = json_dumps(json, JSON_COMPACT);

                r = text ? http_stream_write(p->follower->request, text, strlen(text)) : -ENOMEM;
                if (r == 0)
                        r = http_stream_write(p->follower->request, "\n", 1);
        }
        json_decref(json);
        return r;
}

/* ---- followers ---- */

static void follower_free(Follower *f) {
        *f->link = f->next;
        if (f->next)
                f->next->link = f->link;
        free(f->environment_id);
        free(f);
}

static void follower_pump(Follower *f) {
        Page page = { .m = f->m, .follower = f, .last = f->after };
        auto_error error = { 0 };
        int r;

        if (http_stream_waiting(f->request) > 0)
                return; /* on_room comes back */
        r = ledger_event_each(f->m->ledger, f->after, f->environment_id, FOLLOW_PAGE, page_add,
                              &page, &error);
        f->after = page.last;
        if (r < 0) {
                log_warning("Events cannot be followed: %s", error_text(&error, r));
                http_stream_end(f->request);
                follower_free(f);
        }
}

static void follower_on_room(void *userdata) {
        follower_pump(userdata);
}

static void follower_on_gone(void *userdata) {
        follower_free(userdata);
}

void streams_on_events(Manager *m) {
        Follower *next;

        for (Follower *f = m->followers; f; f = next) {
                next = f->next;
                follower_pump(f);
        }
}

void followers_stop(Manager *m) {
        while (m->followers) {
                http_stream_end(m->followers->request);
                follower_free(m->followers);
        }
}

static int follow(ApiCall *c, int64_t after, char **environment_id) {
        HttpStreamEvents events = { .on_room = follower_on_room, .on_gone = follower_on_gone };
        Manager *m = c->m;
        Follower *f = calloc(1, sizeof(Follower));
        char line[64];

        if (!f)
                return -ENOMEM;
        f->m = m;
        f->after = after;
        f->environment_id = TAKE(*environment_id);
        f->request = api_take_request(c);
        f->next = m->followers;
        f->link = &m->followers;
        if (f->next)
                f->next->link = &f->next;
        m->followers = f;
        events.userdata = f;
        http_stream(f->request, 200, "application/jsonl", &events);
        /* So that the client knows from where on it misses nothing. */
        snprintf(line, sizeof(line), "{\"following\":%lld}\n", (long long) after);
        (void) http_stream_write(f->request, line, strlen(line)); /* else it comes with the next */
        return API_LATER;
}

int api_event_list(ApiCall *c, Error *reterr) {
        const char *environment = http_request_query(c->request, "environment");
        bool following = api_query_flag(c, "follow");
        auto_cleanup(environment_done) Environment e = { 0 };
        uint64_t after, last;
        Page page = { .m = c->m };
        int64_t from;
        int r = api_query_number(c, "after", UINT64_MAX, INT64_MAX, &after, reterr);

        if (r == 0)
                r = api_query_number(c, "last", following ? 0 : LIMIT_API_EVENTS_PAGE,
                                     LIMIT_API_EVENTS_PAGE, &last, reterr);
        if (r == 0 && environment)
                r = ledger_environment_get(c->m->ledger, environment, &e, reterr);
        if (r == -ENOENT) {
                error_done(reterr);
                return error_set(reterr, r, "There is no environment '%s'", environment);
        }
        from = (int64_t) after;
        if (r == 0 && after == UINT64_MAX)
                r = ledger_event_before_last(c->m->ledger, e.id, (size_t) last, &from, reterr);
        if (r < 0)
                return r;
        if (following)
                return follow(c, from, &e.id);
        page.list = json_array();
        c->result = json_pack("{s:o}", "events", page.list);
        if (!c->result)
                return -ENOMEM;
        page.last = from;
        r = ledger_event_each(c->m->ledger, from, e.id, LIMIT_API_EVENTS_PAGE, page_add, &page,
                              reterr);
        if (r == 0)
                (void) json_object_set_new(c->result, "last", json_integer(page.last));
        return r;
}
