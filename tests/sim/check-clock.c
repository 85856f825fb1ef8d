/* Steps of the wall clock. One that a turn can notice freezes what the clocks do until somebody releases it.
 * Across a start of the machine one ahead looks like time that passed, and nobody can notice it.
 *
 * Who accepts a clock that is ahead moves all deadlines with it, so nothing comes nearer and promised time
 * goes on as it did. When one that is behind is accepted everything ends later. */
#include <stdlib.h>

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
            ledger_value_get(s->ledger, "clock.frozen", &frozen, NULL) < 0)
                sim_violation(s, "a clock step freezes", "the wall clock is off by %lld ms",
                              (long long) (s->wall_ms - s->true_ms));
}

void check_step_missed(Sim *s) {
        if (s->step_ms > 0)
                s->shift_ms += s->step_ms;
        if (s->step_ms != 0) /* noticed or not */
                s->moved_unsure = s->base_unsure = true;
        s->step_ms = 0;
}

/* "After a long absence nobody could have visited." What a machine's clock says of weeks is not believed. */
void check_away(Sim *s) {
        if (s->down_ms > LIMIT_CLOCK_AWAY_MS + MS_PER_HOUR && s->step_ms == 0)
                s->away_until_ms = sim_now(s) + LIMIT_CLOCK_HOLD_MS - MS_PER_MINUTE;
        if (s->boot_ms <= 1000 && s->down_ms > MS_PER_DAY)
                s->moved_unsure = s->base_unsure = true;
}

/* A release was accepted, and nobody said that the clock is to be taken as it is. */
void check_clock_right(Sim *s) {
        int64_t off = s->wall_ms - s->true_ms, slack = LIMIT_CLOCK_STEP_MS + s->drift_ms;

        if (s->stepped && !s->base_unsure && llabs(off - s->base_ms) > slack &&
            llabs(off - s->accepted_ms) > slack)
                sim_violation(s, "a wrong clock is not taken for right by the way",
                              "released, and it is off by %lld ms", (long long) off);
}

void clock_accepted(Sim *s) {
        int64_t off = s->wall_ms - s->true_ms;

        if (off > s->base_ms)
                s->base_ms = off;
        else
                s->moved_unsure = true;
        s->accepted_ms = off;
}
