#include "orchestrator/gateway/conn.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "orchestrator/base/limits.h"

static const int64_t wait_lengths[_WAIT_MAX] = {
        [WAIT_HEAD] = LIMIT_DOOR_HEAD_MS,       [WAIT_HOLD] = LIMIT_DOOR_HOLD_MS,
        [WAIT_CONNECT] = LIMIT_DOOR_CONNECT_MS, [WAIT_RETRY] = LIMIT_DOOR_RETRY_MS,
        [WAIT_LINGER] = LIMIT_DOOR_LINGER_MS,   [WAIT_HALF] = LIMIT_DOOR_HALF_MS,
};

/* Asks epoll for exactly these events. A side that nothing is asked of leaves epoll, because it would
 * report a hang-up over and over. */
void conn_watch(Conn *c, int side, uint32_t events) {
        Side *s = c->sides + side;
        struct epoll_event event = { .events = events, .data.ptr = (char *) c + side };
        int op = events == 0 ? EPOLL_CTL_DEL : s->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

        if (s->fd < 0 || s->events == events)
                return;
        if (epoll_ctl(c->door->epoll_fd, op, s->fd, &event) < 0 && events) {
                /* out of kernel memory: nothing would ever be heard of it again */
                shutdown(s->fd, SHUT_RDWR);
                return;
        }
        s->events = events;
}

void conn_set_state(Conn *c, ConnState state, ConnWait wait) {
        if (c->site)
                c->site->n_held +=
                        (unsigned) (state == CONN_HELD) - (unsigned) (c->state == CONN_HELD);
        c->state = state;
        c->wait = wait;
        if (wait == WAIT_NONE) {
                link_leave(&c->waiting);
                return;
        }
        c->wait_ms = c->door->now_ms + (wait == WAIT_HOLD && c->door->setup->hold_ms > 0
                                                ? c->door->setup->hold_ms
                                                : wait_lengths[wait]);
        list_append(c->door->waits + wait, &c->waiting);
}

void conn_set_site(Conn *c, Site *site) {
        Site *old = c->site;

        link_leave(&c->of_site);
        if (site)
                list_append(&site->conns, &c->of_site);
        if (site == old)
                return;
        if (old && c->state == CONN_HELD)
                old->n_held--;
        if (site && c->state == CONN_HELD)
                site->n_held++;
        c->site = site ? site_ref(site) : NULL;
        site_unref(old);
}

Conn *conn_new(Door *d, int fd) {
        Conn *c = calloc(1, sizeof(Conn));
        int one = 1;

        if (!c)
                return NULL;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
                          sizeof(one)); /* only slower without */
        c->door = d;
        c->sides[CLIENT].fd = fd;
        c->sides[BACKEND].fd = -1;
        c->left = UINT64_MAX;
        link_init(&c->all);
        link_init(&c->of_site);
        link_init(&c->waiting);
        list_append(&d->conns, &c->all);
        d->n_conns++;
        conn_set_state(c, CONN_HEAD, WAIT_HEAD);
        conn_watch(c, CLIENT, EPOLLIN);
        return c;
}

void conn_drop(Conn *c, Buffer *b) {
        c->door->pending -= b->room;
        free(b->data);
        *b = (Buffer){ 0 };
}

int conn_keep(Conn *c, Buffer *b, const char *data, size_t n) {
        char *copy = malloc(n ? n : 1);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, data, n);
        conn_drop(c, b);
        *b = (Buffer){ .data = copy, .n = n, .room = n };
        c->door->pending += n;
        return 0;
}

int conn_flush(Conn *c, Buffer *b, int side) {
        while (b->at < b->n) {
                ssize_t n = send(c->sides[side].fd, b->data + b->at, b->n - b->at, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                b->at += (size_t) n;
        }
        return 1;
}

void conn_close_backend(Conn *c) {
        c->sides[BACKEND].fd = fd_close(c->sides[BACKEND].fd); /* leaves epoll by itself */
        c->sides[BACKEND].events = 0;
        c->sides[BACKEND].ended = false;
}

void conn_close(Conn *c) {
        Door *d = c->door;

        if (c->state == CONN_DEAD)
                return;
        if (c->site && c->counts && c->used_ms > c->site->visit_ms)
                c->site->visit_ms = c->used_ms;
        conn_set_state(c, CONN_DEAD, WAIT_NONE);
        conn_set_site(c, NULL);
        conn_close_backend(c);
        c->sides[CLIENT].fd = fd_close(c->sides[CLIENT].fd);
        conn_drop(c, &c->to_backend);
        conn_drop(c, &c->to_client);
        list_append(&d->dead, &c->all);
        d->n_conns--;
}

void conn_reset(Conn *c) {
        struct linger now = { .l_onoff = 1 };

        (void) setsockopt(c->sides[CLIENT].fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        conn_close(c);
}
