/* HTTP requests that wait for their answer (libcurl): for the command line, never for the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct HttpClient HttpClient;

/* socket_path: a Unix socket to connect to whatever the URL says; NULL: as the URL says. */
int http_client_new(const char *socket_path, HttpClient **ret, Error *reterr);
HttpClient *http_client_free(HttpClient *c);

typedef struct HttpCall {
        const char *method; /* "GET" */
        const char *url;    /* "http://localhost/v1/status" */
        const char *body;   /* JSON text or NULL */
        size_t max;         /* bytes of an answer that is collected */
        int64_t timeout_ms; /* 0: no limit */
        /* "ADDRESS:PORT" to connect to instead of the URL's host; the request keeps the URL's name. */
        const char *connect_to;
        const char *user_agent; /* NULL: none */
        /* Lines as they come, without their end; a negative value ends the transfer and is returned. An
         * answer with another status than 200 is collected instead. NULL: always collected. */
        int (*on_line)(void *userdata, const char *line);
        /* The bytes of an answer with status 200 as they come, instead; as above. */
        int (*on_data)(void *userdata, const void *data, size_t size);
        /* About once a second while it waits; a negative value ends the transfer. May be NULL. */
        int (*on_tick)(void *userdata);
        void *userdata;
} HttpCall;

typedef struct HttpReply {
        int status;
        char *text; /* owned; "" when streamed */
        size_t size;
        char *page;   /* the header Mayfly-Page: this is the gateway's own page; NULL without it */
        char *backup; /* the header Mayfly-Backup: size and SHA-256 of what was streamed */
} HttpReply;

/* 0 when an answer came, whatever its status. -ECONNREFUSED: nobody listens there; -ENOENT: no such
 * socket; -EACCES: not allowed to connect; -ETIMEDOUT; -EFBIG; -EPIPE: it broke off; -EIO. */
int http_client_call(HttpClient *c, const HttpCall *call, HttpReply *ret, Error *reterr);
void http_reply_done(HttpReply *reply);

/* One path segment or query value, owned; NULL when out of memory. */
char *http_escape(const char *s);

DEFINE_CLEANUP(HttpClient *, http_client_free)
