#include "providers/process/store-output.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"
#include "providers/process/run.h"

#define LIST_BYTES (256 * 1024 * 1024)

void output_done(Output *o) {
        for (size_t i = 0; i < o->tree.n; i++) {
                free(o->was ? o->was[i] : NULL);
                free(o->links ? o->links[i] : NULL);
        }
        free(o->was);
        free(o->links);
        tree_done(&o->tree);
        *o = (Output){ 0 };
}

static const char *was_of(const Output *o, size_t i) {
        return o->was && o->was[i] ? o->was[i] : "";
}

/* ---- finding ---- */

static int link_read(int tree_fd, const char *path, char **ret) {
        auto_cleanup(closep) int dir = -1;
        char text[4096];
        const char *name;
        ssize_t n;
        int r = tree_parent(tree_fd, path, &dir, &name);

        if (r < 0)
                return r;
        n = readlinkat(dir, name, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        *ret = strndup(text, (size_t) n);
        return *ret ? 0 : -ENOMEM;
}

/* An entry of "after" that differs from before, or one of "before" that is not there any more. */
static int find_one(const TreeEntry *old, const TreeEntry *new, Output *o) {
        TreeEntry gone = { .kind = TREE_ABSENT };
        char a[TREE_STATE], b[TREE_STATE];

        if (streq(tree_state(old, a), tree_state(new, b)))
                return 0;
        if (o->tree.n >= LIMIT_BUILD_OUTPUT_ENTRIES)
                return -EFBIG;
        return tree_add(&o->tree, new ? new : &gone, strdup(new ? new->path : old->path));
}

static int find_all(const Tree *before, const Tree *after, Output *o) {
        size_t i = 0, j = 0;
        int r = 0;

        while (r == 0 && (i < before->n || j < after->n)) {
                int order = i == before->n ? 1
                            : j == after->n
                                    ? -1
                                    : strcmp(before->entries[i].path, after->entries[j].path);

                r = find_one(order <= 0 ? before->entries + i : NULL,
                             order >= 0 ? after->entries + j : NULL, o);
                i += order <= 0;
                j += order >= 0;
        }
        return r;
}

int output_find(const Tree *before, const Tree *after, int tree_fd, Output *ret, Error *reterr) {
        auto_cleanup(output_done) Output o = { 0 };
        int r = find_all(before, after, &o);

        if (r == -EFBIG || o.tree.bytes > LIMIT_BUILD_OUTPUT_BYTES)
                return error_set(reterr, -EFBIG, "its output is too large");
        if (r < 0)
                return r;
        o.was = calloc(o.tree.n + 1, sizeof(char *));
        o.links = calloc(o.tree.n + 1, sizeof(char *));
        if (!o.was || !o.links)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < o.tree.n; i++) {
                const TreeEntry *e = o.tree.entries + i;
                char state[TREE_STATE];

                o.was[i] = strdup(tree_state(tree_find(before, e->path), state));
                r = o.was[i] ? 0 : -ENOMEM;
                if (r == 0 && e->kind == TREE_LINK)
                        r = link_read(tree_fd, e->path, &o.links[i]);
        }
        if (r < 0)
                return r;
        *ret = o;
        o = (Output){ 0 };
        return 0;
}

/* ---- the list ---- */

static int list_add(json_t *list, const Output *o, size_t i) {
        const TreeEntry *e = o->tree.entries + i;
        char kind[2] = { e->kind, 0 };
        json_t *item = json_pack("[s,s,i,I,I,s,s,s?]", e->path, kind, (int) e->mode,
                                 (json_int_t) e->size, (json_int_t) e->mtime_ns, e->digest,
                                 was_of(o, i), o->links ? o->links[i] : NULL);

        if (!item) /* names that are not UTF-8 */
                return -EILSEQ;
        return json_array_append_new(list, item) < 0 ? -ENOMEM : 0;
}

int output_write(int dir_fd, const char *name, const Output *o) {
        json_auto_t *list = json_array(), *top = NULL;
        auto_cleanup(freep) char *text = NULL, *temporary = str_format("%s.new", name);
        auto_cleanup(closep) int fd = -1;
        int r = 0;

        for (size_t i = 0; r == 0 && i < o->tree.n; i++)
                r = list_add(list, o, i);
        if (r < 0)
                return r;
        top = json_pack("{s:I,s:O}", "generation", (json_int_t) o->generation, "entries", list);
        text = top ? json_dumps(top, JSON_COMPACT) : NULL;
        if (!text || !temporary)
                return -ENOMEM;
        fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : write_all(fd, text, strlen(text));
        return r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0 ? -errno : r;
}

static int list_take(Output *o, size_t i, json_t *item) {
        const char *path, *kind, *digest, *was, *link;
        json_int_t size, mtime;
        TreeEntry e = { 0 };
        json_t *text;
        int mode, r;

        if (json_unpack(item, "[s,s,i,I,I,s,s,o]", &path, &kind, &mode, &size, &mtime, &digest,
                        &was, &text) < 0 ||
            strlen(digest) >= TREE_DIGEST || size < 0)
                return -EBADMSG;
        link = json_string_value(text);
        e.kind = *kind;
        e.mode = (mode_t) mode & 0777;
        e.size = size;
        e.mtime_ns = mtime;
        snprintf(e.digest, sizeof(e.digest), "%s", digest);
        r = tree_add(&o->tree, &e, strdup(path));
        if (r < 0)
                return r;
        o->was[i] = strdup(was);
        o->links[i] = link ? strdup(link) : NULL;
        return o->was[i] && (!link || o->links[i]) ? 0 : -ENOMEM;
}

int output_read(int dir_fd, const char *name, Output *ret) {
        auto_cleanup(output_done) Output o = { 0 };
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *top = NULL;
        json_t *list, *item;
        size_t i;
        int r = read_file_at(dir_fd, name, LIST_BYTES, &text, NULL, NULL);

        if (r < 0)
                return r;
        top = json_loads(text, 0, NULL);
        list = json_object_get(top, "entries");
        o.generation = json_integer_value(json_object_get(top, "generation"));
        o.was = calloc(json_array_size(list) + 1, sizeof(char *));
        o.links = calloc(json_array_size(list) + 1, sizeof(char *));
        if (!json_is_array(list) || !o.was || !o.links)
                return json_is_array(list) ? -ENOMEM : -EBADMSG;
        json_array_foreach(list, i, item) {
                r = list_take(&o, i, item);
                if (r < 0)
                        return r;
        }
        *ret = o;
        o = (Output){ 0 };
        return 0;
}

/* ---- copying ---- */

static int number_open(int dir_fd, size_t i, int flags) {
        char name[32];
        int fd;

        snprintf(name, sizeof(name), "%zu", i);
        fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

static int file_copy(int from, int to, const TreeEntry *e) {
        char digest[TREE_DIGEST];
        int64_t size;
        int r = tree_digest_fd(from, to, e->size, digest, &size);

        return r < 0 ? r : size == e->size && streq(digest, e->digest) ? 0 : -EBADMSG;
}

int output_copy(int tree_fd, const Output *o, int to_fd) {
        for (size_t i = 0; i < o->tree.n; i++) {
                const TreeEntry *e = o->tree.entries + i;
                auto_cleanup(closep) int dir = -1, from = -1, to = -1;
                const char *name;
                int r;

                if (e->kind != TREE_FILE)
                        continue;
                r = tree_parent(tree_fd, e->path, &dir, &name);
                if (r < 0)
                        return r;
                from = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                to = number_open(to_fd, i, O_WRONLY | O_CREAT | O_EXCL);
                r = from < 0 ? -errno : to < 0 ? to : file_copy(from, to, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

int output_fits(int from_fd, const Output *o, const Tree *tree) {
        for (size_t i = 0; i < o->tree.n; i++) {
                const TreeEntry *e = o->tree.entries + i;
                auto_cleanup(closep) int fd = -1;
                char state[TREE_STATE];
                int r;

                if (!streq(tree_state(tree_find(tree, e->path), state), was_of(o, i)))
                        return -EEXIST;
                if (e->kind != TREE_FILE)
                        continue;
                fd = number_open(from_fd, i, O_RDONLY);
                r = fd < 0 ? -EBADMSG : file_copy(fd, -1, e);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- putting ---- */

static int put_file(int dir, const char *name, int from_fd, size_t i, const TreeEntry *e,
                    uid_t uid) {
        struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                     { .tv_sec = e->mtime_ns / 1000000000,
                                       .tv_nsec = e->mtime_ns % 1000000000 } };
        auto_cleanup(closep) int from = number_open(from_fd, i, O_RDONLY), to = -1;
        int r;

        if (from < 0)
                return from;
        to = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        r = to < 0 ? -errno : file_copy(from, to, e);
        if (r == 0 && is_root() && fchown(to, uid, uid) < 0)
                r = -errno;
        if (r == 0 && (fchmod(to, e->mode) < 0 || futimens(to, times) < 0))
                r = -errno;
        return r;
}

static int put_one(const Output *o, size_t i, int from_fd, int tree_fd, uid_t uid) {
        const TreeEntry *e = o->tree.entries + i;
        auto_cleanup(closep) int dir = -1;
        const char *name;
        int r = tree_parent(tree_fd, e->path, &dir, &name);

        if (r < 0 || e->kind == TREE_ABSENT)
                return r == -ENOENT && e->kind == TREE_ABSENT ? 0 : r;
        if (e->kind == TREE_FILE)
                return put_file(dir, name, from_fd, i, e, uid);
        if (e->kind == TREE_LINK)
                r = symlinkat(o->links[i] ? o->links[i] : "", dir, name) < 0 ? -errno : 0;
        else
                r = mkdirat(dir, name, 0700) < 0 ? -errno : 0;
        if (r == 0 && is_root() && fchownat(dir, name, uid, uid, AT_SYMLINK_NOFOLLOW) < 0)
                r = -errno;
        return r;
}

/* What was there before goes: deepest first, so that folders are empty by then. */
static int clear_one(const Output *o, size_t i, int tree_fd) {
        auto_cleanup(closep) int dir = -1;
        const char *name, *was = was_of(o, i);
        int r;

        if (!*was)
                return 0;
        r = tree_parent(tree_fd, o->tree.entries[i].path, &dir, &name);
        if (r == 0 && unlinkat(dir, name, *was == 'd' ? AT_REMOVEDIR : 0) < 0)
                r = -errno;
        return r;
}

/* Last, and inner ones first: what they hold could not be made otherwise. */
static int folder_close(const TreeEntry *e, int tree_fd) {
        auto_cleanup(closep) int dir = -1, fd = -1;
        const char *name;
        int r;

        if (e->kind != TREE_FOLDER)
                return 0;
        r = tree_parent(tree_fd, e->path, &dir, &name);
        if (r < 0)
                return r;
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 || fchmod(fd, e->mode) < 0 ? -errno : 0;
}

int output_put(int from_fd, const Output *o, int tree_fd, uid_t uid) {
        int r = 0;

        for (size_t i = o->tree.n; r == 0 && i-- > 0;)
                r = clear_one(o, i, tree_fd);
        for (size_t i = 0; r == 0 && i < o->tree.n; i++)
                r = put_one(o, i, from_fd, tree_fd, uid);
        for (size_t i = o->tree.n; r == 0 && i-- > 0;)
                r = folder_close(o->tree.entries + i, tree_fd);
        return r;
}

/* ---- room ---- */

int output_remove(int dir_fd, const char *name) {
        auto_cleanup(freep) char *path = str_format("/proc/self/fd/%d/%s", dir_fd, name);

        return path ? remove_tree(path, NULL) : -ENOMEM;
}

typedef struct Kept {
        char name[256];
        int64_t used_ns, bytes;
} Kept;

static int kept_measure(int dir_fd, const char *name, Kept *ret) {
        auto_cleanup(closep) int fd =
                openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));
        struct stat st;

        if (!dir)
                return -errno;
        *ret = (Kept){ 0 };
        snprintf(ret->name, sizeof(ret->name), "%s", name);
        if (fstat(fd, &st) == 0)
                ret->used_ns = (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        for (struct dirent *e; (e = readdir(dir));)
                if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
                        ret->bytes += st.st_size;
        closedir(dir);
        return 0;
}

/* 1 when something was removed. */
static int evict_oldest(int fd, int64_t bytes) {
        DIR *dir = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));
        Kept oldest = { 0 }, one;
        size_t n = 0;

        if (!dir)
                return -errno;
        rewinddir(dir);
        for (struct dirent *e; (e = readdir(dir));) {
                if (e->d_name[0] == '.' || kept_measure(fd, e->d_name, &one) < 0)
                        continue;
                bytes += one.bytes;
                if (n++ == 0 || one.used_ns < oldest.used_ns)
                        oldest = one;
        }
        closedir(dir);
        if (n == 0 || (bytes <= LIMIT_BUILD_STORE_BYTES && n < LIMIT_BUILD_STORE_KEPT))
                return 0;
        return output_remove(fd, oldest.name) < 0 ? -EIO : 1;
}

int output_evict(int dir_fd, const char *name, int64_t bytes) {
        auto_cleanup(closep) int fd =
                openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int r;

        if (fd < 0)
                return -errno;
        do
                r = evict_oldest(fd, bytes);
        while (r > 0);
        return r;
}
