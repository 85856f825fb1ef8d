#include "providers/process/keeper.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/process/bridge.h"
#include "providers/process/cgroup.h"
#include "providers/process/launch.h"

#define TO(s) (1u << KEEPER_##s)
static const struct {
        const char *name;
        unsigned next;
} keeper_states[_KEEPER_STATE_MAX] = {
        [KEEPER_STARTING] = { "starting", TO(READY) | TO(FAILED) | TO(STOPPING) },
        [KEEPER_READY] = { "ready", TO(UNREADY) | TO(STOPPING) },
        [KEEPER_UNREADY] = { "unready", TO(READY) | TO(STOPPING) },
        [KEEPER_FAILED] = { "failed", TO(STOPPED) },
        [KEEPER_STOPPING] = { "stopping", TO(STOPPED) },
        [KEEPER_STOPPED] = { "stopped", 0 },
};

/* What a role's containers are waited for, before the workload counts as ready without any probe. */
#define KEEPER_SURVIVE_MS 200

int64_t now_ms(void) {
        return clock_boot_ms(&clock_system);
}

const char *keeper_state_to_string(KeeperState state) {
        return keeper_states[state].name;
}

int64_t time_sooner(int64_t a, int64_t b) {
        if (a == 0 || b == 0)
                return a + b;
        return a < b ? a : b;
}

void keeper_move(Keeper *k, KeeperState to) {
        if (k->state == to || !(keeper_states[k->state].next & 1u << to))
                return;
        k->state = to;
        if (to == KEEPER_READY && k->ready_ms == 0)
                k->ready_ms = now_ms();
        control_tell(k);
        if (to == KEEPER_READY)
                (void) malloc_trim(0); /* from here on it mostly sleeps */
}

void keeper_fail(Keeper *k, const char *class, const char *fmt, ...) {
        auto_strbuf b = { 0 };
        va_list args;

        if (k->state != KEEPER_STARTING)
                return;
        va_start(args, fmt);
        strbuf_addv(&b, fmt, args);
        va_end(args);
        k->failure = strbuf_take(&b);
        k->failure_class = class;
        /* The answer goes out when nothing runs any more: see keeper_step(). */
        k->state = KEEPER_FAILED;
        for (size_t i = 0; i < k->n_containers; i++)
                container_kill(k->containers + i);
}

void keeper_stop(Keeper *k) {
        keeper_move(k, KEEPER_STOPPING);
}

/* Every container is up as far as containers can tell; *ret_survive is when the last one has lived
 * long enough to be believed without any other sign. */
static bool containers_up(const Keeper *k, bool *ret_probed, int64_t *ret_survive) {
        *ret_probed = false;
        *ret_survive = 0;
        for (size_t i = 0; i < k->n_containers; i++) {
                const Container *c = k->containers + i;

                if (c->completes) {
                        if (c->state != CONTAINER_DONE)
                                return false;
                        continue;
                }
                if (c->state != CONTAINER_RUNNING || !c->running || !c->healthy)
                        return false;
                *ret_probed = *ret_probed || probe_wanted(c);
                if (c->started_ms + KEEPER_SURVIVE_MS > *ret_survive)
                        *ret_survive = c->started_ms + KEEPER_SURVIVE_MS;
        }
        return true;
}

static bool ports_accept(const Keeper *k) {
        const json_t *port;
        size_t i;

        json_array_foreach(json_object_get(k->spec, "ports"), i, port)
                if (!port_accepts(k, (uint16_t) json_integer_value(port)))
                        return false;
        return true;
}

/* Ready or not yet; returns when to look again, 0 for when something happens. */
static int64_t ready_step(Keeper *k, int64_t now) {
        bool probed;
        int64_t survive;

        if (k->state != KEEPER_STARTING && k->state != KEEPER_UNREADY)
                return 0;
        if (!containers_up(k, &probed, &survive))
                return 0;
        if (!probed && !k->ports_open && json_array_size(json_object_get(k->spec, "ports")) > 0) {
                if (now < k->ports_next_ms)
                        return k->ports_next_ms;
                k->ports_open = ports_accept(k);
                if (!k->ports_open) {
                        k->ports_delay_ms = k->ports_delay_ms ? k->ports_delay_ms * 2 : 1;
                        if (k->ports_delay_ms > k->interval_ms)
                                k->ports_delay_ms = k->interval_ms;
                        k->ports_next_ms = now + k->ports_delay_ms;
                        return k->ports_next_ms;
                }
        } else if (!probed && !k->ports_open && now < survive)
                return survive;
        keeper_move(k, KEEPER_READY);
        return 0;
}

static void tail_add(const Keeper *k, StrBuf *b) {
        for (size_t i = 0; i < k->n_containers; i++) {
                auto_cleanup(freep) char *tail = NULL;

                if (lines_tail_text(k->logs_fd, k->containers[i].name, LIMIT_PROCESS_LOG_TAIL, "  ",
                                    &tail) < 0 ||
                    !*tail)
                        continue;
                strbuf_addf(b, "\nLast lines of '%s':\n%s", k->containers[i].name, tail);
        }
}

static uint16_t port_refusing(const Keeper *k) {
        const json_t *port;
        size_t i;

        json_array_foreach(json_object_get(k->spec, "ports"), i, port)
                if (!port_accepts(k, (uint16_t) json_integer_value(port)))
                        return (uint16_t) json_integer_value(port);
        return 0;
}

static const char *port_name(const Keeper *k, uint16_t port) {
        const char *name;
        json_t *number;

        json_object_foreach(json_object_get(k->spec, "port_names"), name, number)
                if (json_integer_value(number) == port)
                        return name;
        return "?";
}

/* The time to start is over: says what is missing. */
static void start_overdue(Keeper *k) {
        auto_strbuf b = { 0 };
        auto_cleanup(freep) char *text = NULL;
        char time[TIME_TEXT_MAX];
        const char *workload = json_string_value(json_object_get(k->spec, "hostname"));
        uint16_t port = port_refusing(k);
        bool probed;
        int64_t survive;

        duration_format(k->start_timeout_ms, time);
        if (k->role == KEEPER_BUILD)
                strbuf_addf(&b, "The build of '%s' did not end within %s", workload, time);
        else if (containers_up(k, &probed, &survive) && port) {
                auto_cleanup(freep) char *listening = ports_listening(k->containers[0].pidfd);

                strbuf_addf(
                        &b,
                        "Port %u (%s) of workload '%s' did not accept a connection within %s; %s%s",
                        port, port_name(k, port), workload, time,
                        listening && *listening ? "it listens on: " : "it listens on no port",
                        listening ? listening : "");
        } else
                for (size_t i = 0; i < k->n_containers; i++) {
                        const Container *c = k->containers + i;

                        if (c->completes ? c->state == CONTAINER_DONE : c->healthy)
                                continue;
                        strbuf_addf(&b, "Container '%s' of workload '%s' %s within %s", c->name,
                                    workload,
                                    c->completes ? "did not end"
                                    : c->running ? "did not pass its readiness probe"
                                                 : "did not start",
                                    time);
                        break;
                }
        tail_add(k, &b);
        text = strbuf_take(&b);
        keeper_fail(k, "invalid", "%s", text ? text : "It did not start in time");
}

static bool containers_alive(const Keeper *k) {
        for (size_t i = 0; i < k->n_containers; i++)
                if (container_alive(k->containers + i))
                        return true;
        return false;
}

/* Does everything that is due; returns when something is next, 0 for never. */
static int64_t keeper_step(Keeper *k) {
        int64_t now = now_ms(), next = 0;

        for (size_t i = 0; i < k->n_containers; i++)
                next = time_sooner(next, container_step(k->containers + i, now));
        next = time_sooner(next, ready_step(k, now));
        if (k->state == KEEPER_STARTING && k->start_timeout_ms > 0) {
                int64_t end = k->started_ms + k->start_timeout_ms;

                if (now >= end)
                        start_overdue(k);
                else
                        next = time_sooner(next, end);
        }
        if (k->state == KEEPER_FAILED && !containers_alive(k)) {
                control_tell(k);
                keeper_move(k, KEEPER_STOPPED);
        }
        if (k->state == KEEPER_STOPPING && !containers_alive(k))
                keeper_move(k, KEEPER_STOPPED);
        /* A build's end is its success, and nothing is left to keep. */
        if (k->role == KEEPER_BUILD && k->state == KEEPER_READY)
                keeper_stop(k);
        return k->state == KEEPER_STOPPED ? now : next;
}

/* Forks the forwarder; ps(1) and those who look for keepers see that it is none. */
static void forwarder_start(Keeper *k) {
        sigset_t none;

        if (k->n_listeners == 0)
                return;
        k->forwarder = fork();
        if (k->forwarder != 0)
                return;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void) snprintf(k->title, sizeof("mayfly-keeper"), "mayfly-relay");
        forward_run(k->listeners, k->targets, k->n_listeners);
}

static void children_reap(Keeper *k) {
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                bool known = false;

                for (size_t i = 0; !known && i < k->n_containers; i++)
                        known = container_on_exit(k->containers + i, pid, status);
                if (!known && pid == k->forwarder)
                        forwarder_start(k);
        }
}

static void signals_read(Keeper *k) {
        struct signalfd_siginfo info;

        while (read(k->signal_fd, &info, sizeof(info)) == sizeof(info))
                if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
                        keeper_stop(k);
        children_reap(k);
}

/* One descriptor of the poll set and whom it is for. */
typedef struct Watch {
        Container *container;
        int *fd;
        Client *client;
} Watch;

#define WATCHES_MAX (2 + LIMIT_PROCESS_CLIENTS + 4 * LIMIT_PROCESS_CONTAINERS)

static size_t watches_fill(Keeper *k, struct pollfd *fds, Watch *watches) {
        size_t n = 0;

        fds[n] = (struct pollfd){ .fd = k->signal_fd, .events = POLLIN };
        watches[n++] = (Watch){ 0 };
        fds[n] = (struct pollfd){ .fd = k->listen_fd, .events = POLLIN };
        watches[n++] = (Watch){ 0 };
        for (size_t i = 0; i < k->n_containers; i++) {
                Container *c = k->containers + i;
                int *each[] = { &c->started, &c->status, &c->out, &c->err };

                for (size_t j = 0; j < N_ELEMENTS(each); j++)
                        if (*each[j] >= 0) {
                                fds[n] = (struct pollfd){ .fd = *each[j], .events = POLLIN };
                                watches[n++] = (Watch){ .container = c, .fd = each[j] };
                        }
        }
        for (size_t i = 0; i < LIMIT_PROCESS_CLIENTS; i++)
                if (k->clients[i].fd >= 0) {
                        fds[n] = (struct pollfd){ .fd = k->clients[i].fd, .events = POLLIN };
                        watches[n++] = (Watch){ .client = k->clients + i };
                }
        return n;
}

static void watch_handle(Keeper *k, const struct pollfd *p, const Watch *w) {
        if (w->container && *w->fd == p->fd)
                container_read(w->container, w->fd);
        else if (w->client && w->client->fd == p->fd)
                control_read(k, w->client);
}

static void keeper_run(Keeper *k) {
        struct pollfd fds[WATCHES_MAX];
        Watch watches[WATCHES_MAX];

        while (k->state != KEEPER_STOPPED) {
                int64_t next = keeper_step(k), now = now_ms();
                size_t n = watches_fill(k, fds, watches);
                int64_t wait = next == 0 ? -1 : next <= now ? 0 : next - now;

                if (k->state == KEEPER_STOPPED)
                        break;
                if (poll(fds, n, wait > INT32_MAX ? INT32_MAX : (int) wait) <= 0)
                        continue;
                for (size_t i = 2; i < n; i++)
                        if (fds[i].revents)
                                watch_handle(k, fds + i, watches + i);
                /* After the pipes, so that a container's last words are read before its end. */
                if (fds[0].revents)
                        signals_read(k);
                if (fds[1].revents)
                        control_accept(k);
                /* Nobody is there for the build's result: the call was cancelled or has died. */
                if (k->role == KEEPER_BUILD && !k->boot)
                        keeper_fail(k, "transient", "The build was cancelled");
        }
}

/* keeper.json: who we are, as the host counts processes. */
static int identity_write(Keeper *k, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(freep) char *stat_text = NULL, *text = NULL, *boot = NULL;
        char pid[32] = { 0 };
        const char *at;
        uint64_t start = 0;
        json_t *identity;

        if (readlink("/proc/self", pid, sizeof(pid) - 1) < 0 ||
            read_file("/proc/self/stat", 4096, &stat_text, NULL, reterr) < 0 ||
            read_file("/proc/sys/kernel/random/boot_id", 64, &boot, NULL, reterr) < 0)
                return error_set(reterr, -EIO, "Cannot read /proc");
        boot[strcspn(boot, "\n")] = '\0';
        at = strrchr(stat_text, ')');
        for (int field = 2; at && field < 22; field++)
                at = strchr(at + 1, ' ');
        if (at)
                start = strtoull(at, NULL, 10);
        identity = json_pack(
                "{s:O,s:O*,s:i,s:I,s:s,s:O}", "marker", json_object_get(k->spec, "marker"),
                "digest", json_object_get(k->spec, "digest"), "pid", atoi(pid), "start",
                (json_int_t) start, "boot", boot, "role", json_object_get(k->spec, "role"));
        text = identity ? json_dumps(identity, JSON_INDENT(1)) : NULL;
        json_decref(identity);
        if (!text)
                return -ENOMEM;
        fd = openat(k->run_fd, ".keeper.json.new",
                    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        /* Not synced: it says nothing to the next boot. */
        if (fd < 0 || write_all(fd, text, strlen(text)) < 0 ||
            renameat(k->run_fd, ".keeper.json.new", k->run_fd, "keeper.json") < 0)
                return error_set(reterr, -EIO, "Cannot write keeper.json: %s", strerror(errno));
        return 0;
}

static int signals_open(Keeper *k) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGPIPE); /* never read: writing to a closed pipe just fails */
        if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
                return -errno;
        k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return k->signal_fd < 0 ? -errno : 0;
}

static int roles_init(Keeper *k, Error *reterr) {
        static const char *const roles[] = { "workload", "build", "hold" };
        const char *role = json_string_value(json_object_get(k->spec, "role"));
        const char *inside = json_string_value(json_object_get(k->spec, "inside"));
        int fd;

        for (size_t i = 0; role && i < N_ELEMENTS(roles); i++)
                if (streq(roles[i], role))
                        k->role = (KeeperRole) i;
        if (k->role == KEEPER_HOLD) {
                int r = netns_prepare();

                return r < 0 ? error_set(reterr, r, "Cannot prepare the network: %s", strerror(-r))
                             : 0;
        }
        fd = inside ? open(inside, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
                return error_set(reterr, -ENOENT, "The program '%s' cannot be opened",
                                 inside ? inside : "");
        k->inside_fd = fcntl(fd, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        close(fd);
        return k->inside_fd < 0 ? -errno : 0;
}

static int listeners_init(Keeper *k) {
        const json_t *list = json_object_get(k->spec, "listeners"), *target;
        size_t i;

        json_array_foreach(list, i, target) {
                if (i == LIMIT_PROCESS_PORTS)
                        return -E2BIG;
                k->listeners[i] = KEEPER_FD_LISTENERS + (int) i;
                k->targets[i] = (uint16_t) json_integer_value(target);
                if (fcntl(k->listeners[i], F_SETFD, FD_CLOEXEC) < 0 ||
                    fcntl(k->listeners[i], F_SETFL, O_NONBLOCK) < 0)
                        return -errno;
                k->n_listeners++;
        }
        return 0;
}

static int containers_init(Keeper *k, Error *reterr) {
        size_t n = json_array_size(json_object_get(k->spec, "containers"));

        if (n > LIMIT_PROCESS_CONTAINERS)
                return error_set(reterr, -EINVAL, "More than %d containers",
                                 LIMIT_PROCESS_CONTAINERS);
        k->containers = calloc(n + 1, sizeof(Container));
        if (!k->containers)
                return -ENOMEM;
        for (; k->n_containers < n; k->n_containers++) {
                int r = container_init(k->containers + k->n_containers, k,
                                       (unsigned) k->n_containers, reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int keeper_init(Keeper *k, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r = read_fd(0, LIMIT_PROVIDER_REQUEST_BYTES, &text, NULL, reterr);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        if (r < 0)
                return r;
        k->spec = json_loads(text, 0, NULL);
        if (!k->spec || null < 0 || dup2(null, 0) < 0)
                return error_set(reterr, -EINVAL, "The keeper was given no spec");
        k->root = json_is_true(json_object_get(k->spec, "root"));
        k->start_timeout_ms = json_integer_value(json_object_get(k->spec, "start_timeout_ms"));
        k->stop_timeout_ms = json_integer_value(json_object_get(k->spec, "stop_timeout_ms"));
        k->interval_ms = json_integer_value(json_object_get(k->spec, "readiness_interval_ms"));
        if (k->interval_ms < 1)
                k->interval_ms = 20;
        k->liveness_ms = json_integer_value(json_object_get(k->spec, "liveness_interval_ms"));
        if (k->liveness_ms < 1)
                k->liveness_ms = LIMIT_PROCESS_LIVENESS_MS;
        k->started_ms = now_ms();
        for (int fd = KEEPER_FD_BOOT; fd < KEEPER_FD_LISTENERS; fd++)
                (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void) fcntl(KEEPER_FD_BOOT, F_SETFL, O_NONBLOCK);
        k->run_fd = KEEPER_FD_RUN;
        if (json_is_true(json_object_get(k->spec, "netns")))
                k->netns_fd = fcntl(KEEPER_FD_NETNS, F_DUPFD_CLOEXEC, LAUNCH_FD_FREE);
        if (mkdirat(k->run_fd, "logs", 0700) < 0 && errno != EEXIST)
                return error_set(reterr, -errno, "Cannot make the folder of logs: %s",
                                 strerror(errno));
        k->logs_fd = openat(k->run_fd, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (k->logs_fd < 0)
                return error_set(reterr, -errno, "Cannot open the folder of logs: %s",
                                 strerror(errno));
        r = signals_open(k);
        if (r == 0)
                r = listeners_init(k);
        if (r == 0)
                r = roles_init(k, reterr);
        if (r == 0)
                r = control_open(k, reterr);
        if (r == 0)
                r = identity_write(k, reterr);
        return r == 0 ? containers_init(k, reterr) : r;
}

static void keeper_done(Keeper *k) {
        const char *run = json_string_value(json_object_get(k->spec, "run"));
        auto_cleanup(freep) char *files = run ? path_join(run, "files") : NULL;
        const char *uid = json_string_value(json_object_get(k->spec, "uid"));

        for (size_t i = 0; i < k->n_containers; i++)
                container_done(k->containers + i);
        free(k->containers);
        if (k->forwarder > 0)
                (void) kill(k->forwarder, SIGKILL);
        if (uid)
                (void) cgroup_remove(uid, NULL);
        if (files)
                (void) remove_tree(files, NULL); /* declared files may hold secrets */
        (void) unlinkat(k->run_fd, "ctl", 0);
        (void) unlinkat(k->run_fd, "keeper.json", 0);
        for (size_t i = 0; i < LIMIT_PROCESS_CLIENTS; i++)
                client_close(k, k->clients + i);
        strv_free(k->notes);
        free(k->failure);
        json_decref(k->spec);
}

/* A build's lines also go to who asked for it. */
static void on_line(void *userdata, char stream, const char *text, size_t size) {
        control_log(userdata, text, size);
}

int main(int argc, char **argv) {
        Keeper k = { .listen_fd = -1,
                     .signal_fd = -1,
                     .netns_fd = -1,
                     .inside_fd = -1,
                     .logs_fd = -1,
                     .run_fd = KEEPER_FD_RUN };
        auto_error error = { 0 };
        int r;

        umask(022);
        k.title = argv[0];
        for (size_t i = 0; i < LIMIT_PROCESS_CLIENTS; i++)
                k.clients[i].fd = -1;
        r = keeper_init(&k, &error);
        k.boot = k.clients;
        *k.boot = (Client){ .fd = KEEPER_FD_BOOT, .kind = CLIENT_WAIT };
        if (r < 0) {
                keeper_fail(&k, r == -EINVAL ? "invalid" : "transient", "%s",
                            error_text(&error, r));
                control_tell(&k);
        } else {
                for (size_t i = 0; k.role == KEEPER_BUILD && i < k.n_containers; i++) {
                        k.containers[i].lines.on_line = on_line;
                        k.containers[i].lines.userdata = &k;
                }
                forwarder_start(&k);
                if (k.role == KEEPER_HOLD)
                        keeper_move(&k, KEEPER_READY);
                keeper_run(&k);
        }
        keeper_done(&k);
        return r < 0 ? 1 : 0;
}
