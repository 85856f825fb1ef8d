/* Each probe says what a lenient reader would do with it. Most come from comparing five HTTP fronts
 * and two parsers: at least one of them accepted each of the refused ones. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/head.h"
#include "orchestrator/gateway/robots.h"

/* Parses a copy that ends where the allocation ends, so that ASan sees a read too far. */
static int parse(const char *text, size_t size, Head *ret, int *ret_status) {
        char *copy = malloc(size ? size : 1);
        const char *reason = NULL;
        int r;

        memcpy(copy, text, size);
        *ret_status = 0;
        r = head_parse(copy, size, ret, ret_status, &reason);
        if (r < 0) {
                assert_in_range(*ret_status, 400, 599);
                assert_non_null(reason);
        }
        if (r > 0) { /* rebase what points into the copy */
                ret->method = text + (ret->method - copy);
                if (ret->path >= copy && ret->path < copy + size)
                        ret->path = text + (ret->path - copy);
        }
        free(copy);
        return r;
}

#define H "Host: a.test\r\n"

static const struct {
        const char *what, *text;
        size_t size;
        int status;
} refused[] = {
#define PROBE(what, status, text) \
        { what, text, sizeof(text) - 1, status }
        PROBE("no Host", 400, "GET / HTTP/1.1\r\n\r\n"),
        PROBE("no Host in HTTP/1.0", 400, "GET / HTTP/1.0\r\n\r\n"),
        PROBE("two Host lines", 400, "GET / HTTP/1.1\r\n" H "Host: b.test\r\n\r\n"),
        PROBE("two equal Host lines", 400, "GET / HTTP/1.1\r\n" H H "\r\n"),
        PROBE("an empty Host", 400, "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
        PROBE("only a port", 400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
        PROBE("a port that is none", 400, "GET / HTTP/1.1\r\nHost: a.test:8x\r\n\r\n"),
        PROBE("a colon without port", 400, "GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n"),
        PROBE("a port too long", 400, "GET / HTTP/1.1\r\nHost: a.test:808080\r\n\r\n"),
        PROBE("user in the Host", 400, "GET / HTTP/1.1\r\nHost: b@a.test\r\n\r\n"),
        PROBE("a path in the Host", 400, "GET / HTTP/1.1\r\nHost: a.test/b\r\n\r\n"),
        PROBE("a list in the Host", 400, "GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n"),
        PROBE("a space in the Host", 400, "GET / HTTP/1.1\r\nHost: a test\r\n\r\n"),
        PROBE("an underscore in the Host", 400, "GET / HTTP/1.1\r\nHost: a_b.test\r\n\r\n"),
        PROBE("an empty part of the Host", 400, "GET / HTTP/1.1\r\nHost: a..test\r\n\r\n"),
        PROBE("a leading dot in the Host", 400, "GET / HTTP/1.1\r\nHost: .test\r\n\r\n"),
        PROBE("two final dots", 400, "GET / HTTP/1.1\r\nHost: a.test..\r\n\r\n"),
        PROBE("bytes above ASCII in the Host", 400,
              "GET / HTTP/1.1\r\nHost: \xc3\xa9.test\r\n\r\n"),
        PROBE("an IPv6 Host", 400, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"),
        PROBE("an absolute target with another host", 400,
              "GET http://b.test/ HTTP/1.1\r\n" H "\r\n"),
        PROBE("an absolute target with another port", 400,
              "GET http://a.test:81/ HTTP/1.1\r\n" H "\r\n"),
        PROBE("an absolute target with user", 400, "GET http://u@a.test/ HTTP/1.1\r\n" H "\r\n"),
        PROBE("an absolute target without host", 400, "GET http:///x HTTP/1.1\r\n" H "\r\n"),
        PROBE("another scheme", 400, "GET ftp://a.test/ HTTP/1.1\r\n" H "\r\n"),
        PROBE("Content-Length and chunked", 400,
              "POST / HTTP/1.1\r\n" H
              "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        PROBE("two different Content-Length", 400,
              "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nContent-Length: 5\r\n\r\n"),
        PROBE("two equal Content-Length", 400,
              "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nContent-Length: 4\r\n\r\n"),
        PROBE("a list of lengths", 400, "POST / HTTP/1.1\r\n" H "Content-Length: 4, 4\r\n\r\n"),
        PROBE("a signed length", 400, "POST / HTTP/1.1\r\n" H "Content-Length: +4\r\n\r\n"),
        PROBE("a negative length", 400, "POST / HTTP/1.1\r\n" H "Content-Length: -4\r\n\r\n"),
        PROBE("a hexadecimal length", 400, "POST / HTTP/1.1\r\n" H "Content-Length: 0x4\r\n\r\n"),
        PROBE("an empty length", 400, "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"),
        PROBE("a length beyond 64 bits", 400,
              "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551620\r\n\r\n"),
        PROBE("identity beside chunked", 501,
              "POST / HTTP/1.1\r\n" H
              "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PROBE("chunked twice", 501,
              "POST / HTTP/1.1\r\n" H
              "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        PROBE("gzip, chunked", 501,
              "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"),
        PROBE("xchunked", 501, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"),
        PROBE("a coding with a vertical tab", 400,
              "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\vchunked\r\n\r\n"),
        PROBE("chunked in HTTP/1.0", 400,
              "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
        PROBE("a folded coding", 501,
              "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n"),
        PROBE("a folded line with a tab", 400, "GET / HTTP/1.1\r\n" H "X-A: b\r\n\tc\r\n\r\n"),
        PROBE("a fold before the first line", 400, "GET / HTTP/1.1\r\n X: y\r\n" H "\r\n"),
        PROBE("a bare CR hiding a line", 400,
              "POST / HTTP/1.1\r\n" H "X-Abc: \rxTransfer-Encoding: chunked\r\n\r\n"),
        PROBE("a bare CR in the request line", 400, "GET /\r HTTP/1.1\r\n" H "\r\n"),
        PROBE("CR CR LF", 400, "GET / HTTP/1.1\r\r\n" H "\r\n"),
        PROBE("bare LF line ends", 400, "GET / HTTP/1.1\nHost: a.test\n\n"),
        PROBE("one bare LF", 400, "GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n"),
        PROBE("a space inside a name", 400,
              "GET / HTTP/1.1\r\n" H "Transfer Encoding: chunked\r\n\r\n"),
        PROBE("a space before the colon", 400,
              "POST / HTTP/1.1\r\n" H "Content-Length : 4\r\n\r\n"),
        PROBE("a tab before the colon", 400, "POST / HTTP/1.1\r\n" H "Content-Length\t: 4\r\n\r\n"),
        PROBE("an empty name", 400, "GET / HTTP/1.1\r\n" H ": x\r\n\r\n"),
        PROBE("a line without colon", 400, "GET / HTTP/1.1\r\n" H "nonsense\r\n\r\n"),
        PROBE("a NUL in a value", 400, "GET / HTTP/1.1\r\n" H "X-A: b\0c\r\n\r\n"),
        PROBE("a NUL in a name", 400, "GET / HTTP/1.1\r\n" H "X\0A: b\r\n\r\n"),
        PROBE("a NUL in the target", 400, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
        PROBE("an escape character in a value", 400, "GET / HTTP/1.1\r\n" H "X-A: \x1b[2J\r\n\r\n"),
        PROBE("CONNECT", 405, "CONNECT a.test:443 HTTP/1.1\r\n" H "\r\n"),
        PROBE("HTTP/1.2", 505, "GET / HTTP/1.2\r\n" H "\r\n"),
        PROBE("HTTP/2.0", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        PROBE("HTTP/0.9", 400, "GET /\r\n\r\n"),
        PROBE("a version in lower case", 400, "GET / http/1.1\r\n" H "\r\n"),
        PROBE("a version with more behind it", 400, "GET / HTTP/1.1 x\r\n" H "\r\n"),
        PROBE("two spaces in the request line", 400, "GET  / HTTP/1.1\r\n" H "\r\n"),
        PROBE("a tab in the request line", 400, "GET\t/ HTTP/1.1\r\n" H "\r\n"),
        PROBE("an empty line first", 400, "\r\nGET / HTTP/1.1\r\n" H "\r\n"),
        PROBE("a method that is no word", 400, "GE(T / HTTP/1.1\r\n" H "\r\n"),
        PROBE("no method", 400, " / HTTP/1.1\r\n" H "\r\n"),
        PROBE("a relative target", 400, "GET index.html HTTP/1.1\r\n" H "\r\n"),
        PROBE("a star for GET", 400, "GET * HTTP/1.1\r\n" H "\r\n"),
        PROBE("a fragment in the target", 400, "GET /#a HTTP/1.1\r\n" H "\r\n"),
        PROBE("bytes above ASCII in the target", 400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
        PROBE("a Connection option that is no word", 400,
              "GET / HTTP/1.1\r\n" H "Connection: a b\r\n\r\n"),
        PROBE("a TLS greeting", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
};

static void test_refused(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
                Head head = { 0 };
                int status, r;

                r = parse(refused[i].text, refused[i].size, &head, &status);
                if (r >= 0 || status != refused[i].status)
                        fail_msg("%s: %d, status %d, not %d", refused[i].what, r, status,
                                 refused[i].status);
                assert_int_equal(head.size, 0);
        }
}

static const struct {
        const char *text, *host, *path;
        bool navigation, keep_alive, upgrade, robot, chunked, json;
        uint64_t length;
} accepted[] = {
        { "GET / HTTP/1.1\r\n" H "\r\n", "a.test", "/", .keep_alive = true },
        { "GET /a/b?c=/d HTTP/1.1\r\nhOST:\tPR-86--Shop.Test:8150 \r\n\r\n", "pr-86--shop.test",
          "/a/b", .keep_alive = true },
        { "GET / HTTP/1.1\r\nHost: a.test.\r\nAccept: text/html,*/*;q=0.8\r\nConnection: close\r\n\r\n",
          "a.test", "/", .navigation = true },
        { "POST / HTTP/1.1\r\n" H
          "Accept: text/html\r\nContent-Length: 123456789012345678\r\n\r\nbody",
          "a.test", "/", .keep_alive = true, .length = 123456789012345678 },
        { "POST /up HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", "a.test", "/up",
          .keep_alive = true, .chunked = true },
        { "GET /ws HTTP/1.1\r\n" H "Accept: text/html\r\nConnection: keep-alive, Upgrade\r\n"
          "Upgrade: websocket\r\n\r\n",
          "a.test", "/ws", .keep_alive = true, .upgrade = true },
        { "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n", "a.test", "/", .keep_alive = true },
        { "GET / HTTP/1.0\r\n" H "\r\n", "a.test", "/" },
        { "GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n", "a.test", "/",
          .keep_alive = true },
        { "OPTIONS * HTTP/1.1\r\n" H "\r\n", "a.test", "*", .keep_alive = true },
        { "GET http://A.test/x?y HTTP/1.1\r\n" H "\r\n", "a.test", "/x", .keep_alive = true },
        { "GET https://a.test?y HTTP/1.1\r\n" H "\r\n", "a.test", "/", .keep_alive = true },
        { "GET /%00%2e%2e HTTP/1.1\r\n" H "\r\n", "a.test", "/%00%2e%2e", .keep_alive = true },
        { "GET /|{}\"<> HTTP/1.1\r\n" H "X: \xff\xfe\tz\r\nEmpty:\r\n\r\n", "a.test", "/|{}\"<>",
          .keep_alive = true },
        { "GET / HTTP/1.1\r\n" H "User-Agent: Slackbot-LinkExpanding 1.0 (+https://x.test)\r\n\r\n",
          "a.test", "/", .keep_alive = true, .robot = true },
        { "GET / HTTP/1.1\r\n" H "Sec-Purpose: prefetch;prerender\r\n\r\n", "a.test", "/",
          .keep_alive = true, .robot = true },
        { "GET / HTTP/1.1\r\n" H "Accept: application/json, */*\r\n\r\n", "a.test", "/",
          .keep_alive = true, .json = true },
        { "GET / HTTP/1.1\r\n" H "Accept: text/html, application/json\r\n\r\n", "a.test", "/",
          .keep_alive = true, .navigation = true },
};

static void test_accepted(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(accepted); i++) {
                const char *text = accepted[i].text, *end = strstr(text, "\r\n\r\n") + 4;
                char path[64] = "";
                Head head;
                int status;

                if (parse(text, strlen(text), &head, &status) != 1)
                        fail_msg("refused with %d: %s", status, text);
                assert_int_equal(head.size, end - text);
                assert_string_equal(head.host, accepted[i].host);
                memcpy(path, head.path, head.n_path);
                assert_string_equal(path, accepted[i].path);
                assert_int_equal(head_is_navigation(&head), accepted[i].navigation);
                assert_int_equal(head.keep_alive, accepted[i].keep_alive);
                assert_int_equal(head.upgrade, accepted[i].upgrade);
                assert_int_equal(head.robot, accepted[i].robot);
                assert_int_equal(head.chunked, accepted[i].chunked);
                assert_int_equal(head.wants_json, accepted[i].json);
                assert_int_equal(head.content_length, accepted[i].length);
        }
}

/* However the bytes arrive, the answer is the same: incomplete until it is final. */
static void test_in_pieces(void **state) {
        for (size_t i = 0; i < N_ELEMENTS(accepted); i++) {
                size_t n = (size_t) (strstr(accepted[i].text, "\r\n\r\n") + 4 - accepted[i].text);
                Head head;
                int status;

                for (size_t k = 0; k < n; k++)
                        assert_int_equal(parse(accepted[i].text, k, &head, &status), 0);
                assert_int_equal(parse(accepted[i].text, n, &head, &status), 1);
        }
        for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
                bool over = false;

                for (size_t k = 0; k <= refused[i].size; k++) {
                        Head head;
                        int status, r = parse(refused[i].text, k, &head, &status);

                        assert_true(r <= 0 && (r < 0 || !over)); /* once refused, always refused */
                        over = over || r < 0;
                }
                assert_true(over);
        }
}

static void test_limits(void **state) {
        auto_strbuf lines = { 0 }, large = { 0 }, full = { 0 };
        Head head;
        int status;

        strbuf_add(&lines, "GET / HTTP/1.1\r\n" H);
        for (int i = 0; i < LIMIT_DOOR_HEADERS - 1; i++)
                strbuf_addf(&lines, "X-%d: y\r\n", i);
        strbuf_add(&lines, "\r\n");
        assert_int_equal(parse(lines.text, lines.size, &head, &status), 1);
        lines.text[lines.size - 2] = 0;
        lines.size -= 2;
        strbuf_add(&lines, "One-More: z\r\n\r\n");
        assert_int_equal(parse(lines.text, lines.size, &head, &status), -EBADMSG);
        assert_int_equal(status, 431);

        strbuf_add(&large, "GET /");
        while (large.size < LIMIT_DOOR_HEAD_BYTES - 1)
                strbuf_addc(&large, 'a');
        assert_int_equal(parse(large.text, large.size, &head, &status), 0);
        strbuf_addc(&large, 'a');
        assert_int_equal(parse(large.text, large.size, &head, &status), -EBADMSG);
        assert_int_equal(status, 431);

        strbuf_add(&full, "GET / HTTP/1.1\r\n" H "X: ");
        while (full.size < LIMIT_DOOR_HEAD_BYTES - 4)
                strbuf_addc(&full, 'a');
        strbuf_add(&full, "\r\n\r\n");
        assert_int_equal(parse(full.text, full.size, &head, &status), 1);
        assert_int_equal(head.size, LIMIT_DOOR_HEAD_BYTES);
        strbuf_add(&full, "and its body");
        assert_int_equal(parse(full.text, full.size, &head, &status), 1);
}

static void test_written_again_with_close(void **state) {
        static const char text[] =
                "POST /a HTTP/1.1\r\nconnection: keep-alive\r\nA: b\r\nHost: a.test\r\n"
                "Keep-Alive: timeout=5\r\nConnection: x\r\nX-Connection: y\r\n\r\nbody";
        static const char want[] = "POST /a HTTP/1.1\r\nA: b\r\nHost: a.test\r\nX-Connection: y\r\n"
                                   "Connection: close\r\n\r\n";
        char *to;
        size_t n;
        Head head;
        int status;

        assert_int_equal(parse(text, sizeof(text) - 1, &head, &status), 1);
        to = malloc(head.size + HEAD_CLOSE_EXTRA);
        n = head_write_close(text, &head, to);
        assert_int_equal(n, sizeof(want) - 1);
        assert_memory_equal(to, want, n);
        free(to);

        /* the longest growth: nothing to take away */
        assert_int_equal(parse("GET / HTTP/1.1\r\n" H "\r\n", 32, &head, &status), 1);
        to = malloc(head.size + HEAD_CLOSE_EXTRA);
        n = head_write_close("GET / HTTP/1.1\r\n" H "\r\n", &head, to);
        assert_true(n <= head.size + HEAD_CLOSE_EXTRA);
        assert_int_equal(parse(to, n, &head, &status), 1);
        assert_false(head.keep_alive);
        free(to);
}

static void F31_activity_polluted_by_robots(void **state) {
        static const char *const robots[] = {
                "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
                "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
                "facebookexternalhit/1.1",
                "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
                "WhatsApp/2.23.20.0",
                "kube-probe/1.27",
                "Twitterbot/1.0",
                "TelegramBot (like TwitterBot)",
                "mayfly-check/0.1",
                "Mozilla/5.0 (compatible; bingbot/2.0)",
                "Some Crawler",
        };
        static const char *const people[] = {
                "",
                "curl/7.88.1",
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0",
                "python-requests/2.28.1",
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
        };

        for (size_t i = 0; i < N_ELEMENTS(robots); i++)
                if (!robots_match(robots[i], strlen(robots[i])))
                        fail_msg("counts as a visit: %s", robots[i]);
        for (size_t i = 0; i < N_ELEMENTS(people); i++)
                if (robots_match(people[i], strlen(people[i])))
                        fail_msg("does not count as a visit: %s", people[i]);
        for (size_t i = 0; robots_agents[i]; i++) /* HAProxy compares in lower case */
                for (const char *c = robots_agents[i]; *c; c++)
                        assert_false(*c >= 'A' && *c <= 'Z');
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_accepted),
                cmocka_unit_test(test_in_pieces),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_written_again_with_close),
                cmocka_unit_test(F31_activity_polluted_by_robots),
        };

        return cmocka_run_group_tests_name("head", tests, NULL, NULL);
}
