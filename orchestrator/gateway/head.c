/* Bytes are read once, line by line. The lines that decide who is asked for and where the body ends
 * are a table of functions; every other line is only checked for its form. What is refused and why a
 * lenient reader would be dangerous is listed with each probe in tests/unit/test-head.c. */
#include "orchestrator/gateway/head.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/gateway/robots.h"

typedef struct Slice {
        const char *at;
        size_t n;
} Slice;

typedef struct Reader {
        Head *head;
        Slice authority; /* of an absolute target; at NULL when the target has none */
        Slice host;      /* the Host line's value */
        unsigned n_host, n_length, n_coding, n_lines;
        bool old; /* HTTP/1.0 */
        bool connection_upgrade, connection_close, connection_keep, has_upgrade, wants_json;
        int status;
        const char *reason;
} Reader;

static int refuse(Reader *r, int status, const char *reason) {
        r->status = status;
        r->reason = reason;
        return -EBADMSG;
}

/* RFC 9110, section 5.6.2: what a method or a field name may consist of. */
static bool is_token_char(unsigned char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(Slice s) {
        for (size_t i = 0; i < s.n; i++)
                if (!is_token_char((unsigned char) s.at[i]))
                        return false;
        return s.n > 0;
}

static bool slice_is(Slice s, const char *word) {
        return s.n == strlen(word) && strncasecmp(s.at, word, s.n) == 0;
}

static Slice trim(Slice s) {
        while (s.n > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) {
                s.at++;
                s.n--;
        }
        while (s.n > 0 && (s.at[s.n - 1] == ' ' || s.at[s.n - 1] == '\t'))
                s.n--;
        return s;
}

/* Takes the next element of a comma-separated list off *list; false at its end. */
static bool list_next(Slice *list, Slice *ret) {
        const char *comma;

        if (list->n == 0)
                return false;
        comma = memchr(list->at, ',', list->n);
        *ret = (Slice){ list->at, comma ? (size_t) (comma - list->at) : list->n };
        list->at += ret->n + (comma != NULL);
        list->n -= ret->n + (comma != NULL);
        *ret = trim(*ret);
        return true;
}

static bool slice_has(Slice s, const char *word) {
        size_t n = strlen(word);

        for (size_t i = 0; i + n <= s.n; i++)
                if (strncasecmp(s.at + i, word, n) == 0)
                        return true;
        return false;
}

/* ---- the lines that matter ---- */

static int on_host(Reader *r, Slice value) {
        r->n_host++;
        r->host = value;
        return 0;
}

static int on_content_length(Reader *r, Slice value) {
        uint64_t length = 0;

        if (++r->n_length > 1)
                return refuse(r, 400, "The request has two Content-Length lines.");
        if (value.n == 0 || value.n > 18)
                return refuse(r, 400, "The Content-Length is not a number.");
        for (size_t i = 0; i < value.n; i++) {
                if (value.at[i] < '0' || value.at[i] > '9')
                        return refuse(r, 400, "The Content-Length is not a number.");
                length = length * 10 + (uint64_t) (value.at[i] - '0');
        }
        r->head->content_length = length;
        return 0;
}

static int on_transfer_encoding(Reader *r, Slice value) {
        if (++r->n_coding > 1 || !slice_is(value, "chunked"))
                return refuse(r, 501, "Only one Transfer-Encoding is understood: chunked.");
        r->head->chunked = true;
        return 0;
}

static int on_connection(Reader *r, Slice value) {
        Slice option;

        while (list_next(&value, &option)) {
                if (option.n > 0 && !is_token(option))
                        return refuse(r, 400, "The Connection line is not a list of words.");
                r->connection_upgrade = r->connection_upgrade || slice_is(option, "upgrade");
                r->connection_close = r->connection_close || slice_is(option, "close");
                r->connection_keep = r->connection_keep || slice_is(option, "keep-alive");
        }
        return 0;
}

static int on_upgrade(Reader *r, Slice value) {
        r->has_upgrade = value.n > 0;
        return 0;
}

static int on_accept(Reader *r, Slice value) {
        r->head->wants_html = r->head->wants_html || slice_has(value, "text/html");
        r->wants_json = r->wants_json || slice_has(value, "/json") || slice_has(value, "+json");
        return 0;
}

static int on_user_agent(Reader *r, Slice value) {
        r->head->robot = r->head->robot || robots_match(value.at, value.n);
        return 0;
}

/* A page fetched before anybody asked to see it is no visit (Fetch Metadata, "Sec-Purpose"). */
static int on_purpose(Reader *r, Slice value) {
        r->head->robot = r->head->robot || slice_has(value, "prefetch");
        return 0;
}

static const struct {
        const char *name;
        int (*read)(Reader *r, Slice value);
} lines[] = {
        { "host", on_host },
        { "content-length", on_content_length },
        { "transfer-encoding", on_transfer_encoding },
        { "connection", on_connection },
        { "upgrade", on_upgrade },
        { "accept", on_accept },
        { "user-agent", on_user_agent },
        { "sec-purpose", on_purpose },
        { "purpose", on_purpose },
};

static int read_line(Reader *r, Slice line) {
        const char *colon = memchr(line.at, ':', line.n);
        Slice name, value;

        if (line.at[0] == ' ' || line.at[0] == '\t')
                return refuse(r, 400, "A header line is folded.");
        if (!colon)
                return refuse(r, 400, "A header line has no colon.");
        name = (Slice){ line.at, (size_t) (colon - line.at) };
        if (!is_token(name))
                return refuse(r, 400, "A header name has a character that is not allowed.");
        if (++r->n_lines > LIMIT_DOOR_HEADERS)
                return refuse(r, 431, "The request has too many header lines.");
        value = trim((Slice){ colon + 1, line.n - name.n - 1 });
        for (size_t i = 0; i < N_ELEMENTS(lines); i++)
                if (slice_is(name, lines[i].name))
                        return lines[i].read(r, value);
        return 0;
}

/* ---- the request line ---- */

static int read_target(Reader *r, Slice target) {
        static const char *const schemes[] = { "http://", "https://" };
        const char *query;
        Slice path = target;

        for (size_t i = 0; i < target.n; i++)
                if (target.at[i] <= ' ' || target.at[i] >= 0x7f || target.at[i] == '#')
                        return refuse(r, 400,
                                      "The request target has a character that is not allowed.");
        for (size_t i = 0; i < N_ELEMENTS(schemes); i++) {
                size_t n = strlen(schemes[i]);

                if (target.n < n || strncasecmp(target.at, schemes[i], n) != 0)
                        continue;
                r->authority.at = path.at = target.at + n;
                path.n = target.n - n;
                while (path.n > 0 && *path.at != '/' && *path.at != '?') {
                        path.at++;
                        path.n--;
                }
                r->authority.n = (size_t) (path.at - r->authority.at);
        }
        if (slice_is(target, "*")) {
                if (r->head->n_method != 7 || memcmp(r->head->method, "OPTIONS", 7) != 0)
                        return refuse(r, 400, "Only OPTIONS may ask for '*'.");
        } else if (!r->authority.at && (path.n == 0 || *path.at != '/')) {
                return refuse(r, 400, "The request target is not a path.");
        }
        query = memchr(path.at, '?', path.n);
        if (query)
                path.n = (size_t) (query - path.at);
        r->head->path = path.n > 0 ? path.at : "/";
        r->head->n_path = path.n > 0 ? path.n : 1;
        return 0;
}

static int read_request_line(Reader *r, Slice line) {
        const char *first = memchr(line.at, ' ', line.n), *second;
        Slice method, version;

        if (!first)
                return refuse(r, 400, "The request line has not three parts.");
        method = (Slice){ line.at, (size_t) (first - line.at) };
        if (!is_token(method))
                return refuse(r, 400, "The method is not a word.");
        second = memchr(first + 1, ' ', line.n - method.n - 1);
        if (!second)
                return refuse(r, 400, "The request line has not three parts.");
        version = (Slice){ second + 1, line.n - (size_t) (second + 1 - line.at) };
        if (version.n != 8 || memcmp(version.at, "HTTP/", 5) != 0)
                return refuse(r, 400, "The request line does not end with the protocol's version.");
        if (memcmp(version.at, "HTTP/1.1", 8) != 0 && memcmp(version.at, "HTTP/1.0", 8) != 0)
                return refuse(r, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
        r->old = version.at[7] == '0';
        r->head->method = method.at;
        r->head->n_method = method.n;
        r->head->is_get = method.n == 3 && memcmp(method.at, "GET", 3) == 0;
        r->head->is_head = method.n == 4 && memcmp(method.at, "HEAD", 4) == 0;
        if (method.n == 7 && memcmp(method.at, "CONNECT", 7) == 0)
                return refuse(r, 405, "This is no proxy: CONNECT is refused.");
        return read_target(r, (Slice){ first + 1, (size_t) (second - first - 1) });
}

/* ---- what the lines mean together ---- */

static int read_host(Reader *r) {
        size_t n = r->host.n, n_port = 0;
        char *to = r->head->host;

        if (r->n_host != 1)
                return refuse(r, 400,
                              r->n_host ? "The request has two Host lines."
                                        : "The request has no Host line.");
        if (r->authority.at &&
            (r->authority.n != n || strncasecmp(r->authority.at, r->host.at, n) != 0))
                return refuse(r, 400, "The request target names another host than the Host line.");
        while (n_port < n && r->host.at[n - 1 - n_port] >= '0' && r->host.at[n - 1 - n_port] <= '9')
                n_port++;
        if (n_port > 0 && n_port <= 5 && n > n_port && r->host.at[n - 1 - n_port] == ':')
                n -= n_port + 1;
        if (n > 1 && r->host.at[n - 1] == '.')
                n--;
        if (n == 0 || n > HEAD_HOST_MAX)
                return refuse(r, 400, "The Host line is empty or too long.");
        for (size_t i = 0; i < n; i++) {
                char c = r->host.at[i];

                if (c >= 'A' && c <= 'Z')
                        c = (char) (c - 'A' + 'a');
                if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                      (c == '.' && i > 0 && to[i - 1] != '.')))
                        return refuse(r, 400, "The Host line has a character that is not allowed.");
                to[i] = c;
        }
        if (to[n - 1] == '.')
                return refuse(r, 400, "The Host line has an empty part.");
        to[n] = 0;
        return 0;
}

static int read_end(Reader *r) {
        Head *h = r->head;

        if (r->n_length > 0 && r->n_coding > 0)
                return refuse(r, 400, "The request has both Content-Length and Transfer-Encoding.");
        if (r->n_coding > 0 && r->old)
                return refuse(r, 400, "HTTP/1.0 has no Transfer-Encoding.");
        h->upgrade = r->connection_upgrade && r->has_upgrade && !r->old;
        h->keep_alive = r->old ? r->connection_keep && !r->connection_close : !r->connection_close;
        h->wants_json = r->wants_json && !h->wants_html;
        return read_host(r);
}

/* Finds the CR LF that ends the line at s: its length, -EAGAIN when there is no end yet, else a refusal
 * for a byte that no line may have. */
static ssize_t line_length(Reader *r, const char *s, size_t n) {
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) s[i];

                if (c >= ' ' && c != 0x7f)
                        continue;
                if (c == '\t')
                        continue;
                if (c == '\r' && i + 1 == n)
                        return -EAGAIN;
                if (c == '\r' && s[i + 1] == '\n')
                        return (ssize_t) i;
                return refuse(r, 400,
                              "The request head has a control character, or a line that does "
                              "not end with CR LF.");
        }
        return -EAGAIN;
}

static int head_read(Reader *r, const char *data, size_t size) {
        size_t limit = size < LIMIT_DOOR_HEAD_BYTES ? size : LIMIT_DOOR_HEAD_BYTES, at = 0;
        ssize_t n;
        int k;

        for (bool first = true;; first = false) {
                n = line_length(r, data + at, limit - at);
                if (n == -EAGAIN && size >= LIMIT_DOOR_HEAD_BYTES)
                        return refuse(r, 431, "The request head is too large.");
                if (n < 0)
                        return n == -EAGAIN ? 0 : (int) n;
                if (first)
                        k = read_request_line(r, (Slice){ data, (size_t) n });
                else if (n == 0)
                        k = read_end(r);
                else
                        k = read_line(r, (Slice){ data + at, (size_t) n });
                if (k < 0)
                        return k;
                at += (size_t) n + 2;
                if (!first && n == 0) {
                        r->head->size = at;
                        return 1;
                }
        }
}

int head_parse(const char *data, size_t size, Head *ret, int *ret_status, const char **ret_reason) {
        Head head = { 0 };
        Reader reader = { .head = &head };
        int r;

        r = head_read(&reader, data, size);
        if (r > 0)
                *ret = head;
        if (r < 0) {
                *ret_status = reader.status;
                *ret_reason = reader.reason;
        }
        return r;
}

size_t head_write_close(const char *data, const Head *h, char *to) {
        static const char close_line[] = "Connection: close\r\n\r\n";
        const char *at = data, *end = data + h->size - 2; /* without the empty line */
        size_t n = 0;

        while (at < end) {
                const char *next = (const char *) memchr(at, '\n', (size_t) (end - at)) + 1;

                if (strncasecmp(at, "connection:", 11) != 0 &&
                    strncasecmp(at, "keep-alive:", 11) != 0) {
                        memcpy(to + n, at, (size_t) (next - at));
                        n += (size_t) (next - at);
                }
                at = next;
        }
        memcpy(to + n, close_line, sizeof(close_line) - 1);
        return n + sizeof(close_line) - 1;
}
