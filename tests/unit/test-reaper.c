#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/base/id.h"
#include "orchestrator/base/time.h"
#include "reaper/reaper.h"

#define T0 INT64_C(1800000000000)

static const ReaperPolicy policy = {
        .known = true,
        .effective_ms = T0,
        .grace_ms = 0,
        .clock_ms = { [REAPER_SLEEP_AFTER_IDLE] = 30 * MS_PER_MINUTE,
                      [REAPER_DELETE_AFTER_ASLEEP] = 7 * MS_PER_DAY,
                      [REAPER_DELETE_AFTER_AGE] = 21 * MS_PER_DAY,
                      [REAPER_DELETE_AFTER_CLOSE] = MS_PER_HOUR },
};

static const ReaperFacts awake = {
        .awake = true, .created_ms = T0, .used_ms = T0, .use_known = true
};
static const ReaperFacts asleep = {
        .created_ms = T0, .used_ms = T0, .asleep_ms = T0 + MS_PER_HOUR, .use_known = true
};

static ReaperVerdict judge(ReaperFacts f, ReaperPolicy p, int64_t now) {
        ReaperVerdict v;

        reaper_judge(&f, &p, now, &v);
        return v;
}

static void test_idle_sleeps_exactly_at_its_end(void **state) {
        ReaperVerdict v = judge(awake, policy, T0 + 30 * MS_PER_MINUTE - 1);

        assert_int_equal(v.action, REAPER_KEEP);
        assert_int_equal(v.next_ms, T0 + 30 * MS_PER_MINUTE);
        v = judge(awake, policy, v.next_ms);
        assert_int_equal(v.action, REAPER_SLEEP);
        assert_int_equal(v.clock, REAPER_SLEEP_AFTER_IDLE);
}

static void test_each_clock_deletes(void **state) {
        ReaperFacts closed = asleep;
        ReaperVerdict v;

        v = judge(asleep, policy, T0 + MS_PER_HOUR + 7 * MS_PER_DAY);
        assert_int_equal(v.action, REAPER_DELETE);
        assert_int_equal(v.clock, REAPER_DELETE_AFTER_ASLEEP);
        v = judge(awake, policy, T0 + 21 * MS_PER_DAY);
        assert_int_equal(v.action, REAPER_DELETE);
        assert_int_equal(v.clock, REAPER_DELETE_AFTER_AGE);
        closed.closed_ms = T0 + 2 * MS_PER_HOUR;
        v = judge(closed, policy, T0 + 3 * MS_PER_HOUR);
        assert_int_equal(v.action, REAPER_DELETE);
        assert_int_equal(v.clock, REAPER_DELETE_AFTER_CLOSE);
        assert_int_equal(judge(closed, policy, T0 + 3 * MS_PER_HOUR - 1).action, REAPER_KEEP);
}

/* Each gate, alone, keeps what every clock wants deleted. */
static void test_every_gate_keeps(void **state) {
        int64_t late = T0 + 400 * MS_PER_DAY;
        ReaperFacts all = asleep, f;
        ReaperPolicy none = policy;

        all.closed_ms = T0;
        assert_int_equal(judge(all, policy, late).action, REAPER_DELETE);
        f = all, f.frozen = true;
        assert_int_equal(judge(f, policy, late).gate, REAPER_GATE_FREEZE);
        assert_int_equal(judge(f, policy, late).action, REAPER_KEEP);
        f = all, f.pinned_until_ms = REAPER_NEVER;
        assert_int_equal(judge(f, policy, late).gate, REAPER_GATE_PROTECTION);
        assert_int_equal(judge(f, policy, late).action, REAPER_KEEP);
        f = all, f.extended_until_ms = late + 5;
        assert_int_equal(judge(f, policy, late).action, REAPER_KEEP);
        assert_int_equal(judge(f, policy, late).next_ms, late + 5);
        assert_int_equal(judge(f, policy, late + 5).action, REAPER_DELETE);
        f = all, f.busy = true;
        assert_int_equal(judge(f, policy, late).gate, REAPER_GATE_IN_USE);
        f = all, f.open = 1;
        assert_int_equal(judge(f, policy, late).action, REAPER_KEEP);
        none.known = false;
        assert_int_equal(judge(all, none, late).gate, REAPER_GATE_POLICY);
        assert_int_equal(judge(all, none, late).action, REAPER_KEEP);
        assert_int_equal(judge(all, none, late).next_ms, REAPER_NEVER);
}

/* What an old ledger did not know is added to what began before, and to nothing that began since. */
static void test_lost_time_moves_deadlines(void **state) {
        ReaperFacts f = asleep;
        int64_t due = judge(f, policy, T0).clocks[REAPER_DELETE_AFTER_ASLEEP].due_ms;

        ReaperMove moves[] = { { MS_PER_DAY, f.asleep_ms - 1 },
                               { 4 * MS_PER_DAY, f.asleep_ms },
                               { 6 * MS_PER_DAY, f.asleep_ms + 1 } };
        int64_t moved = due + 10 * MS_PER_DAY;

        f.moves = moves;
        f.n_moves = N_ELEMENTS(moves);
        assert_int_equal(judge(f, policy, T0).clocks[REAPER_DELETE_AFTER_ASLEEP].due_ms, moved);
        assert_int_equal(judge(f, policy, moved - 1).action, REAPER_KEEP);
        assert_int_equal(judge(f, policy, moved).action, REAPER_DELETE);
        f.n_moves = 1;
        assert_int_equal(judge(f, policy, T0).clocks[REAPER_DELETE_AFTER_ASLEEP].due_ms, due);
}

/* A hold that ends by itself says when, and is judged again then. */
static void test_a_hold_says_when_it_ends(void **state) {
        ReaperFacts f = asleep;
        int64_t due = judge(f, policy, T0).clocks[REAPER_DELETE_AFTER_ASLEEP].due_ms;
        ReaperVerdict v;

        f.frozen = true;
        f.freeze_reason = "the machine was away";
        f.frozen_until_ms = due + MS_PER_HOUR;
        v = judge(f, policy, due);
        assert_int_equal(v.action, REAPER_KEEP);
        assert_int_equal(v.gate, REAPER_GATE_FREEZE);
        assert_int_equal(v.gates[REAPER_GATE_FREEZE].until_ms, due + MS_PER_HOUR);
        assert_int_equal(v.next_ms, due + MS_PER_HOUR);
        assert_non_null(strstr(v.reason, "held until"));
        assert_null(strstr(v.reason, "unfreeze"));
}

static void test_unknown_is_never_unused(void **state) {
        ReaperFacts f = awake;

        f.use_known = false;
        assert_int_equal(judge(f, policy, T0 + MS_PER_HOUR).action, REAPER_UNCERTAIN);
        assert_int_equal(judge(f, policy, T0 + 22 * MS_PER_DAY).action, REAPER_UNCERTAIN);
}

static void test_a_pin_lets_it_sleep_and_lapses(void **state) {
        ReaperFacts f = awake;
        ReaperVerdict v;

        f.pinned_until_ms = T0 + 30 * MS_PER_DAY;
        assert_int_equal(judge(f, policy, T0 + MS_PER_HOUR).action, REAPER_SLEEP);
        f = asleep;
        f.pinned_until_ms = T0 + 30 * MS_PER_DAY;
        v = judge(f, policy, T0 + 25 * MS_PER_DAY);
        assert_int_equal(v.action, REAPER_KEEP);
        assert_int_equal(v.next_ms, T0 + 30 * MS_PER_DAY);
        assert_int_equal(judge(f, policy, v.next_ms).action, REAPER_DELETE);
}

static void test_a_new_policy_has_its_own_clock(void **state) {
        ReaperPolicy p = policy;
        int64_t now = T0 + 10 * MS_PER_DAY;

        p.clock_ms[REAPER_DELETE_AFTER_AGE] = MS_PER_DAY; /* tightened: long past for this one */
        p.effective_ms = now;
        p.grace_ms = MS_PER_DAY;
        p.clock_ms[REAPER_DELETE_AFTER_ASLEEP] = 0;
        assert_int_equal(judge(asleep, p, now).action, REAPER_KEEP);
        assert_int_equal(judge(asleep, p, now).next_ms, now + MS_PER_DAY);
        assert_int_equal(judge(asleep, p, now + MS_PER_DAY).action, REAPER_DELETE);
}

static void test_switched_off_clocks_never_end(void **state) {
        ReaperPolicy p = { .known = true };
        ReaperFacts f = asleep;
        ReaperVerdict v;

        f.closed_ms = T0;
        v = judge(f, p, T0 + 10000 * MS_PER_DAY);
        assert_int_equal(v.action, REAPER_KEEP);
        assert_int_equal(v.next_ms, REAPER_NEVER);
}

static ReaperFacts random_facts(const Random *r) {
        ReaperFacts f = { 0 };

        f.awake = random_below(r, 2);
        f.busy = random_below(r, 8) == 0;
        f.created_ms = T0 + (int64_t) random_below(r, 1000) * MS_PER_HOUR;
        f.used_ms = f.created_ms + (int64_t) random_below(r, 1000) * MS_PER_HOUR;
        f.asleep_ms = f.awake ? 0 : f.used_ms + MS_PER_HOUR;
        f.closed_ms = random_below(r, 3)
                              ? 0
                              : f.created_ms + (int64_t) random_below(r, 900) * MS_PER_HOUR;
        f.use_known = random_below(r, 4) != 0;
        f.open = random_below(r, 4) ? 0 : 2;
        return f;
}

/* Over random facts: protection never adds a deletion, longer clocks are never due earlier, nothing
 * happens before next_ms, and the same input gives the same verdict. */
static void test_properties(void **state) {
        for (int i = 0; i < 20000; i++) {
                ReaperFacts f = random_facts(&random_system), safer;
                int64_t now = T0 + (int64_t) random_below(&random_system, 4000) * MS_PER_HOUR;
                ReaperPolicy longer = policy;
                ReaperVerdict v = judge(f, policy, now), w;

                safer = f;
                safer.pinned_until_ms = REAPER_NEVER;
                assert_int_not_equal(judge(safer, policy, now).action, REAPER_DELETE);
                safer = f;
                safer.extended_until_ms = now + 1;
                assert_int_not_equal(judge(safer, policy, now).action, REAPER_DELETE);
                safer = f;
                safer.frozen = true;
                assert_int_equal(judge(safer, policy, now).action, REAPER_KEEP);

                for (int k = 0; k < _REAPER_CLOCK_KIND_MAX; k++)
                        longer.clock_ms[k] += MS_PER_DAY;
                w = judge(f, longer, now);
                for (int k = 0; k < _REAPER_CLOCK_KIND_MAX; k++)
                        assert_true(w.clocks[k].due_ms >= v.clocks[k].due_ms);
                assert_true(w.action != REAPER_DELETE || v.action == REAPER_DELETE);

                if (v.action == REAPER_KEEP && v.gate == REAPER_GATE_LEASE &&
                    v.next_ms != REAPER_NEVER)
                        assert_int_equal(judge(f, policy, v.next_ms - 1).action, REAPER_KEEP);
                w = judge(f, policy, now);
                assert_memory_equal(&v, &w, sizeof(v));
        }
}

static void test_names_there_and_back(void **state) {
        for (int i = 0; i < _REAPER_CLOCK_KIND_MAX; i++)
                assert_int_equal(reaper_clock_from_string(reaper_clock_to_string(i)), i);
        assert_true(reaper_clock_from_string("sleep") < 0);
        assert_null(reaper_clock_to_string(_REAPER_CLOCK_KIND_MAX));
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_idle_sleeps_exactly_at_its_end),
                cmocka_unit_test(test_each_clock_deletes),
                cmocka_unit_test(test_every_gate_keeps),
                cmocka_unit_test(test_lost_time_moves_deadlines),
                cmocka_unit_test(test_a_hold_says_when_it_ends),
                cmocka_unit_test(test_unknown_is_never_unused),
                cmocka_unit_test(test_a_pin_lets_it_sleep_and_lapses),
                cmocka_unit_test(test_a_new_policy_has_its_own_clock),
                cmocka_unit_test(test_switched_off_clocks_never_end),
                cmocka_unit_test(test_properties),
                cmocka_unit_test(test_names_there_and_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
