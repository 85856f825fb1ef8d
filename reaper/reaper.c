/* The gates are asked in their fixed order. Two of them (a pin, an extension) keep an environment from
 * being deleted but not from sleeping: asleep costs nothing and loses nothing. A freeze holds both.
 *
 * A clock that is due counts only when everything it needs is known: sleeping needs to know that nobody
 * uses the environment; deleting one that is awake needs it too. "Not known" becomes UNCERTAIN, never
 * a deletion. */
#include "reaper/reaper.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"

static const char *const clock_names[_REAPER_CLOCK_KIND_MAX] = {
        [REAPER_SLEEP_AFTER_IDLE] = "sleep_after_idle",
        [REAPER_DELETE_AFTER_ASLEEP] = "delete_after_asleep",
        [REAPER_DELETE_AFTER_AGE] = "delete_after_age",
        [REAPER_DELETE_AFTER_CLOSE] = "delete_after_close",
};

static const char *const action_names[_REAPER_ACTION_MAX] = {
        [REAPER_KEEP] = "keep",     [REAPER_WARN] = "warn",           [REAPER_SLEEP] = "sleep",
        [REAPER_DELETE] = "delete", [REAPER_UNCERTAIN] = "uncertain",
};

static const char *const gate_names[_REAPER_GATE_MAX] = {
        [REAPER_GATE_FREEZE] = "freeze",       [REAPER_GATE_PROTECTION] = "protection",
        [REAPER_GATE_EXEMPTION] = "exemption", [REAPER_GATE_IN_USE] = "in use",
        [REAPER_GATE_LEASE] = "lease",         [REAPER_GATE_POLICY] = "policy",
};

const char *reaper_clock_to_string(ReaperClockKind kind) {
        return kind >= 0 && kind < _REAPER_CLOCK_KIND_MAX ? clock_names[kind] : NULL;
}

ReaperClockKind reaper_clock_from_string(const char *s) {
        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++)
                if (strcmp(clock_names[i], s) == 0)
                        return i;
        return _REAPER_CLOCK_KIND_INVALID;
}

const char *reaper_action_to_string(ReaperAction action) {
        return action >= 0 && action < _REAPER_ACTION_MAX ? action_names[action] : NULL;
}

const char *reaper_gate_to_string(ReaperGate gate) {
        return gate >= 0 && gate < _REAPER_GATE_MAX ? gate_names[gate] : NULL;
}

static int64_t later(int64_t a, int64_t b) {
        return a > b ? a : b;
}

static int64_t add(int64_t time_ms, int64_t length_ms) {
        return time_ms > REAPER_NEVER - length_ms ? REAPER_NEVER : time_ms + length_ms;
}

/* ---- clocks ---- */

/* What starts a clock, and the words for it when it is not running. */
typedef struct ClockStart {
        bool running;
        int64_t since_ms;
        const char *since; /* "last used" */
        const char *why_not;
} ClockStart;

static ClockStart clock_start(const ReaperFacts *f, ReaperClockKind kind) {
        switch (kind) {
        case REAPER_SLEEP_AFTER_IDLE:
                return (ClockStart){ f->awake, later(f->used_ms, f->created_ms), "last used",
                                     "it is not awake" };
        case REAPER_DELETE_AFTER_ASLEEP:
                return (ClockStart){ !f->awake && f->asleep_ms > 0, later(f->asleep_ms, f->used_ms),
                                     "asleep since", "it is not asleep" };
        case REAPER_DELETE_AFTER_AGE:
                return (ClockStart){ true, f->created_ms, "created", "" };
        case REAPER_DELETE_AFTER_CLOSE:
                return (ClockStart){ f->closed_ms > 0, f->closed_ms, "closed",
                                     "its branch is still there" };
        default:
                return (ClockStart){ 0 };
        }
}

static int64_t moved_by(const ReaperFacts *f, int64_t since_ms) {
        int64_t by = 0;

        for (size_t i = 0; i < f->n_moves; i++)
                if (since_ms <= f->moves[i].at_ms)
                        by = add(by, f->moves[i].by_ms);
        return by;
}

static void clock_judge(const ReaperFacts *f, const ReaperPolicy *p, ReaperClockKind kind,
                        ReaperClock *ret) {
        char since[TIME_TEXT_MAX], length[TIME_TEXT_MAX], due[TIME_TEXT_MAX], lost[TIME_TEXT_MAX];
        char moved[TIME_TEXT_MAX + 40] = "";
        int64_t ends, by;
        ClockStart start = clock_start(f, kind);
        bool deletes = kind != REAPER_SLEEP_AFTER_IDLE;

        *ret = (ReaperClock){ .since_ms = start.since_ms, .due_ms = REAPER_NEVER };
        if (!p->known) {
                snprintf(ret->text, sizeof(ret->text), "not running: no policy could be read");
                return;
        }
        ret->length_ms = p->clock_ms[kind];
        if (ret->length_ms <= 0) {
                snprintf(ret->text, sizeof(ret->text), "switched off by the policy");
                return;
        }
        if (!start.running) {
                snprintf(ret->text, sizeof(ret->text), "not running: %s", start.why_not);
                return;
        }

        /* A new or tightened policy never makes anything due at once, and an extension moves every
         * clock that deletes. */
        ret->running = true;
        ret->due_ms = add(start.since_ms, ret->length_ms);
        by = moved_by(f, start.since_ms);
        if (by > 0) {
                ret->due_ms = add(ret->due_ms, by);
                snprintf(moved, sizeof(moved), ", and %s that do not count",
                         duration_format(by, lost));
        }
        ends = ret->due_ms;
        if (deletes) {
                ret->due_ms = later(ret->due_ms, add(p->effective_ms, p->grace_ms));
                ret->due_ms = later(ret->due_ms, f->extended_until_ms);
        }
        snprintf(ret->text, sizeof(ret->text), "ends %s: %s %s, %s%s%s",
                 time_format(ret->due_ms, due), start.since, time_format(start.since_ms, since),
                 duration_format(ret->length_ms, length), moved,
                 ret->due_ms > ends
                         ? (ret->due_ms == f->extended_until_ms ? ", extended"
                                                                : ", grace of a new policy")
                         : "");
}

/* ---- gates ---- */

static void gate_say(ReaperGateAnswer *g, bool keeps, int64_t until_ms, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

static void gate_say(ReaperGateAnswer *g, bool keeps, int64_t until_ms, const char *fmt, ...) {
        va_list args;

        g->keeps = keeps;
        g->until_ms = until_ms;
        va_start(args, fmt);
        vsnprintf(g->text, sizeof(g->text), fmt, args);
        va_end(args);
        utf8_repair(g->text); /* people's words are cut by bytes */
}

static void gate_freeze(const ReaperFacts *f, ReaperGateAnswer *g) {
        char until[TIME_TEXT_MAX];

        if (f->frozen && f->frozen_until_ms > 0)
                gate_say(g, true, f->frozen_until_ms, "held until %s: %.180s",
                         time_format(f->frozen_until_ms, until),
                         f->freeze_reason ? f->freeze_reason : "no reason was given");
        else if (f->frozen)
                gate_say(g, true, REAPER_NEVER, "frozen: %.160s; `mayfly unfreeze` releases it",
                         f->freeze_reason ? f->freeze_reason : "no reason was given");
        else
                gate_say(g, false, 0, "not frozen");
}

static void gate_protection(const ReaperFacts *f, int64_t now, ReaperGateAnswer *g) {
        char until[TIME_TEXT_MAX];

        if (f->pinned_until_ms == 0)
                gate_say(g, false, 0, "not pinned");
        else if (f->pinned_until_ms <= now)
                gate_say(g, false, 0, "a pin lapsed %s", time_format(f->pinned_until_ms, until));
        else
                gate_say(g, true, f->pinned_until_ms, "pinned %s%s by %.60s: %.80s",
                         f->pinned_until_ms == REAPER_NEVER ? "until it is unpinned" : "until ",
                         f->pinned_until_ms == REAPER_NEVER
                                 ? ""
                                 : time_format(f->pinned_until_ms, until),
                         f->pinned_by ? f->pinned_by : "somebody",
                         f->pin_reason ? f->pin_reason : "no reason was given");
}

static void gate_exemption(const ReaperFacts *f, int64_t now, ReaperGateAnswer *g) {
        char until[TIME_TEXT_MAX];

        if (f->extended_until_ms > now)
                gate_say(g, true, f->extended_until_ms, "extended until %s",
                         time_format(f->extended_until_ms, until));
        else
                gate_say(g, false, 0, "not extended");
}

static void gate_in_use(const ReaperFacts *f, ReaperGateAnswer *g) {
        if (f->busy)
                gate_say(g, true, REAPER_NEVER, "work on it is under way");
        else if (f->awake && !f->use_known)
                gate_say(g, false, 0, "not known: the gateway could not say");
        else if (f->open > 0)
                gate_say(g, true, REAPER_NEVER, "%u open connection%s", f->open,
                         f->open == 1 ? "" : "s");
        else
                gate_say(g, false, 0, "nobody is connected");
}

/* ---- the verdict ---- */

static void decide(ReaperVerdict *v, ReaperAction action, ReaperGate gate, ReaperClockKind clock,
                   const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void decide(ReaperVerdict *v, ReaperAction action, ReaperGate gate, ReaperClockKind clock,
                   const char *fmt, ...) {
        va_list args;

        v->action = action;
        v->gate = gate;
        v->clock = clock;
        va_start(args, fmt);
        vsnprintf(v->reason, sizeof(v->reason), fmt, args);
        va_end(args);
        utf8_repair(v->reason);
}

/* The clock that deletes and ended first, or none. */
static ReaperClockKind due_to_delete(const ReaperVerdict *v, int64_t now) {
        ReaperClockKind first = _REAPER_CLOCK_KIND_INVALID;

        for (int i = REAPER_DELETE_AFTER_ASLEEP; i < _REAPER_CLOCK_KIND_MAX; i++)
                if (v->clocks[i].running && v->clocks[i].due_ms <= now &&
                    (first < 0 || v->clocks[i].due_ms < v->clocks[first].due_ms))
                        first = i;
        return first;
}

/* May a due clock act? Asks the gates above the lease, in order. Pins and extensions hold deletions
 * only: sleep passes them. Returns false when one keeps it, with the verdict set. */
static bool gates_open(const ReaperFacts *f, ReaperVerdict *v, ReaperClockKind clock) {
        bool deletes = clock != REAPER_SLEEP_AFTER_IDLE;

        for (int i = REAPER_GATE_FREEZE; i <= REAPER_GATE_IN_USE; i++) {
                if ((i == REAPER_GATE_PROTECTION || i == REAPER_GATE_EXEMPTION) && !deletes)
                        continue;
                if (!v->gates[i].keeps)
                        continue;
                decide(v, REAPER_KEEP, i, clock, "%s has ended, but: %.190s", clock_names[clock],
                       v->gates[i].text);
                return false;
        }
        if (f->awake && !f->use_known) {
                decide(v, REAPER_UNCERTAIN, REAPER_GATE_IN_USE, clock,
                       "%s has ended, but whether it is in use is not known", clock_names[clock]);
                return false;
        }
        return true;
}

/* When to look again if nothing else happens: the next end of a running clock or of something that
 * holds one that has ended. What ends by an event (a freeze, an open connection, unknown use) is not a
 * time: the engine looks again when the event comes, or with its own delay. */
static int64_t next_look(const ReaperFacts *f, const ReaperVerdict *v, int64_t now) {
        int64_t next = REAPER_NEVER;
        int64_t holds[] = { f->pinned_until_ms, f->extended_until_ms, f->frozen_until_ms };
        bool ended = false;

        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++) {
                const ReaperClock *c = &v->clocks[i];

                if (!c->running)
                        continue;
                if (c->due_ms > now && c->due_ms < next)
                        next = c->due_ms;
                ended = ended || c->due_ms <= now;
        }
        for (size_t i = 0; i < N_ELEMENTS(holds); i++)
                if (ended && holds[i] > now && holds[i] < next)
                        next = holds[i];
        return next;
}

static void judge(const ReaperFacts *f, const ReaperPolicy *p, int64_t now, ReaperVerdict *v) {
        ReaperClockKind clock = due_to_delete(v, now);
        char due[TIME_TEXT_MAX];

        if (!p->known) {
                decide(v, REAPER_KEEP, REAPER_GATE_POLICY, _REAPER_CLOCK_KIND_INVALID,
                       "no policy could be read: nothing is slept or deleted");
                return;
        }
        if (clock >= 0 && gates_open(f, v, clock)) {
                decide(v, REAPER_DELETE, REAPER_GATE_LEASE, clock, "%s ended %s",
                       clock_names[clock], time_format(v->clocks[clock].due_ms, due));
                return;
        }
        if (v->clocks[REAPER_SLEEP_AFTER_IDLE].running &&
            v->clocks[REAPER_SLEEP_AFTER_IDLE].due_ms <= now) {
                if (gates_open(f, v, REAPER_SLEEP_AFTER_IDLE))
                        decide(v, REAPER_SLEEP, REAPER_GATE_LEASE, REAPER_SLEEP_AFTER_IDLE,
                               "sleep_after_idle ended %s",
                               time_format(v->clocks[REAPER_SLEEP_AFTER_IDLE].due_ms, due));
                return;
        }
        if (clock >= 0)
                return; /* a gate keeps it: decided by gates_open() */
        decide(v, REAPER_KEEP, REAPER_GATE_LEASE, _REAPER_CLOCK_KIND_INVALID, "no clock has ended");
}

void reaper_judge(const ReaperFacts *facts, const ReaperPolicy *policy, int64_t now_ms,
                  ReaperVerdict *ret) {
        ReaperVerdict v = { 0 };
        bool ended = false;

        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++) {
                clock_judge(facts, policy, i, &v.clocks[i]);
                ended = ended || (v.clocks[i].running && v.clocks[i].due_ms <= now_ms);
        }
        gate_freeze(facts, &v.gates[REAPER_GATE_FREEZE]);
        gate_protection(facts, now_ms, &v.gates[REAPER_GATE_PROTECTION]);
        gate_exemption(facts, now_ms, &v.gates[REAPER_GATE_EXEMPTION]);
        gate_in_use(facts, &v.gates[REAPER_GATE_IN_USE]);
        v.next_ms = next_look(facts, &v, now_ms);
        gate_say(&v.gates[REAPER_GATE_LEASE], !ended, ended ? 0 : v.next_ms,
                 ended ? "a clock has ended" : "no clock has ended");
        gate_say(&v.gates[REAPER_GATE_POLICY], !policy->known, policy->known ? 0 : REAPER_NEVER,
                 policy->known ? "a policy is in force" : "no policy could be read");
        judge(facts, policy, now_ms, &v);
        *ret = v;
}
