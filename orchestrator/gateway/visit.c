/* What happens to a request: read its head, look what its host answers, and pass it on, hold it, or
 * answer it. The engine hears of visits and refusals at the end of the turn, so that whatever it does
 * then cannot reach into a request that is just being looked at. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/gateway/conn.h"

#define REPEAT_MS 1000 /* between two reports of the same urgent thing */

static void due(Door *d, Site *s) {
        if (list_empty(&s->due))
                site_ref(s);
        list_append(&d->due, &s->due);
        (void) loop_turn_end_set(d->turn_end); /* fails only for a source that is gone */
}

void visit_tell(Door *d) {
        const FrontEvents *events = &d->setup->events;

        while (!list_empty(&d->due)) {
                auto_cleanup(site_unrefp) Site *s = link_element(d->due.next, Site, due);

                link_leave(&s->due);
                if (s->visit_due && events->on_visit)
                        events->on_visit(events->userdata, s->environment_id);
                if (s->refused_due && events->on_refused)
                        events->on_refused(events->userdata, s->environment_id);
                s->visit_due = s->refused_due = false;
        }
}

/* Visits of what is awake are told once a minute, of what sleeps once a second and at every change. */
static void note_visit(Door *d, Site *s) {
        int64_t every = s->answer == ANSWER_DIRECT ? LIMIT_DOOR_TOLD_MS : REPEAT_MS;

        s->visit_ms = d->now_ms;
        if (s->told_ms > 0 && s->told_answer == s->answer && d->now_ms - s->told_ms < every)
                return;
        s->told_ms = d->now_ms;
        s->told_answer = s->answer;
        s->visit_due = true;
        due(d, s);
}

static void note_refusal(Door *d, Site *s) {
        if (s->refused_ms > 0 && d->now_ms - s->refused_ms < REPEAT_MS)
                return;
        s->refused_ms = d->now_ms;
        s->refused_due = true;
        due(d, s);
}

/* A browser's page gets a page to wait on at once, a robot does not wake anything, and everything else
 * is held and then served. */
static void hold(Conn *c, const Head *head) {
        if (head->robot || head_is_navigation(head) ||
            c->site->n_held >= LIMIT_DOOR_HELD_PER_ENVIRONMENT) {
                answer_page(c, head);
                return;
        }
        conn_set_state(c, CONN_HELD, WAIT_HOLD);
        conn_watch(c, CLIENT, c->sides[CLIENT].ended ? 0 : EPOLLRDHUP);
}

static void go(Conn *c, const Head *head) {
        Site *s = sites_get(c->door->sites, head->host);
        const Endpoint *endpoint;

        conn_set_site(c, s);
        c->counts = !head->robot;
        c->upgrade = head->upgrade;
        c->used_ms = c->door->now_ms;
        c->client_last = true;
        if (!s) {
                answer_page(c, head);
                return;
        }
        if (c->counts && s->answer <= ANSWER_WAKING)
                note_visit(c->door, s);
        if (s->answer == ANSWER_ASLEEP || s->answer == ANSWER_WAKING) {
                hold(c, head);
                return;
        }
        endpoint = s->answer == ANSWER_DIRECT ? site_endpoint(s, head->path, head->n_path) : NULL;
        if (endpoint)
                tunnel_start(c, head, endpoint);
        else
                answer_page(c, head);
}

void visit_again(Conn *c) {
        const char *reason;
        Head head;
        int status;

        conn_set_state(c, CONN_HEAD, WAIT_NONE);
        if (head_parse(c->to_backend.data, c->to_backend.n, &head, &status, &reason) == 1)
                go(c, &head);
        else
                conn_close(c); /* cannot be: it was read before */
}

void visit_refused(Conn *c, bool again) {
        const char *reason;
        Head head;
        int status;

        if (c->state != CONN_HELD && c->site)
                note_refusal(c->door, c->site);
        conn_close_backend(c);
        c->to_backend.at = 0;
        if (c->refused_ms == 0)
                c->refused_ms = c->door->now_ms + LIMIT_DOOR_REFUSED_MS;
        if (again && c->door->now_ms < c->refused_ms) {
                conn_set_state(c, CONN_RETRY, WAIT_RETRY);
                conn_watch(c, CLIENT, c->sides[CLIENT].ended ? 0 : EPOLLRDHUP);
                return;
        }
        if (c->kept &&
            head_parse(c->to_backend.data, c->to_backend.n, &head, &status, &reason) == 1)
                answer_page(c, &head);
        else /* the endpoint had begun to take the body */
                answer_refusal(c, 502, "The preview closed the connection before it answered.");
}

/* Reads what came behind the part of a head that is already kept. */
static ssize_t read_more(Conn *c) {
        Buffer *b = &c->to_backend;
        ssize_t n;

        if (b->room < LIMIT_DOOR_HEAD_BYTES) {
                char *grown = realloc(b->data, LIMIT_DOOR_HEAD_BYTES);

                if (!grown)
                        return 0;
                c->door->pending += LIMIT_DOOR_HEAD_BYTES - b->room;
                b->data = grown;
                b->room = LIMIT_DOOR_HEAD_BYTES;
        }
        n = recv(c->sides[CLIENT].fd, b->data + b->n, b->room - b->n, 0);
        if (n > 0)
                b->n += (size_t) n;
        return n;
}

void visit_read(Conn *c) {
        Door *d = c->door;
        const char *reason = NULL;
        bool first = c->to_backend.n == 0;
        int status = 400, r;
        ssize_t n;
        Head head;

        n = first ? recv(c->sides[CLIENT].fd, d->buffer, sizeof(d->buffer), 0) : read_more(c);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                conn_close(c);
                return;
        }
        if (first)
                r = head_parse(d->buffer, (size_t) n, &head, &status, &reason);
        else
                r = head_parse(c->to_backend.data, c->to_backend.n, &head, &status, &reason);
        if (r < 0) {
                answer_refusal(c, status, reason);
                return;
        }
        if (first && conn_keep(c, &c->to_backend, d->buffer, (size_t) n) < 0) {
                conn_close(c);
                return;
        }
        if (r > 0) {
                c->kept = true;
                conn_set_state(c, CONN_HEAD, WAIT_NONE);
                go(c, &head);
        }
}
