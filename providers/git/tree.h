/* Reading what git says about a commit, before anything of it is written: pure functions over text. */
#pragma once

#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct Tree {
        int64_t n_bytes, n_entries; /* files and links, without submodules */
        char **links;               /* owned: "PATH\0" of each submodule ... */
        char **commits;             /* ... and the commit it stands at, same index */
} Tree;

/* Output of "git ls-tree -r -l --full-tree" with core.quotePath=false: MODE TYPE OBJECT SIZE\tPATH. A
 * submodule at a path that git would quote is refused. */
int tree_parse(const char *text, Tree *ret, Error *reterr);
void tree_done(Tree *tree);
#define auto_tree auto_cleanup(tree_done) Tree

/* The address of the submodule at path in the output of "git config --list" over .gitmodules: owned;
 * -ENOENT when it has none. */
int modules_find(const char *text, const char *path, char **ret, Error *reterr);

/* What a failed git said, as one line for people: the first "fatal:" or "ERROR:", without control
 * characters, at most size bytes. */
char *git_words(const char *stderr_text, char *buf, size_t size);

/* The meaning of a failure by git's own words: -EACCES, -EINVAL, -ENODATA (the commit is not there),
 * -ENOSPC, else -EIO. */
int git_meaning(const char *stderr_text);
