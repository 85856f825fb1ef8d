#include "orchestrator/gateway/haproxy-config.h"

#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/robots.h"

/* Why each line: no-delay, or events of a stream come late and in lumps; contstats, or the counters of an
 * open websocket stand still; low-conn, or all previews fight for one pool. A host is routed only on a
 * positive test ("has a port"): with set-dst-port lacking a value HAProxy would call itself. A request
 * whose endpoint does not answer is given to the second server, the door, which knows what to do; that
 * needs roundrobin, because only then HAProxy goes to the other server without a second's wait. An
 * endpoint that hangs up without a word is tried again for a person's page only, because keeping a copy
 * of the request for that costs a fifth of HAProxy's time. */
static const char defaults[] = "defaults\n"
                               "  mode http\n"
                               "  timeout connect 5s\n"
                               "  timeout client 60s\n"
                               "  timeout server 10m\n"
                               "  timeout http-request 10s\n"
                               "  timeout http-keep-alive 60s\n"
                               "  timeout tunnel 24h\n"
                               "  option http-no-delay\n"
                               "  option contstats\n"
                               "  option forwardfor\n"
                               "  http-reuse always\n";

static const char before_bind[] = "\n"
                                  "backend activity\n"
                                  "  stick-table type string len 128 size 100k expire 24h store "
                                  "http_req_cnt,conn_cur,bytes_in_cnt,bytes_out_cnt\n"
                                  "\n"
                                  "frontend previews\n";

static const char after_listen[] =
        "  http-request deny deny_status 400 unless { req.hdr_cnt(host) 1 }\n"
        "  http-request deny deny_status 405 if METH_CONNECT\n"
        "  http-request set-var(txn.host) req.hdr(host),field(1,:),lower,regsub(\\.$,)\n"
        "  http-request deny deny_status 400 unless { var(txn.host) -m reg ^[a-z0-9][a-z0-9.-]*$ }\n"
        "  http-request del-header X-Forwarded-For\n"
        "  http-request del-header X-Forwarded-Host\n"
        "  http-request del-header X-Real-IP\n"
        "  http-request del-header Forwarded\n"
        "  http-request del-header X-Forwarded-Proto\n"
        "  http-request del-header Upgrade unless { req.hdr(upgrade) -i -m str websocket }\n"
        "  http-request del-header HTTP2-Settings\n"
        "  http-request set-var(txn.path) path\n"
        "  http-request set-var(txn.up) var(txn.host),map(%1$s/routes.map)\n"
        "  acl paths var(txn.up) -m str paths\n"
        "  http-request set-var(txn.up) var(txn.host),concat(,txn.path,/),map_beg(%1$s/paths.map,none) "
        "if paths\n"
        "  use_backend envs if { var(txn.up) -m sub : }\n"
        "  default_backend door\n"
        "\n"
        "backend envs\n"
        "  balance roundrobin\n"
        "  option redispatch 1\n"
        "  retries 3\n"
        "  retry-on conn-failure empty-response\n"
        "  acl navigation req.hdr(accept) -m sub text/html\n"
        "  http-request disable-l7-retry unless METH_GET navigation\n"
        "  acl robot req.hdr(user-agent) -i -m reg -f %1$s/robots.lst\n"
        "  acl robot req.hdr(sec-purpose) -i -m sub prefetch\n"
        "  acl robot req.hdr(purpose) -i -m sub prefetch\n"
        "  http-request track-sc0 var(txn.host) table activity unless robot\n"
        "  http-request set-dst var(txn.up),field(1,:)\n"
        "  http-request set-dst-port var(txn.up),field(2,:)\n"
        "  use-server any if TRUE\n"
        "  server any 0.0.0.0:0 pool-low-conn 1000\n"
        "  server door %2$s pool-max-conn 0\n"
        "\n"
        "backend door\n"
        "  http-reuse never\n"
        "  option http-server-close\n"
        "  retries 10\n" /* a second apart: the daemon restarts */
        "  server door %2$s\n";

/* What HAProxy itself answers when it is not the door that does: refusals of what is no request, and
 * endpoints that gave no answer to what may not be asked twice. */
typedef struct HaproxyPage {
        int status;
        const char *reason, *name, *title, *text;
} HaproxyPage;

static const HaproxyPage pages[] = {
        { 400, "Bad Request", "refused-request", "Bad request",
          "What came here is not a request that can be passed on." },
        { 405, "Method Not Allowed", "refused-request", "Method not allowed",
          "This is no proxy: CONNECT is refused." },
        { 500, "Internal Server Error", "refused", "No answer",
          "The request could not be passed on." },
        { 502, "Bad Gateway", "refused", "No answer",
          "The preview closed the connection before it answered." },
        { 503, "Service Unavailable", "unready", "One moment",
          "This preview does not answer just now. This page looks again by itself." },
        { 504, "Gateway Timeout", "refused", "No answer",
          "The preview took the request and did not answer in time." },
};

char *haproxy_config(const HaproxyNames *names) {
        auto_cleanup(freep) char *rest = NULL;
        auto_strbuf b = { 0 };

        strbuf_add(&b, defaults);
        for (size_t i = 0; i < N_ELEMENTS(pages); i++)
                strbuf_addf(&b, "  errorfile %d %s/%d.http\n", pages[i].status, names->dir,
                            pages[i].status);
        strbuf_add(&b, before_bind);
        strbuf_addf(&b, "  bind %s\n", names->listen);
        strbuf_addf(&b, after_listen, names->dir, names->door);
        rest = strbuf_take(&b);
        if (!rest)
                return NULL;
        return str_format(
                "global\n"
                "  description mayfly-%016llx\n"
                "  maxconn 8000\n"
                "  nbthread %u\n"
                "%s"
                "  stats socket %s/haproxy.sock mode 600 level operator expose-fd listeners\n"
                "  stats timeout 20d\n"
                "  hard-stop-after 30m\n"
                "\n%s",
                (unsigned long long) hash_string(0, rest), names->n_threads,
                names->drop_root ? "  user haproxy\n  group haproxy\n" : "", names->dir, rest);
}

char *haproxy_description(const char *text) {
        const char *at = strstr(text, "mayfly-");

        return at ? strndup(at, strcspn(at, " \r\n")) : NULL;
}

/* One expression instead of a list: HAProxy would look for one after the other in each request. */
char *haproxy_robots(void) {
        StrBuf b = { 0 };

        for (const char *const *r = robots_agents; *r; r++) {
                strbuf_add(&b, r == robots_agents ? "" : "|");
                for (const char *c = *r; *c; c++)
                        strbuf_addf(&b, strchr("().[]{}*+?^$|\\", *c) ? "\\%c" : "%c", *c);
        }
        strbuf_add(&b, "\n");
        return strbuf_take(&b);
}

static char *page_html(const HaproxyPage *page) {
        return str_format(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n%s"
                "<title>%s</title>\n<style>:root{color-scheme:light dark}body{margin:15vh auto;"
                "max-width:34rem;padding:0 1.5rem;font:1rem/1.5 system-ui,sans-serif}</style>\n"
                "</head>\n<body>\n<main>\n<h1>%s</h1>\n<p role=\"status\">%s</p>\n</main>\n</body>\n"
                "</html>\n",
                page->status == 503 ? "<meta http-equiv=\"refresh\" content=\"2\">\n" : "",
                page->title, page->title, page->text);
}

int haproxy_page(size_t i, int *ret_status, char **ret_text) {
        auto_cleanup(freep) char *html = NULL;
        const HaproxyPage *page = pages + i;

        if (i >= N_ELEMENTS(pages))
                return 0;
        html = page_html(page);
        if (!html)
                return -ENOMEM;
        *ret_text = str_format(
                "HTTP/1.0 %d %s\r\nContent-Type: text/html; charset=utf-8\r\n"
                "Content-Length: %zu\r\nConnection: close\r\nCache-Control: no-store\r\n"
                "%sContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
                "X-Content-Type-Options: nosniff\r\nMayfly-Page: %s\r\n\r\n%s",
                page->status, page->reason, strlen(html),
                page->status == 503 ? "Retry-After: 2\r\n" : "", page->name, html);
        *ret_status = page->status;
        return *ret_text ? 1 : -ENOMEM;
}

bool haproxy_word_valid(const char *s) {
        for (const char *c = s; *c; c++)
                if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                      (*c >= '0' && *c <= '9') || strchr("/._-~+@:", *c)))
                        return false;
        return *s;
}

int haproxy_view(const Site *s, char **ret_value, char ***ret_paths) {
        auto_cleanup(strv_freep) char **paths = NULL;
        bool plain = s->n_endpoints == 1 && streq(s->endpoints[0].path, "/");
        char text[ADDRESS_TEXT_MAX];
        int r;

        *ret_value = NULL;
        *ret_paths = NULL;
        if (s->answer != ANSWER_DIRECT || s->n_endpoints == 0 || !haproxy_word_valid(s->host))
                return 0;
        for (size_t i = 0; i < s->n_endpoints; i++) {
                const Endpoint *e = s->endpoints + i;
                auto_cleanup(freep) char *line = NULL;

                /* set-dst is given IPv4 only; the door serves the rest */
                if (e->address.any.sa_family != AF_INET || !haproxy_word_valid(e->path))
                        return 0;
                line = str_format("%s%s%s %s", s->host, e->path, streq(e->path, "/") ? "" : "/",
                                  address_format(&e->address, text));
                if (!line)
                        return -ENOMEM;
                r = plain ? 0 : strv_add(&paths, line);
                if (r < 0)
                        return r;
        }
        *ret_value = strdup(plain ? text : "paths");
        if (!*ret_value)
                return -ENOMEM;
        *ret_paths = TAKE(paths);
        return 0;
}
