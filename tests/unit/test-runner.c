#include "tests/unit/test.h"

#include <string.h>
#include <sys/stat.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/base/time.h"
#include "orchestrator/engine/runner.h"

/* A runner whose one provider is a script, and what it was told. */
typedef struct Fixture {
        char folder[64];
        Loop *loop;
        Runner *runner;
        Config config;
        char *message;
        json_t *result;
        ProviderClass class;
        int64_t retry_after_ms;
        bool unknown, cancel_at_line;
        unsigned n_replies, n_lines;
} Fixture;

static void on_line(void *userdata, const char *call_id, const json_t *line) {
        Fixture *f = userdata;

        assert_string_equal(call_id, "c1");
        f->n_lines++;
        if (f->cancel_at_line) {
                ProviderOps ops = runner_ops(f->runner);

                ops.cancel(ops.userdata, call_id);
        }
}

static void on_reply(void *userdata, const ProviderReply *reply) {
        Fixture *f = userdata;

        f->n_replies++;
        f->class = reply->class;
        f->unknown = reply->unknown;
        f->retry_after_ms = reply->retry_after_ms;
        f->message = reply->message ? strdup(reply->message) : NULL;
        f->result = json_deep_copy(reply->result);
        loop_exit(f->loop, 0);
}

static Fixture *fixture_new(const char *script) {
        Fixture *f = calloc(1, sizeof(Fixture));
        auto_cleanup(freep) char *path = NULL, *text = NULL;
        RunnerSetup setup;

        strcpy(f->folder, "/tmp/mayfly-test-runner-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        path = path_join(f->folder, "script");
        text = str_format("#!/bin/sh\n%s\n", script);
        assert_int_equal(write_file(path, text, strlen(text), 0755, NULL), 0);
        f->config.providers = json_pack("{s:{s:s}}", "test", "path", path);
        assert_int_equal(loop_new(&f->loop, NULL), 0);
        setup = (RunnerSetup){ .loop = f->loop,
                               .state_dir = f->folder,
                               .config = &f->config,
                               .events = { on_line, on_reply, f } };
        assert_int_equal(runner_new(&setup, &f->runner, NULL), 0);
        return f;
}

static void fixture_free(Fixture *f) {
        runner_free(f->runner);
        loop_free(f->loop);
        assert_int_equal(remove_tree(f->folder, NULL), 0);
        json_decref(f->config.providers);
        json_decref(f->result);
        free(f->message);
        free(f);
}

/* Runs the script once, to its reply. */
static Fixture *ask(const char *script, int64_t deadline_ms, bool stream) {
        Fixture *f = fixture_new(script);
        json_auto_t *request = json_pack("{s:s}", "verb", "inspect");
        ProviderOps ops = runner_ops(f->runner);
        ProviderCall call = { .id = "c1",
                              .provider = "test",
                              .verb = "inspect",
                              .deadline_ms = deadline_ms,
                              .request = request,
                              .stream = stream };

        assert_int_equal(ops.start(ops.userdata, &call, NULL), 0);
        assert_int_equal(f->n_replies, 0); /* never from inside start() */
        assert_int_equal(loop_run(f->loop, NULL), 0);
        assert_int_equal(f->n_replies, 1);
        return f;
}

static void test_result_and_items(void **state) {
        Fixture *f = ask("read request; echo '{\"item\":{\"n\":1}}'; echo '{\"log\":\"hi\"}'; echo;"
                         "echo '{\"item\":{\"n\":2}}'; echo '{\"result\":{\"complete\":true}}'",
                         5000, false);

        assert_int_equal(f->class, PROVIDER_OK);
        assert_true(json_is_true(json_object_get(f->result, "complete")));
        assert_int_equal(f->n_lines, 3); /* handed on, and kept nowhere */
        fixture_free(f);
}

static void test_request_reaches_it(void **state) {
        Fixture *f = ask("request=$(cat); printf '{\"result\":{\"echo\":%s}}\\n' \"$request\"",
                         5000, false);

        assert_string_equal(
                json_string_value(json_object_get(json_object_get(f->result, "echo"), "verb")),
                "inspect");
        fixture_free(f);
}

static void test_a_stream_is_delivered_as_it_comes(void **state) {
        Fixture *f = ask("echo '{\"item\":{}}'; echo '{\"item\":{}}'; echo '{\"result\":{}}'", 5000,
                         true);

        assert_int_equal(f->n_lines, 2);
        fixture_free(f);
}

static void test_an_error_keeps_its_class(void **state) {
        Fixture *f = ask(
                "echo '{\"error\":{\"class\":\"throttled\",\"message\":\"slow down\",\"retry_after_ms\":70}}'",
                5000, false);

        assert_int_equal(f->class, PROVIDER_THROTTLED);
        assert_false(f->unknown);
        assert_string_equal(f->message, "slow down");
        assert_int_equal(f->retry_after_ms, 70);
        fixture_free(f);
}

static void test_an_error_is_one_however_it_ends(void **state) {
        Fixture *f = ask("echo '{\"error\":{\"class\":\"denied\",\"message\":\"no\"}}'; exit 1",
                         5000, false);

        assert_int_equal(f->class, PROVIDER_DENIED);
        assert_false(f->unknown);
        fixture_free(f);
}

/* The secret of a result that does not count is known nowhere else. */
static void test_last_words_are_whole_and_without_new_secrets(void **state) {
        Fixture *f = ask(
                "echo '{\"result\":{\"outputs\":{\"p\":\"hunter2-hunter2\"},\"secret\":[\"p\"]}}';"
                "echo 'Traceback: hunter2-hunter2' >&2; exit 1",
                5000, false);

        assert_non_null(strstr(f->message, "exited with code 1"));
        assert_non_null(strstr(f->message, "Traceback: ***"));
        fixture_free(f);

        /* 64 KiB are kept, and the first word of them is a part of one */
        f = ask("{ head -c 100000 /dev/zero | tr '\\0' x; printf half-a-secret;"
                "head -c 65530 /dev/zero | tr '\\0' y; echo ' the end'; } >&2; exit 1",
                5000, false);
        assert_null(strstr(f->message, "xx"));
        assert_null(strstr(f->message, "yy"));
        assert_null(strstr(f->message, "secret"));
        assert_non_null(strstr(f->message, "the end"));
        fixture_free(f);
}

static void test_a_result_beside_a_null_error_is_good(void **state) {
        Fixture *f = ask("echo '{\"result\":{},\"error\":null}'", 5000, false);

        assert_int_equal(f->class, PROVIDER_OK);
        assert_false(f->unknown);
        assert_null(f->message);
        fixture_free(f);
}

/* Whatever is not one good answer is transient, its effect unknown, and has a sentence. */
static void F34_answer_with_a_parsing_bug(void **state) {
        static const struct {
                const char *script, *says;
        } cases[] = {
                { "echo gone wrong >&2; exit 3", "exited with code 3" },
                { "echo gone wrong >&2; exit 3", "gone wrong" },
                { "kill -9 $$", "signal 9" },
                { "exit 0", "exited with code 0" },
                { "echo 'not json'; sleep 60", "not of the protocol" },
                { "echo '[1]'; sleep 60", "not of the protocol" },
                { "echo '{\"result\":{}}'; echo '{\"result\":{}}'; sleep 60",
                  "not of the protocol" },
                { "echo '{\"a\":1,\"a\":2}'; sleep 60", "not of the protocol" },
                { "echo '{\"result\":{},\"error\":{\"class\":\"gone\"}}'; sleep 60",
                  "not of the protocol" },
                { "echo '{\"result\":{},\"error\":\"it broke\"}'; sleep 60",
                  "not of the protocol" },
                { "head -c 3000000 /dev/zero | tr '\\0' x; sleep 60", "too long" },
                { "echo '{\"error\":{\"class\":\"surprise\",\"message\":\"?\"}}'", "?" },
                { "echo '{\"error\":{\"class\":\"ok\"}}'", "no reason" },
                { "printf '{\"result\":{}'", "exited with code 0" },
                { "echo '{\"result\":{}}'; exit 3", "exited with code 3" },
                { "echo '{\"result\":{}}'; kill -9 $$", "signal 9" },
                { "yes '{\"log\":\"0123456789\"}'", "more than a reply may have" },
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                Fixture *f = ask(cases[i].script, 20000, false);

                assert_int_equal(f->class, PROVIDER_TRANSIENT);
                assert_true(f->unknown);
                if (!strstr(f->message, cases[i].says))
                        fail_msg("case %zu: '%s' does not say '%s'", i, f->message, cases[i].says);
                fixture_free(f);
        }
}

static void test_overdue_even_when_it_ignores_sigterm(void **state) {
        int64_t begin = clock_boot_ms(&clock_system);
        Fixture *f = ask("trap '' TERM; sleep 60 & sleep 60; sleep 60", 100, false);

        assert_non_null(strstr(f->message, "did not answer in time"));
        assert_true(f->unknown);
        assert_true(clock_boot_ms(&clock_system) - begin < 20000);
        fixture_free(f);
}

static void test_cancelled(void **state) {
        Fixture *f = fixture_new("echo '{\"log\":\"working\"}'; sleep 60; echo '{\"result\":{}}'");
        json_auto_t *request = json_object();
        ProviderOps ops = runner_ops(f->runner);
        ProviderCall call = { .id = "c1",
                              .provider = "test",
                              .verb = "provision",
                              .deadline_ms = 30000,
                              .request = request };

        f->cancel_at_line = true;
        assert_int_equal(ops.start(ops.userdata, &call, NULL), 0);
        assert_int_equal(loop_run(f->loop, NULL), 0);
        assert_int_equal(f->class, PROVIDER_TRANSIENT);
        assert_true(f->unknown);
        assert_non_null(strstr(f->message, "cancelled"));
        fixture_free(f);
}

/* What it leaves behind with its pipes open (a keeper that forgot to close them) does not hold the reply. */
static void test_a_leftover_with_the_pipe_does_not_hold_the_reply(void **state) {
        int64_t begin = clock_boot_ms(&clock_system);
        Fixture *f = ask("setsid sleep 5 & echo '{\"result\":{}}'", 60000, false);

        assert_int_equal(f->class, PROVIDER_OK);
        assert_true(clock_boot_ms(&clock_system) - begin < 4000);
        fixture_free(f);
}

/* And one that writes on and on is not read on and on. */
static void test_a_leftover_that_writes_does_not_hold_the_reply(void **state) {
        int64_t begin = clock_boot_ms(&clock_system);
        Fixture *f = ask("for i in 1 2 3; do setsid timeout 10 yes word >&2 & done; sleep 0.3;"
                         "echo '{\"result\":{}}'",
                         60000, false);

        assert_int_equal(f->class, PROVIDER_OK);
        assert_true(clock_boot_ms(&clock_system) - begin < 5000);
        fixture_free(f);
}

static void test_programs_are_looked_up_strictly(void **state) {
        static const char *const bad[] = { "../evil", "", "a/b", "-x" };
        auto_cleanup(freep) char *path = NULL;
        auto_error error = { 0 };

        for (size_t i = 0; i < N_ELEMENTS(bad); i++)
                assert_int_equal(runner_program(NULL, bad[i], &path, NULL), -EINVAL);
        assert_int_equal(runner_program(NULL, "nothing-like-it", &path, &error), -ENOENT);
        assert_non_null(strstr(error.message, "mayfly-provider-nothing-like-it"));
        assert_null(path);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_result_and_items),
                cmocka_unit_test(test_request_reaches_it),
                cmocka_unit_test(test_a_stream_is_delivered_as_it_comes),
                cmocka_unit_test(test_an_error_keeps_its_class),
                cmocka_unit_test(test_an_error_is_one_however_it_ends),
                cmocka_unit_test(test_last_words_are_whole_and_without_new_secrets),
                cmocka_unit_test(test_a_result_beside_a_null_error_is_good),
                cmocka_unit_test(F34_answer_with_a_parsing_bug),
                cmocka_unit_test(test_overdue_even_when_it_ignores_sigterm),
                cmocka_unit_test(test_cancelled),
                cmocka_unit_test(test_a_leftover_with_the_pipe_does_not_hold_the_reply),
                cmocka_unit_test(test_a_leftover_that_writes_does_not_hold_the_reply),
                cmocka_unit_test(test_programs_are_looked_up_strictly),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
