/* The type workload: a keeper while it is awake; folder, logs and mark as long as it exists. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/process/types.h"

#define START_MS 60000
#define STOP_MS  10000

static void plan_done(KeeperPlan *plan) {
        closep(&plan->netns_fd);
        closep(&plan->holder_pidfd);
        for (size_t i = 0; i < plan->n_listeners; i++)
                closep(&plan->listeners[i]);
}

static int container_spec(const SdkCall *call, const json_t *container, const json_t *cwd,
                          json_t *containers, Error *reterr) {
        const char *name = sdk_string(container, "name", "");
        const char *image = sdk_string(container, "image", ".");
        json_auto_t *copy = json_copy((json_t *) container), *argv = json_array();
        json_t *env = NULL;
        int r;

        if (!copy || !argv)
                return -ENOMEM;
        if (!path_component_valid(name))
                return error_set(reterr, -EINVAL, "A container cannot be named '%s'", name);
        if (!streq(image, "."))
                return error_set(
                        reterr, -EINVAL,
                        "Container '%s' wants the image '%s'. This provider runs the branch's own"
                        " checkout: write 'image: .' and a command, or have an admin choose another"
                        " provider for workloads",
                        name, image);
        (void) json_array_extend(argv, json_object_get(container, "command"));
        (void) json_array_extend(argv, json_object_get(container, "args"));
        if (json_array_size(json_object_get(container, "command")) == 0)
                return error_set(reterr, -EINVAL, "Container '%s' has no command", name);
        if (json_array_size(argv) > LIMIT_PROCESS_STRINGS)
                return error_set(reterr, -EINVAL,
                                 "The command of container '%s' has too many words", name);
        r = spec_env(call, json_object_get(container, "variables"), &env, reterr);
        if (r < 0)
                return r;
        if (json_object_set_new(copy, "env", env) < 0 || json_object_set(copy, "argv", argv) < 0 ||
            json_object_set(copy, "cwd", (json_t *) cwd) < 0 ||
            json_array_append(containers, copy) < 0)
                return -ENOMEM;
        return 0;
}

/* Every "before" names a container of the workload; "healthy" has a probe to wait for; no circles. */
static int order_check(const json_t *containers, Error *reterr) {
        size_t n = json_array_size(containers), placed = 0;
        bool done[LIMIT_PROCESS_CONTAINERS] = { false };
        bool moved = true;

        while (placed < n && moved) {
                moved = false;
                for (size_t i = 0; i < n; i++) {
                        bool waits = false;

                        for (size_t j = 0; !done[i] && j < n; j++) {
                                const json_t *before;
                                size_t k;

                                json_array_foreach(
                                        json_object_get(json_array_get(containers, j), "before"), k,
                                        before)
                                        waits = waits ||
                                                (!done[j] &&
                                                 streq(sdk_string(before, "container", ""),
                                                       sdk_string(json_array_get(containers, i),
                                                                  "name", "")));
                        }
                        if (!done[i] && !waits) {
                                done[i] = moved = true;
                                placed++;
                        }
                }
        }
        return placed == n ? 0
                           : error_set(reterr, -EINVAL,
                                       "The containers wait for each other in a circle");
}

static int containers_spec(const SdkCall *call, json_t *spec, Error *reterr) {
        const json_t *list = json_object_get(call->params, "containers"), *container;
        json_t *containers = json_array();
        size_t i;
        int r = json_object_set_new(spec, "containers", containers) < 0 ? -ENOMEM : 0;

        if (r < 0)
                return r;
        if (json_array_size(list) == 0 || json_array_size(list) > LIMIT_PROCESS_CONTAINERS)
                return error_set(reterr, -EINVAL, "A workload has 1 to %d containers",
                                 LIMIT_PROCESS_CONTAINERS);
        json_array_foreach(list, i, container) {
                r = container_spec(call, container, json_object_get(spec, "cwd"), containers,
                                   reterr);
                if (r < 0)
                        return r;
        }
        return order_check(list, reterr);
}

/* A socket on a loopback port of this machine: the one it had, when it is free. */
static int listener_make(uint16_t wanted, int *ret_fd, uint16_t *ret_port, Error *reterr) {
        auto_cleanup(closep) int fd =
                socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_in at = { .sin_family = AF_INET,
                                  .sin_port = htons(wanted),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(at);
        int one = 1, r;

        if (fd < 0)
                return error_set(reterr, -errno, "Cannot make a socket: %s", strerror(errno));
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        r = bind(fd, (struct sockaddr *) &at, sizeof(at));
        if (r < 0 && wanted != 0)
                return listener_make(0, ret_fd, ret_port, reterr);
        if (r < 0 || listen(fd, 512) < 0 || getsockname(fd, (struct sockaddr *) &at, &size) < 0)
                return error_set(reterr, -errno, "Cannot listen on loopback: %s", strerror(errno));
        *ret_fd = TAKE_FD(fd);
        *ret_port = ntohs(at.sin_port);
        return 0;
}

static uint16_t port_target(const json_t *port) {
        return (uint16_t) sdk_integer(port, "target_port", sdk_integer(port, "port", 0));
}

static bool port_is_tcp(const json_t *port) {
        return streq(sdk_string(port, "protocol", "TCP"), "TCP");
}

/* Ports of the forwarder that is running: written beside the keeper, for calls that find it alive. */
static int forward_save(const Run *run, const json_t *forward, Error *reterr) {
        auto_cleanup(freep) char *text = json_dumps(forward, JSON_COMPACT);

        if (is_root())
                return 0;
        return text ? run_put(run, "forward.json", text, reterr) : -ENOMEM;
}

static json_t *forward_load(const Run *run) {
        auto_cleanup(freep) char *text = NULL;

        if (read_file_at(run->dir_fd, "forward.json", 65536, &text, NULL, NULL) < 0)
                return json_object();
        return json_loads(text, 0, NULL);
}

/* The ports that must answer; without root also a listener for each, kept under its target port in
 * *forward. */
static int ports_spec(const Run *run, json_t *spec, KeeperPlan *plan, json_t *forward,
                      Error *reterr) {
        const SdkCall *call = run->call;
        json_t *ports = json_array(), *names = json_object(), *targets = json_array();
        json_auto_t *before = forward_load(run);
        const char *name;
        json_t *port;
        int r;

        if (json_object_set_new(spec, "ports", ports) < 0 ||
            json_object_set_new(spec, "port_names", names) < 0 ||
            json_object_set_new(spec, "listeners", targets) < 0)
                return -ENOMEM;
        json_object_foreach(json_object_get(call->params, "ports"), name, port) {
                uint16_t target = port_target(port), at;
                char key[16];

                snprintf(key, sizeof(key), "%u", target);
                if (!port_is_tcp(port) || target == 0)
                        continue;
                (void) json_array_append_new(ports, json_integer(target));
                (void) json_object_set_new(names, name, json_integer(target));
                if (is_root() || json_object_get(forward, key))
                        continue;
                if (plan->n_listeners == LIMIT_PROCESS_PORTS)
                        return error_set(reterr, -EINVAL, "More than %d ports",
                                         LIMIT_PROCESS_PORTS);
                r = listener_make((uint16_t) sdk_integer(before, key, 0),
                                  &plan->listeners[plan->n_listeners], &at, reterr);
                if (r < 0)
                        return r;
                plan->n_listeners++;
                (void) json_array_append_new(targets, json_integer(target));
                (void) json_object_set_new(forward, key, json_integer(at));
        }
        return 0;
}

static int time_param(json_t *spec, const SdkCall *call, const char *key, int64_t fallback) {
        int64_t value = sdk_integer(call->params, key, fallback);

        return json_object_set_new(spec, key, json_integer(value > 0 ? value : fallback)) < 0
                       ? -ENOMEM
                       : 0;
}

static int workload_spec(const Run *run, KeeperPlan *plan, json_t *forward, json_t **ret,
                         Error *reterr) {
        const SdkCall *call = run->call;
        json_auto_t *spec = NULL;
        bool egress;
        int r = spec_make(run, "workload", &spec, reterr);

        if (r == 0)
                r = network_open(call, sdk_string(call->params, "network", ""), plan, &egress,
                                 reterr);
        if (r == 0)
                r = containers_spec(call, spec, reterr);
        if (r == 0)
                r = ports_spec(run, spec, plan, forward, reterr);
        if (r == 0)
                r = time_param(spec, call, "start_timeout_ms", START_MS);
        if (r == 0)
                r = time_param(spec, call, "stop_timeout_ms", STOP_MS);
        if (r == 0)
                r = time_param(spec, call, "readiness_interval_ms", 20);
        if (r == 0)
                r = time_param(spec, call, "liveness_interval_ms", LIMIT_PROCESS_LIVENESS_MS);
        if (r < 0)
                return r;
        if (json_object_set_new(spec, "netns", json_boolean(plan->netns_fd >= 0)) < 0 ||
            (is_root() &&
             json_object_set(spec, "address", json_object_get(call->params, "address")) < 0))
                return -ENOMEM;
        (void) json_object_set(spec, "siblings", json_object_get(call->params, "siblings"));
        *ret = TAKE(spec);
        return 0;
}

static int digest_make(const SdkCall *call, char buf[static DIGEST_SIZE]) {
        json_auto_t *all =
                json_pack("{s:O,s:O}", "params", call->params, "environment", call->environment);
        json_t *environment = all ? json_copy(json_object_get(all, "environment")) : NULL;

        if (!environment)
                return -ENOMEM;
        /* Only what a program can see. */
        (void) json_object_del(environment, "workloads");
        (void) json_object_del(environment, "values");
        (void) json_object_del(environment, "owner");
        (void) json_object_del(environment, "team");
        (void) json_object_del(environment, "generation");
        (void) json_object_set_new(all, "environment", environment);
        return json_digest(all, buf);
}

static int outputs_set(SdkCall *call, const json_t *forward, int64_t started_ms,
                       const json_t *reply) {
        json_t *endpoints = json_object();
        const char *name;
        json_t *port;

        json_object_foreach(json_object_get(call->params, "ports"), name, port) {
                char key[16];

                snprintf(key, sizeof(key), "%u", port_target(port));
                if (!port_is_tcp(port))
                        continue;
                if (is_root())
                        (void) json_object_set_new(
                                endpoints, name,
                                json_pack("{s:s,s:i}", "address",
                                          sdk_string(call->params, "address", ""), "port",
                                          (int) port_target(port)));
                else
                        (void) json_object_set_new(endpoints, name,
                                                   json_pack("{s:s,s:O}", "address", "127.0.0.1",
                                                             "port",
                                                             json_object_get(forward, key)));
        }
        call->ret_outputs = json_pack("{s:o,s:I}", "endpoints", endpoints, "started_ms",
                                      (json_int_t) started_ms);
        call->ret_state = json_pack("{s:s,s:O}", "level", "awake", "forward", forward);
        call->ret_extra =
                json_pack("{s:s,s:O*}", "level", "awake", "notes", json_object_get(reply, "notes"));
        return call->ret_outputs && call->ret_state && call->ret_extra ? 0 : -ENOMEM;
}

static int workload_fresh(Run *run, int lock, const char *digest, Error *reterr) {
        auto_cleanup(plan_done) KeeperPlan plan = { .netns_fd = -1, .holder_pidfd = -1 };
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        json_auto_t *spec = NULL, *forward = json_object(), *reply = NULL;
        int64_t started_ms = clock_wall_ms(&clock_system);
        int r = workload_spec(run, &plan, forward, &spec, reterr);

        if (r < 0)
                return r;
        if (json_object_set_new(spec, "digest", json_string(digest)) < 0 ||
            json_object_set_new(spec, "started_ms", json_integer(started_ms)) < 0)
                return -ENOMEM;
        plan.spec = spec;
        r = forward_save(run, forward, reterr);
        if (r < 0)
                return r;
        crash_point("process.forward");
        (void) unlinkat(run->dir_fd, "asleep", 0);
        r = keeper_spawn(run, &plan, lock, &fd, reterr);
        if (r < 0)
                return r;
        reader.fd = fd;
        r = keeper_await(run->call, &reader, &reply, reterr);
        return r < 0 ? r : outputs_set(run->call, forward, started_ms, reply);
}

/* A keeper lives: wait for it, when it is for these params. 1: it is not, or it went away. */
static int workload_adopt(Run *run, const char *digest, Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        json_auto_t *status = NULL, *forward = NULL, *reply = NULL;
        auto_cleanup(freep) char *lost = NULL;
        auto_error quiet = { 0 };
        int r = keeper_status(run, &status, &quiet);

        if (r < 0 || ground_lost(run, &lost) != 0 ||
            !streq(sdk_string(status, "digest", ""), digest) ||
            streq(sdk_string(status, "state", ""), "stopping"))
                return 1;
        if (keeper_connect(run, &fd, &quiet) < 0 || keeper_send(fd, "wait", NULL) < 0)
                return 1;
        reader.fd = fd;
        forward = forward_load(run);
        r = keeper_await(run->call, &reader, &reply, reterr);
        return r < 0 ? r
                     : outputs_set(run->call, forward, sdk_integer(status, "started_ms", 0), reply);
}

/* A keeper that said why the start failed is ending: nothing of it is left when that is answered. */
static int start_end(Run *run, int r) {
        auto_error quiet = { 0 };

        if (r < 0 && run->call->failure != SDK_OK)
                (void) keeper_end(run, 2000, NULL, &quiet);
        return r;
}

int workload_provision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        auto_cleanup(closep) int lock = -1;
        char digest[DIGEST_SIZE];
        int r = run_open(call, true, &run, reterr);

        if (r == 0)
                r = digest_make(call, digest);
        if (r < 0)
                return r;
        r = keeper_alive(&run, &lock, reterr);
        if (r < 0)
                return r;
        if (r > 0) {
                r = workload_adopt(&run, digest, reterr);
                if (r <= 0)
                        return start_end(&run, r);
        }
        lock = fd_close(lock);
        r = keeper_end(&run, sdk_integer(call->params, "stop_timeout_ms", STOP_MS), NULL, reterr);
        if (r == 0)
                r = keeper_alive(&run, &lock, reterr);
        if (r != 0)
                return r < 0 ? r : error_set(reterr, -EIO, "A keeper was started meanwhile");
        r = workload_fresh(&run, lock, digest, reterr);
        lock = fd_close(lock);
        return start_end(&run, r);
}

int workload_wake(SdkCall *call, Error *reterr) {
        return workload_provision(call, reterr);
}

/* How long a stop may take: as declared, but leave time to kill and to answer. */
static int64_t stop_time(const SdkCall *call) {
        int64_t wanted = sdk_integer(call->params, "stop_timeout_ms", STOP_MS) + 1000;
        int64_t left = sdk_time_left(call);

        return wanted < left - 1500 ? wanted : left > 3000 ? left - 1500 : left / 2;
}

int workload_sleep(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        json_auto_t *forward = NULL;
        int r = run_open(call, false, &run, reterr);

        if (r < 0)
                return r;
        if (!run.marked || run.dir_fd < 0)
                return error_set(reterr, -ENOENT, "There is no such workload");
        r = run_put(&run, "asleep", "", reterr);
        if (r == 0)
                r = keeper_end(&run, stop_time(call), NULL, reterr);
        if (r < 0)
                return r;
        forward = forward_load(&run);
        call->ret_state = json_pack("{s:s,s:O}", "level", "stopped", "forward", forward);
        call->ret_extra = json_pack("{s:s}", "level", "stopped");
        return call->ret_state && call->ret_extra ? 0 : -ENOMEM;
}

static int present_set(SdkCall *call, const char *present, bool ready, const char *level,
                       const char *detail, const json_t *notes) {
        call->ret_extra = json_pack("{s:s,s:s*,s:b,s:s*,s:s,s:O*}", "present", present, "marker",
                                    streq(present, "absent") ? NULL : call->marker, "ready", ready,
                                    "level", level, "detail", detail, "notes", notes);
        return call->ret_extra ? 0 : -ENOMEM;
}

static int inspect_still(SdkCall *call, const Run *run) {
        int r = run_leftover_set(call, run);

        if (r != 0)
                return r < 0 ? r : 0;
        if (run->marked && run->dir_fd >= 0 && faccessat(run->dir_fd, "asleep", F_OK, 0) == 0)
                return present_set(call, "present", false, "stopped", "it sleeps", NULL);
        return present_set(call, "absent", false, NULL,
                           run->marked ? "its keeper is gone" : "there is nothing", NULL);
}

int workload_inspect(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        auto_cleanup(freep) char *lost = NULL;
        json_auto_t *status = NULL;
        auto_error quiet = { 0 };
        int r = run_open(call, false, &run, reterr);

        if (r == 0)
                r = keeper_alive(&run, NULL, reterr);
        if (r <= 0)
                return r < 0 ? r : inspect_still(call, &run);
        r = keeper_status(&run, &status, &quiet);
        if (r < 0)
                return present_set(call, "uncertain", false, NULL, error_text(&quiet, r), NULL);
        r = ground_lost(&run, &lost);
        if (r < 0)
                return r;
        return present_set(
                call, "present", !lost && streq(sdk_string(status, "state", ""), "ready"), "awake",
                lost ? lost : sdk_string(status, "detail", ""), json_object_get(status, "notes"));
}

int workload_deprovision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        bool was = false;
        int r = run_open(call, false, &run, reterr);

        if (r == 0)
                r = keeper_end(&run, stop_time(call), &was, reterr);
        if (r == 0)
                r = run_report(&run, was, "process", call->uid);
        return r < 0 ? r : run_remove(&run, reterr);
}
