#include "orchestrator/gateway/door.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/gateway/conn.h"

#define BATCH      128
#define ROUNDS     4 /* of batches in one turn of the loop */
#define STARVED_MS 500

/* The listener is asked only while there is room; otherwise callers wait in the kernel's queue. */
static void accept_watch(Door *d, bool on) {
        struct epoll_event event = { .events = EPOLLIN };

        if (d->accepting == on)
                return;
        if (epoll_ctl(d->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, d->listen_fd, &event) == 0)
                d->accepting = on;
}

static bool is_starved(int failure) {
        return failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM;
}

static void accept_all(Door *d) {
        for (int i = 0; i < BATCH; i++) {
                int fd;

                if (d->n_conns >= d->max_conns) {
                        accept_watch(d, false);
                        return;
                }
                fd = accept4(d->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0 && is_starved(errno)) {
                        d->starved_ms = d->now_ms + STARVED_MS;
                        accept_watch(d, false);
                        return;
                }
                if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
                        continue;
                if (fd < 0)
                        return;
                if (!conn_new(d, fd))
                        close(fd);
        }
}

static void free_dead(Door *d) {
        while (!list_empty(&d->dead)) {
                Conn *c = link_element(d->dead.next, Conn, all);

                link_leave(&c->all);
                free(c);
        }
        if (!d->accepting && d->n_conns < d->max_conns && d->now_ms >= d->starved_ms)
                accept_watch(d, true);
}

static void conn_on_event(Conn *c, int side, uint32_t events) {
        if (c->sides[side].fd < 0)
                return; /* given up earlier in this batch */
        switch (c->state) {
        case CONN_HEAD:
                visit_read(c);
                return;
        case CONN_HELD:
        case CONN_RETRY:
                if (events & (EPOLLHUP | EPOLLERR))
                        conn_close(c);
                else
                        conn_watch(c, CLIENT,
                                   0); /* it sent all it will send, and may still listen */
                return;
        case CONN_CONNECTING:
        case CONN_TUNNEL:
                tunnel_on_event(c, side, events);
                return;
        case CONN_ANSWER:
        case CONN_LINGER:
                answer_on_event(c, events);
                return;
        case CONN_DEAD:
                return;
        }
}

/* Arms the one timer to the nearest deadline. It is never moved to a later time: most deadlines are
 * met long before, and an early wake-up costs less than moving it for each connection. */
static void arm(Door *d) {
        int64_t nearest = d->accepting || d->n_conns >= d->max_conns ? 0 : d->starved_ms;

        for (ConnWait w = 0; w < _WAIT_MAX; w++) {
                const Conn *c = link_element(d->waits[w].next, Conn, waiting);

                if (!list_empty(d->waits + w) && (nearest == 0 || c->wait_ms < nearest))
                        nearest = c->wait_ms;
        }
        if (nearest == 0 || (d->armed_ms > 0 && d->armed_ms <= nearest))
                return;
        if (loop_timer_arm(d->timer, (uint64_t) nearest * 1000) == 0)
                d->armed_ms = nearest;
}

static void door_now(Door *d) {
        d->now_ms = (int64_t) (loop_boot_usec() / 1000);
}

static void on_ready(void *userdata, int fd, uint32_t events) {
        Door *d = userdata;
        struct epoll_event batch[BATCH];
        int n = BATCH;

        /* Once more until nothing is left: while a batch is served the next one gathers, and to come
         * back through the loop costs more than to look. */
        for (int round = 0; round < ROUNDS && n > 0; round++) {
                n = epoll_wait(d->epoll_fd, batch, BATCH, 0);
                door_now(d);
                for (int i = 0; i < n; i++) {
                        int side = (int) ((uintptr_t) batch[i].data.ptr & 1);

                        if (!batch[i].data.ptr)
                                accept_all(d);
                        else
                                conn_on_event((Conn *) ((char *) batch[i].data.ptr - side), side,
                                              batch[i].events);
                }
                free_dead(d);
        }
        arm(d);
}

static void on_deadline(Conn *c) {
        switch (c->wait) {
        case WAIT_HEAD:
                if (c->to_backend.n > 0)
                        answer_refusal(c, 408, "The request head did not come in time.");
                else
                        conn_close(c); /* a browser's spare connection */
                return;
        case WAIT_HOLD:
        case WAIT_CONNECT:
                visit_refused(c, false);
                return;
        case WAIT_RETRY:
                visit_again(c);
                return;
        case WAIT_HALF:
                if (c->door->now_ms - c->used_ms < LIMIT_DOOR_HALF_MS)
                        conn_set_state(c, c->state, WAIT_HALF);
                else
                        conn_close(c);
                return;
        case WAIT_LINGER:
        case WAIT_NONE:
                conn_close(c);
                return;
        }
}

static void on_timer(void *userdata) {
        Door *d = userdata;

        d->armed_ms = 0;
        door_now(d);
        for (ConnWait w = 0; w < _WAIT_MAX; w++)
                while (!list_empty(d->waits + w)) {
                        Conn *c = link_element(d->waits[w].next, Conn, waiting);

                        if (c->wait_ms > d->now_ms)
                                break;
                        link_leave(&c->waiting);
                        on_deadline(c);
                }
        free_dead(d);
        arm(d);
}

static void on_turn_end(void *userdata) {
        visit_tell(userdata);
}

void door_site_changed(Door *d, Site *old, Site *now) {
        Site *sites[] = { old, now };
        Link todo;

        link_init(&todo);
        door_now(d);
        if (now && now->answer != now->told_answer)
                now->told_ms = 0; /* the next visit is news */
        for (size_t i = 0; i < N_ELEMENTS(sites); i++) {
                bool still = sites[i] && sites[i] == now &&
                             (now->answer == ANSWER_ASLEEP || now->answer == ANSWER_WAKING);

                for (Link *l = sites[i] ? sites[i]->conns.next : NULL;
                     l && l != &sites[i]->conns;) {
                        Conn *c = link_element(l, Conn, of_site);

                        l = l->next;
                        if (c->state == CONN_RETRY || (c->state == CONN_HELD && !still))
                                list_append(&todo, &c->of_site);
                }
        }
        while (!list_empty(&todo)) {
                Conn *c = link_element(todo.next, Conn, of_site);

                link_leave(&c->of_site);
                visit_again(c);
        }
        free_dead(d);
        arm(d);
}

void door_activity(Door *d, const Site *s, FrontActivity *ret) {
        int64_t boot = (int64_t) (loop_boot_usec() / 1000), last = s->visit_ms;
        FrontActivity a = { .known = true };

        for (const Link *l = s->conns.next; l != &s->conns; l = l->next) {
                const Conn *c = link_element(l, Conn, of_site);
                bool waits = c->state != CONN_TUNNEL || (c->client_last && !c->upgrade);

                if (!c->counts || c->state >= CONN_ANSWER)
                        continue;
                if (c->used_ms > last)
                        last = c->used_ms;
                /* an open websocket of a forgotten tab, or an idle keep-alive connection, is no use */
                if (waits || boot - c->used_ms < LIMIT_DOOR_SILENT_MS)
                        a.open++;
        }
        if (last > 0)
                a.last_visit_ms = clock_wall_ms(d->setup->clock) - (boot - last);
        *ret = a;
}

static int door_listen(Door *d, Error *reterr) {
        const char *listen_on = d->setup->listen;
        socklen_t size;
        int r, one = 1;

        r = address_parse(listen_on, &d->address, reterr);
        if (r < 0)
                return r;
        if (!d->setup->beyond_loopback && !address_is_loopback(&d->address))
                return error_set(
                        reterr, -EPERM,
                        "The door does not listen on %s: everybody who reaches that address would "
                        "see every preview. Use HAProxy there (front: haproxy), or say "
                        "front_beyond_loopback: true",
                        listen_on);
        d->listen_fd =
                socket(d->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (d->listen_fd < 0)
                return error_set(reterr, -errno, "Cannot make a socket: %s", strerror(errno));
        (void) setsockopt(d->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        size = address_size(&d->address);
        if (bind(d->listen_fd, &d->address.any, size) < 0 || listen(d->listen_fd, SOMAXCONN) < 0 ||
            getsockname(d->listen_fd, &d->address.any, &size) < 0)
                return error_set(reterr, -errno, "Cannot listen on %s: %s", listen_on,
                                 strerror(errno));
        return 0;
}

static int door_watch(Door *d, Error *reterr) {
        int r;

        d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (d->epoll_fd < 0)
                return error_set(reterr, -errno, "Cannot make an epoll: %s", strerror(errno));
        accept_watch(d, true);
        r = loop_add_io(d->setup->loop, d->epoll_fd, EPOLLIN, "door", on_ready, d, &d->source,
                        reterr);
        if (r == 0)
                r = loop_source_set_background(d->source);
        if (r == 0)
                r = loop_add_timer(d->setup->loop, "door deadline", on_timer, d, &d->timer, reterr);
        if (r == 0)
                r = loop_add_turn_end(d->setup->loop, "door visits", on_turn_end, d, &d->turn_end,
                                      reterr);
        return r;
}

int door_new(const GatewaySetup *setup, Sites *sites, bool one_request, Door **ret, Error *reterr) {
        auto_cleanup(door_freep) Door *d = calloc(1, sizeof(Door));
        struct rlimit files = { 0 };
        int r;

        if (!d)
                return -ENOMEM;
        d->setup = setup;
        d->sites = sites;
        d->one_request = one_request;
        d->listen_fd = d->epoll_fd = -1;
        link_init(&d->conns);
        link_init(&d->dead);
        link_init(&d->due);
        for (ConnWait w = 0; w < _WAIT_MAX; w++)
                link_init(d->waits + w);
        /* two descriptors each, and some for the rest of the daemon */
        d->max_conns = LIMIT_DOOR_CONNECTIONS;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 < d->max_conns + 100)
                d->max_conns = files.rlim_cur > 400 ? files.rlim_cur / 2 - 100 : 100;
        r = door_listen(d, reterr);
        if (r == 0)
                r = door_watch(d, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(d);
        return 0;
}

Door *door_free(Door *d) {
        if (!d)
                return NULL;
        while (d->conns.next && !list_empty(&d->conns))
                conn_close(link_element(d->conns.next, Conn, all));
        while (d->due.next && !list_empty(&d->due)) {
                Site *s = link_element(d->due.next, Site, due);

                link_leave(&s->due);
                site_unref(s);
        }
        if (d->dead.next) {
                d->accepting = true; /* do not listen again for the room this makes */
                free_dead(d);
        }
        loop_source_free(d->source);
        loop_source_free(d->timer);
        loop_source_free(d->turn_end);
        fd_close(d->epoll_fd);
        fd_close(d->listen_fd);
        free(d);
        return NULL;
}

const Address *door_address(const Door *d) {
        return &d->address;
}
