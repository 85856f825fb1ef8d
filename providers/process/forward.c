/* The way into a network namespace without root: the listeners were made outside of it, the sockets
 * that go on to the workload are made here, inside; bytes are moved by splice(2) through a pipe for
 * each direction, so they never enter this process. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "providers/process/keeper.h"

#define FORWARD_CHUNK 65536

typedef struct Way {
        int pipe[2];
        size_t held; /* bytes in the pipe */
        bool ended;  /* nothing more comes from the source */
        bool closed; /* and the destination was told so */
} Way;

typedef struct Connection Connection;
typedef struct Side {
        Connection *connection; /* NULL: a listener */
        int fd;
        uint32_t armed;
        uint16_t target; /* of a listener */
} Side;

struct Connection {
        Side sides[2]; /* the visitor, the workload */
        Way ways[2];   /* from sides[i] to sides[1 - i] */
        bool connected;
        Connection *next; /* in the list of the dead */
};

typedef struct Forward {
        int epoll;
        unsigned n_connections;
        Connection *dead;
} Forward;

/* Freed at the end of the turn: an event of the other side may still be in the list. */
static void connection_end(Forward *f, Connection *c) {
        if (c->sides[0].fd < 0)
                return;
        for (int i = 0; i < 2; i++) {
                c->sides[i].fd = fd_close(c->sides[i].fd);
                c->ways[i].pipe[0] = fd_close(c->ways[i].pipe[0]);
                c->ways[i].pipe[1] = fd_close(c->ways[i].pipe[1]);
        }
        f->n_connections--;
        c->next = f->dead;
        f->dead = c;
}

/* Without wanted events a side is taken out: a hang-up would be reported for ever. */
static int side_arm(Forward *f, Side *s, uint32_t events) {
        struct epoll_event e = { .events = events, .data.ptr = s };
        int op = !events ? EPOLL_CTL_DEL : !s->armed ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

        if (s->armed == events)
                return 0;
        s->armed = events;
        return epoll_ctl(f->epoll, op, s->fd, &e) < 0 ? -errno : 0;
}

static int way_move(Way *w, int from, int to) {
        const unsigned flags = SPLICE_F_NONBLOCK | SPLICE_F_MOVE;

        for (;;) {
                ssize_t in = 0, out = 0;

                if (!w->ended && w->held < FORWARD_CHUNK) {
                        in = splice(from, NULL, w->pipe[1], NULL, FORWARD_CHUNK - w->held, flags);
                        if (in == 0)
                                w->ended = true;
                        if (in < 0 && errno != EAGAIN)
                                return -errno;
                        if (in > 0)
                                w->held += (size_t) in;
                }
                if (w->held > 0) {
                        out = splice(w->pipe[0], NULL, to, NULL, w->held, flags);
                        if (out < 0 && errno != EAGAIN)
                                return -errno;
                        if (out > 0)
                                w->held -= (size_t) out;
                }
                if (w->ended && w->held == 0 && !w->closed) {
                        (void) shutdown(to, SHUT_WR);
                        w->closed = true;
                }
                if (in <= 0 && out <= 0)
                        return 0;
        }
}

static void connection_step(Forward *f, Connection *c) {
        int r = 0, error = 0;
        socklen_t size = sizeof(error);

        if (!c->connected) {
                if (getsockopt(c->sides[1].fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ||
                    error != 0) {
                        connection_end(f, c);
                        return;
                }
                c->connected = true;
        }
        for (int i = 0; r == 0 && i < 2; i++)
                r = way_move(&c->ways[i], c->sides[i].fd, c->sides[1 - i].fd);
        if (r < 0 || (c->ways[0].closed && c->ways[1].closed)) {
                connection_end(f, c);
                return;
        }
        for (int i = 0; r == 0 && i < 2; i++) {
                uint32_t events = 0;

                if (!c->ways[i].ended && c->ways[i].held < FORWARD_CHUNK)
                        events |= EPOLLIN;
                if (c->ways[1 - i].held > 0)
                        events |= EPOLLOUT;
                r = side_arm(f, &c->sides[i], events);
        }
        if (r < 0)
                connection_end(f, c);
}

static void forward_accept(Forward *f, const Side *listener) {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(listener->target),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        Connection *c;

        if (fd < 0)
                return;
        c = f->n_connections < LIMIT_PROCESS_CONNECTIONS ? calloc(1, sizeof(*c)) : NULL;
        if (!c) {
                close(fd);
                return;
        }
        f->n_connections++;
        *c = (Connection){ .sides = { { c, fd, 0, 0 }, { c, -1, 0, 0 } },
                           .ways = { { .pipe = { -1, -1 } }, { .pipe = { -1, -1 } } } };
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        c->sides[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->sides[1].fd >= 0)
                (void) setsockopt(c->sides[1].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (c->sides[1].fd < 0 || pipe2(c->ways[0].pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
            pipe2(c->ways[1].pipe, O_CLOEXEC | O_NONBLOCK) < 0 ||
            (connect(c->sides[1].fd, (struct sockaddr *) &to, sizeof(to)) < 0 &&
             errno != EINPROGRESS) ||
            side_arm(f, &c->sides[1], EPOLLOUT) < 0)
                connection_end(f, c);
}

void forward_run(const int *listeners, const uint16_t *targets, size_t n) {
        Forward f = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
        Side sides[LIMIT_PROCESS_PORTS];
        struct epoll_event events[64];

        signal(SIGPIPE, SIG_IGN);
        for (size_t i = 0; i < n; i++) {
                sides[i] = (Side){ .fd = listeners[i], .target = targets[i] };
                if (side_arm(&f, &sides[i], EPOLLIN) < 0)
                        _exit(1);
        }
        for (;;) {
                int ready = epoll_wait(f.epoll, events, 64, -1);

                for (int i = 0; i < ready; i++) {
                        Side *s = events[i].data.ptr;

                        if (!s->connection)
                                forward_accept(&f, s);
                        else if (s->fd >= 0)
                                connection_step(&f, s->connection);
                }
                for (Connection *c = f.dead, *next; c; c = next) {
                        next = c->next;
                        free(c);
                }
                f.dead = NULL;
        }
}
