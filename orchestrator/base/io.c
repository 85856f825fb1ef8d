#include "orchestrator/base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "orchestrator/base/str.h"

#define UNFINISHED ".new-" /* then the six characters of mkostemp(3) */

int read_fd(int fd, size_t max, char **ret, size_t *ret_size, Error *reterr) {
        auto_strbuf text = { 0 };
        char chunk[16384];
        ssize_t n;

        for (;;) {
                n = read(fd, chunk, sizeof(chunk));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_set(reterr, -errno, "Cannot read: %s", strerror(errno));
                if (n == 0)
                        break;
                if (text.size + (size_t) n > max)
                        return error_set(reterr, -EFBIG, "Larger than the limit of %zu bytes", max);
                strbuf_addn(&text, chunk, (size_t) n);
        }

        if (ret_size)
                *ret_size = text.size;
        *ret = strbuf_take(&text);
        return *ret ? 0 : -ENOMEM;
}

int read_file_at(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
                 Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        int r;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot open '%s': %s", path, strerror(errno));
        r = read_fd(fd, max, ret, ret_size, reterr);
        return r < 0 ? error_prefix(reterr, r, "'%s'", path) : 0;
}

int read_file(const char *path, size_t max, char **ret, size_t *ret_size, Error *reterr) {
        return read_file_at(AT_FDCWD, path, max, ret, ret_size, reterr);
}

int read_file_beneath(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
                      Error *reterr) {
        auto_cleanup(closep) int fd = -1;
        struct open_how how = {
                .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
        };
        struct stat st;
        int r;

        fd = (int) syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
        if (fd < 0 && errno == EXDEV)
                return error_set(reterr, -EXDEV, "'%s' leaves its folder, which is refused", path);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot open '%s': %s", path, strerror(errno));
        if (fstat(fd, &st) < 0)
                return error_set(reterr, -errno, "Cannot read '%s': %s", path, strerror(errno));
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, -EISDIR, "'%s' is not a regular file", path);
        r = read_fd(fd, max, ret, ret_size, reterr);
        return r < 0 ? error_prefix(reterr, r, "'%s'", path) : 0;
}

int write_all(int fd, const void *data, size_t size) {
        const char *at = data;

        while (size > 0) {
                ssize_t n = write(fd, at, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                at += n;
                size -= (size_t) n;
        }
        return 0;
}

static int sync_parent(const char *path) {
        auto_cleanup(freep) char *dir = strdup(path);
        auto_cleanup(closep) int fd = -1;
        char *slash;

        if (!dir)
                return -ENOMEM;
        slash = strrchr(dir, '/');
        if (slash)
                slash[slash == dir] = 0;
        fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

int write_file_by(const char *path, mode_t mode, int (*write)(void *userdata, int fd),
                  void *userdata, Error *reterr) {
        auto_cleanup(freep) char *temporary = str_format("%s" UNFINISHED "XXXXXX", path);
        auto_cleanup(closep) int fd = -1;
        int r;

        if (!temporary)
                return -ENOMEM;
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return error_set(reterr, -errno, "Cannot write '%s': %s", path, strerror(errno));

        r = write(userdata, fd);
        if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
                r = -errno;
        if (r < 0) {
                (void) unlink(temporary); /* the write already failed, its cause is reported */
                return error_set(reterr, r, "Cannot write '%s': %s", path, strerror(-r));
        }
        r = sync_parent(path);
        return r < 0 ? error_set(reterr, r, "Cannot sync the folder of '%s': %s", path,
                                 strerror(-r))
                     : 0;
}

typedef struct Bytes {
        const void *data;
        size_t size;
} Bytes;

static int write_bytes(void *userdata, int fd) {
        const Bytes *b = userdata;

        return write_all(fd, b->data, b->size);
}

int write_file(const char *path, const void *data, size_t size, mode_t mode, Error *reterr) {
        return write_file_by(path, mode, write_bytes, &(Bytes){ data, size }, reterr);
}

static bool is_unfinished(const char *name) {
        size_t size = strlen(name), tail = strlen(UNFINISHED "XXXXXX");

        return size > tail && memcmp(name + size - tail, UNFINISHED, strlen(UNFINISHED)) == 0;
}

int remove_unfinished(const char *folder, Error *reterr) {
        DIR *dir = opendir(folder);
        struct dirent *entry;
        int r = 0;

        if (!dir)
                return error_set(reterr, -errno, "Cannot look into '%s': %s", folder,
                                 strerror(errno));
        while (r == 0 && (errno = 0, entry = readdir(dir)))
                if (is_unfinished(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) < 0 &&
                    errno != EISDIR)
                        r = error_set(reterr, -errno, "Cannot remove '%s/%s': %s", folder,
                                      entry->d_name, strerror(errno));
        if (r == 0 && errno != 0)
                r = error_set(reterr, -errno, "Cannot read '%s': %s", folder, strerror(errno));
        (void) closedir(dir); /* it was only read */
        return r;
}

/* What a file server would remember it by (name_to_handle_at(2)): with a generation, so that another file
 * which was given the same number is told apart. Nothing where the file system has none. */
static void handle_of(int fd, const char *path, char ret[static FILE_HANDLE_TEXT]) {
        union {
                struct file_handle h;
                char room[sizeof(struct file_handle) + FILE_HANDLE_TEXT / 2];
        } u = { .h.handle_bytes = (FILE_HANDLE_TEXT - 16) / 2 };
        int mount, n;

        *ret = 0;
        if (name_to_handle_at(fd, path, &u.h, &mount, AT_EMPTY_PATH) < 0)
                return;
        n = snprintf(ret, FILE_HANDLE_TEXT, "%x.", (unsigned) u.h.handle_type);
        for (unsigned i = 0; i < u.h.handle_bytes; i++, n += 2)
                snprintf(ret + n, 3, "%02x", u.h.f_handle[i]);
}

int file_which(int fd, const char *path, FileWhich *ret) {
        struct statx st;

        if (statx(fd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &st) < 0)
                return -errno;
        *ret = (FileWhich){ .inode = (int64_t) st.stx_ino };
        if (st.stx_mask & STATX_BTIME)
                ret->born_ns = st.stx_btime.tv_sec * INT64_C(1000000000) + st.stx_btime.tv_nsec;
        handle_of(fd, path, ret->handle);
        return 0;
}

bool file_which_same(const FileWhich *a, const FileWhich *b) {
        if (*a->handle && *b->handle)
                return strcmp(a->handle, b->handle) == 0;
        if (a->born_ns != 0 && b->born_ns != 0)
                return a->born_ns == b->born_ns;
        return a->inode == b->inode;
}

int mkdir_p(const char *path, mode_t mode, Error *reterr) {
        auto_cleanup(freep) char *copy = strdup(path);
        struct stat st;

        if (!copy)
                return -ENOMEM;
        for (char *slash = copy + (*copy == '/');; slash++) {
                char c;

                slash = strchrnul(slash, '/');
                c = *slash;
                *slash = 0;
                if (*copy && mkdir(copy, mode) < 0 && errno != EEXIST)
                        return error_set(reterr, -errno, "Cannot make the folder '%s': %s", copy,
                                         strerror(errno));
                *slash = c;
                if (!c)
                        break;
        }
        if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return error_set(reterr, -ENOTDIR, "'%s' is not a folder", path);
        return 0;
}

/* A tree may be deeper than descriptors last: what lies deeper than this is moved up to the root of the
 * removal and taken from there. */
#define REMOVE_DEPTH 32

typedef struct Removal {
        int root_fd;
        dev_t device;
        unsigned n_moved;
} Removal;

static int remove_children(Removal *removal, int dir_fd, unsigned depth);

static int move_up(Removal *removal, int dir_fd, const char *name) {
        char moved[32];
        int r;

        do {
                snprintf(moved, sizeof(moved), ".removed-%u", removal->n_moved++);
                r = renameat(dir_fd, name, removal->root_fd, moved) < 0 ? -errno : 0;
        } while (r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR); /* the name is taken */
        return r;
}

/* Removes one name in dir_fd. A folder that the branch's code made unreadable is opened up first. */
static int remove_entry(Removal *removal, int dir_fd, const char *name, unsigned depth) {
        auto_cleanup(closep) int fd = -1;
        struct stat st;
        int r;

        if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
                return 0;
        if (errno != EISDIR && errno != EPERM)
                return -errno;
        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;
        if (!S_ISDIR(st.st_mode))
                return -EPERM;
        if (st.st_dev != removal->device)
                return -EXDEV; /* something is mounted there: its content is not ours to remove */

        if ((st.st_mode & 0700) != 0700)
                (void) !fchmodat(dir_fd, name, 0700, 0); /* openat reports what remains wrong */
        if (depth >= REMOVE_DEPTH)
                return move_up(removal, dir_fd, name);
        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (removal->root_fd < 0)
                removal->root_fd = fd;
        r = remove_children(removal, fd, depth + 1);
        if (r < 0)
                return r;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

/* Until a walk over the folder moved nothing up into it. */
static int remove_children(Removal *removal, int dir_fd, unsigned depth) {
        struct dirent *entry;
        unsigned n_moved;
        int fd, r = 0;
        DIR *dir;

        fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -errno;
        }
        do {
                n_moved = removal->n_moved;
                while (r == 0 && (entry = readdir(dir)))
                        if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                                r = remove_entry(removal, dir_fd, entry->d_name, depth);
                rewinddir(dir);
        } while (r == 0 && dir_fd == removal->root_fd && n_moved != removal->n_moved);
        closedir(dir);
        return r;
}

int remove_tree(const char *path, Error *reterr) {
        Removal removal = { .root_fd = -1 };
        struct stat st;
        int r;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? 0
                                       : error_set(reterr, -errno, "Cannot remove '%s': %s", path,
                                                   strerror(errno));
        removal.device = st.st_dev;
        r = remove_entry(&removal, AT_FDCWD, path, 0);
        return r < 0 ? error_set(reterr, r, "Cannot remove '%s': %s", path, strerror(-r)) : 0;
}

bool path_exists(const char *path) {
        return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *path_join(const char *dir, const char *name) {
        return str_format("%s/%s", dir, name);
}

bool path_component_valid(const char *name) {
        size_t n =
                strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

        return n > 0 && n <= 255 && !name[n] && *name != '-' && !streq(name, ".") &&
               !streq(name, "..");
}
