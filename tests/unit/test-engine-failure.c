#include "tests/unit/engine-world.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/limits.h"
#include "orchestrator/base/log.h"
#include "orchestrator/engine/private.h"

/* What providers and the world do wrong. */

static void test_error_classes(void **state) {
        static const struct {
                ProviderClass class;
                unsigned times; /* how often it fails */
                unsigned calls; /* how often it was asked in the end */
                bool ready;
        } cases[] = {
                { PROVIDER_INVALID, 1, 1, false },       { PROVIDER_DENIED, 1, 1, false },
                { PROVIDER_UNRECOVERABLE, 1, 1, false }, { PROVIDER_TRANSIENT, 5, 6, true },
                { PROVIDER_TRANSIENT, 6, 6, false },     { PROVIDER_CONFLICT, 1, 2, true },
                { PROVIDER_DEPENDENCY, 20, 21, true }, /* spends no attempt */
                { PROVIDER_THROTTLED, 20, 21, true },
        };
        Fixture *f = *state;

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("case%zu", i);

                f->fail_verb = "provision";
                f->fail_type = "volume";
                f->fail_class = cases[i].class;
                f->fail_times = cases[i].times;
                push(f, branch, A_COMMIT);
                settle(f);
                f->n_started[0] = 0;
                settle_for(f, 100 * MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, cases[i].ready ? ENV_READY : ENV_FAILED);
                assert_int_equal(f->fail_times, 0);
                if (!cases[i].ready)
                        assert_non_null(strstr(env.cause, "it said no"));
                assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                settle_for(f, 10 * MS_PER_MINUTE);
                assert_int_equal(map_size(f->things), 0);
        }
}

static int find_stuck(void *userdata, const Resource *r) {
        *(unsigned *) userdata += r->state == RES_STUCK;
        return 0;
}

static void test_removal_that_fails_is_stuck_then_daily(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        unsigned n = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 6;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_int_equal(ledger_resource_each(f->ledger, env.id, false, find_stuck, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(map_size(f->things),
                         4); /* children first: what it stands on waits for it */
        settle_for(f, 25 * MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(map_size(f->things), 0);
}

static void test_a_workload_that_vanished_is_made_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;
        const char *uid;
        size_t at = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        front = engine_front_events(f->engine);
        while (map_next(f->things, &at, &uid)) {
                auto_cleanup(resource_done) Resource r = { 0 };

                assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
                if (streq(r.type, "workload"))
                        map_remove(f->things, uid);
        }
        front.on_refused(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_int_equal(map_size(f->things), 4);
        assert_answer(f, "login--shop", "direct");
}

static int no_secret(void *userdata, const Event *e) {
        assert_null(strstr(e->text, "hunter2-hunter2"));
        return 0;
}

static void test_secrets_are_in_no_message(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE];
        auto_cleanup(resource_done) Resource r = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "volume", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_int_equal(ledger_resource_set_outputs(f->ledger, &r,
                                                     "{\"type\":\"bind\",\"source\":\"/v\","
                                                     "\"password\":\"hunter2-hunter2\"}",
                                                     names, NULL),
                         0);
        get(f, "login", &env);
        map_remove(f->things, uid_of(f, "workload", uid));
        f->fail_verb = "provision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_INVALID;
        f->fail_times = 1;
        f->fail_message = "psql: wrong password\n'hunter2-hunter2'";
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "wrong password '***'"));
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 1000, no_secret, NULL, NULL), 0);
}

static bool file_holds(const char *path, const char *needle) {
        auto_cleanup(freep) char *text = NULL;
        size_t size = 0;

        return read_file(path, 64 << 20, &text, &size, NULL) == 0 &&
               memmem(text, size, needle, strlen(needle));
}

/* What is to be secret and is not named rightly is not stored at all: it would lie in clear, and be shown. */
static void test_secrets_named_wrongly_are_not_stored(void **state) {
        static const char *const secret[] = {
                "[\"passwrod\"]",      "\"password\"", "[7]",
                "{\"password\":true}", "null",         "[\"password\",\"x\"]"
        };
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        auto_cleanup(freep) char *wal = str_format("%s-wal", f->db);

        for (size_t i = 0; i < N_ELEMENTS(secret); i++) {
                auto_cleanup(freep) char *branch = str_format("case%zu", i), *line = NULL,
                                         *uid = NULL;
                auto_cleanup(resource_done) Resource r = { 0 };

                f->held_type[0] = "volume";
                push(f, branch, A_COMMIT);
                settle(f);
                assert_string_equal(f->first->verb, "provision");
                uid = strdup(f->first->uid);
                line = str_format(
                        "{\"result\":{\"state\":{\"kept\":1},\"outputs\":{\"source\":\"/v\","
                        "\"password\":\"hunter2-hunter2\"},\"secret\":%s}}\n",
                        secret[i]);
                answer_first_with(f, line, strlen(line), true);
                turns(f);
                assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
                assert_null(r.outputs);
                assert_null(r.live);
                assert_true(r.inspect);
                assert_int_equal(r.state, RES_PROVISIONING);
                assert_false(file_holds(f->db, "hunter2-hunter2") ||
                             file_holds(wal, "hunter2-hunter2"));
                f->held_type[0] = NULL;
                settle_for(f, MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_READY);
        }
}

/* An answer that does not say which outputs are secret makes none of them less so. */
static void test_what_was_secret_stays_so(void **state) {
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE];
        json_auto_t *result =
                json_pack("{s:{s:s, s:s}}", "outputs", "source", "/w", "password", "hunter3");
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        auto_cleanup(view_done) View v = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(ledger_resource_get(f->ledger, uid_of(f, "volume", uid), &r, NULL), 0);
        assert_int_equal(ledger_resource_set_outputs(f->ledger, &r, "{\"password\":\"hunter2\"}",
                                                     names, NULL),
                         0);
        assert_int_equal(view_load(f->engine, look_get(f->engine, env.id), &v, NULL), 0);
        for (size_t i = 0; i < v.n_parts; i++)
                if (streq(v.parts[i]->row.uid, uid))
                        assert_int_equal(result_store(&v, v.parts[i], result, NULL), 0);
        resource_done(&r);
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_string_equal(r.secret[0], "password");
        assert_string_equal(r.outputs, "{\"source\":\"/w\"}");
}

/* Wherever a long message is cut, no half of a secret is left over. */
static void test_words_are_cut_after_the_secrets_went(void **state) {
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE], words[3000];
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(ledger_resource_get(f->ledger, uid_of(f, "volume", uid), &r, NULL), 0);
        assert_int_equal(
                ledger_resource_set_outputs(
                        f->ledger, &r,
                        "{\"type\":\"bind\",\"source\":\"/v\",\"password\":\"QWRTZPSDFGHJKLYX\"}",
                        names, NULL),
                0);
        for (size_t at = 0; at + 16 < sizeof(words); at += 5) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(view_done) View v = { 0 };
                auto_cleanup(freep) char *clean = NULL;

                memset(words, 'a', sizeof(words));
                memcpy(words + at, "QWRTZPSDFGHJKLYX", 16);
                words[sizeof(words) - 1] = 0;
                get(f, "login", &env);
                assert_int_equal(view_load(f->engine, look_get(f->engine, env.id), &v, NULL), 0);
                clean = view_scrub(&v, words);
                assert_non_null(clean);
                assert_true(strlen(clean) <= LIMIT_PROVIDER_MESSAGE_BYTES);
                assert_null(strpbrk(clean, "QWRTZPSDFGHJKLYX"));
        }
}

static void test_long_words_of_a_reply_are_scrubbed_whole(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char *names[] = { (char *) "password", NULL }, uid[ID_SIZE], words[2000];
        auto_cleanup(resource_done) Resource r = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(ledger_resource_get(f->ledger, uid_of(f, "volume", uid), &r, NULL), 0);
        assert_int_equal(
                ledger_resource_set_outputs(
                        f->ledger, &r,
                        "{\"type\":\"bind\",\"source\":\"/v\",\"password\":\"QWRTZPSDFGHJKLYX\"}",
                        names, NULL),
                0);
        get(f, "login", &env);
        map_remove(f->things, uid_of(f, "workload", uid));
        memset(words, 'a', sizeof(words));
        words[sizeof(words) - 1] = 0;
        memcpy(words + sizeof(words) - 1 - LIMIT_PROVIDER_MESSAGE_BYTES * 2 / 5 - 8,
               "QWRTZPSDFGHJKLYX", 16);
        f->fail_verb = "provision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_INVALID;
        f->fail_times = 1;
        f->fail_message = words;
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "aaa ... "));
        assert_null(strstr(env.cause, "GHJK"));
        assert_null(strstr(env.cause, "LYX"));
}

/* stderr of this process into a file, until it is given back. */
static int stderr_take(const char *path) {
        int before = dup(2), fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

        assert_true(before >= 0 && fd >= 0);
        assert_int_equal(dup2(fd, 2), 2);
        close(fd);
        return before;
}

static void test_what_a_call_says_is_logged_without_secrets(void **state) {
        static const char lines[] =
                "{\"log\":\"made hunter2-hunter2 and 123456789012 for you\"}\n"
                "{\"progress\":{\"done\":1,\"total\":2,\"text\":\"half way\"}}\n{\"item\":{}}\n{\"log\":7}\n"
                "{\"result\":{\"state\":{},\"outputs\":{\"source\":\"/v\",\"type\":\"bind\",\"pin\":123456789012,"
                "\"password\":\"hunter2-hunter2\"},\"secret\":[\"password\",\"pin\"]}}\n";
        Fixture *f = *state;
        auto_cleanup(freep) char *path = str_format("%s/log", f->dir);
        int before;

        f->held_type[0] = "volume";
        push(f, "login", A_COMMIT);
        settle(f);
        before = stderr_take(path);
        log_set_level(LOG_LEVEL_DEBUG);
        answer_first_with(f, lines, strlen(lines), true);
        turns(f);
        log_set_level(LOG_LEVEL_ERROR - 1);
        assert_int_equal(dup2(before, 2), 2);
        close(before);
        assert_true(file_holds(path, "made *** and *** for you"));
        assert_true(file_holds(path, "volume, provision of volume 'data'"));
        assert_true(file_holds(path, "half way"));
        assert_false(file_holds(path, "hunter2"));
        f->held_type[0] = NULL;
}

static void test_somebody_elses_thing_is_left_alone(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        f->foreign = uid_of(f, "workload", f->foreign_uid);
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "not ours"));
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(f->n_foreign_touched, 0);
        assert_int_equal(map_size(f->things), 1); /* theirs */
        map_remove(f->things, f->foreign_uid);
}

/* "I cannot say" is not "it is not there": nothing is made again over it, nothing is called removed. */
static void test_uncertain_is_not_absent(void **state) {
        static const char uncertain[] =
                "{\"result\":{\"present\":\"uncertain\",\"marker\":\"\"}}\n";
        auto_cleanup(environment_done) Environment env = { 0 };
        FrontEvents front;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        calls_forget(f);
        front = engine_front_events(f->engine);
        front.on_refused(front.userdata, env.id);
        turns(f);
        assert_string_equal(f->first->verb, "inspect");
        answer_first_with(f, uncertain, strlen(uncertain), false);
        turns(f);
        assert_int_equal(calls(f, "provision", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "provision", NULL), 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);

        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_true(answer_first(f)); /* it is there, */
        turns(f);
        assert_true(answer_first(f)); /* it is removed, */
        turns(f);
        assert_string_equal(f->first->verb, "inspect"); /* and is it? */
        f->held_type[0] = "network"; /* nothing but the workload is answered */
        answer_first_with(f, uncertain, strlen(uncertain), false);
        turns(f);
        assert_int_equal(calls(f, "deprovision", "checkout"), 0);
        assert_int_equal(calls(f, "deprovision", "network"), 0);
        f->held_type[0] = NULL;
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

static void test_lost_volume_is_told_and_does_not_spin(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;
        unsigned calls;

        push(f, "login", A_COMMIT);
        settle(f);
        f->foreign = uid_of(f, "volume", f->foreign_uid);
        assert_int_equal(ledger_resource_get(f->ledger, f->foreign, &r, NULL), 0);
        r.inspect = true;
        assert_int_equal(ledger_resource_update(f->ledger, &r, NULL), 0);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        memset(f->n_started, 0, sizeof(f->n_started));
        settle_for(f, MS_PER_HOUR);
        calls = f->n_started[0] + f->n_started[1];
        assert_true(calls < 5);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_non_null(strstr(env.cause, "volume"));
        map_remove(f->things, f->foreign_uid);
        f->foreign = NULL;
}

static void test_a_network_that_cannot_come_back(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        settle_for(f, 31 * MS_PER_MINUTE);
        assert_non_null(uid_of(f, "network", uid));
        daemon_killed(f); /* the new one has not proved the network */
        map_remove(f->things, uid);
        daemon_up(f);
        settle(f);
        f->fail_verb = "provision";
        f->fail_type = "network";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_int_equal(env.level, LEVEL_STOPPED);
        assert_answer(f, "login--shop", "failed");
        assert_int_equal(engine_retry(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_answer(f, "login--shop", "direct");
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_error_classes),
                WITH(test_removal_that_fails_is_stuck_then_daily),
                WITH(test_a_workload_that_vanished_is_made_again),
                WITH(test_secrets_are_in_no_message),
                WITH(test_secrets_named_wrongly_are_not_stored),
                WITH(test_what_was_secret_stays_so),
                WITH(test_words_are_cut_after_the_secrets_went),
                WITH(test_long_words_of_a_reply_are_scrubbed_whole),
                WITH(test_what_a_call_says_is_logged_without_secrets),
                WITH(test_somebody_elses_thing_is_left_alone),
                WITH(test_uncertain_is_not_absent),
                WITH(test_lost_volume_is_told_and_does_not_spin),
                WITH(test_a_network_that_cannot_come_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
