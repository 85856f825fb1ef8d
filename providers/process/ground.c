/* What a workload stands on: the folders that its containers have mounted and their network. Both can be
 * removed beneath them and be made again under the same name; they go on with the old ones. */
#include <string.h>

#include "orchestrator/base/str.h"
#include "providers/process/bridge.h"
#include "providers/process/run.h"

/* Folders that a container has mounted: the checkout and the volumes. Owned. */
static int sources_of(const SdkCall *call, char ***list) {
        const json_t *container, *volume;
        const char *checkout = sdk_string(call->params, "checkout", "");
        size_t i, k;
        int r = *checkout ? strv_add(list, checkout) : 0;

        json_array_foreach(json_object_get(call->params, "containers"), i, container) {
                json_array_foreach(json_object_get(container, "volumes"), k, volume) {
                        const char *source =
                                sdk_string(json_object_get(volume, "source"), "source", "");

                        if (r == 0 && *source)
                                r = strv_add(list, source);
                }
        }
        return r;
}

/* Its network is one of names: a namespace that was made again has the name of the one before. */
static int network_lost(const Run *run, char *const *pids, char **ret) {
        const char *name = str_after(sdk_string(run->call->params, "network", ""), "veth:");
        auto_cleanup(freep) char *path = NULL;

        if (!name)
                return 0;
        path = str_format(NETNS_FOLDER "/%.*s", (int) strcspn(name, "+"), name);
        if (!path)
                return -ENOMEM;
        if (!namespace_lost(pids, path))
                return 0;
        *ret = strdup("its network was removed");
        return *ret ? 1 : -ENOMEM;
}

int ground_lost(const Run *run, char **ret) {
        auto_cleanup(strv_freep) char **sources = NULL, **pids = NULL;
        auto_cleanup(freep) char *folder = NULL;
        auto_cleanup(closep) int pidfd = -1;
        int pid, r = sources_of(run->call, &sources);

        if (r < 0 || keeper_identify(run->dir_fd, &pid, &pidfd) < 0)
                return r;
        r = process_tree(pid, &pids);
        for (char **p = pids; r == 0 && p && *p; p++)
                r = mount_deleted(*p, sources, &folder);
        if (r == 0)
                return network_lost(run, pids, ret);
        if (r < 0)
                return r;
        *ret = str_format("'%s', which it has mounted, was removed", folder);
        return *ret ? 1 : -ENOMEM;
}
