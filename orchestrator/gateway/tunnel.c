/* Connects to an endpoint and copies bytes both ways. A direction whose writer is slow keeps at most
 * one buffer of bytes and its reader is not asked again until they are written, so the speed of one
 * side is the speed of the other. */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/gateway/conn.h"

#define SMALL_READ 4096 /* once LIMIT_DOOR_PENDING_BYTES wait */

/* What either side is asked for follows from what is there to write. */
static void update(Conn *c) {
        const Side *client = c->sides + CLIENT, *backend = c->sides + BACKEND;
        bool to_backend = c->to_backend.at < c->to_backend.n,
             to_client = c->to_client.at < c->to_client.n;
        uint32_t events;

        events = to_client ? EPOLLOUT : 0;
        if (!client->ended)
                events |= c->left == 0 ? EPOLLRDHUP : to_backend ? 0 : EPOLLIN;
        conn_watch(c, CLIENT, events);
        events = to_backend ? EPOLLOUT : 0;
        if (!backend->ended && !to_client)
                events |= EPOLLIN;
        conn_watch(c, BACKEND, events);
}

/* The endpoint will say no more and all it said is written: the client may read it to its end. */
static void finish(Conn *c) {
        conn_close_backend(c);
        conn_drop(c, &c->to_client);
        answer_finish(c);
}

/* The endpoint closed without a word. Where its port is forwarded that is how a refusal looks. */
static void empty_reply(Conn *c) {
        visit_refused(c, c->repeatable);
}

/* The endpoint takes no more; it may still have answered (413 to a large body). */
static void stop_upload(Conn *c) {
        conn_drop(c, &c->to_backend);
        c->kept = c->repeatable = false;
        c->left = 0;
}

static void client_ended(Conn *c) {
        c->sides[CLIENT].ended = true;
        if (c->to_backend.at == c->to_backend.n)
                (void) shutdown(c->sides[BACKEND].fd, SHUT_WR); /* fails when it has ended too */
        conn_set_state(c, CONN_TUNNEL, WAIT_HALF);
}

/* ---- one step of copying; false: the connection is not a tunnel any more ---- */

static bool from_client(Conn *c) {
        Door *d = c->door;
        size_t room = d->pending < LIMIT_DOOR_PENDING_BYTES ? sizeof(d->buffer) : SMALL_READ, size;
        ssize_t n, m;

        n = recv(c->sides[CLIENT].fd, d->buffer, room, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n < 0) {
                conn_close(c);
                return false;
        }
        if (n == 0) {
                client_ended(c);
                return true;
        }
        size = (uint64_t) n < c->left ? (size_t) n : (size_t) c->left;
        if (c->left != UINT64_MAX)
                c->left -= size;
        c->used_ms = d->now_ms;
        c->client_last = true;
        c->repeatable = false;
        m = send(c->sides[BACKEND].fd, d->buffer, size, MSG_NOSIGNAL);
        if (m < 0 && errno != EAGAIN && errno != EINTR) {
                stop_upload(c);
                return true;
        }
        if (m < 0)
                m = 0;
        if ((size_t) m < size) {
                c->kept = false;
                if (conn_keep(c, &c->to_backend, d->buffer + m, size - (size_t) m) < 0) {
                        conn_close(c);
                        return false;
                }
        }
        return true;
}

static bool from_backend(Conn *c) {
        Door *d = c->door;
        size_t room = d->pending < LIMIT_DOOR_PENDING_BYTES ? sizeof(d->buffer) : SMALL_READ;
        ssize_t n, m;

        n = recv(c->sides[BACKEND].fd, d->buffer, room, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n <= 0 && !c->replied) {
                empty_reply(c);
                return false;
        }
        if (n < 0) {
                conn_reset(c);
                return false;
        }
        if (n == 0) {
                c->sides[BACKEND].ended = true;
                finish(c);
                return false;
        }
        if (!c->replied) {
                c->replied = true;
                if (c->to_backend.at == c->to_backend.n)
                        conn_drop(c, &c->to_backend);
                c->kept = c->repeatable = false;
        }
        c->used_ms = d->now_ms;
        c->client_last = false;
        m = send(c->sides[CLIENT].fd, d->buffer, (size_t) n, MSG_NOSIGNAL);
        if (m < 0 && errno != EAGAIN && errno != EINTR) {
                conn_close(c);
                return false;
        }
        if (m < 0)
                m = 0;
        if (m < n && conn_keep(c, &c->to_client, d->buffer + m, (size_t) (n - m)) < 0) {
                conn_close(c);
                return false;
        }
        return true;
}

static bool to_client(Conn *c) {
        int r = conn_flush(c, &c->to_client, CLIENT);

        if (r < 0) {
                conn_close(c);
                return false;
        }
        if (r > 0)
                conn_drop(c, &c->to_client);
        return true;
}

static void to_backend(Conn *c) {
        int r = conn_flush(c, &c->to_backend, BACKEND);

        if (r < 0) {
                stop_upload(c);
                return;
        }
        if (r == 0)
                return;
        if (!c->kept)
                conn_drop(c, &c->to_backend);
        if (c->sides[CLIENT].ended)
                (void) shutdown(c->sides[BACKEND].fd, SHUT_WR);
}

/* ---- connecting ---- */

/* A connection to a free port of this machine can meet itself, when the kernel chooses that port for
 * its own end: what is written then comes back as the answer. */
static bool met_itself(int fd) {
        Address here = { 0 }, there = { 0 };
        socklen_t size = sizeof(here), size_there = sizeof(there);

        if (getsockname(fd, &here.any, &size) < 0 || getpeername(fd, &there.any, &size_there) < 0)
                return false;
        return size == size_there && memcmp(&here, &there, size) == 0;
}

static void connected(Conn *c) {
        int fd = c->sides[BACKEND].fd, failure = 0, one = 1;
        socklen_t size = sizeof(failure);

        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 || failure != 0 ||
            met_itself(fd)) {
                visit_refused(c, true);
                return;
        }
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one,
                          sizeof(one)); /* only slower without */
        conn_set_state(c, CONN_TUNNEL, c->sides[CLIENT].ended ? WAIT_HALF : WAIT_NONE);
        to_backend(c);
        update(c);
}

/* Once for each request: what of the kept bytes goes to the endpoint. Where one connection is one
 * request, the endpoint is told so, and nothing behind the request is passed on. */
static int prepare(Conn *c, const Head *head) {
        Buffer *b = &c->to_backend;
        size_t n = 0, rest = b->n - head->size;
        bool one = (c->site->n_endpoints > 1 || c->door->one_request) && !head->upgrade;
        char *to;

        c->prepared = true;
        c->repeatable =
                (head->is_get || head->is_head) && head->content_length == 0 && !head->chunked;
        if (!one)
                return 0;
        c->left = head->chunked ? UINT64_MAX : head->content_length;
        if (rest > c->left)
                rest = (size_t) c->left;
        if (c->left != UINT64_MAX)
                c->left -= rest;
        to = malloc(head->size + HEAD_CLOSE_EXTRA + rest);
        if (!to)
                return -ENOMEM;
        n = head_write_close(b->data, head, to);
        memcpy(to + n, b->data + head->size, rest);
        conn_drop(c, b);
        *b = (Buffer){ .data = to, .n = n + rest, .room = n + rest };
        c->door->pending += b->room;
        return 0;
}

void tunnel_start(Conn *c, const Head *head, const Endpoint *endpoint) {
        int fd;

        /* head points into the bytes that prepare() replaces: it is not used after it */
        if (!c->prepared && prepare(c, head) < 0) {
                conn_close(c);
                return;
        }
        fd = socket(endpoint->address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                answer_refusal(c, 503, "Too many connections are open. Try again in a moment.");
                return;
        }
        c->sides[BACKEND].fd = fd;
        c->to_backend.at = 0;
        conn_set_state(c, CONN_CONNECTING, WAIT_CONNECT);
        if (connect(fd, &endpoint->address.any, address_size(&endpoint->address)) == 0) {
                connected(c);
                return;
        }
        if (errno != EINPROGRESS) {
                visit_refused(c, true);
                return;
        }
        conn_watch(c, BACKEND, EPOLLOUT);
        conn_watch(c, CLIENT, c->sides[CLIENT].ended ? 0 : EPOLLRDHUP);
}

static void tunnel_on_client(Conn *c, uint32_t events) {
        uint32_t asked = c->sides[CLIENT].events;

        if (c->state == CONN_CONNECTING) {
                if (events & (EPOLLHUP | EPOLLERR))
                        conn_close(c);
                else
                        conn_watch(c, CLIENT, 0);
                return;
        }
        if (events & (EPOLLHUP | EPOLLERR) && !(asked & EPOLLIN)) {
                conn_close(c);
                return;
        }
        if (events & EPOLLOUT && !to_client(c))
                return;
        if (asked & EPOLLIN && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !from_client(c))
                return;
        if (!(asked & EPOLLIN) && events & EPOLLRDHUP)
                client_ended(c);
        update(c);
}

void tunnel_on_event(Conn *c, int side, uint32_t events) {
        if (side == CLIENT) {
                tunnel_on_client(c, events);
                return;
        }
        if (c->state == CONN_CONNECTING) {
                connected(c);
                return;
        }
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR) && c->to_backend.at < c->to_backend.n)
                to_backend(c);
        if (c->sides[BACKEND].events & EPOLLIN && events & (EPOLLIN | EPOLLHUP | EPOLLERR) &&
            !from_backend(c))
                return;
        update(c);
}
