/* The type network: as root a namespace on the bridge (bridge.h); without root a keeper that holds a
 * user namespace and a network namespace with nothing but loopback. The namespace output is
 * "veth:NAME" or "hold:UID", with "+egress" where builds may use the host's network instead. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "providers/process/bridge.h"
#include "providers/process/run.h"
#include "providers/process/types.h"

static int egress_check(const SdkCall *call, bool *ret, Error *reterr) {
        *ret = streq(sdk_string(call->params, "egress", "none"), "host");
        if (*ret && !streq(sdk_string(call->config, "egress", "none"), "host"))
                return error_set(reterr, -EPERM,
                                 "This network asks for a way out, which the configuration of"
                                 " the provider 'process' does not allow (egress: host)");
        return 0;
}

static int outputs_set(SdkCall *call, const char *kind, const char *name, bool egress,
                       const char *address, const char *mode) {
        auto_cleanup(freep) char *namespace =
                str_format("%s:%s%s", kind, name, egress ? "+egress" : "");

        if (!namespace)
                return -ENOMEM;
        call->ret_outputs = json_pack("{s:s,s:s,s:s}", "namespace", namespace, "address", address,
                                      "mode", mode);
        call->ret_state = json_pack("{s:s,s:s,s:s}", "namespace", namespace, "address", address,
                                    "mode", mode);
        return call->ret_outputs && call->ret_state ? 0 : -ENOMEM;
}

static int provision_root(SdkCall *call, bool egress, Error *reterr) {
        char address[INET_ADDRSTRLEN];
        Bridge b;
        int r;

        bridge_names(call, &b);
        r = bridge_provision(call, &b, reterr);
        if (r < 0)
                return r;
        inet_ntop(AF_INET, &b.address, address, sizeof(address));
        return outputs_set(call, "veth", b.netns, egress, address, "veth");
}

static int hold_start(Run *run, int lock, Error *reterr) {
        const SdkCall *call = run->call;
        auto_cleanup(closep) int fd = -1;
        auto_cleanup(keeper_reader_done) KeeperReader reader = KEEPER_READER(-1);
        json_auto_t *spec =
                json_pack("{s:s,s:s,s:s,s:s,s:b,s:s}", "role", "hold", "marker", call->marker,
                          "uid", call->uid, "run", run->path, "root", 0, "digest", "");
        json_auto_t *reply = NULL;
        KeeperPlan plan = { .spec = spec, .netns_fd = -1, .holder_pidfd = -1, .holds = true };
        int r;

        if (!spec)
                return -ENOMEM;
        r = keeper_spawn(run, &plan, lock, &fd, reterr);
        if (r < 0)
                return r;
        reader.fd = fd;
        r = keeper_read(&reader, sdk_time_left(call), &reply, reterr);
        if (r < 0)
                return r;
        if (!streq(sdk_string(reply, "state", ""), "ready"))
                return error_set(reterr, -EIO, "%s",
                                 sdk_string(reply, "message", "The network failed"));
        return 0;
}

static int provision_hold(Run *run, bool egress, Error *reterr) {
        auto_cleanup(closep) int lock = -1;
        json_auto_t *status = NULL;
        int r = keeper_alive(run, &lock, reterr);

        if (r > 0) {
                r = keeper_status(run, &status, reterr);
                if (r == 0 && !streq(sdk_string(status, "state", ""), "ready"))
                        r = error_set(reterr, -EIO, "The network's keeper is not ready");
        } else if (r == 0)
                r = hold_start(run, lock, reterr);
        return r < 0 ? r
                     : outputs_set(run->call, "hold", run->call->uid, egress, "127.0.0.1",
                                   "forward");
}

int network_provision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        bool egress;
        int r = egress_check(call, &egress, reterr);

        if (r == 0)
                r = run_open(call, true, &run, reterr);
        if (r < 0)
                return r;
        return is_root() ? provision_root(call, egress, reterr)
                         : provision_hold(&run, egress, reterr);
}

static int inspect_root(SdkCall *call, const Run *run) {
        auto_cleanup(bridge_seen_done) BridgeSeen seen = { 0 };
        bool found, whole;
        Bridge b;
        int r;

        bridge_names(call, &b);
        bridge_look(&b, &seen);
        /* The mark alone is no network: a boot takes all of it but the mark. */
        found = seen.namespace || seen.device;
        whole = seen.namespace && seen.joined;
        if (!found) {
                r = run_leftover_set(call, run);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        call->ret_extra =
                json_pack("{s:s,s:s*,s:b,s:s}", "present", found ? "present" : "absent", "marker",
                          seen.marker && *seen.marker ? seen.marker
                          : run->marked               ? call->marker
                                                      : NULL,
                          "ready", whole, "detail",
                          whole   ? "the namespace is joined to the bridge"
                          : found ? "it is half-made"
                                  : "there is nothing");
        return call->ret_extra ? 0 : -ENOMEM;
}

int network_inspect(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        int r = run_open(call, false, &run, reterr);

        if (r < 0)
                return r;
        if (is_root())
                return inspect_root(call, &run);
        r = keeper_alive(&run, NULL, reterr);
        if (r < 0)
                return r;
        if (r == 0) {
                r = run_leftover_set(call, &run);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        call->ret_extra =
                json_pack("{s:s,s:s*,s:b,s:s}", "present", r > 0 ? "present" : "absent", "marker",
                          run.marked ? call->marker : NULL, "ready", r > 0, "detail",
                          r > 0 ? "a keeper holds the namespace" : "no keeper holds a namespace");
        return call->ret_extra ? 0 : -ENOMEM;
}

int network_deprovision(SdkCall *call, Error *reterr) {
        auto_cleanup(run_done) Run run = { .lock_fd = -1, .dir_fd = -1 };
        bool was = false;
        Bridge b;
        int r = run_open(call, false, &run, reterr);

        if (r == 0)
                r = keeper_end(&run, 2000, &was, reterr);
        if (r < 0)
                return r;
        if (is_root()) {
                bridge_names(call, &b);
                r = bridge_deprovision(call, &b, reterr);
        }
        if (r == 0 && (was || !is_root()))
                r = run_report(&run, was, "namespace", call->uid);
        return r < 0 ? r : run_remove(&run, reterr);
}

/* A namespace output, opened for a keeper. */
int network_open(const SdkCall *call, const char *namespace, KeeperPlan *plan, bool *ret_egress,
                 Error *reterr) {
        const char *veth = str_after(namespace, "veth:"), *hold = str_after(namespace, "hold:");
        auto_cleanup(freep) char *name = strdup(veth ? veth : hold ? hold : "");
        auto_cleanup(freep) char *path = NULL;
        Bridge b;
        char *plus;

        bridge_names(call, &b);
        plus = name ? strchr(name, '+') : NULL;
        *ret_egress = plus && streq(plus, "+egress");
        if (plus)
                *plus = '\0';
        if (!name || !path_component_valid(name) || (veth ? !is_root() : !hold || is_root()) ||
            (veth && strncmp(name, b.netns, strlen("mf-") + 9) != 0))
                return error_set(reterr, -EINVAL, "'%s' is not a network of this provider",
                                 namespace);
        if (veth) {
                path = path_join(NETNS_FOLDER, name);
                plan->netns_fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
                if (plan->netns_fd >= 0)
                        return 0;
        } else {
                auto_cleanup(closep) int dir = -1;
                int pid;

                path = path_join(call->state_dir, name);
                dir = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
                if (keeper_identify(dir, &pid, &plan->holder_pidfd) == 0)
                        return 0;
        }
        return error_set(reterr, -EHOSTDOWN, "The network '%s' is not there (any more)", name);
}
