#include "tests/unit/test.h"

#include <string.h>

#include "orchestrator/base/hash.h"
#include "orchestrator/base/id.h"
#include "orchestrator/base/str.h"
#include "orchestrator/ledger/name.h"

static void label_check(const char *label, const char *project) {
        size_t n = strlen(label);
        char *end = str_format("--%s", project);

        assert_in_range(n, 1, LIMIT_LABEL);
        assert_int_equal(strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-"), n);
        assert_true(label[0] != '-' && label[n - 1] != '-');
        assert_true(str_ends_with(label, end));
        assert_ptr_equal(strstr(label, "--"), label + n - strlen(end)); /* the first is the last */
        assert_null(str_after(label, "xn--"));
        free(end);
}

static void test_readable_names(void **state) {
        static const struct {
                const char *branch, *label; /* ends in '*': any hash follows */
        } cases[] = {
                { "pr-86", "pr-86--shop" },
                { "feature-login", "feature-login--shop" },
                { "main", "main--shop" },
                { "2", "2--shop" },
                { "feature/login", "feature-login-x*" },
                { "Feature/Login", "feature-login-x*" },
                { "--fix__it..now--", "fix-it-now-x*" },
                { "\xc3\xbc", "x*" },
                { "a--b", "a-b-x*" },
                { "xn", "xn-x*" },
                { "fix-x0123456789", "fix-x0123456789-x*" },
                { "x0123456789", "x0123456789-x*" },
                { "fix-x012345678u", "fix-x012345678u--shop" }, /* u is no digit of a hash */
        };
        char label[LIMIT_LABEL + 1];

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                size_t n = strlen(cases[i].label);

                assert_int_equal(name_label(cases[i].branch, "shop", label), 0);
                label_check(label, "shop");
                if (cases[i].label[n - 1] != '*') {
                        assert_string_equal(label, cases[i].label);
                        continue;
                }
                assert_memory_equal(label, cases[i].label, n - 1);
                assert_int_equal(strlen(label), n - 1 + 10 + strlen("--shop"));
        }
        /* may be stored and printed: it must not change between versions */
        assert_int_equal(name_label("feature/login", "shop", label), 0);
        assert_string_equal(label, "feature-login-xksm1ptcxt3--shop");
}

static void test_bounds(void **state) {
        char branch[LIMIT_BRANCH_BYTES + 2], project[LIMIT_PROJECT_NAME + 2],
                label[LIMIT_LABEL + 1];

        for (size_t n_project = 1; n_project <= LIMIT_PROJECT_NAME; n_project++) {
                memset(project, 'p', n_project);
                project[n_project] = 0;
                for (size_t n = 1; n <= LIMIT_BRANCH_BYTES; n++) {
                        memset(branch, 'b', n);
                        branch[n] = 0;
                        assert_int_equal(name_label(branch, project, label), 0);
                        label_check(label, project);
                        if (n + 2 + n_project <= LIMIT_LABEL)
                                assert_memory_equal(label, branch, n);
                        branch[n / 2] = '/';
                        assert_int_equal(name_label(branch, project, label), 0);
                        label_check(label, project);
                }
        }
        memset(branch, 'b', sizeof(branch) - 1);
        branch[sizeof(branch) - 1] = 0;
        assert_int_equal(name_label(branch, "shop", label), -EINVAL);
        assert_int_equal(name_label("", "shop", label), -EINVAL);
        assert_int_equal(name_label("main", "Shop", label), -EINVAL);
}

static void test_project_names(void **state) {
        static const char *const good[] = { "a", "shop", "web-shop-2", "0" };
        static const char *const bad[] = { "",    "-a",  "a-",       "a--b", "A",
                                           "a.b", "a/b", "\xc3\xa9", "a b" };
        char name[LIMIT_PROJECT_NAME + 2];

        for (size_t i = 0; i < N_ELEMENTS(good); i++)
                assert_int_equal(project_name_check(good[i], NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
                auto_error error = { 0 };

                assert_int_equal(project_name_check(bad[i], &error), -EINVAL);
                assert_non_null(error.message);
        }
        memset(name, 'a', sizeof(name) - 1);
        name[sizeof(name) - 1] = 0;
        assert_int_equal(project_name_check(name, NULL), -EINVAL);
        name[LIMIT_PROJECT_NAME] = 0;
        assert_int_equal(project_name_check(name, NULL), 0);
}

/* ---- no two branches share a label ---- */

typedef struct Seen {
        Map *branches, *labels;
        const char *project;
} Seen;

static void see(Seen *seen, const char *branch) {
        char label[LIMIT_LABEL + 1];
        const char *other;
        size_t n = strlen(branch);

        if (n == 0 || n > LIMIT_BRANCH_BYTES || map_get(seen->branches, branch))
                return;
        assert_int_equal(name_label(branch, seen->project, label), 0);
        label_check(label, seen->project);
        other = map_get(seen->labels, label);
        if (other)
                fail_msg("'%s' and '%s' share the label %s", branch, other, label);
        assert_int_equal(map_put(seen->branches, branch, (char *) ""), 0);
        assert_int_equal(map_put(seen->labels, label, strdup(branch)), 0);
}

static uint64_t turn = 1; /* xorshift64: the same names in every run */

static size_t below(size_t n) {
        turn ^= turn << 13;
        turn ^= turn >> 7;
        turn ^= turn << 17;
        return turn % n;
}

/* Pieces that meet in the readable part, or that spell what the rule itself writes. */
static void see_random(Seen *seen) {
        static const char *const pieces[] = { "feature", "Feature",     "login", "fix", "/",
                                              "-",       "--",          "_",     ".",   "x",
                                              "X",       "xn",          "0",     "9",   "a",
                                              "A",       "\xc3\xbc",    "#",     "+",   "@",
                                              "pr-8",    "-x0123456789" };
        char branch[LIMIT_BRANCH_BYTES + 40] = "";

        for (size_t i = 0, n = 1 + below(8); i < n; i++)
                strcat(branch, pieces[below(N_ELEMENTS(pieces))]);
        if (below(8) == 0) { /* long ones that differ far behind what fits */
                size_t n = strlen(branch), to = n + below(180);

                for (; n < to; n++)
                        branch[n] = "abcABC-/"[below(8)];
                branch[n] = 0;
        }
        see(seen, branch);
}

static void test_no_two_branches_share_a_label(void **state) {
        static const char *const projects[] = { "shop", "a",
                                                "p123456789p123456789p123456789p123456789" };

        for (size_t p = 0; p < N_ELEMENTS(projects); p++) {
                Seen seen = { map_new(NULL), map_new(free), projects[p] };

                while (map_size(seen.branches) < 25000) {
                        char label[LIMIT_LABEL + 1], branch[LIMIT_LABEL + 1];
                        size_t n;

                        see_random(&seen);
                        /* and a branch spelled exactly like the branch part of a hashed label */
                        snprintf(branch, sizeof(branch), "Fix/%zu", map_size(seen.branches));
                        see(&seen, branch);
                        assert_int_equal(name_label(branch, seen.project, label), 0);
                        n = strlen(label) - strlen("--") - strlen(seen.project);
                        memcpy(branch, label, n);
                        branch[n] = 0;
                        see(&seen, branch);
                }
                map_free(seen.branches);
                map_free(seen.labels);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_readable_names),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_project_names),
                cmocka_unit_test(test_no_two_branches_share_a_label),
        };

        return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
