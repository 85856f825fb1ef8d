/* The reaper's judgement: facts, policy and time in, a verdict with its reasons out. Pure: no I/O, no
 * clock, no state. The engine's real run, `why`, `reap --dry-run` and what-if all call reaper_judge(),
 * so they cannot disagree. Unknown is never "unused"; a missing policy deletes nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

#define REAPER_NEVER INT64_MAX

typedef enum ReaperClockKind {
        REAPER_SLEEP_AFTER_IDLE,
        REAPER_DELETE_AFTER_ASLEEP,
        REAPER_DELETE_AFTER_AGE,
        REAPER_DELETE_AFTER_CLOSE,
        _REAPER_CLOCK_KIND_MAX,
        _REAPER_CLOCK_KIND_INVALID = -EINVAL,
} ReaperClockKind;

const char *reaper_clock_to_string(ReaperClockKind kind); /* "sleep_after_idle" */
ReaperClockKind reaper_clock_from_string(const char *s);

typedef struct ReaperPolicy {
        bool known;           /* false: no policy could be read; nothing is slept or deleted */
        int64_t effective_ms; /* when these lengths began to hold; a clock of a newer policy ends no
                                 earlier than effective_ms + grace_ms */
        int64_t grace_ms;
        int64_t clock_ms[_REAPER_CLOCK_KIND_MAX]; /* length; 0: this clock is off */
} ReaperPolicy;

/* Time that must not count against anybody: the ledger has lost it, or its clock jumped. */
typedef struct ReaperMove {
        int64_t by_ms, at_ms; /* what began at at_ms or before ends by_ms later */
} ReaperMove;

typedef struct ReaperFacts {
        bool awake; /* its workloads run */
        bool busy;  /* a generation is being provisioned, or it is waking */
        int64_t created_ms;
        int64_t used_ms;         /* last visit, push, wake or renewal */
        int64_t asleep_ms;       /* since when; 0 when awake */
        int64_t closed_ms;       /* branch gone or request closed; 0 when open */
        bool use_known;          /* false: the front could not say whether it is in use */
        unsigned open;           /* open requests and websockets */
        int64_t pinned_until_ms; /* 0: not pinned; REAPER_NEVER: until unpinned */
        const char *pinned_by, *pin_reason; /* may be NULL */
        int64_t extended_until_ms;          /* not deleted before; 0: none */
        const ReaperMove *moves;            /* may be NULL */
        size_t n_moves;
        bool frozen;               /* all destructive work is held */
        int64_t frozen_until_ms;   /* it ends then by itself; 0: when somebody releases it */
        const char *freeze_reason; /* may be NULL */
} ReaperFacts;

typedef enum ReaperAction {
        REAPER_KEEP,
        REAPER_WARN,
        REAPER_SLEEP,
        REAPER_DELETE,
        REAPER_UNCERTAIN, /* due, but something needed to decide is not known: ask a person */
        _REAPER_ACTION_MAX,
} ReaperAction;

const char *reaper_action_to_string(ReaperAction action);

typedef enum ReaperGate { /* in the order in which they are asked */
        REAPER_GATE_FREEZE,
        REAPER_GATE_PROTECTION, /* pins */
        REAPER_GATE_EXEMPTION,  /* extensions */
        REAPER_GATE_IN_USE,
        REAPER_GATE_LEASE,  /* no clock has run out */
        REAPER_GATE_POLICY, /* no known policy */
        _REAPER_GATE_MAX,
} ReaperGate;

const char *reaper_gate_to_string(ReaperGate gate);

#define REAPER_TEXT_MAX 256

typedef struct ReaperClock {
        bool running;                        /* started by its event and not switched off */
        int64_t since_ms, length_ms, due_ms; /* due_ms REAPER_NEVER when not running */
        char text[REAPER_TEXT_MAX];          /* "ends 2026-11-27T10:00:00Z: asleep since ..., 7d" */
} ReaperClock;

typedef struct ReaperGateAnswer {
        bool keeps;                 /* this gate keeps it (or keeps it awake) */
        int64_t until_ms;           /* when that lapses; REAPER_NEVER */
        char text[REAPER_TEXT_MAX]; /* why, or why not */
} ReaperGateAnswer;

typedef struct ReaperVerdict {
        ReaperAction action;
        ReaperGate gate;       /* what decided */
        ReaperClockKind clock; /* which clock ran out; _REAPER_CLOCK_KIND_INVALID when none */
        char reason[REAPER_TEXT_MAX];
        int64_t next_ms; /* when to judge again if no fact changes; REAPER_NEVER: not by time */
        ReaperClock clocks[_REAPER_CLOCK_KIND_MAX];
        ReaperGateAnswer gates[_REAPER_GATE_MAX];
} ReaperVerdict;

void reaper_judge(const ReaperFacts *facts, const ReaperPolicy *policy, int64_t now_ms,
                  ReaperVerdict *ret);
