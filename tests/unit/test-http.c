/* The HTTP server in a process of its own, the client against it: whole answers, answers given later,
 * streams, limits, and clients that leave. */
#include "tests/unit/test.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/glue/http-client.h"
#include "orchestrator/glue/http-server.h"

typedef struct Held {
        struct Serve *serve;
        HttpRequest *request;
        LoopSource *timer;
        unsigned lines, left;
        bool fill;
} Held;

typedef struct Serve {
        Loop *loop;
        HttpServer *server;
        unsigned n_gone;
} Serve;

static void answer_text(HttpRequest *r, int status, const char *text) {
        http_answer(r, status, "text/plain", text, strlen(text));
}

static void held_free(Held *h) {
        loop_source_free(h->timer);
        free(h);
}

static void held_on_gone(void *userdata) {
        Held *h = userdata;

        h->serve->n_gone++;
        held_free(h);
}

static void held_on_room(void *userdata) {
        Held *h = userdata;
        char line[32];

        if (!h->fill)
                return;
        for (unsigned i = 0; i < 100 && h->left > 0; i++, h->left--) {
                snprintf(line, sizeof(line), "line %u\n", h->lines++);
                assert_int_equal(http_stream_write(h->request, line, strlen(line)), 0);
        }
        if (h->left == 0) {
                http_stream_end(h->request);
                held_free(h);
        }
}

static void held_on_time(void *userdata) {
        Held *h = userdata;
        char line[32];

        if (h->left == 0) {
                answer_text(h->request, 200, "later");
                held_free(h);
                return;
        }
        snprintf(line, sizeof(line), "line %u\n", h->lines++);
        assert_int_equal(http_stream_write(h->request, line, strlen(line)), 0);
        if (--h->left == 0) {
                http_stream_end(h->request);
                held_free(h);
                return;
        }
        (void) loop_timer_arm_after(h->timer, 2000);
}

static Held *hold(Serve *s, HttpRequest *r) {
        Held *h = calloc(1, sizeof(Held));

        h->serve = s;
        h->request = r;
        assert_int_equal(loop_add_timer(s->loop, "later", held_on_time, h, &h->timer, NULL), 0);
        (void) loop_timer_arm_after(h->timer, 2000);
        return h;
}

static void serve_on_request(void *userdata, HttpRequest *r) {
        Serve *s = userdata;
        const char *path = http_request_path(r), *body, *value;
        HttpStreamEvents events = { .on_room = held_on_room, .on_gone = held_on_gone };
        char text[256];
        size_t size;

        body = http_request_body(r, &size);
        if (streq(path, "/later")) {
                (void) hold(s, r);
        } else if (streq(path, "/trickle")) {
                Held *h = events.userdata = hold(s, r);

                h->left = 5;
                http_stream(r, 200, "text/plain", &events);
        } else if (streq(path, "/flood")) {
                Held *h = events.userdata = hold(s, r);

                loop_timer_disarm(h->timer);
                h->left = 20000;
                h->fill = true;
                http_stream(r, 200, "text/plain", &events);
        } else if (streq(path, "/silent")) {
                Held *h = events.userdata = hold(s, r);

                loop_timer_disarm(h->timer);
                http_stream(r, 200, "text/plain", &events);
        } else if (streq(path, "/gone")) {
                snprintf(text, sizeof(text), "%u", s->n_gone);
                answer_text(r, 200, text);
        } else if (streq(path, "/query")) {
                value = http_request_query(r, "name");
                answer_text(r, 200, value ?: "(absent)");
        } else if (streq(path, "/peer")) {
                const HttpPeer *peer = http_request_peer(r);

                snprintf(text, sizeof(text), "%d %u %d", peer->known, peer->uid,
                         peer->pid == getppid());
                answer_text(r, 200, text);
        } else if (streq(path, "/stop")) {
                answer_text(r, 200, "stopping");
                loop_exit(s->loop, 0);
        } else {
                snprintf(text, sizeof(text), "%s %s %zu", http_request_method(r), path, size);
                answer_text(r, streq(path, "/teapot") ? 418 : 200, size > 0 ? body : text);
        }
}

typedef struct Fixture {
        char folder[64], socket[96];
        pid_t pid;
        HttpClient *client;
} Fixture;

static int serve_run(const char *path) {
        Serve s = { 0 };
        HttpServerSetup setup = { .body_max = 100000,
                                  .connections_max = 16,
                                  .on_request = serve_on_request,
                                  .userdata = &s };
        int r;

        signal(SIGPIPE, SIG_IGN);
        r = loop_new(&s.loop, NULL);
        if (r == 0)
                r = http_listen_unix(path, 0666, &setup.fd, NULL);
        setup.loop = s.loop;
        if (r == 0)
                r = http_server_new(&setup, &s.server, NULL);
        if (r == 0)
                r = loop_run(s.loop, NULL);
        http_server_free(s.server);
        loop_free(s.loop);
        return r;
}

/* Its name is there a moment before it listens. */
static bool listens(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        auto_cleanup(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        return connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        strcpy(f->folder, "/tmp/mayfly-http-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        snprintf(f->socket, sizeof(f->socket), "%s/api.sock", f->folder);
        f->pid = fork();
        if (f->pid == 0) {
                char path[sizeof(f->socket)];

                strcpy(path, f->socket);
                free(f);
                exit(serve_run(path) == 0 ? 0 : 1);
        }
        for (unsigned i = 0; i < 1000 && !listens(f->socket); i++)
                usleep(5000);
        assert_int_equal(http_client_new(f->socket, &f->client, NULL), 0);
        *state = f;
        return 0;
}

static int call(Fixture *f, const char *method, const char *path, const char *body,
                HttpReply *ret) {
        auto_cleanup(freep) char *url = str_format("http://localhost%s", path);
        HttpCall c = {
                .method = method, .url = url, .body = body, .max = 200000, .timeout_ms = 20000
        };

        return http_client_call(f->client, &c, ret, NULL);
}

static void expect(Fixture *f, const char *path, int status, const char *text) {
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };

        assert_int_equal(call(f, "GET", path, NULL, &reply), 0);
        assert_int_equal(reply.status, status);
        assert_string_equal(reply.text, text);
}

/* The child runs under the sanitizers too: its exit status says whether anything leaked. */
static int teardown(void **state) {
        Fixture *f = *state;
        int status;

        expect(f, "/stop", 200, "stopping");
        assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        http_client_free(f->client);
        assert_int_equal(remove_tree(f->folder, NULL), 0);
        free(f);
        return 0;
}

static void test_answers_now_and_later(void **state) {
        Fixture *f = *state;
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        struct stat st;

        expect(f, "/hello", 200, "GET /hello 0");
        expect(f, "/teapot", 418, "GET /teapot 0");
        for (unsigned i = 0; i < 20; i++)
                expect(f, "/later", 200, "later");
        assert_int_equal(call(f, "POST", "/echo", "{\"a\":1}", &reply), 0);
        assert_string_equal(reply.text, "{\"a\":1}");
        assert_int_equal(stat(f->socket, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0666);
}

static void test_paths_stay_escaped_and_queries_do_not(void **state) {
        Fixture *f = *state;

        expect(f, "/a%2Fb/c", 200, "GET /a%2Fb/c 0");
        expect(f, "/query?name=a%2Fb%20c", 200, "a/b c");
        expect(f, "/query?name", 200, "");
        expect(f, "/query?other=1", 200, "(absent)");
        expect(f, "/query?name=%zz", 200, "(absent)");
        expect(f, "/query?name=%00", 200, "(absent)");
}

static void test_the_peer_is_known(void **state) {
        Fixture *f = *state;
        char text[64];

        snprintf(text, sizeof(text), "1 %u 1", getuid());
        expect(f, "/peer", 200, text);
}

/* Whoever sends too much reads so, also when it is still sending: up to a size that nobody means. */
static void test_bodies_are_bounded(void **state) {
        static const size_t sizes[] = { 100001, 200000, 1600000 };
        Fixture *f = *state;
        auto_cleanup(freep) char *big = malloc(1600001);
        auto_cleanup(http_reply_done) HttpReply at_limit = { 0 };

        memset(big, 'x', 1600000);
        for (size_t i = N_ELEMENTS(sizes); i-- > 0;) {
                auto_cleanup(http_reply_done) HttpReply above = { 0 };

                big[sizes[i]] = '\0';
                assert_int_equal(call(f, "POST", "/echo", big, &above), 0);
                assert_int_equal(above.status, 413);
                assert_non_null(strstr(above.text, "too_large"));
        }
        big[100000] = '\0';
        assert_int_equal(call(f, "POST", "/echo", big, &at_limit), 0);
        assert_int_equal(at_limit.size, 100000);
        expect(f, "/hello", 200, "GET /hello 0");
}

typedef struct Lines {
        unsigned n, stop_at, n_ticks;
} Lines;

static int on_line(void *userdata, const char *line) {
        Lines *l = userdata;
        char text[32];

        snprintf(text, sizeof(text), "line %u", l->n++);
        assert_string_equal(line, text);
        return l->stop_at > 0 && l->n >= l->stop_at ? -ECANCELED : 0;
}

static int on_tick(void *userdata) {
        Lines *l = userdata;

        return ++l->n_ticks >= 1 ? -ECANCELED : 0;
}

static int stream(Fixture *f, const char *path, Lines *l) {
        auto_cleanup(freep) char *url = str_format("http://localhost%s", path);
        auto_cleanup(http_reply_done) HttpReply reply = { 0 };
        HttpCall c = { .method = "GET",
                       .url = url,
                       .max = 1000,
                       .on_line = on_line,
                       .on_tick = on_tick,
                       .userdata = l,
                       .timeout_ms = 20000 };

        return http_client_call(f->client, &c, &reply, NULL);
}

static void test_streams_arrive_whole(void **state) {
        Fixture *f = *state;
        Lines trickle = { 0 }, flood = { 0 };

        assert_int_equal(stream(f, "/trickle", &trickle), 0);
        assert_int_equal(trickle.n, 5);
        assert_int_equal(stream(f, "/flood", &flood), 0);
        assert_int_equal(flood.n, 20000);
        expect(f, "/gone", 200, "0");
}

static void wait_gone(Fixture *f, const char *n) {
        for (unsigned i = 0; i < 1000; i++) {
                auto_cleanup(http_reply_done) HttpReply reply = { 0 };

                assert_int_equal(call(f, "GET", "/gone", NULL, &reply), 0);
                if (streq(reply.text, n))
                        return;
                usleep(5000);
        }
        fail_msg("the server did not notice that a client left");
}

static void test_a_client_that_leaves_is_noticed(void **state) {
        Fixture *f = *state;
        Lines some = { .stop_at = 2 }, flood = { .stop_at = 100 }, silent = { 0 };

        assert_int_equal(stream(f, "/trickle", &some), -ECANCELED);
        wait_gone(f, "1");
        assert_int_equal(stream(f, "/flood", &flood), -ECANCELED);
        wait_gone(f, "2");
        assert_int_equal(stream(f, "/silent", &silent), -ECANCELED);
        assert_int_equal(silent.n_ticks, 1);
        wait_gone(f, "3");
}

/* A server that stops while clients wait tells their producers and frees everything. */
static void test_stops_with_waiting_clients(void **state) {
        Fixture *f = *state;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        static const char *const requests[] = {
                "GET /silent HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /la",
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
        };
        char buf[64];

        strcpy(address.sun_path, f->socket);
        for (unsigned i = 0; i < N_ELEMENTS(requests); i++) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

                assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
                assert_int_equal(write_all(fd, requests[i], strlen(requests[i])), 0);
                if (i < 2)
                        assert_true(read(fd, buf, sizeof(buf)) > 0);
                /* left open until this process ends */
        }
}

static void test_a_living_socket_is_not_replaced(void **state) {
        Fixture *f = *state;
        auto_error error = { 0 };
        int fd;

        assert_int_equal(http_listen_unix(f->socket, 0666, &fd, &error), -EADDRINUSE);
        expect(f, "/hello", 200, "GET /hello 0");
        assert_int_equal(
                http_listen_unix("/tmp/a-name-that-is-much-too-long-for-a-unix-domain-socket-"
                                 "because-sun-path-has-only-one-hundred-and-eight-bytes",
                                 0666, &fd, NULL),
                -ENAMETOOLONG);
}

static void test_nobody_there_is_told_apart(void **state) {
        auto_cleanup(http_client_freep) HttpClient *absent = NULL, *refused = NULL;
        HttpCall c = { .method = "GET", .url = "http://localhost/", .max = 100 };
        char path[] = "/tmp/mayfly-http-XXXXXX";
        int fd = mkstemp(path);
        HttpReply reply;

        close(fd);
        assert_int_equal(http_client_new("/tmp/absent/api.sock", &absent, NULL), 0);
        assert_int_equal(http_client_call(absent, &c, &reply, NULL), -ENOENT);
        assert_int_equal(http_client_new(path, &refused, NULL), 0);
        assert_int_equal(http_client_call(refused, &c, &reply, NULL), -ECONNREFUSED);
        unlink(path);
}

static void test_escaping(void **state) {
        auto_cleanup(freep) char *s = http_escape("feature/ä b");
        char back[64], bad[] = "a%2", nul[] = "a%00";

        assert_string_equal(s, "feature%2F%C3%A4%20b");
        strcpy(back, s);
        assert_int_equal(http_unescape(back), 0);
        assert_string_equal(back, "feature/ä b");
        assert_int_equal(http_unescape(bad), -EINVAL);
        assert_int_equal(http_unescape(nul), -EINVAL);
}

#define SERVED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                SERVED(test_answers_now_and_later),
                SERVED(test_paths_stay_escaped_and_queries_do_not),
                SERVED(test_the_peer_is_known),
                SERVED(test_bodies_are_bounded),
                SERVED(test_streams_arrive_whole),
                SERVED(test_a_client_that_leaves_is_noticed),
                SERVED(test_stops_with_waiting_clients),
                SERVED(test_a_living_socket_is_not_replaced),
                cmocka_unit_test(test_nobody_there_is_told_apart),
                cmocka_unit_test(test_escaping),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
