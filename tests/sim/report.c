/* Figures of many scenarios, for people and as JUnit results: one test case for each invariant. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/sim.h"

void totals_add(Totals *t, const Sim *s) {
        t->seeds++;
        t->pushes += s->count.pushes;
        t->live += s->count.live;
        t->reaped += s->count.reaped;
        t->calls += s->count.calls;
        t->deprovisions += s->count.deprovisions;
        t->crashes += s->count.crashes;
        t->put_back += s->count.put_back;
        t->steps += s->count.steps;
        t->stale += s->count.stale;
        t->stale_seeds += s->behind_ms > 0;
        t->days += sim_days(s);
        t->violations += s->n_violations > 0;
        for (size_t i = 0; s->n_violations > 0 && i < invariants_count(); i++)
                t->broken[i] += streq(invariants[i], s->invariant);
}

void totals_print(const Totals *t, unsigned steps) {
        printf("# %" PRIu64 " seeds of %u steps, %" PRId64 " simulated days, %" PRIu64
               " violations\n",
               t->seeds, steps, t->days, t->violations);
        printf("# %" PRIu64 " pushes, %" PRIu64 " environments that were live, %" PRIu64
               " reaped, %" PRIu64 " provider calls, %" PRIu64 " removals, %" PRIu64
               " crashes, %" PRIu64 " old databases put back, %" PRIu64 " stale readings\n",
               t->pushes, t->live, t->reaped, t->calls, t->deprovisions, t->crashes, t->put_back,
               t->stale);
}

/* So many scenarios in which one of these never happens prove nothing: the world is broken. */
bool totals_hollow(const Totals *t) {
        return t->seeds >= 50 &&
               (t->pushes == 0 || t->live == 0 || t->reaped == 0 || t->deprovisions == 0 ||
                t->crashes == 0 || t->put_back == 0 || (t->stale == 0 && t->stale_seeds > 0));
}

int totals_junit(const Totals *t, const char *path) {
        FILE *f = fopen(path, "w");

        if (!f)
                return -errno;
        fprintf(f, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
                   "<testsuite name=\"simulation\">\n");
        for (size_t i = 0; i < invariants_count(); i++) {
                fprintf(f, "<testcase classname=\"simulation.%" PRIu64 "-seeds\" name=\"%s\">",
                        t->seeds, invariants[i]);
                if (t->broken[i] > 0)
                        fprintf(f, "<failure message=\"%" PRIu64 " seeds\"/>", t->broken[i]);
                fprintf(f, "</testcase>\n");
        }
        fprintf(f, "</testsuite>\n</testsuites>\n");
        return fclose(f) == 0 ? 0 : -errno;
}
