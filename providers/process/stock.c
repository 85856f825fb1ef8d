/* What a resource has in the world: for the report of its removal, and for those who ask whether anything
 * is left. */
#include <fcntl.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/process/cgroup.h"
#include "providers/process/run.h"
#include "providers/sdk/mark.h"

const char *const run_types[3] = { "network", "build", "workload" };

int run_folder_mark(const char *path, char **ret_marker, char **ret_type) {
        for (size_t i = 0; i < N_ELEMENTS(run_types); i++) {
                auto_cleanup(freep) char *name = str_format("mark.%s", run_types[i]), *text = NULL;

                if (!name || mark_read(path, name, &text, NULL) < 0)
                        continue;
                *ret_type = strdup(run_types[i]);
                if (!*ret_type)
                        return -ENOMEM;
                *ret_marker = TAKE(text);
                return 0;
        }
        return -ENOENT;
}

/* An orderly keeper takes most of it along, so it is written down before the end. */
int run_stock(Run *run, int pid) {
        int r = cgroup_list(run->call->uid, &run->groups);

        run->socket = run->dir_fd >= 0 && faccessat(run->dir_fd, "ctl", F_OK, 0) == 0;
        return r == 0 && pid > 0 ? process_tree(pid, &run->pids) : r;
}

int run_report(Run *run, bool was, const char *kind, const char *name) {
        auto_cleanup(freep) char *socket = path_join(run->path, "ctl");
        int r = socket ? report_removed(run->call, was, kind, name) : -ENOMEM;

        for (char **pid = run->pids; r == 0 && pid && *pid; pid++)
                r = report_removed(run->call, true, "pid", *pid);
        for (char **group = run->groups; r == 0 && group && *group; group++)
                r = report_removed(run->call, true, "cgroup", *group);
        return r == 0 && run->socket ? report_removed(run->call, true, "socket", socket) : r;
}

static int leftover(const Run *run, char **ret_marker, const char **ret_detail) {
        auto_cleanup(strv_freep) char **groups = NULL;
        auto_cleanup(closep) int pidfd = -1;
        auto_cleanup(freep) char *type = NULL;
        int pid, r;

        if (keeper_find(run->call->marker, &pid, &pidfd) == 0) {
                *ret_detail = "a keeper without its folder";
                *ret_marker = strdup(run->call->marker);
                return *ret_marker ? 0 : -ENOMEM;
        }
        r = cgroup_list(run->call->uid, &groups);
        if (r < 0)
                return r;
        if (groups && *groups)
                *ret_detail = "a control group of it is there";
        if (!run->marked && run->dir_fd >= 0) {
                *ret_detail = "its folder is there without its mark";
                r = run_folder_mark(run->path, ret_marker, &type);
        }
        return r == -ENOENT ? 0 : r;
}

int run_leftover_set(SdkCall *call, const Run *run) {
        auto_cleanup(freep) char *marker = NULL;
        const char *detail = NULL, *shown;
        int r = leftover(run, &marker, &detail);

        if (r < 0 || !detail)
                return r;
        shown = marker ? marker : run->marked ? call->marker : NULL;
        call->ret_extra =
                json_pack("{s:s,s:s*,s:b,s:s}", "present", shown ? "present" : "uncertain",
                          "marker", shown, "ready", 0, "detail", detail);
        return call->ret_extra ? 1 : -ENOMEM;
}
