/* Marks and locks for providers that keep things as files. A mark is a symbolic link FOLDER/NAME whose
 * target text is the resource's marker: made in one step, never half-written, found again without
 * memory. It is made before the thing and removed after it, so a thing without its mark is not ours. */
#pragma once

#include "orchestrator/base/error.h"
#include "providers/sdk/sdk.h"

/* Makes FOLDER/NAME -> text. 0, 1 when it is there already with this text, or -EEXIST when with another
 * (or when it is no link). */
int mark_make(const char *folder, const char *name, const char *text, Error *reterr);
/* The text, owned; -ENOENT when there is none, -EEXIST when something else has its name. */
int mark_read(const char *folder, const char *name, char **ret, Error *reterr);
/* Absent is success. */
int mark_remove(const char *folder, const char *name, Error *reterr);

/* Calls on_mark for each NAME of FOLDER that ends with suffix (given without it). A folder that is
 * not there has none. */
typedef int (*MarkFunc)(void *userdata, const char *stem, const char *text, Error *reterr);
int mark_each(const char *folder, const char *suffix, MarkFunc on_mark, void *userdata,
              Error *reterr);

/* The answer to list for things of one type: an item for each mark UID.mark of the call's installation,
 * "uncertain" where no thing FOLDER/UID is behind it. */
int mark_list(SdkCall *call, const char *folder, const char *type, Error *reterr);
/* The marker of UID.mark against the call's: 1 ours, 0 none, -EEXIST another's. A thing that lies at
 * thing_path without a mark is another's too. */
int mark_owned(const SdkCall *call, const char *folder, const char *thing_path, Error *reterr);
/* The answer to inspect, from the mark and the thing: *ret_found tells whether to look further, and
 * ret_extra is set. */
int mark_inspect(SdkCall *call, const char *folder, const char *thing_path, bool *ret_found,
                 Error *reterr);
/* Appends {"kind","name"} to a "removed" or "absent" list of ret_extra, which is made when missing. */
int mark_report(SdkCall *call, const char *list, const char *kind, const char *name);

/* Takes an exclusive lock on path (made when absent): 0 and a descriptor to close. It waits; the
 * call's deadline ends a wait that is too long. lock_remove() unlinks the file while the lock is held;
 * those who wait for it notice and start over with the new file. */
int lock_take(const char *path, int *ret_fd, Error *reterr);
void lock_remove(const char *path);

/* A lock of one name among many, in one file (a byte of it, chosen by the name's hash): the file says
 * nothing of its names, so it may be there before and after the mark of what is locked. Waits like
 * lock_take(); closing the descriptor unlocks. lock_name_remove() removes the file unless a name is
 * locked by somebody else; the caller still holds its own. */
int lock_name_take(const char *path, const char *name, int *ret_fd, Error *reterr);
void lock_name_remove(const char *path, int fd);
