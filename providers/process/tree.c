#include "providers/process/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/str.h"

#define TREE_DEPTH 200
#define CHUNK      65536

void tree_done(Tree *t) {
        for (size_t i = 0; i < t->n; i++)
                free(t->entries[i].path);
        free(t->entries);
        *t = (Tree){ 0 };
}

int tree_add(Tree *t, const TreeEntry *entry, char *path) {
        TreeEntry *grown;

        if (!path)
                return -ENOMEM;
        if (t->n == t->room) {
                grown = reallocarray(t->entries, t->room * 2 + 64, sizeof(TreeEntry));
                if (!grown) {
                        free(path);
                        return -ENOMEM;
                }
                t->entries = grown;
                t->room = t->room * 2 + 64;
        }
        t->entries[t->n] = *entry;
        t->entries[t->n++].path = path;
        t->bytes += entry->size;
        return 0;
}

static int by_path(const void *a, const void *b) {
        return strcmp(((const TreeEntry *) a)->path, ((const TreeEntry *) b)->path);
}

const TreeEntry *tree_find(const Tree *t, const char *path) {
        TreeEntry wanted = { .path = (char *) path };

        return t->n == 0 ? NULL : bsearch(&wanted, t->entries, t->n, sizeof(TreeEntry), by_path);
}

const char *tree_state(const TreeEntry *e, char buf[static TREE_STATE]) {
        if (!e || e->kind == TREE_ABSENT)
                return "";
        if (e->kind == TREE_FOLDER)
                return "d";
        snprintf(buf, TREE_STATE, "%c%o:%s", e->kind,
                 e->kind == TREE_FILE ? (unsigned) e->mode & 0777 : 0, e->digest);
        return buf;
}

/* ---- content ---- */

/* Chunks are read full, so that equal contents give equal digests however they are read. */
static ssize_t read_full(int fd, char *chunk) {
        size_t have = 0;

        while (have < CHUNK) {
                ssize_t n = read(fd, chunk + have, CHUNK - have);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                have += (size_t) n;
        }
        return (ssize_t) have;
}

static void digest_format(uint64_t a, uint64_t b, char ret[static TREE_DIGEST]) {
        snprintf(ret, TREE_DIGEST, "%016llx%016llx", (unsigned long long) a,
                 (unsigned long long) b);
}

int tree_digest_fd(int fd, int to_fd, int64_t max, char ret[static TREE_DIGEST],
                   int64_t *ret_size) {
        auto_cleanup(freep) char *chunk = malloc(CHUNK);
        uint64_t a = 1, b = 2;
        int64_t size = 0;
        ssize_t n;
        int r;

        if (!chunk)
                return -ENOMEM;
        do {
                n = read_full(fd, chunk);
                if (n < 0)
                        return (int) n;
                size += n;
                if (size > max)
                        return -EFBIG;
                a = hash_bytes(a, chunk, (size_t) n);
                b = hash_bytes(b, chunk, (size_t) n);
                r = to_fd < 0 ? 0 : write_all(to_fd, chunk, (size_t) n);
                if (r < 0)
                        return r;
        } while (n == CHUNK);
        digest_format(a, b, ret);
        *ret_size = size;
        return 0;
}

static int digest_file(int dir_fd, const char *name, TreeEntry *e) {
        auto_cleanup(closep) int fd =
                openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EAGAIN;
        return tree_digest_fd(fd, -1, LIMIT_BUILD_TREE_BYTES, e->digest, &e->size);
}

static int digest_link(int dir_fd, const char *name, TreeEntry *e) {
        char text[4096];
        ssize_t n = readlinkat(dir_fd, name, text, sizeof(text));

        if (n < 0)
                return -errno;
        if ((size_t) n == sizeof(text))
                return -ENAMETOOLONG;
        digest_format(hash_bytes(1, text, (size_t) n), hash_bytes(2, text, (size_t) n), e->digest);
        return 0;
}

/* ---- scanning ---- */

static int scan_folder(int dir_fd, const char *prefix, unsigned depth, Tree *t);

static int scan_entry(int dir_fd, const char *prefix, const char *name, unsigned depth, Tree *t) {
        char *path = *prefix ? str_format("%s/%s", prefix, name) : strdup(name);
        TreeEntry e = { 0 };
        struct stat st;
        int r;

        if (!path || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                r = path ? -errno : -ENOMEM;
                free(path);
                return r;
        }
        e.kind = S_ISREG(st.st_mode)   ? TREE_FILE
                 : S_ISLNK(st.st_mode) ? TREE_LINK
                 : S_ISDIR(st.st_mode) ? TREE_FOLDER
                                       : 0;
        e.mode = st.st_mode & 0777;
        e.mtime_ns = (int64_t) st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        if (t->n >= LIMIT_BUILD_TREE_ENTRIES || t->bytes > LIMIT_BUILD_TREE_BYTES ||
            st.st_size > LIMIT_BUILD_TREE_BYTES)
                r = -EFBIG;
        else
                r = e.kind == TREE_FILE     ? digest_file(dir_fd, name, &e)
                    : e.kind == TREE_LINK   ? digest_link(dir_fd, name, &e)
                    : e.kind == TREE_FOLDER ? 0
                                            : -ENOTSUP;
        if (r < 0) {
                free(path);
                return r;
        }
        r = tree_add(t, &e, path);
        if (r == 0 && e.kind == TREE_FOLDER) {
                auto_cleanup(closep) int sub =
                        openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                r = sub < 0 ? -errno : depth == 0 ? -EFBIG : scan_folder(sub, path, depth - 1, t);
        }
        return r;
}

static int scan_folder(int dir_fd, const char *prefix, unsigned depth, Tree *t) {
        int fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        int r = 0;

        if (!dir) {
                r = -errno;
                fd_close(fd);
                return r;
        }
        rewinddir(dir);
        for (struct dirent *e; r == 0 && (e = readdir(dir));)
                if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
                        r = scan_entry(dir_fd, prefix, e->d_name, depth, t);
        closedir(dir);
        return r;
}

int tree_scan(int dir_fd, Tree *ret, Error *reterr) {
        auto_cleanup(tree_done) Tree t = { 0 };
        int r = scan_folder(dir_fd, "", TREE_DEPTH, &t);

        if (r == -EFBIG)
                return error_set(reterr, r, "The checkout is too large to be compared");
        if (r == -ENOTSUP)
                return error_set(reterr, r, "There is something beside files, folders and links");
        if (r < 0)
                return error_set(reterr, r, "The checkout cannot be read: %s", strerror(-r));
        if (t.n > 0)
                qsort(t.entries, t.n, sizeof(TreeEntry), by_path);
        *ret = t;
        t = (Tree){ 0 };
        return 0;
}

int tree_parent(int dir_fd, const char *path, int *ret_fd, const char **ret_name) {
        struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
        const char *slash = strrchr(path, '/');
        auto_cleanup(freep) char *folder =
                slash ? strndup(path, (size_t) (slash - path)) : strdup(".");
        int fd;

        if (!folder)
                return -ENOMEM;
        fd = (int) syscall(SYS_openat2, dir_fd, folder, &how, sizeof(how));
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        *ret_name = slash ? slash + 1 : path;
        return 0;
}

/* ---- patterns ---- */

/* Both loops go back to the last star only, so no pattern takes more than size times size steps. */
static bool component_matches(const char *pattern, size_t n_pattern, const char *s, size_t n) {
        size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

        while (i < n) {
                if (p < n_pattern && pattern[p] == '*') {
                        star = p++;
                        from = i;
                } else if (p < n_pattern && (pattern[p] == '?' || pattern[p] == s[i])) {
                        p++;
                        i++;
                } else if (star != SIZE_MAX) {
                        p = star + 1;
                        i = ++from;
                } else
                        return false;
        }
        while (p < n_pattern && pattern[p] == '*')
                p++;
        return p == n_pattern;
}

static const char *component_next(const char *at) {
        at += strcspn(at, "/");
        while (*at == '/')
                at++;
        return at;
}

bool tree_matches(const char *pattern, const char *path) {
        const char *star = NULL, *from = NULL;

        while (str_after(pattern, "./"))
                pattern += 2;
        while (*path) {
                size_t n = strcspn(pattern, "/");

                if (!*pattern)
                        return true; /* a folder above it is named */
                if (n == 2 && memcmp(pattern, "**", 2) == 0) {
                        pattern = star = component_next(pattern);
                        from = path;
                } else if (component_matches(pattern, n, path, strcspn(path, "/"))) {
                        pattern = component_next(pattern);
                        path = component_next(path);
                } else if (star) {
                        pattern = star;
                        path = from = component_next(from);
                } else
                        return false;
        }
        return !*pattern;
}
