#include "providers/sdk/usage.h"

#include <fts.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/str.h"

DEFINE_CLEANUP(FTS *, fts_close)

int usage_report(SdkCall *call, const char *path, Error *reterr) {
        auto_cleanup(freep) char *copy = strdup(path);
        char *paths[] = { copy, NULL };
        auto_cleanup(fts_closep) FTS *walk = NULL;
        int64_t bytes = 0, files = 0;
        FTSENT *entry;

        if (!copy)
                return -ENOMEM;
        walk = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
        if (!walk)
                return error_set(reterr, -errno, "Cannot read '%s': %s", path, strerror(errno));
        while ((entry = fts_read(walk))) {
                if (entry->fts_info == FTS_DP || !entry->fts_statp || entry->fts_info == FTS_NS)
                        continue;
                bytes += (int64_t) entry->fts_statp->st_blocks * 512;
                files++;
        }
        sdk_item(json_pack("{s:s, s:I, s:I}", "uid", call->uid, "bytes", (json_int_t) bytes,
                           "files", (json_int_t) files));
        return 0;
}
