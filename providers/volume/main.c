/* A volume is the folder STATE/volumes/UID/data. It belongs to the environment: pushes and sleep leave
 * it alone, the end of the environment takes it away with all that is in it. Its size is reported, not
 * limited.
 *
 * The data folder is open to any user, since a workload runs under one that we do not know; its parent
 * can be entered but not listed, and UID is 98 random bits. */
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "providers/sdk/mark.h"
#include "providers/sdk/usage.h"

typedef struct Place {
        char folder[PATH_MAX], thing[PATH_MAX + 64], data[PATH_MAX + 80], mark[256 + 8];
} Place;

static int place_init(Place *p, const SdkCall *call, Error *reterr) {
        if (strlen(call->state_dir) + strlen(call->uid) > PATH_MAX - 64)
                return error_set(reterr, -EINVAL, "The path of the state folder is too long");
        snprintf(p->folder, sizeof(p->folder), "%s/volumes", call->state_dir);
        snprintf(p->thing, sizeof(p->thing), "%s/%s", p->folder, call->uid);
        snprintf(p->data, sizeof(p->data), "%s/data", p->thing);
        snprintf(p->mark, sizeof(p->mark), "%s.mark", call->uid);
        return 0;
}

static int folder_make(const char *path, mode_t mode, Error *reterr) {
        struct stat st;

        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_set(reterr, -errno, "Cannot make '%s': %s", path, strerror(errno));
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return error_set(reterr, -EEXIST, "'%s' is not a folder", path);
        return 0;
}

/* What the ledger has of an earlier provision says that there was one with data in it. */
static int tell_loss(SdkCall *call) {
        static const char words[] =
                "what was in it is lost: its folder had been removed, and it was "
                "made again empty";

        if (!*sdk_string(call->state, "path", ""))
                return 0;
        call->ret_extra = json_pack("{s:[s], s:s}", "notes", words, "detail", words);
        return call->ret_extra ? 0 : -ENOMEM;
}

static int provision(SdkCall *call, Error *reterr) {
        bool was_there;
        Place p;
        int r;

        umask(0);
        r = place_init(&p, call, reterr);
        if (r == 0)
                r = mkdir_p(p.folder, 0711, reterr);
        if (r == 0)
                r = mark_owned(call, p.folder, p.thing, reterr);
        if (r < 0)
                return r;
        if (r == 0)
                r = mark_make(p.folder, p.mark, call->marker, reterr);
        crash_point("volume.marked");
        was_there = path_exists(p.data);
        if (r >= 0)
                r = folder_make(p.thing, 0711, reterr);
        if (r == 0)
                r = folder_make(p.data, 0777, reterr);
        if (r == 0 && !was_there)
                r = tell_loss(call);
        if (r < 0)
                return r;
        call->ret_state = json_pack("{s:s}", "path", p.data);
        call->ret_outputs = json_pack("{s:s, s:s}", "type", "bind", "source", p.data);
        return call->ret_state && call->ret_outputs ? 0 : -ENOMEM;
}

static int inspect(SdkCall *call, Error *reterr) {
        bool there;
        Place p;
        int r;

        r = place_init(&p, call, reterr);
        if (r == 0)
                r = mark_inspect(call, p.folder, p.thing, &there, reterr);
        if (r < 0 || !there)
                return r;
        json_object_set_new(call->ret_extra, "ready", json_boolean(path_exists(p.data)));
        return 0;
}

static int deprovision(SdkCall *call, Error *reterr) {
        const char *list;
        Place p;
        int r;

        r = place_init(&p, call, reterr);
        if (r == 0)
                r = mark_owned(call, p.folder, p.thing, reterr);
        if (r < 0)
                return r;
        list = path_exists(p.thing) ? "removed" : "absent";
        r = remove_tree(p.thing, reterr);
        crash_point("volume.removed");
        if (r == 0)
                r = mark_remove(p.folder, p.mark, reterr);
        return r < 0 ? r : mark_report(call, list, "volume", p.thing);
}

static int usage(SdkCall *call, Error *reterr) {
        Place p;
        int r;

        r = place_init(&p, call, reterr);
        return r < 0 ? r : usage_report(call, p.data, reterr);
}

static int list(SdkCall *call, Error *reterr) {
        auto_cleanup(freep) char *folder = path_join(call->state_dir, "volumes");

        return folder ? mark_list(call, folder, "volume", reterr) : -ENOMEM;
}

int main(int argc, char **argv) {
        static const SdkType types[] = {
                { .type = "volume",
                  .provision = provision,
                  .inspect = inspect,
                  .deprovision = deprovision,
                  .usage = usage,
                  .scope = "environment",
                  .params_schema =
                          "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                          "\"size_max\":{\"type\":\"integer\",\"minimum\":0,"
                          "\"description\":\"bytes; reported, not enforced\"}}}",
                  .outputs = "type source",
                  .cost = "disk" },
                { 0 },
        };
        static const SdkProvider provider = {
                .name = "volume",
                .summary =
                        "Keeps a folder for an environment, over pushes and sleep, until its end.",
                .types = types,
                .list = list,
        };

        return sdk_main(argc, argv, &provider);
}
