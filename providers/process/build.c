/* The type build: the branch's command, once, in the sandbox of workloads with the checkout writable, or
 * the output of an earlier build that had the same inputs (store.h). "done" in its folder holds the
 * digest of what was built; whatever else a crash leaves is built again. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/store.h"
#include "providers/process/types.h"

#define BUILD_MS (10 * 60 * 1000)

/* Hands the checkout to the user that builds. By descriptors, never through a link. */
static int tree_give(int dir_fd, uid_t uid, unsigned depth) {
        int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        int r = 0;

        if (!dir)
                return -errno;
        for (struct dirent *e; r == 0 && (e = readdir(dir));) {
                if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                        continue;
                if (fchownat(dir_fd, e->d_name, uid, uid, AT_SYMLINK_NOFOLLOW) < 0 &&
                    errno != ENOENT)
                        r = -errno;
                if (r == 0 && e->d_type == DT_DIR && depth > 0) {
                        auto_cleanup(closep) int sub = openat(
                                dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                        r = sub >= 0          ? tree_give(sub, uid, depth - 1)
                            : errno == ENOENT ? 0
                                              : -errno;
                }
        }
        closedir(dir);
        return r;
}

static int checkout_give(const char *checkout, uid_t uid, Error *reterr) {
        auto_cleanup(closep) int fd =
                open(checkout, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_set(reterr, -errno, "Cannot open the checkout '%s': %s", checkout,
                                 strerror(errno));
        if (!is_root() || st.st_uid == uid)
                return 0;
        r = tree_give(fd, uid, 200);
        if (r == 0 && fchown(fd, uid, uid) < 0) /* last: done means all of it */
                r = -errno;
        return r < 0 ? error_set(reterr, r, "Cannot hand over the checkout: %s", strerror(-r)) : 0;
}

/* A list of words, or one string for the shell. */
static int command_argv(const SdkCall *call, json_t **ret, Error *reterr) {
        const json_t *command = json_object_get(call->params, "command");

        if (json_is_string(command))
                *ret = json_pack("[s,s,O]", "/bin/sh", "-ec", command);
        else if (json_array_size(command) > 0)
                *ret = json_deep_copy(command);
        else
                return error_set(reterr, -EINVAL, "The build has no command");
        return *ret ? 0 : -ENOMEM;
}

static int build_spec(const Run *run, KeeperPlan *plan, json_t **ret, Error *reterr) {
        const SdkCall *call = run->call;
        json_auto_t *spec = NULL, *argv = NULL, *env = NULL, *container = NULL;
        int64_t timeout = sdk_integer(call->params, "timeout_ms", BUILD_MS);
        bool egress = false;
        int r = spec_make(run, "build", &spec, reterr);

        if (r == 0)
                r = network_open(call, sdk_string(call->params, "network", ""), plan, &egress,
                                 reterr);
        if (r == 0)
                r = command_argv(call, &argv, reterr);
        if (r == 0)
                r = spec_env(call, json_object_get(call->params, "variables"), &env, reterr);
        if (r < 0)
                return r;
        if (egress) {
                plan->netns_fd = fd_close(plan->netns_fd);
                plan->host_network = true;
        }
        container = json_pack("{s:s,s:O,s:O,s:O,s:O*}", "name", "build", "argv", argv, "env", env,
                              "cwd", json_object_get(spec, "cwd"), "limits",
                              json_object_get(call->params, "limits"));
        if (!container ||
            json_object_set_new(spec, "containers", json_pack("[O]", container)) < 0 ||
            json_object_set_new(spec, "checkout_writable", json_true()) < 0 ||
            json_object_set_new(spec, "host_network", json_boolean(egress)) < 0 ||
            json_object_set_new(spec, "netns", json_boolean(plan->netns_fd >= 0)) < 0 ||
            json_object_set_new(spec, "start_timeout_ms",
                                json_integer(timeout > 0 ? timeout : BUILD_MS)) < 0 ||
            json_object_set_new(spec, "stop_timeout_ms", json_integer(1000)) < 0)
                return -ENOMEM;
        *ret = TAKE(spec);
        return 0;
}

static void plan_done(KeeperPlan *plan) {
        closep(&plan->netns_fd);
        closep(&plan->holder_pidfd);
}

static int build_run(Run *run, int lock, Error *reterr) {
        auto_cleanup(plan_done) KeeperPlan plan = { .netns_fd = -1, .holder_pidfd = -1 };
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        json_auto_t *spec = NULL, *reply = NULL;
        int r = build_spec(run, &plan, &spec, reterr);

        if (r == 0)
                r = checkout_give(sdk_string(spec, "checkout", ""),
                                  (uid_t) sdk_integer(spec, "user", 0), reterr);
        if (r < 0)
                return r;
        plan.spec = spec;
        r = keeper_spawn(run, &plan, lock, &fd, reterr);
        if (r < 0)
                return r;
        reader.fd = fd;
        r = keeper_await(run->call, &reader, &reply, reterr);
        if (r == 0 && json_array_size(json_object_get(reply, "notes")) > 0)
                run->call->ret_extra = json_pack("{s:O}", "notes", json_object_get(reply, "notes"));
        return r;
}

static bool build_is_done(const Run *run, const char *digest) {
        auto_cleanup(freep) char *text = NULL;

        return run->dir_fd >= 0 &&
               read_file_at(run->dir_fd, "done", 1024, &text, NULL, NULL) == 0 &&
               (!digest || streq(text, digest));
}

static int build_command(Run *run, Error *reterr) {
        auto_cleanup(closep) int lock = -1;
        int r = keeper_alive(run, &lock, reterr);

        if (r != 0)
                return r < 0 ? r : error_set(reterr, -EIO, "A build was started meanwhile");
        r = build_run(run, lock, reterr);
        lock = fd_close(lock);
        if (r == 0)
                r = keeper_end(run, 5000, NULL, reterr); /* it is ending already */
        else
                (void) keeper_end(run, 2000, NULL, NULL);
        return r;
}

/* Where its result comes from, for people: in the event, and kept as the state of the resource. */
static int build_say(SdkCall *call, int64_t generation) {
        auto_cleanup(freep) char *text =
                str_format("taken from generation %lld: inputs unchanged", (long long) generation);

        call->ret_state = text ? json_pack("{s:s}", "detail", text) : NULL;
        call->ret_extra = text ? json_pack("{s:s}", "detail", text) : NULL;
        return call->ret_state && call->ret_extra ? 0 : -ENOMEM;
}

static int build_make(Run *run, Error *reterr) {
        auto_cleanup(store_done) Store store = { .fd = -1, .lock_fd = -1, .tree_fd = -1 };
        int64_t generation = 0;
        int r;

        store_open(run->call, &store);
        if (store_take(&store, spec_user(run->call), &generation) > 0)
                return build_say(run->call, generation);
        store_begin(&store);
        r = build_command(run, reterr);
        if (r == 0)
                store_keep(&store);
        return r;
}

int build_provision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        char digest[DIGEST_SIZE];
        int r = run_open(call, true, &run, reterr);

        if (r == 0)
                r = json_digest(call->params, digest);
        if (r < 0)
                return r;
        if (build_is_done(&run, digest)) {
                call->ret_state =
                        json_is_object(call->state) ? json_copy((json_t *) call->state) : NULL;
                return 0;
        }
        (void) unlinkat(run.dir_fd, "done", 0);
        r = keeper_end(&run, 1000, NULL, reterr);
        if (r == 0)
                r = build_make(&run, reterr);
        return r < 0 ? r : run_put(&run, "done", digest, reterr);
}

int build_inspect(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        int r = run_open(call, false, &run, reterr);
        bool done;

        if (r == 0)
                r = keeper_alive(&run, NULL, reterr);
        if (r < 0)
                return r;
        if (r == 0) {
                r = run_leftover_set(call, &run);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        done = r == 0 && run.marked && build_is_done(&run, NULL);
        call->ret_extra =
                json_pack("{s:s,s:s*,s:b,s:s}", "present", done || r > 0 ? "present" : "absent",
                          "marker", done || r > 0 ? call->marker : NULL, "ready", done, "detail",
                          done    ? "it was built"
                          : r > 0 ? "it is being built"
                                  : "it was not built");
        return call->ret_extra ? 0 : -ENOMEM;
}

int build_deprovision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        bool was = false;
        int r = run_open(call, false, &run, reterr);

        if (r == 0)
                r = keeper_end(&run, 1000, &was, reterr);
        if (r == 0)
                r = run_report(&run, was, "process", call->uid);
        return r < 0 ? r : run_remove(&run, reterr);
}
