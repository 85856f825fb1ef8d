#include "providers/sdk/mark.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"

DEFINE_CLEANUP(DIR *, closedir)

int mark_read(const char *folder, const char *name, char **ret, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, name);
        char text[PATH_MAX];
        ssize_t n;

        if (!path)
                return -ENOMEM;
        n = readlink(path, text, sizeof(text));
        if (n < 0 && errno == ENOENT)
                return -ENOENT;
        if (n < 0 && errno == EINVAL)
                return error_set(reterr, -EEXIST, "'%s' is not a mark of ours", path);
        if (n < 0)
                return error_set(reterr, -errno, "Cannot read the mark '%s': %s", path,
                                 strerror(errno));
        if ((size_t) n == sizeof(text))
                return error_set(reterr, -EEXIST, "'%s' is not a mark of ours", path);
        *ret = strndup(text, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

int mark_make(const char *folder, const char *name, const char *text, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, name), *found = NULL;
        int r;

        if (!path)
                return -ENOMEM;
        if (symlink(text, path) == 0)
                return 0;
        if (errno != EEXIST)
                return error_set(reterr, -errno, "Cannot make the mark '%s': %s", path,
                                 strerror(errno));
        r = mark_read(folder, name, &found, reterr);
        if (r < 0)
                return r;
        if (streq(found, text))
                return 1;
        return error_set(reterr, -EEXIST, "'%s' carries the marker '%s', not '%s'", path, found,
                         text);
}

int mark_remove(const char *folder, const char *name, Error *reterr) {
        auto_cleanup(freep) char *path = path_join(folder, name);

        if (!path)
                return -ENOMEM;
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set(reterr, -errno, "Cannot remove '%s': %s", path, strerror(errno));
        return 0;
}

int mark_each(const char *folder, const char *suffix, MarkFunc on_mark, void *userdata,
              Error *reterr) {
        auto_cleanup(closedirp) DIR *dir = opendir(folder);
        struct dirent *entry;
        int r;

        if (!dir && errno == ENOENT)
                return 0;
        if (!dir)
                return error_set(reterr, -errno, "Cannot read the folder '%s': %s", folder,
                                 strerror(errno));
        for (errno = 0; (entry = readdir(dir)); errno = 0) {
                auto_cleanup(freep) char *text = NULL, *stem = NULL;

                if (!str_ends_with(entry->d_name, suffix))
                        continue;
                r = mark_read(folder, entry->d_name, &text, NULL);
                if (r == -ENOENT || r == -EEXIST)
                        continue; /* gone meanwhile, or no mark */
                if (r < 0)
                        return error_set(reterr, r, "Cannot read a mark in '%s': %s", folder,
                                         strerror(-r));
                stem = strndup(entry->d_name, strlen(entry->d_name) - strlen(suffix));
                r = stem ? on_mark(userdata, stem, text, reterr) : -ENOMEM;
                if (r < 0)
                        return r;
        }
        return errno == 0 ? 0
                          : error_set(reterr, -errno, "Cannot read the folder '%s': %s", folder,
                                      strerror(errno));
}

typedef struct Listing {
        const SdkCall *call;
        const char *folder, *type;
} Listing;

static int list_one(void *userdata, const char *stem, const char *text, Error *reterr) {
        const Listing *listing = userdata;
        const char *rest = str_after(text, listing->call->installation);
        auto_cleanup(freep) char *environment = NULL, *thing = path_join(listing->folder, stem);
        bool there = thing && path_exists(thing);

        if (!rest || *rest != '/')
                return 0; /* another installation's */
        environment = strndup(rest + 1, strcspn(rest + 1, "/"));
        if (!environment || !thing)
                return -ENOMEM;
        sdk_item(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*}", "uid", stem, "marker", text, "type",
                           listing->type, "environment", environment, "present",
                           there ? "present" : "uncertain", "detail",
                           there ? NULL : "its marker is there, it is not"));
        return 0;
}

int mark_list(SdkCall *call, const char *folder, const char *type, Error *reterr) {
        Listing listing = { .call = call, .folder = folder, .type = type };
        int r;

        r = mark_each(folder, ".mark", list_one, &listing, reterr);
        if (r < 0)
                return r;
        call->ret_extra = json_pack("{s:b}", "complete", 1);
        return call->ret_extra ? 0 : -ENOMEM;
}

int mark_owned(const SdkCall *call, const char *folder, const char *thing_path, Error *reterr) {
        auto_cleanup(freep) char *name = str_format("%s.mark", call->uid), *found = NULL;
        int r;

        r = name ? mark_read(folder, name, &found, reterr) : -ENOMEM;
        if (r == -ENOENT && path_exists(thing_path))
                return error_set(reterr, -EEXIST, "'%s' is there without a marker of ours",
                                 thing_path);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (!streq(found, call->marker))
                return error_set(reterr, -EEXIST, "'%s' carries the marker '%s', not '%s'",
                                 thing_path, found, call->marker);
        return 1;
}

int mark_inspect(SdkCall *call, const char *folder, const char *thing_path, bool *ret_found,
                 Error *reterr) {
        auto_cleanup(freep) char *name = str_format("%s.mark", call->uid), *found = NULL;
        const char *present = "present", *detail = "";
        int r;

        r = name ? mark_read(folder, name, &found, NULL) : -ENOMEM;
        if (r == -ENOMEM)
                return r;
        if (r == -ENOENT && !path_exists(thing_path))
                present = "absent";
        else if (r < 0) {
                present = "uncertain";
                detail = "Something is there without a marker of ours.";
        } else if (!path_exists(thing_path))
                detail = "Its marker is there, it is not.";
        *ret_found = r == 0 && !*detail;
        call->ret_extra = json_pack("{s:s, s:s, s:b, s:s}", "present", present, "marker",
                                    found ? found : "", "ready", 0, "detail", detail);
        return call->ret_extra ? 0 : -ENOMEM;
}

int mark_report(SdkCall *call, const char *list, const char *kind, const char *name) {
        json_t *entries;

        if (!call->ret_extra)
                call->ret_extra = json_pack("{s:[], s:[]}", "removed", "absent");
        entries = json_object_get(call->ret_extra, list);
        return json_array_append_new(entries, json_pack("{s:s, s:s}", "kind", kind, "name", name)) <
                               0
                       ? -ENOMEM
                       : 0;
}

/* The lock counts only while its file is the one at path. */
static bool lock_is_current(int fd, const char *path) {
        struct stat ours, there;

        return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino &&
               ours.st_dev == there.st_dev;
}

int lock_take(const char *path, int *ret_fd, Error *reterr) {
        for (;;) {
                auto_cleanup(closep) int fd =
                        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

                if (fd < 0)
                        return error_set(reterr, -errno, "Cannot open the lock '%s': %s", path,
                                         strerror(errno));
                if (flock(fd, LOCK_EX) < 0)
                        return error_set(reterr, -errno, "Cannot lock '%s': %s", path,
                                         strerror(errno));
                if (lock_is_current(fd, path)) {
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
        }
}

int lock_name_take(const char *path, const char *name, int *ret_fd, Error *reterr) {
        struct flock lock = { .l_type = F_WRLCK,
                              .l_whence = SEEK_SET,
                              .l_start = (off_t) (hash_string(0, name) >> 2),
                              .l_len = 1 };

        for (;;) {
                auto_cleanup(closep) int fd =
                        open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

                if (fd < 0)
                        return error_set(reterr, -errno, "Cannot open the lock '%s': %s", path,
                                         strerror(errno));
                if (fcntl(fd, F_OFD_SETLKW, &lock) < 0)
                        return error_set(reterr, -errno, "Cannot lock '%s': %s", path,
                                         strerror(errno));
                if (lock_is_current(fd, path)) {
                        *ret_fd = TAKE_FD(fd);
                        return 0;
                }
        }
}

void lock_name_remove(const char *path, int fd) {
        struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_OFD_SETLK, &all) == 0)
                (void) unlink(path);
}

void lock_remove(const char *path) {
        (void) unlink(path); /* an empty file that stays costs nothing and is taken again */
}
