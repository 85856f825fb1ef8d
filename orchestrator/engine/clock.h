/* Inside of the engine: trusted time (clock.c), what holds destructive work and its release (freeze.c), and
 * a ledger that was put back (held.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/base/error.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/engine/engine.h"

typedef struct Input Input; /* private.h */

typedef enum ClockStop {
        CLOCK_STOP_NONE,
        CLOCK_STOP_STEP,
        CLOCK_STOP_DRIFT, /* many steps, each too small to be one */
        CLOCK_STOP_OFF,   /* the machine was off for longer than is believed */
        CLOCK_STOP_MARK,  /* what the ledger noted of the clocks is missing or damaged */
} ClockStop;

/* What the clocks said since the last commit. A failed turn keeps it for the next one. */
typedef struct ClockNews {
        ClockStop stop;
        int64_t step_ms; /* by which the wall clock went ahead (+) or back, and trusted time did not */
        int64_t by_ms;   /* of CLOCK_STOP_DRIFT and CLOCK_STOP_OFF: how much */
        int64_t hold_ms; /* nothing is slept or deleted before; 0: no such hold */
        bool written;    /* it is in the transaction under way */
} ClockNews;

/* ---- clock.c ---- */
void clock_turn(Engine *e);
/* For questions, after which no turn need follow: the time now, but the next turn reads its own. */
void clock_look(Engine *e);
int clock_load(Engine *e, Error *reterr);
int clock_check(Engine *e, Error *reterr);
int clock_store(Engine *e, Error *reterr);
void clock_done(Engine *e);     /* the turn is committed */
void clock_not_done(Engine *e); /* it is not */
/* Values of memory as the ledger has them, but for what the clocks said since. */
int clock_reload(Engine *e, Error *reterr);
/* By how much the wall clock is ahead (+) of or behind what a person knows of. */
int64_t clock_ahead_ms(const Engine *e);
/* Without a sign, to the second; buf holds at least TIME_TEXT_MAX bytes. */
char *clock_say_length(int64_t ms, char *buf);
static inline bool clock_agrees(const Engine *e) {
        int64_t ahead = clock_ahead_ms(e);

        return ahead <= LIMIT_CLOCK_STEP_MS && ahead >= -LIMIT_CLOCK_STEP_MS;
}

/* ---- freeze.c: what holds destructive work, and its release ---- */
int freeze_load(Engine *e, Error *reterr);
int freeze_clock(Engine *e, const char *reason, Error *reterr);
void freeze_done(Engine *e); /* of engine_free() */
/* NULL, or what holds the reaper now; until_ms: when that ends by itself, 0: not. */
const char *freeze_holds(const Engine *e, int64_t *ret_until_ms);
/* By a person, or by what only a person may release; not by the clock alone. */
bool frozen_by_person(const Engine *e);

/* ---- held.c ---- */
int held_load(Engine *e, Error *reterr);

/* ---- the release ---- */
/* held.c: nothing ends earlier by what was lost, or by a jump of trusted time. at_ms: what begins later
 * than that is not moved. */
int held_release(Input *in, int64_t *moved_ms, Error *reterr);
int deadlines_move(Input *in, int64_t by_ms, int64_t at_ms, const char *why, Error *reterr);
/* clock.c: the wall clock as it is becomes the one to go by. */
int clock_accept(Input *in, int64_t *moved_ms, Error *reterr);
int clock_settle(Engine *e, Error *reterr); /* the same for what is too small to be a step */
void clock_jump(Engine *e);                 /* after either: trusted time goes there in this turn */
int value_set_int(Engine *e, const char *name, int64_t value, Error *reterr); /* 0: not there */
