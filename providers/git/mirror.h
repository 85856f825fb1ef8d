/* Mirrors: STATE/mirrors/KEY, one bare repository for each address, KEY being its SHA-256. A mirror
 * belongs to the checkouts that are noted in its folder "users"; the last one to leave takes it away.
 *
 * A repository on this machine is not copied at all: its mirror borrows its objects (alternates), so
 * that a checkout starts at once and no git of ours reads that repository's configuration. */
#pragma once

#include <stdbool.h>

#include "orchestrator/base/error.h"
#include "providers/git/url.h"
#include "providers/sdk/sdk.h"

typedef struct Mirror {
        char *git_dir; /* owned */
        bool anonymous;
} Mirror;

/* Notes uid as a user and makes the mirror when it is not there. The mirror stays until
 * mirrors_leave(uid). commit decides the hash function of a new one. */
int mirror_join(const SdkCall *call, const Url *url, const char *commit, bool anonymous,
                Mirror *ret, Error *reterr);
/* Brings the commit from where url says: -ENODATA when it is not there. */
int mirror_fetch(const SdkCall *call, const Mirror *mirror, const Url *url, const char *commit,
                 Error *reterr);
void mirror_done(Mirror *mirror);
#define auto_mirror auto_cleanup(mirror_done) Mirror

/* Takes uid off all mirrors, and removes those that nobody uses; report: in the call's answer. */
int mirrors_leave(SdkCall *call, const char *uid, bool report, Error *reterr);
/* Calls func for each note of a user, or of this one, until it returns not 0; marker: NULL when the note has
 * none. */
typedef int (*MirrorUserFunc)(void *userdata, const char *uid, const char *marker);
int mirrors_users(const SdkCall *call, const char *uid, MirrorUserFunc func, void *userdata,
                  Error *reterr);
