/* The branches of a repository as it lists them now: `git ls-remote` as a child process, watched by the
 * loop. A list is complete only when git ended well and every line was understood. */
#pragma once

#include <jansson.h>

#include "orchestrator/api/manager.h"

typedef struct Branches {
        json_t *list;     /* [{"name","commit"}] */
        const char *head; /* the branch HEAD means; NULL: not said */
        int64_t began_ms; /* of engine_now_ms(), before git looked */
        bool complete;    /* fit to conclude that what is missing is gone: never when empty */
} Branches;

typedef void (*BranchesFunc)(void *userdata, int r, const Branches *branches, const Error *error);

/* A path or address that git may be given; -EINVAL with a sentence. */
int repository_check(const char *repository, Error *reterr);

/* Calls done exactly once, later, unless it is cancelled. *ret is valid until then. */
int branches_list(Manager *m, const char *repository, BranchesFunc done, void *userdata,
                  BranchesJob **ret, Error *reterr);
void branches_cancel(BranchesJob *job); /* NULL is fine */
/* The commit of a branch in a list, or NULL. */
const char *branches_find(const Branches *b, const char *branch);
/* Reads git's output. 0 or -EBADMSG; public for the tests. */
int branches_parse(char *text, json_t **ret_list, char **ret_head);
