/* Makes a failing scenario short (delta debugging): leaves out ever smaller pieces of it as long as the same
 * invariant breaks, then makes single steps kind. Each try runs in a process of its own, so that a
 * scenario which ends the program can be shrunk as well. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define TRIES_MAX 1500
#define ENDED     255 /* the exit status is the invariant's number + 1 */

static int number_of(const char *invariant) {
        for (size_t i = 0; i < invariants_count(); i++)
                if (streq(invariants[i], invariant))
                        return (int) i;
        fprintf(stderr, "'%s' is not among the invariants\n", invariant);
        abort();
}

static void child(const Scenario *scenario) {
        Sim s;

        (void) !freopen("/dev/null", "w", stderr);
        sim_watch();
        sim_set_up(&s, scenario->seed, false);
        sim_run(&s, scenario);
        _exit(s.n_violations > 0 ? number_of(s.invariant) + 1 : 0);
}

const char *shrink_try(const Scenario *scenario) {
        int status = 0;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        assert(pid >= 0);
        if (pid == 0)
                child(scenario);
        assert(waitpid(pid, &status, 0) == pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return NULL;
        if (WIFEXITED(status) && (size_t) WEXITSTATUS(status) <= invariants_count())
                return invariants[WEXITSTATUS(status) - 1];
        return "the program does not end";
}

typedef struct Shrinking {
        Scenario *scenario;
        const char *invariant;
        unsigned tries;
} Shrinking;

static bool still_breaks(Shrinking *sh, const Scenario *candidate) {
        if (sh->tries >= TRIES_MAX)
                return false;
        sh->tries++;
        return streq_null(shrink_try(candidate), sh->invariant);
}

/* Without the steps from at on, n of them. */
static bool try_without(Shrinking *sh, size_t at, size_t n) {
        Scenario *s = sh->scenario, candidate = { .seed = s->seed, .n = s->n - n };
        bool breaks;

        candidate.steps = calloc(candidate.n + 1, sizeof(Step));
        assert(candidate.steps);
        memcpy(candidate.steps, s->steps, at * sizeof(Step));
        memcpy(candidate.steps + at, s->steps + at + n, (s->n - at - n) * sizeof(Step));
        breaks = still_breaks(sh, &candidate);
        if (breaks) {
                free(s->steps);
                *s = candidate;
        } else
                free(candidate.steps);
        return breaks;
}

static bool leave_out(Shrinking *sh) {
        bool any = false;

        for (size_t n = sh->scenario->n; n > 0; n /= 2)
                for (size_t at = 0; at + n <= sh->scenario->n;)
                        if (try_without(sh, at, n))
                                any = true;
                        else
                                at += n;
        return any;
}

static bool make_kind(Shrinking *sh) {
        bool any = false;

        for (size_t i = 0; i < sh->scenario->n; i++) {
                if (sh->scenario->steps[i].kind)
                        continue;
                sh->scenario->steps[i].kind = true;
                if (still_breaks(sh, sh->scenario))
                        any = true;
                else
                        sh->scenario->steps[i].kind = false;
        }
        return any;
}

void shrink(Scenario *scenario, const char *invariant) {
        Shrinking sh = { .scenario = scenario, .invariant = invariant };

        while (leave_out(&sh) || make_kind(&sh))
                if (sh.tries >= TRIES_MAX)
                        break;
}
