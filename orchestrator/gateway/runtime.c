#include "orchestrator/gateway/runtime.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/base/list.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

typedef struct Question {
        Link link;
        char *command; /* owned */
        size_t size, written;
        StrBuf answer;
        RuntimeFunc done;
        void *userdata;
} Question;

struct Runtime {
        Loop *loop;
        char *path;
        Link questions; /* the first is being asked when fd is open */
        int fd;
        LoopSource *source, *timer, *next;
};

static Question *question_free(Question *q) {
        if (!q)
                return NULL;
        link_leave(&q->link);
        free(q->command);
        strbuf_done(&q->answer);
        free(q);
        return NULL;
}

static Question *runtime_first(const Runtime *r) {
        return list_empty(&r->questions) ? NULL : link_element(r->questions.next, Question, link);
}

static int socket_open(const char *path, int flags, int *ret, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(address.sun_path))
                return error_set(reterr, -ENAMETOOLONG, "The path '%s' is too long for a socket",
                                 path);
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_set(reterr, -errno, "Cannot reach HAProxy at %s: %s", path,
                                 strerror(errno));
        *ret = TAKE_FD(fd);
        return 0;
}

static void runtime_begin(Runtime *r);

/* Ends the first question and goes on with the next one in a turn of its own, so that the answer may
 * ask again. */
static void runtime_end(Runtime *r, int result) {
        Question *q = runtime_first(r);
        RuntimeFunc done = q->done;
        void *userdata = q->userdata;
        auto_cleanup(freep) char *answer = NULL;

        r->source = loop_source_free(r->source);
        r->fd = fd_close(r->fd);
        loop_timer_disarm(r->timer);
        if (result >= 0) {
                answer = strbuf_take(&q->answer);
                if (!answer)
                        result = -ENOMEM;
        }
        question_free(q);
        if (!list_empty(&r->questions))
                (void) loop_turn_end_set(r->next); /* fails only for a source that is gone */
        done(userdata, result, result < 0 ? NULL : answer);
}

static void runtime_write(Runtime *r, Question *q) {
        ssize_t n = send(r->fd, q->command + q->written, q->size - q->written, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                runtime_end(r, -errno);
                return;
        }
        if (n > 0)
                q->written += (size_t) n;
        if (q->written == q->size)
                (void) loop_source_set_events(r->source,
                                              EPOLLIN); /* else it is called once too often */
}

static void on_io(void *userdata, int fd, uint32_t events) {
        Runtime *r = userdata;
        Question *q = runtime_first(r);
        char part[16384];
        ssize_t n;

        if (q->written < q->size) {
                runtime_write(r, q);
                return;
        }
        n = recv(fd, part, sizeof(part), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                runtime_end(r, n < 0 ? -errno : 0);
                return;
        }
        strbuf_addn(&q->answer, part, (size_t) n);
        if (q->answer.size > LIMIT_HAPROXY_REPLY_BYTES)
                runtime_end(r, -EFBIG);
}

static void on_late(void *userdata) {
        runtime_end(userdata, -ETIMEDOUT);
}

static void runtime_begin(Runtime *r) {
        int k;

        if (r->fd >= 0 || list_empty(&r->questions))
                return;
        k = socket_open(r->path, SOCK_NONBLOCK, &r->fd, NULL);
        if (k == 0)
                k = loop_add_io(r->loop, r->fd, EPOLLOUT, "HAProxy question", on_io, r, &r->source,
                                NULL);
        if (k == 0)
                k = loop_timer_arm_after(r->timer, LIMIT_HAPROXY_CALL_MS * 1000);
        if (k < 0)
                runtime_end(r, k);
}

static void on_next(void *userdata) {
        runtime_begin(userdata);
}

int runtime_new(Loop *loop, const char *socket_path, Runtime **ret, Error *reterr) {
        auto_cleanup(runtime_freep) Runtime *r = calloc(1, sizeof(Runtime));
        int k;

        if (!r)
                return -ENOMEM;
        link_init(&r->questions);
        r->fd = -1;
        r->loop = loop;
        r->path = strdup(socket_path);
        if (!r->path)
                return -ENOMEM;
        k = loop_add_timer(loop, "HAProxy answer late", on_late, r, &r->timer, reterr);
        if (k == 0)
                k = loop_add_turn_end(loop, "HAProxy next question", on_next, r, &r->next, reterr);
        if (k < 0)
                return k;
        *ret = TAKE(r);
        return 0;
}

Runtime *runtime_free(Runtime *r) {
        if (!r)
                return NULL;
        while (!list_empty(&r->questions))
                question_free(runtime_first(r));
        loop_source_free(r->source);
        loop_source_free(r->timer);
        loop_source_free(r->next);
        fd_close(r->fd);
        free(r->path);
        free(r);
        return NULL;
}

int runtime_ask(Runtime *r, char *command, RuntimeFunc done, void *userdata) {
        Question *q = calloc(1, sizeof(Question));

        if (!q) {
                free(command);
                return -ENOMEM;
        }
        link_init(&q->link);
        q->command = command;
        q->size = strlen(command);
        q->done = done;
        q->userdata = userdata;
        list_append(&r->questions, &q->link);
        return loop_turn_end_set(r->next);
}

void runtime_cancel(Runtime *r) {
        Link todo;

        link_init(&todo);
        while (!list_empty(&r->questions))
                list_append(&todo, r->questions.next);
        r->source = loop_source_free(r->source);
        r->fd = fd_close(r->fd);
        loop_timer_disarm(r->timer);
        while (!list_empty(&todo)) {
                Question *q = link_element(todo.next, Question, link);
                RuntimeFunc done = q->done;
                void *userdata = q->userdata;

                question_free(q);
                done(userdata, -ECANCELED, NULL);
        }
}

int runtime_ask_now(const char *socket_path, const char *command, int timeout_ms, char **ret,
                    Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        auto_strbuf answer = { 0 };
        int64_t until = clock_boot_ms(&clock_system) + timeout_ms;
        int r;

        r = socket_open(socket_path, 0, &fd, reterr);
        if (r < 0)
                return r;
        if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
                return error_set(reterr, -errno, "Cannot ask HAProxy: %s", strerror(errno));
        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                int64_t left = until - clock_boot_ms(&clock_system);
                char part[4096];
                ssize_t n;

                if (left <= 0 || poll(&p, 1, (int) left) == 0)
                        return error_set(reterr, -ETIMEDOUT, "HAProxy does not answer at %s",
                                         socket_path);
                n = recv(fd, part, sizeof(part), MSG_DONTWAIT);
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        continue;
                if (n < 0)
                        return error_set(reterr, -errno, "HAProxy broke off: %s", strerror(errno));
                if (n == 0)
                        break;
                strbuf_addn(&answer, part, (size_t) n);
                if (answer.size > LIMIT_HAPROXY_REPLY_BYTES)
                        return error_set(reterr, -EFBIG, "HAProxy says too much");
        }
        *ret = strbuf_take(&answer);
        return *ret ? 0 : -ENOMEM;
}

int runtime_watch(const char *socket_path, int *ret, Error *reterr) {
        return socket_open(socket_path, SOCK_NONBLOCK, ret, reterr);
}
