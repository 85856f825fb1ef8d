#include "tests/unit/engine-world.h"

#include "orchestrator/base/fault.h"
#include "orchestrator/glue/crypto.h"

/* Every teardown ends with one receipt that holds everything, however it was interrupted. */

static json_t *receipt_of(Fixture *f, const char *id) {
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        json_t *body;

        assert_int_equal(ledger_receipt_get(f->ledger, id, &receipt, NULL), 0);
        assert_int_equal(ledger_receipt_check(f->ledger, &receipt, NULL), 0);
        body = json_loads(receipt.body, 0, NULL);
        assert_string_equal(text(json_object_get(body, "environment"), "id"), id);
        return body;
}

static bool names(const json_t *list, const char *kind, const char *name) {
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item) {
                if (streq(text(item, "kind"), kind) && streq(text(item, "name"), name))
                        return true;
        }
        return false;
}

/* Each resource that was made is in it once, with what its provider said. */
static void assert_whole(const json_t *body, char *const *uids) {
        json_t *one;
        size_t i;

        assert_int_equal(json_array_size(json_object_get(body, "resources")), strv_length(uids));
        json_array_foreach(json_object_get(body, "resources"), i, one) {
                const char *uid = text(one, "uid");

                assert_true(strv_contains(uids, uid));
                assert_true(names(json_object_get(one, "removed"), "thing", uid) ||
                            names(json_object_get(one, "absent"), "thing", uid));
                assert_false(names(json_object_get(one, "removed"), "thing", uid) &&
                             names(json_object_get(one, "absent"), "thing", uid));
                assert_true(names(json_object_get(one, "absent"), "mount", uid));
                assert_true(json_integer_value(json_object_get(one, "absent_ms")) > 0);
                assert_true(*text(one, "provider") && *text(one, "marker"));
        }
        assert_string_equal(text(json_object_get(body, "route"), "answer"), "gone");
        assert_int_equal(
                json_integer_value(json_object_get(json_object_get(body, "route"), "endpoints")),
                0);
}

static int collect(void *userdata, const Resource *r) {
        return r->touched ? strv_add(userdata, r->uid) : 0;
}

static char **uids_of(Fixture *f, const char *id) {
        char **uids = NULL;

        assert_int_equal(ledger_resource_each(f->ledger, id, true, collect, &uids, NULL), 0);
        return uids;
}

static void test_a_teardown_ends_with_a_receipt(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(receipt_done) Receipt none = { 0 };
        auto_cleanup(strv_freep) char **uids = NULL;
        Fixture *f = *state;
        json_t *body;

        push(f, "login", A_COMMIT);
        settle(f);
        push(f, "login", B_COMMIT); /* what the first generation had is in it too */
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &none, NULL), -ENOENT);
        assert_int_equal(engine_down(f->engine, &(EngineActor){ .who = "uid:7" }, env.id, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        body = receipt_of(f, env.id);
        uids = uids_of(f, env.id);
        assert_true(strv_length(uids) >= 6);
        assert_whole(body, uids);
        assert_string_equal(text(json_object_get(body, "environment"), "by"), "uid:7");
        assert_string_equal(text(body, "installation"), ledger_installation(f->ledger));
        json_decref(body);
}

/* Killed after any answer, and after any turn of the teardown. */
static void test_an_interrupted_teardown_has_one_whole_receipt(void **state) {
        Fixture *f = *state;
        bool done = false;

        for (unsigned n = 0; !done; n++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("cut%u", n);
                auto_cleanup(strv_freep) char **uids = NULL;
                unsigned i = 0;
                json_t *body;

                assert_true(n < 60);
                push(f, branch, A_COMMIT);
                settle(f);
                get(f, branch, &env);
                assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                turns(f);
                while (i < n && answer_first(f)) {
                        if (i + 1 < n || n % 2 == 0)
                                turns(f); /* else the answer came and was not applied */
                        i++;
                }
                done = i < n;
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, 10 * MS_PER_MINUTE);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_GONE);
                body = receipt_of(f, env.id);
                uids = uids_of(f, env.id);
                assert_whole(body, uids);
                json_decref(body);
        }
}

static const json_t *resource_of(const json_t *body, const char *type) {
        const json_t *one;
        size_t i;

        json_array_foreach(json_object_get(body, "resources"), i, one) {
                if (streq(text(one, "type"), type))
                        return one;
        }
        return NULL;
}

/* What an attempt did of which nobody heard is not said to have been absent. */
static void test_an_answer_that_was_lost_is_told(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        const json_t *volume, *workload;
        Fixture *f = *state;
        json_t *body;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        turns(f);
        while (f->first &&
               !(streq(f->first->verb, "deprovision") && streq(f->first->type, "volume"))) {
                assert_true(answer_first(f));
                turns(f);
        }
        assert_non_null(f->first);
        do_first(f);
        daemon_killed(f);
        daemon_up(f);
        settle_for(f, 10 * MS_PER_MINUTE);
        body = receipt_of(f, env.id);
        volume = resource_of(body, "volume");
        assert_int_equal(json_integer_value(json_object_get(volume, "attempts")), 2);
        assert_int_equal(json_integer_value(json_object_get(volume, "answers")), 1);
        workload = resource_of(body, "workload");
        assert_int_equal(json_integer_value(json_object_get(workload, "attempts")), 1);
        assert_int_equal(json_integer_value(json_object_get(workload, "answers")), 1);
        json_decref(body);
}

/* The receipt and the last move are one: neither comes without the other, whatever cannot be written. */
static void test_no_end_without_a_receipt(void **state) {
        Fixture *f = *state;
        unsigned n_fired = 0;

        for (unsigned n = 1; n < 12; n++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("full%u", n);

                push(f, branch, A_COMMIT);
                settle(f);
                get(f, branch, &env);
                assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
                turns(f);
                fault_arm("ledger.commit", n, 1);
                for (unsigned i = 0; i < 60; i++) {
                        auto_cleanup(receipt_done) Receipt receipt = { 0 };
                        bool has;

                        pass(f, 61 * MS_PER_SECOND);
                        turns(f);
                        (void) answer_first(f);
                        get(f, branch, &env);
                        if (ledger_is_open(f->ledger))
                                continue;
                        has = ledger_receipt_get(f->ledger, env.id, &receipt, NULL) == 0;
                        assert_int_equal(has, env.state == ENV_GONE);
                }
                n_fired += fault_fired();
                fault_arm("none", 0, 0);
                settle_for(f, MS_PER_HOUR);
                get(f, branch, &env);
                assert_int_equal(env.state, ENV_GONE);
                json_decref(receipt_of(f, env.id));
        }
        if (n_fired == 0)
                skip(); /* not built with points */
}

static int find_receipt_digest(void *userdata, const Event *e) {
        char **ret = userdata;
        json_t *data;

        if (!streq(e->kind, "environment.gone"))
                return 0;
        data = json_loads(e->data, 0, NULL);
        *ret = strdup(text(data, "receipt"));
        json_decref(data);
        return 0;
}

static void test_the_event_log_holds_its_digest(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        auto_cleanup(freep) char *digest = NULL;
        char expected[SHA256_HEX];
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &receipt, NULL), 0);
        assert_int_equal(sha256_hex(receipt.body, strlen(receipt.body), expected), 0);
        assert_int_equal(
                ledger_event_each(f->ledger, 0, env.id, 1000, find_receipt_digest, &digest, NULL),
                0);
        assert_string_equal(digest, expected);
}

/* Canonical: a second reading and writing gives the same bytes. */
static void test_the_body_is_canonical(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        auto_cleanup(freep) char *again = NULL;
        json_t *body;
        Fixture *f = *state;

        push(f, "gr\xc3\xbc\xc3\x9f", A_COMMIT);
        settle(f);
        get(f, "gr\xc3\xbc\xc3\x9f", &env);
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &receipt, NULL), 0);
        body = json_loads(receipt.body, 0, NULL);
        again = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(again, receipt.body);
        assert_non_null(strstr(receipt.body, "gr\xc3\xbc\xc3\x9f"));
        json_decref(body);
}

static void test_notes_are_kept_once(void **state) {
        auto_cleanup(resource_done) Resource r = { 0 };
        Fixture *f = *state;
        char uid[ID_SIZE];

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "workload", uid));
        assert_int_equal(ledger_resource_get(f->ledger, uid, &r, NULL), 0);
        assert_int_equal(strv_length(r.notes), 1);
        assert_string_equal(r.notes[0], "memory is not limited");
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_a_teardown_ends_with_a_receipt),
                WITH(test_an_interrupted_teardown_has_one_whole_receipt),
                WITH(test_an_answer_that_was_lost_is_told),
                WITH(test_no_end_without_a_receipt),
                WITH(test_the_event_log_holds_its_digest),
                WITH(test_the_body_is_canonical),
                WITH(test_notes_are_kept_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
