/* The keeper's control socket "ctl" in its folder: one JSON object with a "verb" each way, one line.
 *   wait    {"state":"ready","notes":[...]} or {"state":"failed","class","message"}, when it is so
 *   status  {"state","detail","digest","started_ms","notes","containers":[{"name","state","restarts"}]}
 *   stop    {"state":"stopped"} when everything has ended; the keeper ends then
 *   watch   {"change":"ready"|"unready"|"stopped","detail"} each time
 *   enter   {"state":"entered"} with the pidfd of the container's process 1 and its launch record
 * The folder is ours alone (0700) and so is the socket (0600). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "orchestrator/base/str.h"
#include "providers/process/keeper.h"

static const char *const container_states[_CONTAINER_STATE_MAX] = {
        [CONTAINER_WAITING] = "waiting",
        [CONTAINER_RUNNING] = "running",
        [CONTAINER_DONE] = "done",
        [CONTAINER_STOPPED] = "stopped",
};

int control_open(Keeper *k, Error *reterr) {
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        int r;

        /* Paths of sockets are short; the way over the descriptor always fits. */
        snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/ctl", k->run_fd);
        (void) unlinkat(k->run_fd, "ctl", 0);
        k->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (k->listen_fd < 0)
                return error_set(reterr, -errno, "Cannot make a socket: %s", strerror(errno));
        umask(0177);
        r = bind(k->listen_fd, (struct sockaddr *) &to, sizeof(to)) < 0 ? -errno : 0;
        umask(022);
        if (r == 0 && listen(k->listen_fd, LIMIT_PROCESS_CLIENTS) < 0)
                r = -errno;
        return r < 0 ? error_set(reterr, r, "Cannot listen on the control socket: %s", strerror(-r))
                     : 0;
}

void client_close(Keeper *k, Client *client) {
        if (k->boot == client)
                k->boot = NULL;
        client->fd = fd_close(client->fd);
        free(TAKE(client->text));
        *client = (Client){ .fd = -1 };
}

/* Sends one line, with descriptors; a client that does not read it is closed. */
static void client_send(Keeper *k, Client *client, json_t *message, const int *fds, size_t n_fds) {
        auto_cleanup(freep) char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
        char control[CMSG_SPACE(2 * sizeof(int))] = { 0 };
        struct iovec parts[2] = { { .iov_base = text, .iov_len = text ? strlen(text) : 0 },
                                  { .iov_base = (char *) "\n", .iov_len = 1 } };
        struct msghdr m = { .msg_iov = parts, .msg_iovlen = 2 };

        json_decref(message);
        if (!text || client->fd < 0)
                return;
        if (n_fds > 0) {
                struct cmsghdr *h = (struct cmsghdr *) control;

                m.msg_control = control;
                m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                h->cmsg_level = SOL_SOCKET;
                h->cmsg_type = SCM_RIGHTS;
                h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
        }
        if (sendmsg(client->fd, &m, MSG_NOSIGNAL) != (ssize_t) (parts[0].iov_len + 1))
                client_close(k, client);
}

static json_t *notes_json(const Keeper *k) {
        json_t *notes = json_array();

        for (char **n = k->notes; n && *n; n++)
                (void) json_array_append_new(notes, json_string(*n));
        return notes;
}

static void answer_wait(Keeper *k, Client *client) {
        if (k->state == KEEPER_READY)
                client_send(k, client,
                            json_pack("{s:s,s:o}", "state", "ready", "notes", notes_json(k)), NULL,
                            0);
        else if (k->state == KEEPER_FAILED)
                client_send(k, client,
                            json_pack("{s:s,s:s,s:s}", "state", "failed", "class", k->failure_class,
                                      "message", k->failure),
                            NULL, 0);
        else if (k->state == KEEPER_STOPPING || k->state == KEEPER_STOPPED)
                client_send(k, client,
                            json_pack("{s:s,s:s,s:s}", "state", "failed", "class", "conflict",
                                      "message", "It was stopped meanwhile"),
                            NULL, 0);
        else
                client->kind = CLIENT_WAIT;
}

static const char *state_detail(const Keeper *k, char *buf, size_t size) {
        for (size_t i = 0; i < k->n_containers; i++) {
                const Container *c = k->containers + i;

                if (c->state == CONTAINER_WAITING && c->restarts > 0) {
                        snprintf(buf, size, "container '%s' ended %u time%s and is started again",
                                 c->name, c->restarts, c->restarts == 1 ? "" : "s");
                        return buf;
                }
        }
        snprintf(buf, size, "%s", keeper_state_to_string(k->state));
        return buf;
}

static void answer_status(Keeper *k, Client *client) {
        json_t *containers = json_array();
        char detail[256];

        for (size_t i = 0; i < k->n_containers; i++) {
                const Container *c = k->containers + i;

                (void) json_array_append_new(containers,
                                             json_pack("{s:s,s:s,s:i}", "name", c->name, "state",
                                                       container_states[c->state], "restarts",
                                                       (int) c->restarts));
        }
        client_send(k, client,
                    json_pack("{s:s,s:s,s:O?,s:O*,s:o,s:o}", "state",
                              keeper_state_to_string(k->state), "detail",
                              state_detail(k, detail, sizeof(detail)), "digest",
                              json_object_get(k->spec, "digest"), "started_ms",
                              json_object_get(k->spec, "started_ms"), "notes", notes_json(k),
                              "containers", containers),
                    NULL, 0);
}

static void answer_enter(Keeper *k, Client *client, const char *name) {
        auto_error error = { 0 };
        auto_cleanup(closep) int record = -1;
        const Container *c = NULL;
        const char *why = "There is no such container";

        for (size_t i = 0; i < k->n_containers && !c; i++)
                if (!name || streq(k->containers[i].name, name)) {
                        c = k->containers + i;
                        why = "The container is not running";
                        if (!c->running || c->pidfd < 0)
                                c = NULL;
                        else if (container_record(c, &record, &error) < 0) {
                                c = NULL;
                                why = "There is no memory for it";
                        }
                }
        if (!c)
                client_send(k, client, json_pack("{s:s}", "error", why), NULL, 0);
        else
                client_send(k, client,
                            json_pack("{s:s,s:s}", "state", "entered", "container", c->name),
                            (int[]){ c->pidfd, record }, 2);
}

static void client_handle(Keeper *k, Client *client, char *line) {
        json_t *request = json_loads(line, 0, NULL);
        const char *verb = json_string_value(json_object_get(request, "verb"));
        auto_cleanup(freep) char *name = NULL;

        if (str_replace(&name, json_string_value(json_object_get(request, "container"))) < 0)
                verb = NULL;
        if (streq_null(verb, "wait"))
                answer_wait(k, client);
        else if (streq_null(verb, "status"))
                answer_status(k, client);
        else if (streq_null(verb, "enter"))
                answer_enter(k, client, name);
        else if (streq_null(verb, "watch"))
                client->kind = CLIENT_WATCH;
        else if (streq_null(verb, "stop")) {
                client->kind = CLIENT_STOP;
                keeper_stop(k);
        } else
                client_close(k, client);
        json_decref(request);
}

void control_read(Keeper *k, Client *client) {
        char chunk[1024];
        ssize_t n = read(client->fd, chunk, sizeof(chunk));
        char *end, *text;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        text = n > 0 && client->size + (size_t) n < 4096
                       ? realloc(client->text, client->size + (size_t) n + 1)
                       : NULL;
        if (!text) {
                client_close(k, client);
                return;
        }
        client->text = text;
        memcpy(text + client->size, chunk, (size_t) n);
        client->size += (size_t) n;
        text[client->size] = '\0';
        end = strchr(text, '\n');
        if (!end)
                return;
        *end = '\0';
        client->text = NULL;
        client->size = 0; /* one request at a time: what follows it in the same packet is lost */
        client_handle(k, client, text);
        free(text);
}

void control_accept(Keeper *k) {
        int fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        for (size_t i = 0; fd >= 0 && i < LIMIT_PROCESS_CLIENTS; i++)
                if (k->clients[i].fd < 0) {
                        k->clients[i] = (Client){ .fd = fd };
                        return;
                }
        fd_close(fd);
}

static const char *change_of(KeeperState state) {
        return state == KEEPER_READY      ? "ready"
               : state == KEEPER_UNREADY  ? "unready"
               : state == KEEPER_STOPPING ? "stopped"
                                          : NULL;
}

void control_tell(Keeper *k) {
        const char *change = change_of(k->state);
        char detail[256];

        for (size_t i = 0; i < LIMIT_PROCESS_CLIENTS; i++) {
                Client *client = k->clients + i;

                if (client->fd < 0)
                        continue;
                if (client->kind == CLIENT_WAIT && k->state != KEEPER_STARTING &&
                    k->state != KEEPER_UNREADY) {
                        client->kind = CLIENT_NEW;
                        answer_wait(k, client);
                } else if (client->kind == CLIENT_WATCH && change)
                        client_send(k, client,
                                    json_pack("{s:s,s:s}", "change", change, "detail",
                                              state_detail(k, detail, sizeof(detail))),
                                    NULL, 0);
                else if (client->kind == CLIENT_STOP && k->state == KEEPER_STOPPED)
                        client_send(k, client, json_pack("{s:s}", "state", "stopped"), NULL, 0);
        }
}

void control_log(Keeper *k, const char *text, size_t size) {
        static const char more[] = "... the rest is in the log";

        if (!k->boot || k->build_log_bytes > LIMIT_PROCESS_BUILD_LOG_BYTES)
                return;
        k->build_log_bytes += size + 16;
        if (k->build_log_bytes > LIMIT_PROCESS_BUILD_LOG_BYTES) {
                text = more;
                size = sizeof(more) - 1;
        }
        client_send(k, k->boot, json_pack("{s:s%}", "log", text, size), NULL, 0);
}
