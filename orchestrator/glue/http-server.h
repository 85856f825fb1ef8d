/* HTTP on a listening socket, in the event loop, without threads: libmicrohttpd behind an epoll
 * descriptor. A request is handed over when it is complete; its answer may be given at once, later (the
 * connection waits meanwhile and costs nothing), or as a stream. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"
#include "orchestrator/glue/loop.h"

typedef struct HttpServer HttpServer;
typedef struct HttpRequest HttpRequest;

/* Who is at the other end of a Unix socket (unix(7), SO_PEERCRED, SO_PEERGROUPS). */
typedef struct HttpPeer {
        bool known;
        uid_t uid;
        gid_t gid;
        pid_t pid;
        const gid_t *groups; /* supplementary ones */
        size_t n_groups;
} HttpPeer;

typedef struct HttpServerSetup {
        Loop *loop;
        int fd; /* listening; taken over, also on failure */
        size_t body_max;
        unsigned connections_max;
        /* A whole request. Exactly one of http_answer() and http_stream() must follow, now or later. */
        void (*on_request)(void *userdata, HttpRequest *request);
        void *userdata;
} HttpServerSetup;

int http_server_new(const HttpServerSetup *setup, HttpServer **ret, Error *reterr);
/* Ends every connection; producers of streams are told first, requests that wait are dropped. */
HttpServer *http_server_free(HttpServer *server);
/* A listening Unix socket at path; a stale one is replaced, mode is set before anyone can connect. */
int http_listen_unix(const char *path, mode_t mode, int *ret_fd, Error *reterr);

/* Valid until the answer has left. The path is as it came, still escaped; the query starts after it. */
const char *http_request_method(const HttpRequest *r);
const char *http_request_path(const HttpRequest *r);
/* The unescaped value, "" for a name without one, NULL when absent. Badly escaped ones are absent. */
const char *http_request_query(HttpRequest *r, const char *name);
const char *http_request_body(const HttpRequest *r, size_t *ret_size);
const HttpPeer *http_request_peer(const HttpRequest *r);

/* The whole answer; the text is copied. */
void http_answer(HttpRequest *r, int status, const char *content_type, const char *text,
                 size_t size);

typedef struct HttpStreamEvents {
        void (*on_room)(void *userdata); /* all that was written has left: write more, or later */
        void (*on_gone)(void *userdata); /* the client or the server went; the request is no more */
        void *userdata;
} HttpStreamEvents;

/* An answer in parts, chunked. Neither callback comes from inside these functions. on_gone comes at
 * most once and not after http_stream_end(). */
void http_stream(HttpRequest *r, int status, const char *content_type,
                 const HttpStreamEvents *events);
/* Right after http_stream(): one more line of its head. */
void http_stream_header(HttpRequest *r, const char *name, const char *value);
int http_stream_write(HttpRequest *r, const void *data, size_t size);
size_t http_stream_waiting(const HttpRequest *r); /* bytes that the client has not taken yet */
void http_stream_end(HttpRequest *r);             /* the request is no more */

/* Undoes %XX in place; -EINVAL for a bad escape or an escaped NUL. */
int http_unescape(char *s);

DEFINE_CLEANUP(HttpServer *, http_server_free)
