/* Trusted time, and the freeze.
 *
 * Deadlines are promises to people and stand in UTC, but a wall clock can be set. The engine compares
 * how far wall and boot clock moved since the last turn. When they disagree by more than a tolerance,
 * the wall clock was stepped: trusted time goes on as the boot clock says (the difference is kept as an
 * offset), so that nothing becomes due early and nothing waits for a day, and destructive work is held
 * until somebody looked. Trusted time never goes back in the ledger: a mark of it is written with the
 * turns, and a start compares with the mark.
 *
 * After a long absence nobody could have visited, and the clock of a machine that just came up is not
 * yet to be trusted: then no deletion by the reaper begins for an hour. */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/engine/private.h"

#define MARK_EVERY_MS (60 * 1000)

void clock_turn(Engine *e) {
        if (e->turn)
                return;
        e->turn = true;
        e->wall_ms = clock_wall_ms(e->setup.clock);
        e->boot_ms = clock_boot_ms(e->setup.clock);
        e->now_ms = e->wall_ms + e->offset_ms;
        if (e->last_boot_ms > 0) {
                int64_t step = (e->wall_ms - e->last_wall_ms) - (e->boot_ms - e->last_boot_ms);

                if (step > LIMIT_CLOCK_STEP_MS || step < -LIMIT_CLOCK_STEP_MS) {
                        e->step_ms += step;
                        e->offset_ms -= step;
                        e->now_ms = e->wall_ms + e->offset_ms;
                }
        }
        if (e->now_ms < e->high_ms)
                e->now_ms = e->high_ms; /* small steps back: time stands still for a moment */
        e->high_ms = e->now_ms;
        e->last_wall_ms = e->wall_ms;
        e->last_boot_ms = e->boot_ms;
}

void clock_look(Engine *e) {
        if (e->turn)
                return;
        clock_turn(e);
        e->turn = false;
        if (e->step_ms != 0)
                e->setup.wanted(e->setup.userdata);
}

int64_t engine_now_ms(const Engine *e) {
        return e->turn ? e->now_ms : clock_wall_ms(e->setup.clock) + e->offset_ms;
}

static int value_int(Engine *e, const char *name, int64_t *ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        int r;

        r = ledger_value_get(e->ledger, name, &text, NULL);
        if (r == -ENOENT) {
                *ret = 0;
                return 0;
        }
        if (r < 0)
                return error_set(reterr, r, "Cannot read the value '%s'", name);
        *ret = strtoll(text, NULL, 10);
        return 0;
}

/* At start: what the mark says about the time that passed without us. */
static void clock_compare(Engine *e, const char *mark) {
        char boot[64] = "";
        int64_t mark_boot = 0, mark_time = 0, wall = clock_wall_ms(e->setup.clock);
        int64_t boot_now = clock_boot_ms(e->setup.clock), expected;

        if (sscanf(mark, "%63s %" SCNd64 " %" SCNd64, boot, &mark_boot, &mark_time) != 3)
                return;
        e->high_ms = mark_time;
        if (e->boot[0] && streq(boot, e->boot) && boot_now >= mark_boot) {
                expected = mark_time + (boot_now - mark_boot);
                if (wall + e->offset_ms > expected + LIMIT_CLOCK_STEP_MS ||
                    wall + e->offset_ms < expected - LIMIT_CLOCK_STEP_MS) {
                        e->step_ms = wall + e->offset_ms - expected;
                        e->offset_ms = expected - wall;
                }
        } else if (wall + e->offset_ms < mark_time - LIMIT_CLOCK_STEP_MS) {
                e->step_ms = wall + e->offset_ms - mark_time;
                e->offset_ms = mark_time - wall;
        }
        if (wall + e->offset_ms > mark_time + LIMIT_CLOCK_AWAY_MS)
                e->hold_until_ms = time_add(wall + e->offset_ms, LIMIT_CLOCK_HOLD_MS);
}

int clock_load(Engine *e, Error *reterr) {
        auto_cleanup(freep) char *mark = NULL;
        int64_t last = 0;
        int r;

        r = value_int(e, "clock.offset", &e->offset_ms, reterr);
        if (r < 0)
                return r;
        r = ledger_value_get(e->ledger, "clock.mark", &mark, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot read the clock's mark");
        r = value_int(e, "clock.hold", &e->hold_until_ms, reterr);
        if (r < 0)
                return r;
        if (mark)
                clock_compare(e, mark);
        r = ledger_event_last_ms(e->ledger, &last, reterr);
        if (r < 0)
                return r;
        if (last > e->high_ms)
                e->high_ms = last;
        return freeze_load(e, reterr);
}

int freeze_load(Engine *e, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        int r;

        e->frozen = true; /* until it is known */
        e->frozen_by_clock = false;
        r = held_load(e, reterr);
        if (r < 0)
                return r;
        r = ledger_value_get(e->ledger, "frozen", &text, NULL);
        if (r == -ENOENT) {
                e->frozen = e->held;
                return str_replace(&e->freeze_reason, e->held ? "the ledger was put back" : NULL);
        }
        if (r < 0)
                return error_set(reterr, r, "Cannot read whether the installation is frozen");
        value = json_loads(text, 0, NULL);
        e->frozen_by_clock = json_is_true(json_object_get(value, "clock"));
        return str_replace(&e->freeze_reason, json_string_value(json_object_get(value, "reason")));
}

static int freeze_store(Engine *e, const char *who, const char *reason, bool clock, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = NULL;
        int r;

        value = json_pack("{s:s, s:s, s:I, s:b}", "by", who, "reason", reason, "since_ms",
                          (json_int_t) e->now_ms, "clock", (int) clock);
        text = value ? json_dumps(value, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        r = ledger_value_set(e->ledger, "frozen", text, reterr);
        if (r < 0)
                return r;
        r = str_replace(&e->freeze_reason, reason);
        if (r < 0)
                return r;
        e->frozen = true;
        e->frozen_by_clock = clock;
        return 0;
}

static int offset_store(Engine *e, Error *reterr) {
        char text[24];

        snprintf(text, sizeof(text), "%" PRId64, e->offset_ms);
        return ledger_value_set(e->ledger, "clock.offset", text, reterr);
}

int clock_check(Engine *e, Error *reterr) {
        char by[TIME_TEXT_MAX], reason[200];
        int r;

        if (e->step_ms == 0)
                return 0;
        duration_format(e->step_ms < 0 ? -e->step_ms : e->step_ms, by);
        snprintf(reason, sizeof(reason), "the machine's clock was set %s by %s",
                 e->step_ms < 0 ? "back" : "ahead", by);
        r = offset_store(e, reterr);
        if (r == 0)
                r = event_add(
                        e, EVENT_CLOCK_STEPPED, (EventWhere){ .actor = "engine" },
                        "%s; nothing is slept or deleted until somebody releases it, deadlines "
                        "stay as they were",
                        reason);
        if (r == 0 && !e->frozen)
                r = freeze_store(e, "clock", reason, true, reterr);
        if (r < 0)
                return r;
        log_warning("Destructive work is held: %s. When the clock is right, release it with "
                    "'mayfly unfreeze'",
                    reason);
        look_mark_all(e);
        return 0;
}

/* The mark ends the absence, so what follows from it has to be kept with it: a daemon that dies in that
 * hour does not end it. */
static int hold_store(Engine *e, Error *reterr) {
        char text[24];

        if (e->marked_boot_ms > 0 || e->hold_until_ms <= e->now_ms)
                return 0;
        snprintf(text, sizeof(text), "%" PRId64, e->hold_until_ms);
        return ledger_value_set(e->ledger, "clock.hold", text, reterr);
}

int clock_store(Engine *e, Error *reterr) {
        char text[128];
        int r;

        /* The first turn and then every minute in which something is written anyway. */
        if (e->marked_boot_ms > 0 && e->boot_ms - e->marked_boot_ms < MARK_EVERY_MS)
                return 0;
        e->marking = true;
        r = hold_store(e, reterr);
        if (r < 0)
                return r;
        snprintf(text, sizeof(text), "%s %" PRId64 " %" PRId64, e->boot[0] ? e->boot : "-",
                 e->boot_ms, e->now_ms);
        return ledger_value_set(e->ledger, "clock.mark", text, reterr);
}

int engine_freeze(Engine *e, const EngineActor *a, bool on, const char *reason, Error *reterr) {
        auto_cleanup(freep) char *clean =
                text_clean(reason && *reason ? reason : "no reason given");
        Input in;
        int r;

        if (!clean)
                return -ENOMEM;
        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        if (on) {
                r = freeze_store(e, in.who, clean, false, reterr);
                if (r == 0)
                        r = event_add(e, EVENT_FROZEN,
                                      (EventWhere){ .actor = in.who, .trace = in.trace },
                                      "Everything destructive is held: %s", clean);
        } else if (e->frozen) {
                r = ledger_value_set(e->ledger, "frozen", NULL, reterr);
                if (r == 0 && e->held)
                        r = held_release(&in, reterr);
                /* A clock that was ahead is adopted; trusted time cannot follow one that went back. */
                if (r == 0 && e->offset_ms < 0) {
                        e->offset_ms = 0;
                        r = offset_store(e, reterr);
                }
                if (r == 0)
                        r = event_add(e, EVENT_UNFROZEN,
                                      (EventWhere){ .actor = in.who, .trace = in.trace },
                                      "Destructive work goes on");
                e->frozen = e->frozen_by_clock = false;
        }
        look_mark_all(e);
        return input_end(&in, r, reterr);
}
