#include "tests/unit/engine-world.h"

#include <stdio.h>

#include "orchestrator/base/limits.h"

/* Nothing is tried for ever, nothing is never tried again, and waiting costs nothing. */

static void push_many(Fixture *f, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                auto_cleanup(freep) char *branch = str_format("b%u", i);

                push(f, branch, A_COMMIT);
                settle(f);
        }
        for (unsigned i = 0; i < 50; i++)
                settle(f);
}

/* More of them than one turn looks at are being removed, are to be tried again, and may not. */
static void test_waiting_turns_end(void **state) {
        enum {
                N = 90,
                MOST = 20
        };
        Fixture *f = *state;

        push_many(f, N);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 1000000;
        for (unsigned i = 0; i < N; i++) {
                auto_cleanup(freep) char *label = str_format("b%u--shop", i);

                assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
        }
        for (unsigned i = 0; i < 20; i++)
                settle(f);
        f->held_type[0] = "workload"; /* providers take their time */
        pass(f, MS_PER_MINUTE);
        assert_true(turns_until(f, MOST) < MOST);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "stop", NULL), 0);
        turns(f);
        pass(f, MS_PER_HOUR);
        assert_true(turns_until(f, MOST) < MOST);
}

/* Layers of services, each on all of the layer before: more ways through than anybody can walk. */
#define LAYERS 16
#define WIDTH  3

static const char *layers_file(const char *commit, const char *path) {
        static char compose[16384];
        char *at = compose;

        if (!streq(path, "compose.yaml"))
                return NULL;
        at += sprintf(at, "services:\n");
        for (unsigned i = 0; i < LAYERS * WIDTH; i++) {
                unsigned layer = i / WIDTH;

                at += sprintf(at, "  s%u:\n    build: .\n    command: [x]\n    ports: [\"%u\"]\n%s",
                              i, 8000 + i, layer ? "    depends_on:\n" : "");
                for (unsigned k = 0; layer && k < WIDTH; k++)
                        at += sprintf(at, "      - s%u\n", (layer - 1) * WIDTH + k);
        }
        return compose;
}

static void test_many_layers_wake_in_order(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        f->file = layers_file;
        push(f, "login", A_COMMIT);
        for (unsigned i = 0; i < 5; i++)
                settle(f);
        assert_int_equal(engine_sleep(f->engine, NULL, "login--shop", NULL), 0);
        for (unsigned i = 0; i < 5; i++)
                settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        calls_forget(f);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_int_equal(calls(f, "wake", NULL), WIDTH); /* the first layer, and no other */
        for (unsigned i = 0; i < 5; i++)
                settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        assert_int_equal(calls(f, "wake", NULL), LAYERS * WIDTH);
}

/* ---- tried again, and not for ever ---- */

static int count_event(void *userdata, const Event *e) {
        ++*(unsigned *) userdata;
        return 0;
}

static void test_a_throttled_provider_is_given_up(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        unsigned n = 0;

        f->fail_verb = "provision";
        f->fail_type = "volume";
        f->fail_class = PROVIDER_THROTTLED;
        f->fail_times = 1000000;
        push(f, "login", A_COMMIT);
        spend(f, MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        assert_true(calls(f, "provision", "volume") < 60);
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 100000, count_event, &n, NULL), 0);
        assert_true(n < 60);
}

/* One resource is told to come back in a year: the others of its provider are not held up by it. */
static void test_one_answer_stops_no_provider(void **state) {
        static const char busy[] =
                "{\"error\":{\"class\":\"throttled\",\"message\":\"no\",\"retry_after_ms\":31536000000}}\n";
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "one", A_COMMIT);
        turns(f);
        while (!streq(f->first->type, "network")) {
                answer_first(f);
                turns(f);
        }
        answer_first_with(f, busy, strlen(busy), false);
        settle(f);
        push(f, "two", A_COMMIT);
        settle_for(f, 2 * LIMIT_SLOW_MS);
        get(f, "two", &env);
        assert_int_equal(env.state, ENV_READY);
        spend(f, MS_PER_DAY); /* the row itself is tried again in a day at most */
        get(f, "one", &env);
        assert_int_equal(env.state, ENV_READY);
}

static void test_a_dependency_is_waited_for_in_a_removal_too(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        spend(f, 15 * MS_PER_MINUTE); /* everything is older than the patience is long */
        f->fail_verb = "deprovision";
        f->fail_type = "network";
        f->fail_class = PROVIDER_DEPENDENCY;
        f->fail_times = 8;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, 10 * MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

static void test_what_is_stuck_holds_only_what_it_stands_on(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        f->fail_verb = "deprovision";
        f->fail_type = "network";
        f->fail_class = PROVIDER_DENIED;
        f->fail_times = 1;
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_non_null(uid_of(f, "network", uid));
        assert_null(uid_of(f, "volume", uid));
        spend(f, MS_PER_DAY + MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
}

static void test_a_shared_thing_that_failed_is_tried_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        char uid[ID_SIZE];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_pin(f->engine, NULL, "login--shop", INT64_MAX, "", NULL), 0);
        assert_non_null(uid_of(f, "volume", uid));
        map_remove(f->things, uid);
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        r.inspect = true;
        assert_int_equal(ledger_resource_update(f->ledger, &r, NULL), 0);
        f->fail_verb = "provision";
        f->fail_type = "volume";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = LIMIT_TRANSIENT_TRIES;
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_FAILED);
        spend(f, 2 * MS_PER_DAY);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_non_null(map_get(f->things, uid));
}

/* ---- a wake that fails ---- */

static const char *two_file(const char *commit, const char *path) {
        return streq(path, "compose.yaml")
                       ? "services:\n  aa:\n    build: .\n    command: [x]\n    ports: [\"80\"]\n"
                         "  bb:\n    build: .\n    command: [x]\n    ports: [\"81\"]\n"
                         "    depends_on: [aa]\n"
                       : NULL;
}

static int count_awake(void *userdata, const Resource *r) {
        *(unsigned *) userdata += streq(r->type, "workload") && r->state == RES_READY;
        return 0;
}

static void test_after_a_failed_wake_nothing_stays_up(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        unsigned n_awake = 0;
        int64_t asleep_ms;

        f->file = two_file;
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_sleep(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        asleep_ms = env.asleep_ms;
        pass(f, MS_PER_HOUR);
        assert_int_equal(engine_wake(f->engine, NULL, "login--shop", NULL), 0);
        do {
                turns(f);
                if (calls(f, "wake", "workload") == 2 && f->fail_times == 0) {
                        f->fail_verb = "wake";
                        f->fail_type = "workload";
                        f->fail_class = PROVIDER_UNRECOVERABLE;
                        f->fail_times = 1;
                }
        } while (answer_first(f));
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_STOPPED);
        assert_int_equal(env.asleep_ms, asleep_ms);
        assert_int_equal(
                ledger_resource_each(f->ledger, env.id, false, count_awake, &n_awake, NULL), 0);
        assert_int_equal(n_awake, 0);
}

static const char *three_file(const char *commit, const char *path) {
        return streq(path, "compose.yaml")
                       ? "services:\n  aa:\n    build: .\n    command: [x]\n    ports: [\"80\"]\n"
                         "  bb:\n    build: .\n    command: [x]\n    ports: [\"81\"]\n"
                         "    depends_on: [aa]\n"
                         "  cc:\n    build: .\n    command: [x]\n    ports: [\"82\"]\n"
                       : NULL;
}

static void fail_once(Fixture *f, const char *verb, ProviderClass class) {
        f->fail_verb = verb;
        f->fail_type = "workload";
        f->fail_class = class;
        f->fail_times = 1;
}

/* cc refuses to sleep and aa, which bb needs, cannot be woken: it stays as it is, and nothing runs in
 * circles. A day on what has failed is tried again, and then all of it is up. */
static void test_neither_woken_nor_asleep_is_awake(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 }, later = { 0 };
        Fixture *f = *state;
        unsigned n_awake = 0;

        f->file = three_file;
        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(engine_sleep(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        assert_int_equal(calls(f, "sleep", "workload"), 3);
        for (unsigned i = 0; i < 3; i++) {
                if (streq(text(json_object_get(f->first->request, "resource"), "name"), "cc"))
                        fail_once(f, "sleep", PROVIDER_INVALID);
                assert_true(answer_first(f));
        }
        fail_once(f, "wake", PROVIDER_UNRECOVERABLE);
        assert_true(turns_until(f, 50) < 50);
        assert_true(answer_first(f));
        assert_true(turns_until(f, 50) < 50);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        assert_int_equal(calls(f, "sleep", "workload"), 3);
        assert_int_equal(calls(f, "wake", "workload"), 1);

        f->activity.open = 1;
        spend(f, MS_PER_DAY + MS_PER_HOUR);
        get(f, "login", &later);
        assert_int_equal(later.level, LEVEL_AWAKE);
        assert_int_equal(ledger_resource_each(f->ledger, NULL, false, count_awake, &n_awake, NULL),
                         0);
        assert_int_equal(n_awake, 3);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_waiting_turns_end),
                WITH(test_many_layers_wake_in_order),
                WITH(test_a_throttled_provider_is_given_up),
                WITH(test_one_answer_stops_no_provider),
                WITH(test_a_dependency_is_waited_for_in_a_removal_too),
                WITH(test_what_is_stuck_holds_only_what_it_stands_on),
                WITH(test_a_shared_thing_that_failed_is_tried_again),
                WITH(test_after_a_failed_wake_nothing_stays_up),
                WITH(test_neither_woken_nor_asleep_is_awake),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
