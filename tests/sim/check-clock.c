/* Steps of the wall clock. One that a turn can notice freezes everything destructive until somebody releases
 * it. Across a start of the machine one ahead looks like time that passed, and nobody can notice it. */
#include "orchestrator/base/limits.h"
#include "tests/sim/sim.h"

/* "Nothing becomes due early": destructive work is held until somebody looked. */
void check_step_seen(Sim *s) {
        auto_cleanup(freep) char *frozen = NULL;

        if (s->step_ms != 0 && --s->step_turns == 0) {
                s->stepped = true;
                s->step_ms = 0;
        }
        if (s->stepped && !ledger_is_open(s->ledger) &&
            ledger_value_get(s->ledger, "frozen", &frozen, NULL) < 0)
                sim_violation(s, "a clock step freezes", "the wall clock is off by %lld ms",
                              (long long) (s->wall_ms - s->true_ms));
}

void check_step_missed(Sim *s) {
        if (s->step_ms > 0)
                s->shift_ms += s->step_ms;
        else if (s->step_ms < 0) /* noticed or not */
                s->moved_unsure = true;
        s->step_ms = 0;
}
