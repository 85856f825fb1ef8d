/* Answers of our own: pages for addresses that are not ready, and refusals of what is no request. Each
 * ends its connection. After the last byte the client's side is read to its end for a moment, because
 * closing on unread bytes would reset the connection and could take the answer with it. */
#include <jansson.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/conn.h"

static const struct {
        int status;
        const char *text;
} reasons[] = {
        { 200, "OK" },
        { 400, "Bad Request" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 408, "Request Timeout" },
        { 410, "Gone" },
        { 431, "Request Header Fields Too Large" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
};

static const char *reason_of(int status) {
        for (size_t i = 0; i < N_ELEMENTS(reasons); i++)
                if (reasons[i].status == status)
                        return reasons[i].text;
        return "Error";
}

typedef struct Reply {
        int status;
        const char *page; /* which of our pages: "waking", "unknown" ... */
        const char *type;
        const char *body;
        bool no_body; /* HEAD */
} Reply;

static void linger(Conn *c) {
        char waste[4096];
        ssize_t n;

        for (int i = 0; i < 64; i++) { /* a bounded step: more is read in the next turn */
                n = recv(c->sides[CLIENT].fd, waste, sizeof(waste), 0);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n <= 0) {
                        conn_close(c);
                        return;
                }
        }
}

void answer_finish(Conn *c) {
        if (c->sides[CLIENT].ended || shutdown(c->sides[CLIENT].fd, SHUT_WR) < 0) {
                conn_close(c);
                return;
        }
        conn_set_state(c, CONN_LINGER, WAIT_LINGER);
        conn_watch(c, CLIENT, EPOLLIN);
        linger(c);
}

static void flush(Conn *c) {
        int r = conn_flush(c, &c->to_client, CLIENT);

        if (r < 0)
                conn_close(c);
        else if (r > 0)
                answer_finish(c);
        else
                conn_watch(c, CLIENT, EPOLLOUT);
}

void answer_on_event(Conn *c, uint32_t events) {
        if (c->state == CONN_LINGER)
                linger(c);
        else if (events & (EPOLLHUP | EPOLLERR))
                conn_close(c);
        else
                flush(c);
}

/* A page may hold no script, load nothing and be framed by nobody. */
static void send_reply(Conn *c, const Reply *reply) {
        auto_strbuf text = { 0 };

        strbuf_addf(&text,
                    "HTTP/1.1 %d %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\n",
                    reply->status, reason_of(reply->status), reply->type, strlen(reply->body));
        strbuf_add(&text, "Connection: close\r\nCache-Control: no-store\r\n"
                          "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
                          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
                          "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
                          "X-Robots-Tag: noindex\r\n");
        strbuf_addf(&text, "Mayfly-Page: %s\r\n", reply->page);
        if (reply->status == 503)
                strbuf_addf(&text, "Retry-After: %d\r\n", streq(reply->page, "building") ? 5 : 1);
        strbuf_add(&text, "\r\n");
        if (!reply->no_body)
                strbuf_add(&text, reply->body);

        conn_close_backend(c);
        conn_drop(c, &c->to_backend);
        conn_drop(c, &c->to_client);
        conn_set_state(c, CONN_ANSWER, WAIT_HALF);
        if (text.broken) {
                conn_close(c);
                return;
        }
        c->to_client = (Buffer){ .data = text.text, .n = text.size, .room = text.room };
        c->door->pending += text.room;
        text = (StrBuf){ 0 };
        flush(c);
}

void answer_refusal(Conn *c, int status, const char *reason) {
        auto_cleanup(freep) char *body = str_format("%s\n", reason);

        if (body)
                send_reply(c, &(Reply){ status, "refused-request", "text/plain", body, false });
        else
                conn_close(c);
}

static char *error_json(const char *page, const char *message) {
        json_auto_t *tree = json_pack("{s:{s:s,s:s}}", "error", "code", page, "message", message);

        return tree ? json_dumps(tree, JSON_COMPACT) : NULL;
}

void answer_page(Conn *c, const Head *head) {
        auto_cleanup(freep) char *html = NULL, *plain = NULL, *json = NULL;
        auto_cleanup(route_done) Route route = { 0 };
        auto_error error = { 0 };
        const GatewaySetup *setup = c->door->setup;
        const char *page = "unknown";
        int status = 404, r;
        Reply reply;

        if (c->site && ledger_route_get(setup->ledger, c->site->host, &route, &error) == 0)
                page = streq(route.answer, "direct") ? "refused" : route.answer;
        error_done(&error);
        r = setup->page(setup->page_userdata, route.host ? &route : NULL, head->host, &status,
                        &html, &plain, &error);
        if (r == 0 && head->wants_json)
                json = error_json(page, plain);
        if (r < 0 || (head->wants_json && !json)) {
                answer_refusal(c, 503, "This page cannot be shown now. Try again in a moment.");
                return;
        }
        reply = (Reply){ .status = status, .page = page, .no_body = head->is_head };
        reply.type = head->wants_html ? "text/html" : json ? "application/json" : "text/plain";
        reply.body = head->wants_html ? html : json ? json : plain;
        send_reply(c, &reply);
}
