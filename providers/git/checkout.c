/* A checkout is a plain folder: git's own worktrees would leave an entry in the mirror to prune and a
 * .git file that leads the branch's code to the mirror. Two git processes make it: one lists the commit
 * with the size of every file, so that too large a one is refused before a byte is written; one writes
 * the files through an index of its own.
 *
 * Beside the folder lie UID.mark (whose it is; first to come, last to go), UID.done (which commit it
 * holds; written when it is whole) and, during a call, UID.lock and UID.index. A folder without its
 * UID.done is half-made, whatever it holds, and is made again. */
#include "providers/git/checkout.h"

#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/id.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/git/fill.h"
#include "providers/sdk/mark.h"
#include "providers/sdk/usage.h"

typedef struct Place {
        char *folder, *tree, *index, *lock; /* owned */
        char *mark, *done;                  /* names in folder */
} Place;

static void place_done(Place *place) {
        free(place->folder);
        free(place->tree);
        free(place->index);
        free(place->lock);
        free(place->mark);
        free(place->done);
}

#define auto_place auto_cleanup(place_done) Place

static int place_init(Place *place, const SdkCall *call) {
        *place = (Place){
                .folder = str_format("%s/worktrees", call->state_dir),
                .tree = str_format("%s/worktrees/%s", call->state_dir, call->uid),
                .index = str_format("%s/worktrees/%s.index", call->state_dir, call->uid),
                .lock = str_format("%s/worktrees/%s.lock", call->state_dir, call->uid),
                .mark = str_format("%s.mark", call->uid),
                .done = str_format("%s.done", call->uid),
        };
        return place->folder && place->tree && place->index && place->lock && place->mark &&
                               place->done
                       ? 0
                       : -ENOMEM;
}

static bool commit_valid(const char *commit) {
        size_t n = strspn(commit, "0123456789abcdef");

        return !commit[n] && (n == 40 || n == 64);
}

/* Everything but the mark, which goes last and by itself. */
static int content_remove(const SdkCall *call, const Place *place, Error *reterr) {
        auto_cleanup(freep) char *index_lock = str_format("%s.lock", place->index);
        int r;

        if (!index_lock)
                return -ENOMEM;
        r = mark_remove(place->folder, place->done, reterr);
        if (r == 0)
                r = remove_tree(place->tree, reterr);
        if (r == 0)
                r = remove_tree(place->index, reterr);
        if (r == 0)
                r = remove_tree(index_lock, reterr);
        return r;
}

/* The lock goes before the mark: a file without a mark would never be found again. */
static int all_remove(SdkCall *call, const Place *place, bool report, Error *reterr) {
        int r;

        r = content_remove(call, place, reterr);
        crash_point("git.removed");
        if (r == 0)
                r = mirrors_leave(call, call->uid, report, reterr);
        if (r < 0)
                return r;
        lock_remove(place->lock);
        return mark_remove(place->folder, place->mark, reterr);
}

/* Whether the folder is whole and holds the wanted commit. */
static bool is_done(const Place *place, const char *stamp) {
        auto_cleanup(freep) char *found = NULL;

        return mark_read(place->folder, place->done, &found, NULL) == 0 && streq(found, stamp) &&
               path_exists(place->tree);
}

static int content_make(SdkCall *call, const Place *place, const Url *url, const char *stamp,
                        Error *reterr) {
        Filling filling = {
                .call = call,
                .tree = place->tree,
                .index = place->index,
                .top = url,
                .bytes_max = sdk_integer(call->params, "size_max", LIMIT_CHECKOUT_BYTES),
                .submodules = !json_is_false(json_object_get(call->params, "submodules")),
                .member = streq(sdk_string(call->environment, "trust", ""), "member"),
        };
        int r;

        r = content_remove(call, place, reterr);
        if (r < 0)
                return r;
        crash_point("git.marked");
        if (mkdir(place->tree, 0755) < 0)
                return error_set(reterr, -errno, "Cannot make '%s': %s", place->tree,
                                 strerror(errno));
        r = filling_run(&filling, sdk_string(call->params, "commit", ""), reterr);
        crash_point("git.filled");
        if (r == 0)
                r = remove_tree(place->index, reterr);
        if (r == 0)
                r = mark_make(place->folder, place->done, stamp, reterr);
        return r;
}

/* The mark, then the lock. Whoever removed the mark while we waited for the lock makes us start over. */
static int place_take(SdkCall *call, const Place *place, bool *ret_was_there, int *ret_lock,
                      Error *reterr) {
        for (;;) {
                auto_cleanup(closep) int lock = -1;
                bool was_there;
                int r;

                r = mark_owned(call, place->folder, place->tree, reterr);
                if (r < 0)
                        return r;
                was_there = r == 1;
                if (!was_there)
                        r = mark_make(place->folder, place->mark, call->marker, reterr);
                if (r >= 0)
                        r = lock_take(place->lock, &lock, reterr);
                if (r == 0)
                        r = mark_owned(call, place->folder, place->tree, reterr);
                if (r < 0)
                        return r;
                if (r == 1) {
                        *ret_was_there = was_there;
                        *ret_lock = TAKE_FD(lock);
                        return 0;
                }
                lock_remove(place->lock);
        }
}

static int provision_locked(SdkCall *call, const Place *place, const Url *url, bool was_there,
                            Error *reterr) {
        const char *commit = sdk_string(call->params, "commit", "");
        bool bare = json_is_false(json_object_get(call->params, "submodules"));
        auto_cleanup(freep) char *stamp =
                str_format("%s%s", commit, bare ? " without submodules" : "");
        int r = 0;

        if (!stamp)
                return -ENOMEM;
        if (!is_done(place, stamp))
                r = content_make(call, place, url, stamp, reterr);
        if (r < 0) {
                if (!was_there)
                        (void) all_remove(call, place, false,
                                          NULL); /* the mark stays if this fails */
                return r;
        }
        lock_remove(place->lock);
        call->ret_state = json_pack("{s:s}", "commit", commit);
        call->ret_outputs = json_pack("{s:s, s:s}", "path", place->tree, "commit", commit);
        return call->ret_state && call->ret_outputs ? 0 : -ENOMEM;
}

/* A workload's user may differ from ours, so what we make is readable whatever our umask is; no file that
 * git writes may fill the disk. */
static void process_prepare(void) {
        struct rlimit limit = { .rlim_cur = LIMIT_FETCH_FILE_BYTES,
                                .rlim_max = LIMIT_FETCH_FILE_BYTES };

        umask(022);
        (void) setrlimit(RLIMIT_FSIZE, &limit); /* a lower limit is there already */
}

int checkout_provision(SdkCall *call, Error *reterr) {
        const char *commit = sdk_string(call->params, "commit", "");
        auto_cleanup(closep) int lock = -1;
        auto_place place = { 0 };
        auto_url url = { 0 };
        bool was_there;
        int r;

        process_prepare();
        if (!commit_valid(commit))
                return error_set(reterr, -EINVAL, "The commit must be 40 or 64 hexadecimal digits");
        r = url_parse(sdk_string(call->params, "repository", ""), &url, reterr);
        if (r == 0)
                r = place_init(&place, call);
        if (r == 0)
                r = mkdir_p(place.folder, 0711, reterr);
        if (r == 0)
                r = place_take(call, &place, &was_there, &lock, reterr);
        return r < 0 ? r : provision_locked(call, &place, &url, was_there, reterr);
}

/* Without folder and mark, a mirror may still be kept for it. */
static int inspect_user(void *userdata, const char *uid, const char *marker) {
        SdkCall *call = userdata;

        json_decref(call->ret_extra);
        call->ret_extra =
                json_pack("{s:s, s:s*, s:b, s:s}", "present", marker ? "present" : "uncertain",
                          "marker", marker, "ready", 0, "detail", "A mirror is kept for it.");
        return call->ret_extra ? 1 : -ENOMEM;
}

static int inspect_rest(SdkCall *call, Error *reterr) {
        int r = 0;

        if (streq(sdk_string(call->ret_extra, "present", ""), "absent"))
                r = mirrors_users(call, call->uid, inspect_user, call, reterr);
        return r < 0 ? r : 0;
}

int checkout_inspect(SdkCall *call, Error *reterr) {
        const char *commit = sdk_string(call->params, "commit", "");
        auto_cleanup(freep) char *found = NULL;
        auto_place place = { 0 };
        const char *detail = "";
        bool there;
        int r;

        r = place_init(&place, call);
        if (r == 0)
                r = mark_inspect(call, place.folder, place.tree, &there, reterr);
        if (r < 0 || !there)
                return r < 0 ? r : inspect_rest(call, reterr);
        r = mark_read(place.folder, place.done, &found, NULL);
        if (r < 0)
                detail = "The checkout is half-made.";
        else {
                found[strcspn(found, " ")] = 0;
                if (*commit && !streq(found, commit))
                        detail = "It holds another commit.";
                json_object_set_new(call->ret_extra, "commit", json_string(found));
        }
        json_object_set_new(call->ret_extra, "ready", json_boolean(!*detail));
        json_object_set_new(call->ret_extra, "detail", json_string(detail));
        return 0;
}

int checkout_deprovision(SdkCall *call, Error *reterr) {
        auto_cleanup(closep) int lock = -1;
        auto_place place = { 0 };
        const char *list;
        int r;

        r = place_init(&place, call);
        if (r == 0)
                r = mark_owned(call, place.folder, place.tree, reterr);
        if (r == 1)
                r = lock_take(place.lock, &lock, reterr);
        if (r == 0 && lock >= 0)
                r = mark_owned(call, place.folder, place.tree, reterr); /* as it is by now */
        if (r < 0)
                return r;
        if (r == 0 && lock >= 0)
                lock_remove(
                        place.lock); /* who was before us took it all, so this file is our own */
        list = r == 1 && path_exists(place.tree) ? "removed" : "absent";
        r = r == 1 ? all_remove(call, &place, true, reterr)
                   : mirrors_leave(call, call->uid, true, reterr);
        return r < 0 ? r : mark_report(call, list, "checkout", place.tree);
}

int checkout_usage(SdkCall *call, Error *reterr) {
        auto_place place = { 0 };
        int r;

        r = place_init(&place, call);
        return r < 0 ? r : usage_report(call, place.tree, reterr);
}

typedef struct Listing {
        const SdkCall *call;
        const Place *place;
} Listing;

/* Those of which there is more have been listed. */
static int list_user(void *userdata, const char *uid, const char *marker) {
        const Listing *l = userdata;
        const char *rest = marker ? str_after(marker, l->call->installation) : NULL;
        auto_cleanup(freep) char *name = str_format("%s.mark", uid), *text = NULL, *unknown = NULL;
        auto_cleanup(freep) char *tree = path_join(l->place->folder, uid);

        unknown = str_format("%s/unknown/%s", l->call->installation, uid);
        if (!name || !unknown || !tree)
                return -ENOMEM;
        if (!id_possible(uid, 'r') || (marker && (!rest || *rest != '/')) || path_exists(tree) ||
            mark_read(l->place->folder, name, &text, NULL) != -ENOENT)
                return 0;
        sdk_item(json_pack("{s:s, s:s, s:s, s:s, s:s}", "uid", uid, "marker",
                           marker ? marker : unknown, "type", "checkout", "present", "uncertain",
                           "detail", "a mirror is kept for it"));
        return 0;
}

int checkout_list(SdkCall *call, Error *reterr) {
        auto_place place = { 0 };
        Listing listing = { call, &place };
        int r;

        r = place_init(&place, call);
        if (r == 0)
                r = mark_list(call, place.folder, "checkout", reterr);
        return r == 0 ? mirrors_users(call, NULL, list_user, &listing, reterr) : r;
}
