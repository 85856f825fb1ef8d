/* The product of the integration, crash and bench tests: a static HTTP server of a few kilobytes that
 * starts in a millisecond. What it does is set by variables, as a preview's product would be:
 *   PORT           where it listens (required)
 *   TEXT           what GET / answers; else the content of the file "text" in its folder, else "hello"
 *   DELAY_MS       waits before it listens
 *   EXIT_CODE      says so and exits at once with this code
 *   IGNORE_TERM    any value: SIGTERM is ignored
 *   LISTEN_NEVER   any value: runs but never listens
 * GET /data reads the file /data/value, POST /data replaces it with the body (at most 1000 bytes), GET
 * /env/NAME answers a variable, GET /slow answers after a second, GET /stream sends a line every 100 ms
 * until the client leaves. One process per connection; keep-alive as HTTP/1.1 has it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(long ms) {
        struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

        nanosleep(&ts, NULL);
}

static void answer(int fd, int status, const char *text) {
        char head[256];
        int n = snprintf(
                head, sizeof(head),
                "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", status,
                status == 200 ? "OK" : "No", strlen(text));

        /* one write: two small ones would wait for each other's acknowledgement (Nagle) */
        struct iovec parts[] = { { head, (size_t) n }, { (char *) text, strlen(text) } };

        (void) !writev(fd, parts, 2);
}

static void answer_file(int fd, const char *path, const char *fallback) {
        char text[1001];
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = file >= 0 ? read(file, text, sizeof(text) - 1) : -1;

        if (file >= 0)
                close(file);
        if (n >= 0)
                text[n] = 0;
        if (n < 0 && !fallback)
                answer(fd, 404, "nothing there");
        else
                answer(fd, 200, n < 0 ? fallback : text);
}

static void store(int fd, const char *body, size_t size) {
        int file = open("/data/value", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (file < 0 || write(file, body, size) != (ssize_t) size || fsync(file) < 0)
                answer(fd, 500, strerror(errno));
        else
                answer(fd, 200, "stored");
        if (file >= 0)
                close(file);
}

static void stream(int fd) {
        static const char head[] =
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";

        if (write(fd, head, sizeof(head) - 1) < 0)
                return;
        while (write(fd, "tick\n", 5) == 5)
                sleep_ms(100);
}

static void serve_request(int fd, char *head, const char *body, size_t size) {
        const char *text = getenv("TEXT");
        char *path = strchr(head, ' '), *end;

        if (!path || !(end = strchr(++path, ' '))) {
                answer(fd, 400, "bad request");
                return;
        }
        *end = 0;
        if (strcmp(path, "/data") == 0 && strncmp(head, "POST", 4) == 0)
                store(fd, body, size);
        else if (strcmp(path, "/data") == 0)
                answer_file(fd, "/data/value", NULL);
        else if (strncmp(path, "/env/", 5) == 0)
                answer(fd, 200, getenv(path + 5) ? getenv(path + 5) : "(unset)");
        else if (strcmp(path, "/stream") == 0)
                stream(fd);
        else {
                if (strcmp(path, "/slow") == 0)
                        sleep_ms(1000);
                if (text)
                        answer(fd, 200, text);
                else
                        answer_file(fd, "text", "hello");
        }
}

/* Reads requests one after another from one connection. */
static void serve(int fd) {
        char buffer[16384];
        size_t have = 0;

        for (;;) {
                char *head_end, *length;
                size_t head_size, body = 0;
                ssize_t n;

                buffer[have] = 0;
                head_end = strstr(buffer, "\r\n\r\n");
                if (head_end) {
                        head_size = (size_t) (head_end - buffer) + 4;
                        length = strcasestr(buffer, "content-length:");
                        if (length && length < head_end)
                                body = strtoul(length + 15, NULL, 10);
                        if (body > 1000)
                                return;
                        if (have >= head_size + body) {
                                char copy[16384];

                                memcpy(copy, buffer, head_size + body);
                                copy[head_size - 1] = 0;
                                serve_request(fd, copy, buffer + head_size, body);
                                have -= head_size + body;
                                memmove(buffer, buffer + head_size + body, have);
                                continue;
                        }
                }
                if (have == sizeof(buffer) - 1)
                        return;
                n = read(fd, buffer + have, sizeof(buffer) - 1 - have);
                if (n <= 0)
                        return;
                have += (size_t) n;
        }
}

int main(void) {
        const char *port = getenv("PORT"), *delay = getenv("DELAY_MS"), *code = getenv("EXIT_CODE");
        struct sockaddr_in address = { .sin_family = AF_INET };
        int listener, one = 1;

        if (getenv("IGNORE_TERM"))
                signal(SIGTERM, SIG_IGN);
        signal(SIGCHLD, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
        if (code) {
                fprintf(stderr, "server: leaving with code %s, as EXIT_CODE says\n", code);
                return atoi(code);
        }
        if (delay)
                sleep_ms(atol(delay));
        while (getenv("LISTEN_NEVER"))
                sleep_ms(1000);
        if (!port) {
                fprintf(stderr, "server: PORT is not set\n");
                return 2;
        }
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        address.sin_port = htons((unsigned short) atoi(port));
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(listener, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(listener, 128) < 0) {
                perror("server");
                return 1;
        }
        fprintf(stderr, "server: listening on %s\n", port);
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        continue;
                if (fork() == 0) {
                        serve(fd);
                        _exit(0);
                }
                close(fd);
        }
}
