/* What lies in a checkout before and after a build. Paths are relative to its top. The content is the
 * branch's, so everything is reached by descriptors, and no link is followed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "orchestrator/base/error.h"

#define TREE_DIGEST 33

typedef enum TreeKind {
        TREE_FILE = 'f',
        TREE_LINK = 'l',
        TREE_FOLDER = 'd',
        TREE_ABSENT = '-'
} TreeKind;

typedef struct TreeEntry {
        char *path; /* owned */
        char kind;  /* TreeKind */
        mode_t mode;
        int64_t size, mtime_ns;
        char digest[TREE_DIGEST]; /* of a file's content or a link's text; else empty */
} TreeEntry;

typedef struct Tree {
        TreeEntry *entries; /* owned; sorted by path */
        size_t n, room;
        int64_t bytes;
} Tree;

/* -EFBIG beyond LIMIT_BUILD_TREE_*, -ENOTSUP when there are devices, sockets or pipes. */
int tree_scan(int dir_fd, Tree *ret, Error *reterr);
void tree_done(Tree *t);
const TreeEntry *tree_find(const Tree *t, const char *path);
/* Appends; takes path over, also when it fails. */
int tree_add(Tree *t, const TreeEntry *entry, char *path);

/* The state of a path in one word: content and permission, but nothing of time. */
#define TREE_STATE 64
const char *tree_state(const TreeEntry *e, char buf[static TREE_STATE]);

/* The digest of all that can be read, which is also written to to_fd unless that is -1. -EFBIG beyond
 * max bytes. */
int tree_digest_fd(int fd, int to_fd, int64_t max, char ret[static TREE_DIGEST], int64_t *ret_size);

/* Opens the folder that holds path; *ret_name points into path. No link is followed on the way. */
int tree_parent(int dir_fd, const char *path, int *ret_fd, const char **ret_name);

/* Shell patterns over paths: '?' and '*' within one component, "**" for any number of them. What names a
 * folder names all beneath it. */
bool tree_matches(const char *pattern, const char *path);
