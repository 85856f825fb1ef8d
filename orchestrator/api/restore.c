#include "orchestrator/api/restore.h"

#include <stdio.h>
#include <sys/stat.h>

#include "orchestrator/api/state.h"
#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/time.h"
#include "orchestrator/ledger/restore.h"

static void tell(const char *state, const char *file, const LedgerRestored *r) {
        char time[TIME_TEXT_MAX];

        printf("'%s' is the ledger of '%s' now", file, state);
        if (r->until_ms > 0)
                printf(". It knows what happened until %s", time_format(r->until_ms, time));
        printf(".\n");
        if (r->kept)
                printf("The one before it is in '%s': remove that when nobody needs it any more.\n",
                       r->kept);
        if (r->held)
                printf("The next start will be held: %s. Nothing is removed then until 'mayfly "
                       "unfreeze'; look first, with 'mayfly list' and 'mayfly orphans --look'.\n",
                       r->held);
}

/* What somebody else writes here the daemon could perhaps not open. */
static int check_owner(const char *state, Error *reterr) {
        struct stat st;

        if (stat(state, &st) < 0)
                return error_set(reterr, -errno, "Cannot use the state folder '%s': %s", state,
                                 strerror(errno));
        if (st.st_uid != geteuid())
                return error_set(reterr, -EPERM,
                                 "'%s' belongs to user %u, and you are user %u: run this as that "
                                 "user",
                                 state, (unsigned) st.st_uid, (unsigned) geteuid());
        return 0;
}

int restore_run(const char *state, const char *file) {
        auto_cleanup(ledger_restored_done) LedgerRestored restored = { 0 };
        auto_cleanup(closep) int lock = -1;
        auto_error error = { 0 };
        int r = check_owner(state, &error);

        if (r == 0)
                r = state_lock(state, &lock, &error);
        if (r == 0)
                r = ledger_restore(state, file, &restored, &error);
        if (r < 0) {
                fprintf(stderr, "mayflyd: %s\n", error_text(&error, r));
                return 1;
        }
        tell(state, file, &restored);
        return 0;
}
