#include "orchestrator/glue/http-server.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"

/* libmicrohttpd runs in its external epoll mode: one descriptor to watch, one timer, and both call
 * server_pump(). MHD_get_timeout() gives relative milliseconds; the timer takes microseconds.
 *
 * A request waits by suspending its connection. A suspended connection is watched by nobody, so a
 * hang-up source of our own notices when a follower leaves. Only a full close counts as leaving: a
 * client may close its sending side and still read.
 *
 * A response is queued only inside libmicrohttpd's own callbacks; answering from outside resumes the
 * connection, and the callback comes again. */

#define DROPPED_TIMES \
        16 /* how many times the largest body is read before a larger one is cut off */

struct HttpServer {
        Loop *loop;
        struct MHD_Daemon *daemon;
        LoopSource *io, *timer, *turn_end;
        size_t body_max;
        void (*on_request)(void *userdata, HttpRequest *request);
        void *userdata;
        HttpRequest *requests; /* all that live */
        bool stopping;
};

typedef enum RequestPhase {
        REQUEST_READING,  /* its body is coming */
        REQUEST_HANDED,   /* on_request() got it, no answer yet */
        REQUEST_ANSWERED, /* the response exists; libmicrohttpd owns the rest */
} RequestPhase;

struct HttpRequest {
        HttpServer *server;
        HttpRequest *next, **link;
        struct MHD_Connection *connection;
        char *method, *path;
        StrBuf body;
        char **unescaped; /* query values, decoded copies */
        HttpPeer peer;
        gid_t *groups;
        RequestPhase phase;
        size_t dropped; /* bytes of a body that is too large: read, or the client finds a closed door
                           where it is still sending, and not the answer */
        bool inside;    /* one of libmicrohttpd's callbacks for it is running */
        bool suspended;
        bool queued; /* its response was given to libmicrohttpd */
        LoopSource *hangup;
        struct MHD_Response *response;
        int status;
        /* streams */
        bool stream, ended, told;
        StrBuf out;
        size_t taken; /* of out */
        HttpStreamEvents events;
};

static void request_free(HttpRequest *r) {
        if (!r)
                return;
        if (r->link) {
                *r->link = r->next;
                if (r->next)
                        r->next->link = r->link;
        }
        loop_source_free(r->hangup);
        if (r->response)
                MHD_destroy_response(r->response);
        strbuf_done(&r->body);
        strbuf_done(&r->out);
        strv_free(r->unescaped);
        free(r->groups);
        free(r->method);
        free(r->path);
        free(r);
}

static int request_read_groups(HttpRequest *r, int fd) {
        socklen_t size = 0;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
                return 0; /* none */
        r->groups = malloc(size);
        if (!r->groups)
                return -ENOMEM;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, r->groups, &size) < 0)
                return -errno;
        r->peer.groups = r->groups;
        r->peer.n_groups = size / sizeof(gid_t);
        return 0;
}

static int request_fd(HttpRequest *r) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        return info ? info->connect_fd : -1;
}

static HttpRequest *request_new(HttpServer *server, struct MHD_Connection *connection,
                                const char *method, const char *path) {
        HttpRequest *r = calloc(1, sizeof(HttpRequest));
        struct ucred peer;
        socklen_t size = sizeof(peer);
        int fd;

        if (!r)
                return NULL;
        r->server = server;
        r->connection = connection;
        r->method = strdup(method);
        r->path = strdup(path);
        fd = request_fd(r);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0) {
                r->peer = (HttpPeer){
                        .known = true, .uid = peer.uid, .gid = peer.gid, .pid = peer.pid
                };
                (void) request_read_groups(r,
                                           fd); /* without them the peer has its main group only */
        }
        if (!r->method || !r->path) {
                request_free(r);
                return NULL;
        }
        r->next = server->requests;
        r->link = &server->requests;
        if (r->next)
                r->next->link = &r->next;
        server->requests = r;
        return r;
}

static void server_pump(HttpServer *server) {
        MHD_UNSIGNED_LONG_LONG ms;

        if (server->stopping)
                return;
        (void) MHD_run(server->daemon); /* its failures are those of single connections */
        if (MHD_get_timeout(server->daemon, &ms) == MHD_YES)
                (void) loop_timer_arm_after(server->timer, ms * 1000);
        else
                loop_timer_disarm(server->timer);
}

static void server_on_io(void *userdata, int fd, uint32_t events) {
        server_pump(userdata);
}

static void server_on_time(void *userdata) {
        server_pump(userdata);
}

/* ---- waiting ---- */

static void request_resume(HttpRequest *r) {
        if (!r->suspended)
                return;
        r->suspended = false;
        r->hangup = loop_source_free(r->hangup);
        MHD_resume_connection(r->connection);
        (void) loop_turn_end_set(r->server->turn_end);
}

static void request_tell_gone(HttpRequest *r) {
        if (!r->stream || r->ended || r->told)
                return;
        r->told = true;
        r->ended = true;
        if (r->events.on_gone)
                r->events.on_gone(r->events.userdata);
}

static void request_on_hangup(void *userdata, int fd, uint32_t events) {
        HttpRequest *r = userdata;

        if (!(events & (EPOLLHUP | EPOLLERR)))
                return;
        r->hangup = loop_source_free(r->hangup);
        request_tell_gone(r);
        if (r->stream)
                request_resume(r); /* the write that follows fails and ends the connection */
}

static void request_suspend(HttpRequest *r) {
        MHD_suspend_connection(r->connection);
        r->suspended = true;
        if (loop_add_io(r->server->loop, request_fd(r), 0, "HTTP client that waits",
                        request_on_hangup, r, &r->hangup, NULL) < 0)
                r->hangup = NULL; /* it is then noticed with the next write */
}

/* ---- libmicrohttpd's callbacks ---- */

static enum MHD_Result request_queue(HttpRequest *r) {
        r->queued = true;
        return MHD_queue_response(r->connection, (unsigned) r->status, r->response);
}

static enum MHD_Result request_refuse_size(HttpServer *server, struct MHD_Connection *connection) {
        static const char text[] =
                "{\"error\":{\"code\":\"too_large\",\"message\":\"The body is too "
                "large\"}}\n";
        struct MHD_Response *response = MHD_create_response_from_buffer(
                sizeof(text) - 1, (void *) text, MHD_RESPMEM_PERSISTENT);
        enum MHD_Result result;

        if (!response)
                return MHD_NO;
        (void) MHD_add_response_header(response, "Content-Type", "application/json");
        result = MHD_queue_response(connection, 413, response);
        MHD_destroy_response(response);
        return result;
}

/* Refused before it is sent: so large that nobody reads it to its end, or too large and the client asked. */
static bool length_refused(HttpServer *server, struct MHD_Connection *connection) {
        const char *length =
                MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
        bool asks = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Expect");
        uint64_t size;

        return length &&
               str_to_u64(length, server->body_max * (asks ? 1 : DROPPED_TIMES), &size) < 0;
}

static enum MHD_Result request_take(HttpRequest *r, const char *data, size_t size) {
        size_t max = r->server->body_max;

        if (r->dropped > 0 || r->body.size + size > max) {
                strbuf_done(&r->body);
                r->dropped += size;
                return r->dropped > max * DROPPED_TIMES ? MHD_NO : MHD_YES;
        }
        strbuf_addn(&r->body, data, size);
        return r->body.broken ? MHD_NO : MHD_YES;
}

static enum MHD_Result server_on_access(void *userdata, struct MHD_Connection *connection,
                                        const char *path, const char *method, const char *version,
                                        const char *data, size_t *size, void **state) {
        HttpServer *server = userdata;
        HttpRequest *r = *state;

        if (!r) {
                if (length_refused(server, connection))
                        return request_refuse_size(server, connection);
                r = *state = request_new(server, connection, method, path);
                return r ? MHD_YES : MHD_NO;
        }
        if (*size > 0) {
                size_t n = *size;

                *size = 0;
                return request_take(r, data, n);
        }
        if (r->dropped > 0)
                return request_refuse_size(server, connection);
        if (r->phase == REQUEST_READING) {
                r->phase = REQUEST_HANDED;
                r->inside = true;
                server->on_request(server->userdata, r);
                r->inside = false;
        }
        if (r->response)
                return request_queue(r);
        if (r->phase == REQUEST_ANSWERED || server->stopping)
                return MHD_NO; /* out of memory when it was answered */
        request_suspend(r);
        return MHD_YES;
}

static ssize_t request_on_read(void *userdata, uint64_t at, char *buf, size_t max) {
        HttpRequest *r = userdata;
        size_t left = r->out.size - r->taken, n = left < max ? left : max;

        if (n == 0 && !r->ended && r->events.on_room) {
                r->inside = true;
                r->events.on_room(r->events.userdata);
                r->inside = false;
                left = r->out.size - r->taken;
                n = left < max ? left : max;
        }
        if (n > 0) {
                memcpy(buf, r->out.text + r->taken, n);
                r->taken += n;
                if (r->taken == r->out.size) {
                        strbuf_done(&r->out);
                        r->taken = 0;
                }
                return (ssize_t) n;
        }
        if (r->ended)
                return MHD_CONTENT_READER_END_OF_STREAM;
        request_suspend(r);
        return 0;
}

static void server_on_completed(void *userdata, struct MHD_Connection *connection, void **state,
                                enum MHD_RequestTerminationCode why) {
        HttpRequest *r = *state;

        *state = NULL;
        if (!r)
                return;
        request_tell_gone(r);
        request_free(r);
}

/* Unescaping is ours: a '/' inside a name must not become one between names. */
static size_t server_on_unescape(void *userdata, struct MHD_Connection *connection, char *s) {
        return strlen(s);
}

/* ---- the server ---- */

static int server_start(HttpServer *server, const HttpServerSetup *setup, int fd) {
        server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                                          server_on_access, server, MHD_OPTION_LISTEN_SOCKET, fd,
                                          MHD_OPTION_NOTIFY_COMPLETED, server_on_completed, server,
                                          MHD_OPTION_UNESCAPE_CALLBACK, server_on_unescape, NULL,
                                          MHD_OPTION_CONNECTION_LIMIT, setup->connections_max,
                                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) 16384,
                                          MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_END);
        return server->daemon ? 0 : -EIO;
}

int http_server_new(const HttpServerSetup *setup, HttpServer **ret, Error *reterr) {
        auto_cleanup(http_server_freep) HttpServer *server = calloc(1, sizeof(HttpServer));
        auto_cleanup(closep) int fd = setup->fd;
        const union MHD_DaemonInfo *info;
        int r;

        if (!server)
                return -ENOMEM;
        server->loop = setup->loop;
        server->body_max = setup->body_max;
        server->on_request = setup->on_request;
        server->userdata = setup->userdata;
        r = loop_add_timer(setup->loop, "HTTP timeouts", server_on_time, server, &server->timer,
                           reterr);
        if (r == 0)
                r = loop_add_turn_end(setup->loop, "HTTP answers", server_on_time, server,
                                      &server->turn_end, reterr);
        if (r < 0)
                return r;
        r = server_start(server, setup, fd);
        if (r < 0)
                return error_set(reterr, r, "Cannot start the HTTP server");
        (void) TAKE_FD(fd);
        info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return error_set(reterr, -ENOTSUP, "The HTTP library has no epoll mode");
        r = loop_add_io(setup->loop, info->epoll_fd, EPOLLIN, "HTTP connections", server_on_io,
                        server, &server->io, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(server);
        return 0;
}

HttpServer *http_server_free(HttpServer *server) {
        if (!server)
                return NULL;
        server->stopping = true;
        for (HttpRequest *r = server->requests; r; r = r->next) {
                request_tell_gone(r);
                request_resume(r); /* a suspended connection cannot be closed */
        }
        loop_source_free(server->io);
        loop_source_free(server->timer);
        loop_source_free(server->turn_end);
        if (server->daemon)
                MHD_stop_daemon(server->daemon); /* frees it, and closes the listening socket */
        free(server);
        return NULL;
}

/* True when something answers at the socket. */
static bool unix_alive(const struct sockaddr_un *address, socklen_t size) {
        auto_cleanup(closep) int fd =
                socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd >= 0 &&
               (connect(fd, (const struct sockaddr *) address, size) == 0 || errno == EAGAIN);
}

int http_listen_unix(const char *path, mode_t mode, int *ret_fd, Error *reterr) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        auto_cleanup(closep) int fd = -1;
        int r;

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(reterr, -ENAMETOOLONG,
                                 "The socket path '%s' is too long: at most %zu bytes (unix(7))",
                                 path, sizeof(address.sun_path) - 1);
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot make a socket: %s", strerror(errno));
        if (unix_alive(&address, sizeof(address)))
                return error_set(reterr, -EADDRINUSE, "Something already answers at '%s'", path);
        if (unlink(path) < 0 && errno != ENOENT) {
                r = -errno;
                return error_set(reterr, r, "Cannot replace '%s': %s", path, strerror(-r));
        }
        /* fchmod() on the socket before bind() decides the mode of the name. */
        if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            chmod(path, mode) < 0 || listen(fd, 64) < 0) {
                r = -errno;
                return error_set(reterr, r, "Cannot listen on '%s': %s", path, strerror(-r));
        }
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ---- the request ---- */

const char *http_request_method(const HttpRequest *r) {
        return r->method;
}

const char *http_request_path(const HttpRequest *r) {
        return r->path;
}

const char *http_request_query(HttpRequest *r, const char *name) {
        const char *value = NULL;
        size_t size = 0;
        char *copy;

        if (MHD_lookup_connection_value_n(r->connection, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                          &value, &size) != MHD_YES)
                return NULL;
        if (!value)
                return "";
        if (strv_add(&r->unescaped, value) < 0)
                return NULL;
        copy = r->unescaped[strv_length(r->unescaped) - 1];
        return http_unescape(copy) < 0 ? NULL : copy;
}

const char *http_request_body(const HttpRequest *r, size_t *ret_size) {
        *ret_size = r->body.size;
        return r->body.text ?: "";
}

const HttpPeer *http_request_peer(const HttpRequest *r) {
        return &r->peer;
}

/* Takes the response (NULL: there was no memory for it, the connection ends). */
static void request_answer(HttpRequest *r, int status, const char *content_type,
                           struct MHD_Response *response) {
        r->phase = REQUEST_ANSWERED;
        r->status = status;
        r->response = response;
        if (response)
                (void) MHD_add_response_header(response, "Content-Type", content_type);
        if (!r->inside)
                request_resume(r);
}

void http_answer(HttpRequest *r, int status, const char *content_type, const char *text,
                 size_t size) {
        request_answer(r, status, content_type,
                       MHD_create_response_from_buffer(size, (void *) text, MHD_RESPMEM_MUST_COPY));
}

void http_stream(HttpRequest *r, int status, const char *content_type,
                 const HttpStreamEvents *events) {
        r->stream = true;
        r->events = *events;
        request_answer(r, status, content_type,
                       MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, request_on_read,
                                                         r, NULL));
}

void http_stream_header(HttpRequest *r, const char *name, const char *value) {
        if (r->response)
                (void) MHD_add_response_header(r->response, name, value);
}

int http_stream_write(HttpRequest *r, const void *data, size_t size) {
        strbuf_addn(&r->out, data, size);
        if (r->out.broken)
                return -ENOMEM;
        if (!r->inside && r->queued)
                request_resume(r);
        return 0;
}

size_t http_stream_waiting(const HttpRequest *r) {
        return r->out.size - r->taken;
}

void http_stream_end(HttpRequest *r) {
        r->ended = true;
        if (!r->inside && r->queued)
                request_resume(r);
}

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

int http_unescape(char *s) {
        char *out = s;

        for (; *s; s++, out++) {
                int high, low;

                *out = *s;
                if (*s != '%')
                        continue;
                high = hex_value(s[1]);
                low = high < 0 ? -1 : hex_value(s[2]);
                if (low < 0 || high * 16 + low == 0)
                        return -EINVAL;
                *out = (char) (high * 16 + low);
                s += 2;
        }
        *out = '\0';
        return 0;
}
