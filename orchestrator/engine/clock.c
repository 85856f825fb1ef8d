/* Trusted time.
 *
 * Deadlines are promises to people and stand in UTC, but a wall clock can be set. The engine compares
 * how far wall and boot clock moved since the last turn. When they disagree by more than a tolerance,
 * the wall clock was stepped: trusted time goes on as the boot clock says (the difference is kept as an
 * offset), so that nothing becomes due early and nothing waits for a day, and destructive work is held
 * until somebody looked (freeze.c). Steps that are smaller are followed, but not any number of them in a day.
 *
 * Trusted time never goes back in the ledger: a mark of it is written with the turns, and a start compares
 * with the mark. Over another boot only the wall clock tells how long the machine was off, and that of a
 * machine that just came up may be anything: what became due in between waits for an hour in which the
 * clock may be corrected and people may come, and more than a week is not believed before somebody looked.
 * Nobody could have visited while the machine was away or slept: then no sleep and no deletion by the
 * reaper begins for an hour.
 *
 * A person may accept the wall clock as it is. When it is ahead, trusted time goes there; when it is behind,
 * trusted time stays ahead of it. Either way all deadlines are later by as much, so none comes nearer. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"
#include "orchestrator/glue/journal.h"

#define MARK_EVERY_MS (60 * 1000)
#define JITTER_MS     50

static bool is_step(int64_t ms) {
        return ms > LIMIT_CLOCK_STEP_MS || ms < -LIMIT_CLOCK_STEP_MS;
}

/* The wall clock went by this and trusted time does not. */
static void step(Engine *e, int64_t ms, ClockStop stop, int64_t by_ms) {
        e->news.stop = stop;
        e->news.step_ms += ms;
        e->news.by_ms = by_ms;
        e->offset_ms -= ms;
}

static void hold(Engine *e) {
        int64_t until = time_add(e->now_ms, LIMIT_CLOCK_HOLD_MS);

        if (until <= e->hold_until_ms)
                return;
        e->hold_until_ms = e->news.hold_ms = until;
}

/* ---- each turn ---- */

/* Steps below the tolerance are followed, as a clock that is kept right makes them too; of too many in one
 * day the rest is not. What both clocks are read apart by is no step. */
static void follow(Engine *e, int64_t ms) {
        if (e->boot_ms - e->drift_boot_ms > LIMIT_CLOCK_SPAN_MS) {
                e->drift_boot_ms = e->boot_ms;
                e->drift_ms = 0;
        }
        e->drift_ms += ms;
        if (llabs(e->drift_ms) > LIMIT_CLOCK_DRIFT_MS && llabs(ms) > JITTER_MS)
                step(e, ms, CLOCK_STOP_DRIFT, e->drift_ms);
}

void clock_turn(Engine *e) {
        int64_t slept = 0;

        if (e->turn)
                return;
        e->turn = true;
        e->wall_ms = clock_wall_ms(e->setup.clock);
        e->boot_ms = clock_boot_ms(e->setup.clock);
        e->awake_ms = clock_awake_ms(e->setup.clock);
        if (e->last_boot_ms > 0) {
                int64_t boot = e->boot_ms - e->last_boot_ms;
                int64_t ms = (e->wall_ms - e->last_wall_ms) - boot;

                if (is_step(ms))
                        step(e, ms, CLOCK_STOP_STEP, ms);
                else
                        follow(e, ms);
                if (e->awake_ms >= 0 && e->last_awake_ms >= 0)
                        slept = boot - (e->awake_ms - e->last_awake_ms);
        }
        e->now_ms = e->wall_ms + e->offset_ms;
        if (e->now_ms < e->high_ms)
                e->now_ms = e->high_ms; /* small steps back: time stands still for a moment */
        if (slept > LIMIT_CLOCK_AWAY_MS)
                hold(e);
        e->high_ms = e->now_ms;
        e->last_wall_ms = e->wall_ms;
        e->last_boot_ms = e->boot_ms;
        e->last_awake_ms = e->awake_ms;
}

static bool is_news(const Engine *e) {
        return e->news.stop != CLOCK_STOP_NONE || e->news.hold_ms > 0;
}

void clock_look(Engine *e) {
        if (e->turn)
                return;
        clock_turn(e);
        e->turn = false;
        if (is_news(e))
                e->setup.wanted(e->setup.userdata);
}

int64_t engine_now_ms(const Engine *e) {
        return e->turn ? e->now_ms : clock_wall_ms(e->setup.clock) + e->offset_ms;
}

int64_t clock_ahead_ms(const Engine *e) {
        int64_t ahead = -e->offset_ms, of_accepted = e->accepted_ms - e->offset_ms;

        return llabs(ahead) < llabs(of_accepted) ? ahead : of_accepted;
}

/* ---- the start ---- */

static int value_int(Engine *e, const char *name, int64_t *ret, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        char *end;
        int r;

        *ret = 0;
        r = ledger_value_get(e->ledger, name, &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return error_set(reterr, r, "Cannot read the value '%s'", name);
        errno = 0;
        *ret = strtoll(text, &end, 10);
        if (errno == 0 && end != text && !*end)
                return 0;
        *ret = 0;
        if (!e->started) /* else it is known */
                e->news.stop = CLOCK_STOP_MARK;
        return 0;
}

int value_set_int(Engine *e, const char *name, int64_t value, Error *reterr) {
        char text[24];

        snprintf(text, sizeof(text), "%" PRId64, value);
        return ledger_value_set(e->ledger, name, value == 0 ? NULL : text, reterr);
}

int clock_reload(Engine *e, Error *reterr) {
        int r = value_int(e, "clock.offset", &e->offset_ms, reterr);

        if (r == 0)
                r = value_int(e, "clock.accepted", &e->accepted_ms, reterr);
        if (r == 0)
                r = value_int(e, "clock.hold", &e->hold_until_ms, reterr);
        if (r < 0 || e->news.written)
                return r;
        e->offset_ms -= e->news.step_ms;
        if (e->hold_until_ms < e->news.hold_ms)
                e->hold_until_ms = e->news.hold_ms;
        return 0;
}

typedef struct Mark {
        char boot[64];
        int64_t boot_ms, time_ms;
} Mark;

static bool mark_parse(const char *text, Mark *ret) {
        char more;

        return sscanf(text, "%63s %" SCNd64 " %" SCNd64 "%c", ret->boot, &ret->boot_ms,
                      &ret->time_ms, &more) == 3 &&
               ret->boot_ms >= 0 && ret->time_ms > 0;
}

/* Or will be before the clock can be expected to be right. */
static bool something_is_due(Engine *e) {
        int64_t due = 0;

        return ledger_environment_next_due(e->ledger, &due, NULL) < 0 ||
               due <= time_add(e->now_ms, LIMIT_CLOCK_HOLD_MS);
}

/* Trusted time goes on from there, when the wall clock says something else. */
static void go_on_from(Engine *e, int64_t expected_ms, ClockStop stop) {
        int64_t ms = e->now_ms - expected_ms;

        if (!is_step(ms))
                return;
        step(e, ms, e->news.stop == CLOCK_STOP_MARK ? CLOCK_STOP_MARK : stop, ms);
        e->now_ms = expected_ms;
}

/* What the mark says about the time that passed without us. last_ms: of the newest event. */
static void clock_compare(Engine *e, const Mark *mark, int64_t last_ms) {
        int64_t boot = clock_boot_ms(e->setup.clock), expected;

        e->now_ms = clock_wall_ms(e->setup.clock) + e->offset_ms;
        e->high_ms = mark && mark->time_ms > last_ms ? mark->time_ms : last_ms;
        if (!mark) {
                if (last_ms > 0)
                        go_on_from(e, last_ms, CLOCK_STOP_MARK);
        } else if (e->boot[0] && streq(mark->boot, e->boot) && boot >= mark->boot_ms) {
                expected = mark->time_ms + (boot - mark->boot_ms);
                go_on_from(e, expected > last_ms ? expected : last_ms, CLOCK_STOP_STEP);
                if (e->now_ms > mark->time_ms + LIMIT_CLOCK_AWAY_MS)
                        hold(e);
        } else if (e->now_ms < e->high_ms - LIMIT_CLOCK_STEP_MS) {
                go_on_from(e, e->high_ms, CLOCK_STOP_STEP);
        } else if (e->now_ms > e->high_ms + LIMIT_CLOCK_OFF_MS) {
                go_on_from(e, e->high_ms, CLOCK_STOP_OFF);
        } else if (e->now_ms > mark->time_ms + LIMIT_CLOCK_AWAY_MS || something_is_due(e) ||
                   clock_synced(e->setup.clock) == 0)
                hold(e);
}

int clock_load(Engine *e, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        Mark mark = { 0 };
        int64_t last = 0;
        bool good;
        int r;

        r = clock_reload(e, reterr);
        if (r == 0)
                r = ledger_event_last_ms(e->ledger, &last, reterr);
        if (r < 0)
                return r;
        r = ledger_value_get(e->ledger, "clock.mark", &text, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot read the clock's mark");
        good = text && mark_parse(text, &mark) &&
               (mark.time_ms > last - MARK_EVERY_MS - LIMIT_CLOCK_STEP_MS ||
                ledger_held(e->ledger)); /* its newest event is the one that says so */
        if (!good && (text || last > 0)) /* whoever wrote an event has written a mark */
                e->news.stop = CLOCK_STOP_MARK;
        clock_compare(e, good ? &mark : NULL, last);
        return freeze_load(e, reterr);
}

/* ---- what they said, in the ledger ---- */

/* Two clocks are never read at once: a day is not "23h 59m" for that. */
char *clock_say_length(int64_t ms, char *buf) {
        int64_t length = llabs(ms);

        return duration_format(length >= 1000 ? (length + 500) / 1000 * 1000 : length, buf);
}

static void say_news(const Engine *e, char *ret, size_t size) {
        int64_t by = e->news.by_ms;
        char text[TIME_TEXT_MAX];

        clock_say_length(by, text);
        if (e->news.stop == CLOCK_STOP_MARK)
                snprintf(ret, size, "what the ledger noted of its clocks is missing or damaged");
        else if (e->news.stop == CLOCK_STOP_OFF)
                snprintf(ret, size, "the machine was off for %s, or its clock is wrong", text);
        else
                snprintf(ret, size, "the machine's clock was set %s by %s%s",
                         by < 0 ? "back" : "ahead", text,
                         e->news.stop == CLOCK_STOP_DRIFT ? ", in small steps" : "");
}

/* As it is after all steps: what a person has to know before a release. */
static void say_reason(const Engine *e, const char *news, char *ret, size_t size) {
        int64_t ahead = clock_ahead_ms(e);
        char text[TIME_TEXT_MAX];

        clock_say_length(ahead, text);
        if (e->news.stop == CLOCK_STOP_OFF || e->news.stop == CLOCK_STOP_DRIFT ||
            (e->news.stop == CLOCK_STOP_MARK && clock_agrees(e)))
                snprintf(ret, size, "%s", news);
        else if (e->news.stop == CLOCK_STOP_MARK)
                snprintf(ret, size, "%s, and the machine's clock is %s %s", news, text,
                         ahead < 0 ? "behind its newest event" : "ahead of its newest event");
        else if (clock_agrees(e))
                snprintf(ret, size, "the machine's clock was set, and is right again");
        else
                snprintf(ret, size, "the machine's clock was set: it is %s %s the ledger's time",
                         text, ahead < 0 ? "behind" : "ahead of");
}

static int stop_store(Engine *e, Error *reterr) {
        char news[200], reason[400];
        int r;

        say_news(e, news, sizeof(news));
        say_reason(e, news, reason, sizeof(reason));
        r = value_set_int(e, "clock.offset", e->offset_ms, reterr);
        if (r == 0)
                r = event_add(
                        e, EVENT_CLOCK_STEPPED, (EventWhere){ .actor = "engine" },
                        "%s; nothing is slept or deleted by the clocks until somebody releases "
                        "it, deadlines stay as they were",
                        news);
        if (r == 0)
                r = freeze_clock(e, reason, reterr);
        return r;
}

int clock_check(Engine *e, Error *reterr) {
        int r = 0;

        if (!is_news(e) || e->news.written)
                return 0;
        if (e->news.stop != CLOCK_STOP_NONE)
                r = stop_store(e, reterr);
        if (r == 0 && e->news.hold_ms > 0)
                r = value_set_int(e, "clock.hold", e->hold_until_ms, reterr);
        if (r < 0)
                return r;
        e->news.written = true;
        look_mark_all(e);
        return 0;
}

static void tell(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tell(const char *id, const char *fmt, ...) {
        char text[500];
        va_list args;

        va_start(args, fmt);
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        if (journal_record(LOG_LEVEL_WARNING, id, text) <= 0)
                log_warning("%s", text);
}

void clock_done(Engine *e) {
        char until[TIME_TEXT_MAX];

        /* Nothing is told of a stop that was released in the turn that noticed it. */
        if (e->news.written && e->news.stop != CLOCK_STOP_NONE && e->freeze_clock)
                tell(JOURNAL_CLOCK_STEPPED,
                     "Sleeping and deleting by the clocks is held: %s. When the clock is right, "
                     "release it with 'mayfly unfreeze'",
                     json_string_value(json_object_get(e->freeze_clock, "reason")) ?: "");
        if (e->news.written && e->news.hold_ms > 0)
                tell(JOURNAL_AWAY,
                     "The machine was away: nothing is slept or deleted by the clocks until %s",
                     time_format(e->hold_until_ms, until));
        if (e->held && !e->resumed)
                tell(JOURNAL_HELD,
                     "The ledger was put back (%s): nothing is removed. Look, renew what must stay, "
                     "and release it with 'mayfly unfreeze'",
                     json_string_value(json_object_get(e->freeze_held, "reason")) ?: "");
        e->news = (ClockNews){ 0 };
        e->jumped_ms = 0;
}

void clock_not_done(Engine *e) {
        e->news.written = false;
        e->now_ms -= e->jumped_ms;
        e->high_ms -= e->jumped_ms;
        e->jumped_ms = 0;
}

void clock_jump(Engine *e) {
        int64_t ms = e->wall_ms + e->offset_ms - e->now_ms;

        if (ms <= 0)
                return;
        e->jumped_ms += ms;
        e->now_ms += ms;
        e->high_ms = e->now_ms;
}

int clock_store(Engine *e, Error *reterr) {
        int64_t now = e->now_ms;
        char text[128];

        /* The first turn and then every minute in which something is written anyway. */
        if (e->marked_boot_ms > 0 && e->boot_ms - e->marked_boot_ms < MARK_EVERY_MS)
                return 0;
        e->marking = true;
        if (now < e->wall_ms + e->offset_ms) /* a clock that is ahead was accepted in this turn */
                now = e->wall_ms + e->offset_ms;
        snprintf(text, sizeof(text), "%s %" PRId64 " %" PRId64, e->boot[0] ? e->boot : "-",
                 e->boot_ms, now);
        return ledger_value_set(e->ledger, "clock.mark", text, reterr);
}

/* ---- the release ---- */

static int take(Engine *e, int64_t offset_ms, int64_t accepted_ms, Error *reterr) {
        int r = value_set_int(e, "clock.offset", offset_ms, reterr);

        if (r == 0)
                r = value_set_int(e, "clock.accepted", accepted_ms, reterr);
        if (r < 0)
                return r;
        e->offset_ms = offset_ms;
        e->accepted_ms = accepted_ms;
        e->marked_boot_ms = 0; /* a mark of the time before would undo it at the next start */
        return 0;
}

int clock_settle(Engine *e, Error *reterr) {
        bool right = llabs(e->offset_ms) <= LIMIT_CLOCK_STEP_MS;

        return right ? take(e, 0, 0, reterr) : take(e, e->accepted_ms, e->accepted_ms, reterr);
}

/* What began before the jump, also in this turn, moves; what is promised after it stands in the new time. */
int clock_accept(Input *in, int64_t *moved_ms, Error *reterr) {
        Engine *e = in->e;
        bool ahead = e->offset_ms < 0;
        int64_t by = ahead ? -e->offset_ms : e->offset_ms - e->accepted_ms;
        int64_t now = ahead ? e->wall_ms : e->now_ms;
        int r = 0;

        if (by > 0) { /* in whole seconds: people read it */
                by = (by + 999) / 1000 * 1000;
                r = deadlines_move(in, by, now, "which its clock was off", reterr);
                *moved_ms = time_add(*moved_ms, by);
        }
        if (r == 0)
                r = take(e, ahead ? 0 : e->offset_ms, ahead ? 0 : e->offset_ms, reterr);
        if (r == 0)
                r = value_set_int(e, "clock.hold", time_add(now, LIMIT_CLOCK_HOLD_MS), reterr);
        if (r == 0)
                e->hold_until_ms = time_add(now, LIMIT_CLOCK_HOLD_MS);
        return r;
}
