#include "tests/unit/test.h"

#include "orchestrator/base/str.h"
#include "orchestrator/ledger/states.h"

/* The moves as sentences, apart from the tables, so that a slip in a table is seen. */
static const struct {
        const StateMachine *machine;
        const char *from, *to; /* to: separated by spaces */
} allowed[] = {
        { &machine_environment, "wanted", "building failed deleting" },
        { &machine_environment, "building", "ready failed deleting" },
        { &machine_environment, "ready", "failed deleting" },
        { &machine_environment, "failed", "wanted building ready deleting" },
        { &machine_environment, "deleting", "gone" },
        { &machine_environment, "gone", "" },
        { &machine_level, "awake", "falling waking" },
        { &machine_level, "falling", "stopped waking awake" },
        { &machine_level, "stopped", "waking awake" },
        { &machine_level, "waking", "awake stopped falling" },
        { &machine_generation, "wanted", "checkout failed retiring" },
        { &machine_generation, "checkout", "provisioning failed retiring" },
        { &machine_generation, "provisioning", "live failed retiring" },
        { &machine_generation, "live", "retiring" },
        { &machine_generation, "failed", "" },
        { &machine_generation, "retiring", "removed" },
        { &machine_generation, "removed", "" },
        { &machine_resource, "planned", "provisioning failed removing removed" },
        { &machine_resource, "provisioning", "ready failed removing" },
        { &machine_resource, "ready", "provisioning falling failed removing" },
        { &machine_resource, "falling", "asleep ready provisioning removing" },
        { &machine_resource, "asleep", "waking provisioning removing" },
        { &machine_resource, "waking", "ready asleep provisioning failed removing" },
        { &machine_resource, "failed", "provisioning removing removed" },
        { &machine_resource, "removing", "removed stuck" },
        { &machine_resource, "stuck", "removing" },
        { &machine_resource, "removed", "" },
};

static bool word_in(const char *words, const char *word) {
        size_t n = strlen(word);

        for (const char *at = words; (at = strstr(at, word)); at += n)
                if ((at == words || at[-1] == ' ') && (at[n] == 0 || at[n] == ' '))
                        return true;
        return false;
}

static void test_all_pairs(void **state) {
        size_t n_rows = 0;

        for (size_t i = 0; i < N_ELEMENTS(allowed); i++) {
                const StateMachine *m = allowed[i].machine;
                int from = state_from_name(m, allowed[i].from);

                assert_true(from >= 0);
                n_rows++;
                for (int to = 0; to < m->n_states; to++)
                        assert_int_equal(state_may_become(m, from, to),
                                         word_in(allowed[i].to, state_name(m, to)));
        }
        assert_int_equal(n_rows, _ENV_STATE_MAX + _LEVEL_MAX + _GEN_STATE_MAX + _RES_STATE_MAX);
}

static void test_names_there_and_back(void **state) {
        const StateMachine *all[] = { &machine_environment, &machine_level, &machine_generation,
                                      &machine_resource };

        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                for (int s = 0; s < all[i]->n_states; s++)
                        assert_int_equal(state_from_name(all[i], state_name(all[i], s)), s);
                assert_int_equal(state_from_name(all[i], "nonsense"), -EINVAL);
                assert_int_equal(state_from_name(all[i], NULL), -EINVAL);
                assert_null(state_name(all[i], -1));
                assert_null(state_name(all[i], all[i]->n_states));
                assert_false(state_may_become(all[i], -1, 0));
                assert_false(state_may_become(all[i], 0, all[i]->n_states));
        }
}

/* From every state but the last one an end can be reached: nothing can be caught for ever. */
static void test_every_state_has_a_way_out(void **state) {
        const struct {
                const StateMachine *machine;
                int end;
        } all[] = { { &machine_environment, ENV_GONE },
                    { &machine_generation, GEN_REMOVED },
                    { &machine_resource, RES_REMOVED } };

        for (size_t i = 0; i < N_ELEMENTS(all); i++) {
                unsigned reach = 1u << all[i].end;

                if (all[i].machine == &machine_generation)
                        reach |= 1u << GEN_FAILED;

                for (int round = 0; round < all[i].machine->n_states; round++)
                        for (int s = 0; s < all[i].machine->n_states; s++)
                                if (all[i].machine->states[s].next & reach)
                                        reach |= 1u << s;
                assert_int_equal(reach, (1u << all[i].machine->n_states) - 1);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_pairs),
                cmocka_unit_test(test_names_there_and_back),
                cmocka_unit_test(test_every_state_has_a_way_out),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
