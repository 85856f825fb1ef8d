/* What a resource has on disk and the way to its keeper. STATE is the provider's folder:
 *   STATE/UID.TYPE   mark: a link whose text is the marker; first made, last removed
 *   STATE/resources.lock   the call that works on a resource holds its name in it
 *   STATE/UID/       its folder (0700): keeper.json, keeper.lock, keeper.log, ctl, files/, logs/, asleep,
 *                    and "mark.TYPE", the mark once more, for a folder that lost the other one
 * keeper.lock is locked by the keeper as long as it lives, from before it is started: it is the proof
 * that there is one. keeper.json says which process that is. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/limits.h"
#include "providers/sdk/sdk.h"

typedef struct Run {
        SdkCall *call;       /* borrowed */
        char *path;          /* owned: STATE/UID */
        char *lock_path;     /* owned */
        int lock_fd, dir_fd; /* dir_fd -1: there is no folder */
        bool marked;         /* the mark was there */
        /* what keeper_end() found, for the report; owned */
        char **pids, **groups;
        bool socket;
} Run;

/* Takes the lock of the resource; with make, makes mark and folder. Refuses another marker. */
int run_open(SdkCall *call, bool make, Run *ret, Error *reterr);
void run_done(Run *run);
/* Removes folder and mark; reports what it removed. */
int run_remove(Run *run, Error *reterr);
/* Replaces a file in the folder as a whole. Not synced: what a power loss takes is made again. */
int run_put(const Run *run, const char *name, const char *text, Error *reterr);

/* "removed" and "absent" of a deprovision, in call->ret_extra. */
int report_removed(SdkCall *call, bool removed, const char *kind, const char *name);

/* What a keeper is started with besides its spec. */
typedef struct KeeperPlan {
        json_t *spec;     /* borrowed */
        int netns_fd;     /* network namespace of its containers, -1: none */
        int holder_pidfd; /* whose user and network namespaces it lives in, -1: none */
        bool holds;       /* it makes a user and network namespace of its own */
        bool host_network; /* of the holder only the user namespace: its containers use the host's network */
        int listeners[LIMIT_PROCESS_PORTS];
        size_t n_listeners;
} KeeperPlan;

/* 1 when a keeper lives, 0 when none does. *ret_lock_fd (may be NULL) is the lock then, to be given to
 * a new one. */
int keeper_alive(const Run *run, int *ret_lock_fd, Error *reterr);
/* Starts one with the lock; *ret_fd is a control connection that waits for the result. */
int keeper_spawn(const Run *run, const KeeperPlan *plan, int lock_fd, int *ret_fd, Error *reterr);
/* Connects to the living one; -ENOENT when there is none any more. */
int keeper_connect(const Run *run, int *ret_fd, Error *reterr);
/* Its pid, and a descriptor of it; -ENOENT when there is none. */
int keeper_identify(int dir_fd, int *ret_pid, int *ret_pidfd);
/* Ends it, gently for stop_ms, then at once; cleans up what a killed one leaves. *ret_was may be NULL. */
int keeper_end(Run *run, int64_t stop_ms, bool *ret_was, Error *reterr);

/* ---- stock.c ---- */

/* Notes what there is, before it is ended; pid: the keeper, 0: none. */
int run_stock(Run *run, int pid);
/* Reports what keeper_end() found; kind, name: what the keeper was. */
int run_report(Run *run, bool was, const char *kind, const char *name);
/* Whether something is there that no living keeper explains: a keeper without its folder, a control
 * group, a folder without its mark. 1: so it is, and it is the answer to inspect. */
int run_leftover_set(SdkCall *call, const Run *run);
/* The mark in a folder: its text and its type, both owned; -ENOENT when there is none. */
int run_folder_mark(const char *path, char **ret_marker, char **ret_type);
/* Types of which a run may be. */
extern const char *const run_types[3];

/* ---- search.c ---- */

/* Calls on_keeper for every keeper of our user, whatever folder it has, until that returns not 0. pidfd
 * is borrowed. */
typedef int (*KeeperFunc)(void *userdata, const char *marker, int pid, int pidfd);
int keeper_each(KeeperFunc on_keeper, void *userdata);
/* One with this marker; the descriptor is the caller's. -ENOENT when there is none. */
int keeper_find(const char *marker, int *ret_pid, int *ret_pidfd);
/* Adds the process and all below it, as numbers; bounded. */
int process_tree(int pid, char ***list);
/* Ends all that runs in the network namespace at path; *list: their numbers. */
int namespace_kill(const char *path, char ***list);
/* 1 when one of these folders was removed while the process, in a mount namespace of its own, has it
 * mounted; *ret (owned) which. */
int mount_deleted(const char *pid, char *const *folders, char **ret);

/* Whether those of the processes that are in a network namespace of their own are in none that is called
 * path (any more). */
bool namespace_lost(char *const *pids, const char *path);

/* ---- ground.c ---- */

/* 1 when something that the containers of a living keeper use was removed beneath them, and may have been
 * made again since. ret: a sentence, owned. */
int ground_lost(const Run *run, char **ret);

/* ---- run.c ---- */

/* Control messages. A reply is waited for until timeout_ms (-1: for ever; -ETIMEDOUT); -ECONNRESET
 * when the keeper went away. Up to two descriptors may come with it. */
typedef struct KeeperReader {
        int fd;     /* borrowed */
        char *text; /* owned */
        size_t size;
        int fds[2]; /* owned; -1 */
} KeeperReader;
#define KEEPER_READER(f) ((KeeperReader){ .fd = (f), .fds = { -1, -1 } })
int keeper_send(int fd, const char *verb, const char *container);
int keeper_read(KeeperReader *reader, int64_t timeout_ms, json_t **ret, Error *reterr);
void keeper_reader_done(KeeperReader *reader);
/* The reply to "status", owned. */
int keeper_status(const Run *run, json_t **ret, Error *reterr);

/* The absolute path of a program installed beside this one, owned. */
int program_beside(const char *name, char **ret, Error *reterr);
/* Really root, or as far as a user namespace goes? */
bool is_root(void);
/* Two hashes of the text of a JSON value, in hex. */
#define DIGEST_SIZE 33
int json_digest(const json_t *value, char buf[static DIGEST_SIZE]);
