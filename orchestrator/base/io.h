/* Files: whole reads with a limit, replacement by rename, folders, and removal of a tree that never
 * follows a link out of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"

/* Reads all of path (or fd) into an owned, NUL-terminated buffer; *ret_size may be NULL. -EFBIG beyond
 * max bytes, -EISDIR, -ENOENT and so on as the system says. */
int read_file(const char *path, size_t max, char **ret, size_t *ret_size, Error *reterr);
int read_file_at(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
                 Error *reterr);
int read_fd(int fd, size_t max, char **ret, size_t *ret_size, Error *reterr);

/* Reads a file beneath dir_fd that hostile content may have made: no "..", no absolute path, no
 * link that leaves the folder, regular files only (openat2(2), RESOLVE_BENEATH). */
int read_file_beneath(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
                      Error *reterr);

/* Replaces path as a whole: a new file beside it, synced, renamed over it, folder synced. */
int write_file(const char *path, const void *data, size_t size, mode_t mode, Error *reterr);
/* The same, with what write() puts into the new file before it has its name: 0 or a negative errno. */
int write_file_by(const char *path, mode_t mode, int (*write)(void *userdata, int fd),
                  void *userdata, Error *reterr);
/* Removes the new files that write_file() had not finished in folder when it was killed. Only where nobody
 * else writes meanwhile: theirs look the same. */
int remove_unfinished(const char *folder, Error *reterr);
/* Writes all, through EINTR and short writes; 0 or negative errno. */
int write_all(int fd, const void *data, size_t size);

/* Which file this is: a copy of it, and the same put back, is another one. It stays the same when it gets
 * another name. Each file system knows another part of it; two are the same by the best that both know. */
#define FILE_HANDLE_TEXT 160
typedef struct FileWhich {
        char handle[FILE_HANDLE_TEXT]; /* "": not known */
        int64_t born_ns;               /* 0: not known */
        int64_t inode;
} FileWhich;
/* Of fd with path "", or of path beneath the folder fd (AT_FDCWD). */
int file_which(int fd, const char *path, FileWhich *ret);
bool file_which_same(const FileWhich *a, const FileWhich *b);

/* Makes path and its parents; existing folders are fine and keep their mode. */
int mkdir_p(const char *path, mode_t mode, Error *reterr);
/* Removes path and everything beneath it without following links or leaving the file system.
 * Absent is success. */
int remove_tree(const char *path, Error *reterr);
bool path_exists(const char *path);
/* dir + "/" + name, owned; NULL when out of memory. */
char *path_join(const char *dir, const char *name);
/* A safe single path component: 1 to 255 of [A-Za-z0-9._-], not "." or "..", no leading '-'. */
bool path_component_valid(const char *name);
