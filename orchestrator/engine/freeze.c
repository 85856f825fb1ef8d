/* What holds destructive work, and its release. Three things do so until a person says otherwise, each with
 * a value of its own in the ledger, so that none hides another:
 *
 *   frozen        a person's freeze: nothing is removed at all
 *   held          the ledger was put back (held.c): nothing is removed at all
 *   clock.frozen  the machine's clock was set (clock.c): nothing is slept or removed by the clocks
 *
 * Two more end by themselves: the hour after an absence (clock.hold), and a ledger that cannot be written.
 * Unknown is never "free". */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/base/time.h"
#include "orchestrator/engine/private.h"

/* ---- what there is ---- */

/* Something that cannot be read is there all the same. */
static int row_load(Engine *e, const char *name, json_t **row, Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_t *value;
        int r;

        r = ledger_value_get(e->ledger, name, &text, NULL);
        if (r < 0 && r != -ENOENT)
                return error_set(reterr, r, "Cannot read whether the installation is frozen");
        value = r == 0 ? json_loads(text, 0, NULL) : NULL;
        if (r == 0 && !json_is_object(value)) {
                json_decref(value);
                value = json_pack("{s:s}", "reason", "its reason cannot be read");
                if (!value)
                        return -ENOMEM;
        }
        json_decref(*row);
        *row = value;
        return 0;
}

static const char *text_of(const json_t *row, const char *key) {
        return json_string_value(json_object_get(row, key));
}

static int reason_add(StrBuf *all, const json_t *row) {
        const char *reason = text_of(row, "reason");

        if (!row)
                return 0;
        strbuf_add(all, all->size > 0 ? "; " : "");
        strbuf_add(all, reason && *reason ? reason : "no reason was given");
        return all->broken ? -ENOMEM : 0;
}

/* All of it follows from the values. */
static int freeze_derive(Engine *e) {
        bool told = e->held && streq_null(text_of(e->freeze_row, "by"), "ledger");
        auto_strbuf all = { 0 };
        int r;

        r = reason_add(&all, told ? NULL : e->freeze_row); /* the same as the next one */
        if (r == 0)
                r = reason_add(&all, e->held ? e->freeze_held : NULL);
        if (r == 0)
                r = reason_add(&all, e->freeze_clock);
        if (r < 0)
                return r;
        free(e->freeze_reason);
        e->freeze_reason = all.size > 0 ? strbuf_take(&all) : NULL;
        e->frozen = e->freeze_row || e->held || e->freeze_clock;
        e->frozen_by_clock = e->frozen && !e->freeze_row && !e->held;
        return 0;
}

int freeze_load(Engine *e, Error *reterr) {
        int r;

        e->frozen = true; /* until it is known */
        e->frozen_by_clock = false;
        r = clock_reload(e, reterr);
        if (r == 0)
                r = held_load(e, reterr);
        if (r == 0)
                r = row_load(e, "frozen", &e->freeze_row, reterr);
        if (r == 0)
                r = row_load(e, "clock.frozen", &e->freeze_clock, reterr);
        return r == 0 ? freeze_derive(e) : r;
}

void freeze_done(Engine *e) {
        json_decref(e->freeze_row);
        json_decref(e->freeze_clock);
        json_decref(e->freeze_held);
        free(e->freeze_reason);
        free(e->unwell_why);
}

static int row_store(Engine *e, const char *name, json_t **row, const char *who, const char *reason,
                     Error *reterr) {
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *value = json_pack("{s:s, s:s, s:I}", "by", who, "reason", reason, "since_ms",
                                       (json_int_t) e->now_ms);
        int r;

        text = value ? json_dumps(value, JSON_COMPACT) : NULL;
        if (!text)
                return -ENOMEM;
        r = ledger_value_set(e->ledger, name, text, reterr);
        if (r < 0)
                return r;
        json_decref(*row);
        *row = TAKE(value);
        return freeze_derive(e);
}

int freeze_clock(Engine *e, const char *reason, Error *reterr) {
        return row_store(e, "clock.frozen", &e->freeze_clock, "clock", reason, reterr);
}

bool frozen_by_person(const Engine *e) {
        return e->frozen && !e->frozen_by_clock;
}

const char *freeze_holds(const Engine *e, int64_t *ret_until_ms) {
        *ret_until_ms = 0;
        if (e->frozen)
                return e->freeze_reason ? e->freeze_reason : "not known: the ledger cannot be read";
        if (e->unwell_until_ms > e->now_ms) {
                *ret_until_ms = e->unwell_until_ms;
                return e->unwell_why ? e->unwell_why : "the ledger cannot be written";
        }
        if (e->hold_until_ms > e->now_ms) {
                *ret_until_ms = e->hold_until_ms;
                return "the machine was away, or its clock was just taken over; `mayfly unfreeze` "
                       "releases it sooner";
        }
        return NULL;
}

/* ---- the release ---- */

/* A clock that is wrong is not taken for right by the way. */
static int refuse_clock(const Engine *e, Error *reterr) {
        char wall[TIME_TEXT_MAX], now[TIME_TEXT_MAX], by[TIME_TEXT_MAX];
        int64_t ahead = clock_ahead_ms(e);

        return error_set(reterr, -EPERM,
                         "The machine's clock says %s, the ledger's trusted time is %s: the clock "
                         "is %s %s. Set the clock right, or take it as it is with `mayfly unfreeze "
                         "--accept-clock`; all deadlines then move, so that none comes nearer",
                         time_format(e->wall_ms, wall), time_format(e->now_ms, now),
                         clock_say_length(ahead, by), ahead < 0 ? "behind" : "ahead");
}

static int rows_remove(Engine *e, Error *reterr) {
        int r = ledger_value_set(e->ledger, "frozen", NULL, reterr);

        if (r == 0)
                r = ledger_value_set(e->ledger, "clock.frozen", NULL, reterr);
        if (r == 0)
                r = value_set_int(e, "clock.hold", 0, reterr);
        if (r < 0)
                return r;
        json_decref(TAKE(e->freeze_row));
        json_decref(TAKE(e->freeze_clock));
        e->hold_until_ms = 0;
        return 0;
}

static int release_event(Input *in, const EngineReleased *done, Error *reterr) {
        char by[TIME_TEXT_MAX];

        clock_say_length(done->moved_ms, by);
        return event_add(in->e, EVENT_UNFROZEN,
                         (EventWhere){ .actor = in->who, .trace = in->trace },
                         "Destructive work goes on%s%s",
                         done->moved_ms > 0 ? "; all deadlines are later by " : "",
                         done->moved_ms > 0 ? by : "");
}

static int release(Input *in, bool accept_clock, EngineReleased *done, Error *reterr) {
        Engine *e = in->e;
        int r;

        *done = (EngineReleased){ .freeze = e->freeze_row != NULL,
                                  .held = e->held,
                                  .clock = e->freeze_clock || !clock_agrees(e),
                                  .hold = e->hold_until_ms > e->now_ms };
        if (!done->freeze && !done->held && !done->clock && !done->hold)
                return 0;
        if (!clock_agrees(e) && !accept_clock)
                return refuse_clock(e, reterr);
        r = rows_remove(e, reterr);
        if (r == 0 && e->held)
                r = held_release(in, &done->moved_ms, reterr);
        if (r == 0)
                r = clock_agrees(e) ? clock_settle(e, reterr)
                                    : clock_accept(in, &done->moved_ms, reterr);
        if (r == 0)
                r = freeze_derive(e);
        done->hold_until_ms = e->hold_until_ms;
        return r == 0 ? release_event(in, done, reterr) : r;
}

int engine_unfreeze(Engine *e, const EngineActor *a, bool accept_clock, EngineReleased *ret,
                    Error *reterr) {
        bool written = e->news.written;
        EngineReleased done = { 0 };
        Input in;
        int r;

        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        r = clock_check(e, reterr); /* also what the clocks said just now */
        if (r == 0)
                r = release(&in, accept_clock, &done, reterr);
        if (r < 0)
                e->news.written = written;
        look_mark_all(e);
        r = input_end(&in, r, reterr);
        if (r < 0)
                return r;
        clock_jump(e);
        if (ret)
                *ret = done;
        return 0;
}

int engine_freeze(Engine *e, const EngineActor *a, bool on, const char *reason, Error *reterr) {
        auto_cleanup(freep) char *clean =
                text_clean(reason && *reason ? reason : "no reason given");
        Input in;
        int r;

        if (!on)
                return engine_unfreeze(e, a, false, NULL, reterr);
        if (!clean)
                return -ENOMEM;
        r = input_begin(e, a, &in, reterr);
        if (r < 0)
                return r;
        r = row_store(e, "frozen", &e->freeze_row, in.who, clean, reterr);
        if (r == 0)
                r = event_add(e, EVENT_FROZEN, (EventWhere){ .actor = in.who, .trace = in.trace },
                              "Everything destructive is held: %s", clean);
        look_mark_all(e);
        return input_end(&in, r, reterr);
}

/* ---- telling ---- */

/* The first of them, and whether the clock alone holds it. */
static json_t *frozen_json(const Engine *e) {
        const json_t *row = e->freeze_row ? e->freeze_row
                            : e->held     ? e->freeze_held
                                          : e->freeze_clock;

        if (!e->frozen)
                return json_null();
        return json_pack("{s:s, s:s, s:I, s:b}", "by",
                         text_of(row, "by")
                                 ?: e->held ? "ledger"
                                            : "not known",
                         "reason", text_of(row, "reason") ?: "not known: the ledger cannot be read",
                         "since_ms", json_integer_value(json_object_get(row, "since_ms")), "clock",
                         (int) e->frozen_by_clock);
}

static json_t *time_or_null(int64_t ms, int64_t now_ms) {
        return ms > now_ms ? json_integer(ms) : json_null();
}

static json_t *unwell_json(const Engine *e) {
        if (e->unwell_until_ms <= e->now_ms)
                return json_null();
        return json_pack("{s:I, s:s}", "until_ms", (json_int_t) e->unwell_until_ms, "error",
                         e->unwell_why ? e->unwell_why : "the ledger cannot be written");
}

int engine_holds(Engine *e, json_t **ret, Error *reterr) {
        clock_look(e);
        *ret = json_pack("{s:o, s:{s:I, s:I, s:I, s:O?}, s:o, s:o}", "frozen", frozen_json(e),
                         "clock", "wall_ms", (json_int_t) e->wall_ms, "trusted_ms",
                         (json_int_t) e->now_ms, "offset_ms", (json_int_t) (e->now_ms - e->wall_ms),
                         "frozen", e->freeze_clock, "hold_until_ms",
                         time_or_null(e->hold_until_ms, e->now_ms), "unwell", unwell_json(e));
        return *ret ? 0 : -ENOMEM;
}
