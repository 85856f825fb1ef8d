/* Probes: each runs in a child of the keeper, so that a program that hangs holds up nothing. Until the
 * first success the readiness probe (else the liveness probe) repeats quickly; after it nothing is
 * asked any more but a declared liveness probe, every ten seconds (liveness_interval_ms). */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/keeper.h"
#include "providers/process/launch.h"

static const json_t *probe_member(const Container *c, const char *name) {
        const json_t *probe = json_object_get(c->spec, name);

        return json_is_object(probe) ? probe : NULL;
}

/* The probe that says whether the container is up. */
static const json_t *probe_of_start(const Container *c) {
        const json_t *readiness = probe_member(c, "readiness");

        return readiness ? readiness : probe_member(c, "liveness");
}

bool probe_wanted(const Container *c) {
        return probe_member(c, "readiness") != NULL;
}

static void gateway_address(const Keeper *k, uint16_t port, struct sockaddr_in *ret) {
        const char *text = json_string_value(json_object_get(k->spec, "address"));

        *ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
        if (!text || inet_pton(AF_INET, text, &ret->sin_addr) != 1)
                ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

bool port_accepts(const Keeper *k, uint16_t port) {
        auto_cleanup(closep) int fd =
                socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        struct sockaddr_in to;
        int error = 0;
        socklen_t size = sizeof(error);

        if (fd < 0)
                return false;
        gateway_address(k, port, &to);
        if (connect(fd, (struct sockaddr *) &to, sizeof(to)) == 0)
                return true;
        /* On the same machine an answer takes microseconds. */
        return errno == EINPROGRESS && poll(&p, 1, 5) == 1 &&
               getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

static bool text_plain(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        return false;
        return true;
}

static char *http_request(const Keeper *k, const json_t *get) {
        const char *path = json_string_value(json_object_get(get, "path"));
        const char *host = json_string_value(json_object_get(get, "host"));
        const char *address = json_string_value(json_object_get(k->spec, "address"));
        auto_strbuf b = { 0 };
        const json_t *header;
        size_t i;

        path = path && text_plain(path) ? path : "/";
        host = host && text_plain(host) ? host : address ? address : "127.0.0.1";
        strbuf_addf(&b,
                    "GET %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: mayfly-probe\r\n"
                    "Connection: close\r\n",
                    path[0] == '/' ? "" : "/", path, host);
        json_array_foreach(json_object_get(get, "headers"), i, header) {
                const char *name = json_string_value(json_object_get(header, "name"));
                const char *value = json_string_value(json_object_get(header, "value"));

                if (name && value && text_plain(name) && text_plain(value))
                        strbuf_addf(&b, "%s: %s\r\n", name, value);
        }
        strbuf_add(&b, "\r\n");
        return strbuf_take(&b);
}

/* In the child: does the answer begin with a status from 200 to 399? Over TLS only the connection is
 * tried: the keeper has no TLS. */
static bool http_passes(const Keeper *k, const json_t *get) {
        auto_cleanup(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        auto_cleanup(freep) char *request = http_request(k, get);
        const char *scheme = json_string_value(json_object_get(get, "scheme"));
        uint16_t port = (uint16_t) json_integer_value(json_object_get(get, "port"));
        struct sockaddr_in to;
        char head[16] = { 0 };
        size_t used = 0;

        gateway_address(k, port, &to);
        if (fd < 0 || !request || connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0)
                return false;
        if (streq_null(scheme, "HTTPS"))
                return true;
        if (write_all(fd, request, strlen(request)) < 0)
                return false;
        while (used < 12) {
                ssize_t n = read(fd, head + used, 12 - used);

                if (n <= 0)
                        return false;
                used += (size_t) n;
        }
        return str_after(head, "HTTP/1.") && head[8] == ' ' && (head[9] == '2' || head[9] == '3');
}

/* In the child: the command, in the container. */
__attribute__((noreturn)) static void exec_run(const Container *c, const json_t *command) {
        auto_error error = { 0 };
        Launch l = { .uid = -1 };
        int fd, null = open("/dev/null", O_RDWR);
        size_t n = json_array_size(command);

        if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
            container_record(c, &fd, &error) < 0 || launch_read(fd, &l, &error) < 0)
                _exit(126);
        l.argv = calloc(n + 1, sizeof(char *));
        for (size_t i = 0; l.argv && i < n; i++)
                l.argv[i] = strdup(json_string_value(json_array_get(command, i))
                                           ? json_string_value(json_array_get(command, i))
                                           : "");
        launch_enter(&l, c->pidfd, !c->keeper->root);
}

static void probe_start(Container *c, const json_t *probe, int64_t now) {
        const json_t *command = json_object_get(json_object_get(probe, "exec"), "command");
        const json_t *get = json_object_get(probe, "http_get");
        sigset_t none;

        c->probe_end_ms = now + LIMIT_PROCESS_PROBE_MS;
        c->probe = fork();
        if (c->probe < 0)
                c->probe = 0; /* counted as a failure by the time limit */
        if (c->probe != 0)
                return;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void) setpgid(0, 0);
        if (json_is_object(get) && !http_passes(c->keeper, get))
                _exit(1);
        if (json_array_size(command) > 0)
                exec_run(c, command);
        _exit(0);
}

void probe_cancel(Container *c) {
        if (c->probe > 0)
                (void) kill(-c->probe, SIGKILL);
}

static void probe_later(Container *c, int64_t now) {
        if (c->healthy) {
                c->probe_next_ms = probe_member(c, "liveness") ? now + c->keeper->liveness_ms : 0;
                return;
        }
        c->probe_delay_ms = c->probe_delay_ms ? c->probe_delay_ms * 2 : 2;
        if (c->probe_delay_ms > c->keeper->interval_ms)
                c->probe_delay_ms = c->keeper->interval_ms;
        c->probe_next_ms = now + c->probe_delay_ms;
}

void probe_on_exit(Container *c, int status) {
        bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;

        c->probe_end_ms = 0;
        if (c->state != CONTAINER_RUNNING || !c->running)
                return;
        if (passed) {
                c->healthy = true;
                c->probe_failures = 0;
        } else if (c->healthy && ++c->probe_failures >= LIMIT_PROCESS_LIVENESS_FAILURES) {
                lines_say(&c->lines, "failed its liveness probe %d times; started again",
                          LIMIT_PROCESS_LIVENESS_FAILURES);
                c->signalled = true; /* not asked again while it ends */
                container_kill(c);
                return;
        }
        probe_later(c, now_ms());
}

int64_t probe_step(Container *c, int64_t now) {
        const json_t *start = probe_of_start(c);

        if (c->state != CONTAINER_RUNNING || !c->running || c->completes || c->signalled)
                return 0;
        if (!start) {
                c->healthy = true;
                return 0;
        }
        if (c->probe > 0) {
                if (now < c->probe_end_ms)
                        return c->probe_end_ms;
                probe_cancel(c);
                return 0; /* its end wakes us */
        }
        if (c->healthy && !probe_member(c, "liveness"))
                return 0;
        if (now < c->probe_next_ms)
                return c->probe_next_ms;
        probe_start(c, c->healthy ? probe_member(c, "liveness") : start, now);
        return c->probe_end_ms;
}

void ports_parse(const char *text, StrBuf *b) {
        for (const char *line = strchr(text, '\n'); line; line = strchr(line, '\n')) {
                char name[INET6_ADDRSTRLEN] = "", hex[33];
                unsigned port, state;
                uint32_t words[4] = { 0 };

                line++;
                if (sscanf(line, " %*u: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x", hex, &port, &state) !=
                            3 ||
                    state != 0x0a)
                        continue;
                for (size_t i = 0; i < strlen(hex) / 8; i++) {
                        char word[9] = { 0 };

                        memcpy(word, hex + 8 * i, 8);
                        words[i] = (uint32_t) strtoul(word, NULL, 16); /* in this machine's order */
                }
                inet_ntop(strlen(hex) == 8 ? AF_INET : AF_INET6, words, name, sizeof(name));
                strbuf_addf(b, strlen(hex) == 8 ? "%s%s:%u" : "%s[%s]:%u", b->size ? ", " : "",
                            name, port);
                if (b->size > 1024)
                        return;
        }
}

char *ports_listening(int pidfd) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *info = NULL;
        char path[64];
        const char *at;

        /* /proc counts processes as the host does, we do not. */
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        if (pidfd < 0 || read_file(path, 4096, &info, NULL, NULL) < 0)
                return strdup("");
        at = strstr(info, "Pid:");
        for (const char **file = (const char *[]){ "tcp", "tcp6", NULL }; at && *file; file++) {
                auto_cleanup(freep) char *text = NULL;

                snprintf(path, sizeof(path), "/proc/%d/net/%s", atoi(at + strlen("Pid:")), *file);
                if (read_file(path, 1024 * 1024, &text, NULL, NULL) == 0)
                        ports_parse(text, &b);
        }
        return strbuf_take(&b);
}
