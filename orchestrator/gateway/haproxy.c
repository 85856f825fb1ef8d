/* The process: started, found again, watched. What it shows is haproxy-map.c's. */
#include "orchestrator/gateway/haproxy.h"

#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/base/str.h"
#include "orchestrator/gateway/haproxy-config.h"
#include "orchestrator/gateway/haproxy-map.h"
#include "orchestrator/gateway/runtime.h"
#include "orchestrator/glue/child.h"

#define ASK_MS           3000 /* for answers that the start waits for */
#define START_MS         20000
#define STOP_MS          3000
#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS   30000
#define STABLE_MS        10000 /* one that ran so long is restarted at once */
#define OUTPUT_MAX       65536

struct Haproxy {
        const GatewaySetup *setup;
        const char *program;
        char *config, *description; /* what it must run with */
        char *config_path, *socket_path, *pid_path;
        uint16_t port;
        Runtime *runtime;
        HaproxyMap *map;
        int watch_fd;
        LoopSource *watch, *timer, *child_ended;
        Child child;     /* the one that is starting; it ends when the real one runs */
        unsigned tries;  /* starts that failed or did not last */
        int64_t up_ms;   /* boot clock: since when it runs; 0: it does not */
        int64_t lost_ms; /* boot clock: visits before were counted by a process that is gone */
};

static int64_t now_ms(void) {
        return (int64_t) (loop_boot_usec() / 1000);
}

/* ---- starting a process ---- */

/* Ours, and that the C library keeps a busy moment's memory for the next: without it the heap is given
 * back and asked for again many times a second, an eighth of HAProxy's time. */
static char **environment(void) {
        static const char *const memory[] = { "MALLOC_TRIM_THRESHOLD_=33554432",
                                              "MALLOC_TOP_PAD_=1048576" };
        auto_cleanup(strv_freep) char **v = NULL;

        for (char **e = environ; e && *e; e++)
                if (strv_add(&v, *e) < 0)
                        return NULL;
        for (size_t i = 0; i < N_ELEMENTS(memory); i++)
                if (strv_add(&v, memory[i]) < 0)
                        return NULL;
        return TAKE(v);
}

static int process_begin(Haproxy *h, const char *old_pid, Error *reterr) {
        auto_cleanup(strv_freep) char **env = environment();
        const char *argv[] = { h->program, "-D", "-f", h->config_path, "-p", h->pid_path,
                               NULL,       NULL, NULL, NULL,           NULL };

        if (old_pid) { /* takes over its listening sockets, so that nobody is turned away */
                argv[6] = "-x";
                argv[7] = h->socket_path;
                argv[8] = "-sf";
                argv[9] = old_pid;
        }
        if (!env)
                return -ENOMEM;
        return child_start((char *const *) argv, env, CHILD_SESSION | CHILD_OUT | CHILD_ERR,
                           &h->child, reterr);
}

/* Its first complaint in one line. */
static char *first_alert(int fd) {
        auto_cleanup(freep) char *text = calloc(1, OUTPUT_MAX + 1);
        size_t size = 0;
        const char *at;
        ssize_t n;

        while (text && size < OUTPUT_MAX && (n = read(fd, text + size, OUTPUT_MAX - size)) > 0)
                size += (size_t) n;
        at = text ? strstr(text, "[ALERT]") : NULL;
        if (!at)
                at = text ? text : "";
        return strndup(at, strcspn(at, "\n"));
}

/* The starting process has ended: it left the real one behind, or it says why not. */
static int process_end(Haproxy *h, Error *reterr) {
        auto_cleanup(freep) char *alert = NULL;
        char text[64];
        int status = 0, r;

        h->child_ended = loop_source_free(h->child_ended);
        alert = first_alert(h->child.err);
        /* child_reap() would end what is left of its process group: the HAProxy that now runs */
        r = (int) waitpid(h->child.pid, &status, WNOHANG);
        fd_close(h->child.pidfd);
        fd_close(h->child.out);
        fd_close(h->child.err);
        h->child = CHILD_NONE;
        if (r <= 0 || status != 0)
                return error_set(reterr, -EIO, "HAProxy does not start: %s",
                                 alert && *alert ? alert : child_status_format(status, text));
        return 0;
}

/* ---- watching it ---- */

static void restart_later(Haproxy *h) {
        int64_t delay = h->tries == 0 ? 0 : RESTART_FIRST_MS << (h->tries < 9 ? h->tries : 9);

        if (delay > RESTART_MAX_MS)
                delay = RESTART_MAX_MS;
        h->tries++;
        (void) loop_timer_arm_after(h->timer,
                                    (uint64_t) delay * 1000); /* fails only without a loop */
}

static void on_watch(void *userdata, int fd, uint32_t events) {
        Haproxy *h = userdata;
        char waste[256];
        ssize_t n;

        n = recv(fd, waste, sizeof(waste), 0);
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                return;
        h->watch = loop_source_free(h->watch);
        h->watch_fd = fd_close(h->watch_fd);
        if (now_ms() - h->up_ms >= STABLE_MS)
                h->tries = 0;
        h->up_ms = 0;
        h->lost_ms = now_ms();
        haproxy_map_down(h->map);
        runtime_cancel(h->runtime);
        log_notice("HAProxy ended or was replaced; looking for it");
        restart_later(h);
}

/* One that runs with our configuration: watch it and show it everything. */
static int adopt(Haproxy *h, Error *reterr) {
        int r;

        r = runtime_watch(h->socket_path, &h->watch_fd, reterr);
        if (r == 0)
                r = loop_add_io(h->setup->loop, h->watch_fd, EPOLLIN, "HAProxy's end", on_watch, h,
                                &h->watch, reterr);
        if (r < 0) {
                h->watch_fd = fd_close(h->watch_fd);
                return r;
        }
        h->up_ms = now_ms();
        haproxy_map_up(h->map);
        return 0;
}

static void failed(Haproxy *h, const Error *error, int r) {
        log_error("%s; trying again", error_text(error, r));
        restart_later(h);
}

static void on_child_ended(void *userdata, int fd, uint32_t events) {
        auto_error error = { 0 };
        Haproxy *h = userdata;
        int r;

        r = process_end(h, &error);
        if (r == 0)
                r = adopt(h, &error);
        if (r < 0)
                failed(h, &error, r);
        else
                log_notice("HAProxy runs again");
}

/* "Pid: 1234" of the answer to "show info"; owned, NULL when there is none. */
static char *info_pid(const char *info) {
        const char *at = strstr(info, "\nPid: ");

        return at ? strndup(at + 6, strspn(at + 6, "0123456789")) : NULL;
}

static bool info_is_ours(const Haproxy *h, const char *info) {
        auto_cleanup(freep) char *description = haproxy_description(info);

        return description && streq(description, h->description);
}

/* Somebody may have restarted it already; else do it. */
static void on_probed(void *userdata, int result, const char *info) {
        auto_cleanup(freep) char *old_pid = info ? info_pid(info) : NULL;
        auto_error error = { 0 };
        Haproxy *h = userdata;
        int r;

        if (result == -ECANCELED)
                return;
        if (info && info_is_ours(h, info)) {
                r = adopt(h, &error);
        } else {
                r = process_begin(h, old_pid, &error);
                if (r == 0)
                        r = loop_add_io(h->setup->loop, h->child.pidfd, EPOLLIN, "HAProxy's start",
                                        on_child_ended, h, &h->child_ended, &error);
        }
        if (r < 0)
                failed(h, &error, r);
}

static void on_timer(void *userdata) {
        Haproxy *h = userdata;
        char *command = strdup("show info\n");

        if (!command || runtime_ask(h->runtime, command, on_probed, h) < 0)
                restart_later(h);
}

/* ---- the start ---- */

static int write_one(Haproxy *h, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(h->setup->run_dir, name);

        if (!path || !text)
                return -ENOMEM;
        return write_file(path, text, strlen(text), 0644, reterr);
}

static int write_pages(Haproxy *h, Error *reterr) {
        for (size_t i = 0;; i++) {
                auto_cleanup(freep) char *text = NULL, *name = NULL;
                int status = 0, r;

                r = haproxy_page(i, &status, &text);
                if (r <= 0)
                        return r;
                name = str_format("%d.http", status);
                r = name ? write_one(h, name, text, reterr) : -ENOMEM;
                if (r < 0)
                        return r;
        }
}

static int write_files(Haproxy *h, Error *reterr) {
        auto_cleanup(freep) char *robots = haproxy_robots();
        int r;

        r = write_one(h, "haproxy.cfg", h->config, reterr);
        if (r == 0)
                r = write_one(h, "robots.lst", robots, reterr);
        if (r == 0)
                r = write_pages(h, reterr);
        return r < 0 ? r : haproxy_map_write(h->map, reterr);
}

/* A configuration that this HAProxy cannot read is found before anything is touched. */
static int check_config(Haproxy *h, Error *reterr) {
        char *argv[] = { (char *) h->program, (char *) "-c",  (char *) "-q",
                         (char *) "-f",       h->config_path, NULL };
        auto_cleanup(freep) char *out = NULL, *err = NULL;
        auto_error error = { 0 };
        int status = 0, r;

        r = child_run(argv, NULL, NULL, OUTPUT_MAX, START_MS, &out, &err, &status, &error);
        if (r == -ENOENT)
                return error_set(
                        reterr, r,
                        "The front is HAProxy, but '%s' is not installed: apt-get install haproxy",
                        h->program);
        if (r < 0)
                return error_set(reterr, r, "%s", error_text(&error, r));
        if (status != 0)
                return error_set(reterr, -EINVAL, "HAProxy refuses %s: %s", h->config_path, err);
        return 0;
}

static int start_now(Haproxy *h, const char *old_pid, Error *reterr) {
        struct pollfd p = { .events = POLLIN };
        int r;

        r = process_begin(h, old_pid, reterr);
        if (r < 0)
                return r;
        crash_point("gateway.start");
        p.fd = h->child.pidfd;
        if (poll(&p, 1, START_MS) <= 0)
                return error_set(reterr, -ETIMEDOUT, "HAProxy does not start within %d s",
                                 START_MS / 1000);
        h->lost_ms = now_ms();
        return process_end(h, reterr);
}

static int find_or_start(Haproxy *h, Error *reterr) {
        auto_cleanup(freep) char *info = NULL, *old_pid = NULL;
        int r = 0;

        if (runtime_ask_now(h->socket_path, "show info\n", ASK_MS, &info, NULL) == 0)
                old_pid = info_pid(info);
        if (!old_pid || !info_is_ours(h, info))
                r = start_now(h, old_pid, reterr);
        crash_point("gateway.started");
        return r < 0 ? r : adopt(h, reterr);
}

/* Half of the processors: the previews want the rest, and threads that share connections cost more
 * for each request than one does. */
static unsigned threads(void) {
        cpu_set_t set;
        int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) / 2 : 1;

        return n < 1 ? 1 : n > LIMIT_HAPROXY_THREADS ? LIMIT_HAPROXY_THREADS : (unsigned) n;
}

static int make_names(Haproxy *h, const Address *door, Error *reterr) {
        const char *dir = h->setup->run_dir;
        char door_text[ADDRESS_TEXT_MAX], listen_text[ADDRESS_TEXT_MAX];
        HaproxyNames names = { dir, listen_text, door_text, geteuid() == 0 && getpwnam("haproxy"),
                               threads() };
        Address address;
        int r;

        r = address_parse(h->setup->haproxy_listen, &address, reterr);
        if (r < 0)
                return r;
        h->port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port
                                                         : address.v6.sin6_port);
        if (h->port == 0)
                return error_set(reterr, -EINVAL,
                                 "HAProxy needs a port of its own to listen on, not 0");
        if (!haproxy_word_valid(dir) || *dir != '/')
                return error_set(
                        reterr, -EINVAL,
                        "HAProxy needs a state directory without spaces and quotes, not '%s'", dir);
        address_format(&address, listen_text);
        address_format(door, door_text);
        h->config = haproxy_config(&names);
        h->description = h->config ? haproxy_description(h->config) : NULL;
        h->config_path = path_join(dir, "haproxy.cfg");
        h->socket_path = path_join(dir, "haproxy.sock");
        h->pid_path = path_join(dir, "haproxy.pid");
        return h->description && h->config_path && h->socket_path && h->pid_path ? 0 : -ENOMEM;
}

int haproxy_new(const GatewaySetup *setup, Sites *sites, const Address *door, Haproxy **ret,
                Error *reterr) {
        auto_cleanup(haproxy_freep) Haproxy *h = calloc(1, sizeof(Haproxy));
        int r;

        if (!h)
                return -ENOMEM;
        h->setup = setup;
        h->program = setup->haproxy_program ? setup->haproxy_program : "haproxy";
        h->watch_fd = -1;
        h->child = CHILD_NONE;
        r = make_names(h, door, reterr);
        if (r == 0)
                r = mkdir_p(setup->run_dir, 0700, reterr);
        if (r == 0)
                r = runtime_new(setup->loop, h->socket_path, &h->runtime, reterr);
        if (r == 0)
                r = haproxy_map_new(setup, sites, h->runtime, &h->map, reterr);
        if (r == 0)
                r = loop_add_timer(setup->loop, "HAProxy restart", on_timer, h, &h->timer, reterr);
        if (r == 0)
                r = write_files(h, reterr);
        if (r == 0)
                r = check_config(h, reterr);
        if (r == 0)
                r = find_or_start(h, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(h);
        return 0;
}

Haproxy *haproxy_free(Haproxy *h) {
        if (!h)
                return NULL;
        if (h->runtime)
                runtime_cancel(h->runtime);
        loop_source_free(h->watch);
        loop_source_free(h->timer);
        loop_source_free(h->child_ended);
        fd_close(h->watch_fd);
        fd_close(h->child.pidfd); /* one that is starting goes on */
        fd_close(h->child.out);
        fd_close(h->child.err);
        haproxy_map_free(h->map);
        runtime_free(h->runtime);
        free(h->config);
        free(h->description);
        free(h->config_path);
        free(h->socket_path);
        free(h->pid_path);
        free(h);
        return NULL;
}

/* Ends the process that answers at our socket, and waits for it. */
void haproxy_stop(Haproxy *h) {
        auto_cleanup(freep) char *info = NULL, *pid = NULL;
        auto_cleanup(closep) int pidfd = -1;
        struct pollfd p = { .events = POLLIN };

        h->watch = loop_source_free(h->watch);
        loop_timer_disarm(h->timer);
        haproxy_map_down(h->map);
        runtime_cancel(h->runtime);
        if (runtime_ask_now(h->socket_path, "show info\n", ASK_MS, &info, NULL) < 0)
                return;
        pid = info_pid(info);
        pidfd = pid ? (int) syscall(SYS_pidfd_open, atoi(pid), 0) : -1;
        if (pidfd < 0)
                return;
        p.fd = pidfd;
        (void) syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0); /* gone already is fine */
        if (poll(&p, 1, STOP_MS) <= 0)
                (void) syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        (void) unlink(h->pid_path); /* left files do no harm */
        (void) unlink(h->socket_path);
}

uint16_t haproxy_port(const Haproxy *h) {
        return h->port;
}

void haproxy_site_changed(Haproxy *h, const char *host) {
        haproxy_map_changed(h->map, host);
}

int haproxy_activity(Haproxy *h, const char *host, HaproxyActivityFunc done, void *userdata) {
        return haproxy_map_activity(h->map, host, h->lost_ms, done, userdata);
}
