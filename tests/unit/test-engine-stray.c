#include "tests/unit/engine-world.h"

#include <string.h>

/* What a list shows and the ledger does not have: what makes it an orphan, and what does not. */

#define ORPHAN           "rzzzzzzzzzzzzzzzzzzz"
#define GONE_ENVIRONMENT "ezzzzzzzzzzzzzzzzzzz"

static void on_looked(void *userdata, int r, const Error *error) {
        ++*(unsigned *) userdata;
}

/* The lists that are under way, out of the row of calls. */
static Pending *take_lists(Fixture *f) {
        Pending *lists = NULL;

        for (Pending **at = &f->first, *p; (p = *at);) {
                if (!streq(p->verb, "list")) {
                        at = &p->next;
                        continue;
                }
                *at = p->next;
                p->next = lists;
                lists = p;
        }
        return lists;
}

/* What the ledger does not know is a workload. */
static bool of_provider(Fixture *f, const Pending *p, const char *uid) {
        auto_cleanup(resource_done) Resource r = { 0 };
        const char *dir = text(json_object_get(p->request, "config"), "state_dir");

        if (ledger_resource_get(f->ledger, uid, &r, NULL) < 0)
                return str_ends_with(dir, "/process");
        return streq(strrchr(dir, '/') + 1, r.provider);
}

/* Each of them ends with those of the items that are its provider's; complete. */
static void answer_lists(Fixture *f, Pending *lists, json_t *items) {
        ProviderEvents events = engine_provider_events(f->engine);
        json_auto_t *result = json_pack("{s:b}", "complete", 1);

        for (Pending *p = lists, *next; p; p = next) {
                json_auto_t *own = json_array();
                json_t *one;
                size_t i;

                next = p->next;
                json_array_foreach(items, i, one) {
                        if (of_provider(f, p, text(one, "uid")))
                                json_array_append(own, one);
                }
                events.on_reply(
                        events.userdata,
                        &(ProviderReply){ .call_id = p->id, .result = result, .items = own });
                free(p->id);
                free(p->verb);
                free(p->type);
                free(p->uid);
                free(p->commit);
                json_decref(p->request);
                free(p);
        }
        settle(f);
}

static json_t *item(const char *uid, const char *marker, const char *type) {
        return json_pack("{s:s, s:s, s:s, s:s}", "uid", uid, "marker", marker, "present", "present",
                         "type", type);
}

/* One look at a world in which there is a thing of this environment that the ledger does not know. */
static void see_orphan(Fixture *f, const char *environment) {
        auto_cleanup(freep) char *marker =
                str_format("%s/%s/" ORPHAN, ledger_installation(f->ledger), environment);
        json_auto_t *items = json_array();
        unsigned looked = 0;

        assert_int_equal(map_put(f->things, ORPHAN, f), 0);
        json_array_append_new(items, item(ORPHAN, marker, "workload"));
        assert_int_equal(engine_orphans_look(f->engine, on_looked, &looked, NULL), 0);
        turns(f);
        answer_lists(f, take_lists(f), items);
        assert_int_equal(looked, 1);
}

static size_t n_orphans(Fixture *f) {
        json_auto_t *all = NULL;

        assert_int_equal(engine_orphans(f->engine, &all, NULL), 0);
        return json_array_size(json_object_get(all, "orphans"));
}

static int remove_orphans(Fixture *f, char *const *uids, OrphanWish wish, Error *reterr) {
        json_t *report = NULL;
        int r = engine_orphans_remove(f->engine, &(EngineActor){ .who = "uid:7" }, uids, wish,
                                      &report, reterr);

        json_decref(report);
        return r;
}

static char *const this_one[] = { (char *) ORPHAN, NULL };

/* The list said whose it is; the look right before the removal does not. */
static void test_without_a_marker_in_the_last_look_it_stays(void **state) {
        static const char bare[] = "{\"result\":{\"present\":\"present\"}}\n";
        json_auto_t *all = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        see_orphan(f, GONE_ENVIRONMENT);
        calls_forget(f);
        assert_int_equal(remove_orphans(f, this_one, (OrphanWish){ .young = true }, NULL), 0);
        turns(f);
        assert_non_null(f->first);
        assert_string_equal(f->first->verb, "inspect");
        assert_string_equal(f->first->uid, ORPHAN);
        answer_first_with(f, bare, strlen(bare), true);
        settle_for(f, MS_PER_HOUR);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        assert_non_null(map_get(f->things, ORPHAN));
        assert_int_equal(engine_orphans(f->engine, &all, NULL), 0);
        assert_non_null(strstr(text(json_array_get(json_object_get(all, "orphans"), 0), "cause"),
                               "no marker"));
}

/* "young" is about things that somebody looked at, one by one. */
static void test_all_of_them_are_not_the_young_ones(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        see_orphan(f, GONE_ENVIRONMENT);
        assert_int_equal(remove_orphans(f, NULL, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_non_null(map_get(f->things, ORPHAN));
        assert_int_equal(n_orphans(f), 1);
}

/* Its provider may still be working on it; when the environment is gone, it is an orphan. */
static void test_what_is_of_an_environment_that_is_being_deleted_stays(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error e = { 0 };
        Fixture *f = *state;

        push(f, "stays", A_COMMIT);
        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        see_orphan(f, env.id);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        turns(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_DELETING);
        assert_int_equal(remove_orphans(f, this_one, (OrphanWish){ .young = true }, &e), -EPERM);
        assert_non_null(strstr(e.message, "owned"));
        settle(f);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(remove_orphans(f, this_one, (OrphanWish){ .young = true }, NULL), 0);
        settle(f);
        assert_null(map_get(f->things, ORPHAN));
}

static int add_item(void *userdata, const Resource *r) {
        return json_array_append_new(userdata, item(r->uid, r->marker, r->type));
}

/* A list takes a while: what it shows may have been removed since. */
static void test_what_was_removed_while_the_list_was_made_is_no_orphan(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_auto_t *items = json_array();
        Pending *lists;
        unsigned looked = 0;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(ledger_resource_each(f->ledger, env.id, false, add_item, items, NULL), 0);
        assert_true(json_array_size(items) > 2);
        assert_int_equal(engine_orphans_look(f->engine, on_looked, &looked, NULL), 0);
        turns(f);
        lists = take_lists(f);
        assert_non_null(lists);
        pass(f, 1000);
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle(f);
        assert_int_equal(map_size(f->things), 0);
        pass(f, 1000);
        answer_lists(f, lists, items);
        assert_int_equal(looked, 1);
        assert_int_equal(n_orphans(f), 0);
        /* what a later list shows is one */
        assert_int_equal(engine_orphans_look(f->engine, on_looked, &looked, NULL), 0);
        turns(f);
        answer_lists(f, take_lists(f), items);
        assert_true(n_orphans(f) > 0);
}

static void see_unmarked(Fixture *f, const char *uid) {
        auto_cleanup(freep) char *marker =
                str_format("%s/unknown/%s", ledger_installation(f->ledger), uid);
        json_auto_t *items = json_array();
        unsigned looked = 0;

        json_array_append_new(items, item(uid, marker, "workload"));
        assert_int_equal(engine_orphans_look(f->engine, on_looked, &looked, NULL), 0);
        turns(f);
        answer_lists(f, take_lists(f), items);
        assert_int_equal(looked, 1);
}

/* Its folder is there and its mark not yet, or not any more. After it was removed that is something left. */
static void test_what_has_no_mark_just_then_is_no_orphan(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;
        char uid[ID_SIZE];

        push(f, "login", A_COMMIT);
        settle(f);
        assert_non_null(uid_of(f, "workload", uid));
        see_unmarked(f, uid);
        assert_int_equal(n_orphans(f), 0);
        settle_for(f, MS_PER_MINUTE);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        push(f, "other", A_COMMIT); /* so that the provider is asked */
        assert_int_equal(engine_down(f->engine, NULL, "login--shop", NULL), 0);
        settle_for(f, MS_PER_MINUTE);
        assert_null(map_get(f->things, uid));
        pass(f, 1000);
        see_unmarked(f, uid);
        assert_int_equal(n_orphans(f), 1);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_without_a_marker_in_the_last_look_it_stays),
                WITH(test_all_of_them_are_not_the_young_ones),
                WITH(test_what_is_of_an_environment_that_is_being_deleted_stays),
                WITH(test_what_was_removed_while_the_list_was_made_is_no_orphan),
                WITH(test_what_has_no_mark_just_then_is_no_orphan),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
