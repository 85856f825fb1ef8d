/* The first request head of a connection (RFC 9112, sections 2 to 6), read strictly: it refuses and
 * never repairs, so nobody behind the door can read a head otherwise than the door did. A pure function
 * over bytes: no allocation, no memory between calls. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_HOST_MAX 253 /* RFC 1035, section 2.3.4, without the root's dot */

typedef struct Head {
        size_t size;        /* bytes of the head, the empty line included */
        const char *method; /* points into the bytes, n_method of them */
        size_t n_method;
        const char *path; /* points into the bytes: of the target, without the query */
        size_t n_path;
        char host[HEAD_HOST_MAX + 1]; /* lower-case, without port and final dot */
        uint64_t content_length;      /* 0 when there is none */
        bool chunked;                 /* its body ends by itself */
        bool keep_alive;              /* the client would send another request */
        bool upgrade;                 /* asks for another protocol: a websocket */
        bool is_get, is_head;
        bool wants_html; /* the Accept line names text/html */
        bool wants_json; /* it names JSON and no HTML */
        bool robot;      /* a crawler, link preview or probe: no visit */
} Head;

/* 1: *ret is complete. 0: more bytes are needed. Negative: refuse it with the HTTP status *ret_status;
 * *ret_reason is a constant sentence. size above LIMIT_DOOR_HEAD_BYTES without an end is refused. */
int head_parse(const char *data, size_t size, Head *ret, int *ret_status, const char **ret_reason);

/* A person's browser asks for a page to show: it can be given a page to wait on. */
static inline bool head_is_navigation(const Head *h) {
        return h->is_get && h->wants_html && !h->upgrade;
}

/* Writes the head in data again, its Connection lines replaced by "Connection: close". h is what
 * head_parse() said of it. Returns the size; room must be h->size + HEAD_CLOSE_EXTRA. */
#define HEAD_CLOSE_EXTRA 24
size_t head_write_close(const char *data, const Head *h, char *to);
