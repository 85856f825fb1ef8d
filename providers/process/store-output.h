/* The output of a build: what it made, changed and removed in its checkout, and what was there before. */
#pragma once

#include "providers/process/tree.h"

typedef struct Output {
        int64_t generation; /* that built it */
        Tree tree;    /* kind TREE_ABSENT: removed. entries[i] is the file "i" beside the list */
        char **was;   /* owned, of each entry: tree_state() before; NULL: all "" */
        char **links; /* owned, of each entry: the text of a link, else NULL; may be NULL */
} Output;

void output_done(Output *o);
/* -EFBIG, -ENOTSUP (a name that is not UTF-8) with a sentence. */
int output_find(const Tree *before, const Tree *after, int tree_fd, Output *ret, Error *reterr);

/* A list of entries as a file in a folder. */
int output_read(int dir_fd, const char *name, Output *ret);
int output_write(int dir_fd, const char *name, const Output *o);

/* Copies the files of an output into a folder. */
int output_copy(int tree_fd, const Output *o, int to_fd);
/* Whether the files in the folder are whole, and every path is as it was before the build: -EBADMSG,
 * -EEXIST. */
int output_fits(int from_fd, const Output *o, const Tree *tree);
/* Puts it into a checkout, owned by uid when we are root. */
int output_put(int from_fd, const Output *o, int tree_fd, uid_t uid);

/* Removes DIR/NAME whole; absent is success. */
int output_remove(int dir_fd, const char *name);
/* Makes room for one more of these bytes among those in DIR/NAME: the oldest go. */
int output_evict(int dir_fd, const char *name, int64_t bytes);
