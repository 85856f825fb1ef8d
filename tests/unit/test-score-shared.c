/* The loader against the shared samples: every judged document, every project. */
#include "tests/unit/test.h"

#include <dirent.h>

#include "orchestrator/spec/score.h"
#include "tests/unit/shared.h"

/* NULL for valid, else the stage of the first fault; all faults must be of one stage. */
static const char *verdict_of(const char *path) {
        auto_cleanup(score_document_freep) ScoreDocument *d = NULL;
        SpecFaults faults = { 0 };
        const char *stage = NULL;
        size_t size;
        char *text = read_text(path, &size);
        int r;

        r = score_document_load(path, text, size, NULL, &d, &faults, NULL, NULL);
        if (r < 0) {
                assert_int_equal(r, -EINVAL);
                assert_true(faults.n_items > 0);
                stage = spec_stage_to_string(faults.items[0].stage);
                for (size_t i = 0; i < faults.n_items; i++) {
                        assert_int_equal(faults.items[i].stage, faults.items[0].stage);
                        assert_true(faults.items[i].line > 0 && faults.items[i].column > 0);
                }
        } else {
                assert_int_equal(faults.n_items, 0);
        }
        spec_faults_done(&faults);
        free(text);
        return stage;
}

static void test_index(void **state) {
        auto_cleanup(freep) char *path = shared_or_skip("index.tsv"), *text = read_text(path, NULL);
        unsigned n = 0, wrong = 0;
        char *line, *lines = text;

        strsep(&lines, "\n");
        while ((line = strsep(&lines, "\n"))) {
                const char *file = strsep(&line, "\t"), *verdict = strsep(&line, "\t"),
                           *stage = strsep(&line, "\t"), *found;
                auto_cleanup(freep) char *sample = NULL;

                if (!verdict || !stage)
                        continue;
                sample = shared_score(file);
                found = verdict_of(sample);
                n++;
                if (streq(verdict, "valid") ? found != NULL : !found || !streq(found, stage)) {
                        print_error("%s: %s %s, but here %s\n", file, verdict, stage,
                                    found ? found : "valid");
                        wrong++;
                }
        }
        print_message("# %u documents\n", n);
        assert_true(n >= 200);
        assert_int_equal(wrong, 0);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static char **files_of(const char *folder) {
        DIR *d = opendir(folder);
        struct dirent *entry;
        char **v = NULL;

        assert_non_null(d);
        while ((entry = readdir(d)))
                if (entry->d_name[0] != '.')
                        assert_int_equal(strv_add(&v, entry->d_name), 0);
        closedir(d);
        qsort(v, strv_length(v), sizeof(char *), compare_names);
        return v;
}

/* The identifiers in order, or NULL when the set is invalid. */
static json_t *order_of(const char *folder, bool backwards) {
        auto_cleanup(strv_freep) char **files = files_of(folder);
        auto_cleanup(score_project_freep) ScoreProject *p = NULL;
        SpecFaults faults = { 0 };
        ScoreDocument *documents[16];
        size_t n = 0, size, n_files = strv_length(files);
        json_t *order = json_array();

        for (size_t i = 0; i < n_files; i++) {
                const char *name = files[backwards ? n_files - 1 - i : i];
                auto_cleanup(freep) char *path = path_join(folder, name), *text = NULL;

                if (!str_ends_with(name, ".yaml"))
                        continue;
                text = read_text(path, &size);
                assert_int_equal(score_document_load(path, text, size, NULL, &documents[n++],
                                                     &faults, NULL, NULL),
                                 0);
        }
        if (score_project_make(documents, n, &p, &faults, NULL) < 0) {
                assert_true(faults.n_items > 0);
                assert_int_equal(faults.items[0].stage, SPEC_STAGE_SEMANTIC);
                json_decref(order);
                order = NULL;
        } else {
                assert_int_equal(faults.n_items, 0);
        }
        spec_faults_done(&faults);
        for (size_t i = 0; order && i < p->n_resources; i++)
                json_array_append_new(order, json_string(p->resources[i].key));
        return order;
}

static void check_project(const char *projects, const char *name) {
        auto_cleanup(freep) char *folder = path_join(projects, name),
                                 *path = path_join(folder, "expect.json");
        json_auto_t *expect = json_load_file(path, 0, NULL), *order = order_of(folder, false),
                    *again = order_of(folder, true);
        bool valid = streq(json_string_value(json_object_get(expect, "verdict")), "valid");

        if (valid != !!order || !json_equal(order, json_object_get(expect, "resources_in_order")))
                if (valid || order)
                        fail_msg("%s: expected %s", name, json_dumps(expect, 0));
        assert_true(order == again || json_equal(order, again));
}

static void test_projects(void **state) {
        auto_cleanup(freep) char *folder = shared_or_skip("projects");
        auto_cleanup(strv_freep) char **names = files_of(folder);

        for (char **name = names; *name; name++)
                check_project(folder, *name);
        print_message("# %zu projects\n", strv_length(names));
        assert_true(strv_length(names) >= 10);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_index),
                cmocka_unit_test(test_projects),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
