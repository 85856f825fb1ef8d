#include "tests/unit/engine-world.h"

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/db.h"

/* Orphans and ghosts, and a receipt held against the world. */

#define GONE_ENVIRONMENT "ezzzzzzzzzzzzzzzzzzz"
#define ORPHAN           "rzzzzzzzzzzzzzzzzzzz"

/* ---- lists ---- */

static void on_looked(void *userdata, int r, const Error *error) {
        assert_int_equal(r, 0);
        ++*(unsigned *) userdata;
}

static bool of_provider(Fixture *f, const Pending *p, const char *uid) {
        auto_cleanup(resource_done) Resource r = { 0 };
        const char *dir = text(json_object_get(p->request, "config"), "state_dir");

        if (ledger_resource_get(f->ledger, uid, &r, NULL) < 0)
                return str_ends_with(dir, "/process");
        return streq(strrchr(dir, '/') + 1, r.provider);
}

static json_t *item_of(Fixture *f, const char *uid, const char *environment) {
        auto_cleanup(resource_done) Resource r = { 0 };
        auto_cleanup(freep) char *marker = str_format("%s/%s/%s", ledger_installation(f->ledger),
                                                      environment ? environment : "", uid);

        if (ledger_resource_get(f->ledger, uid, &r, NULL) == 0)
                return json_pack("{s:s, s:s, s:s}", "uid", uid, "marker", r.marker, "present",
                                 "present");
        return json_pack("{s:s, s:s, s:s, s:s}", "uid", uid, "marker", marker, "present", "present",
                         "type", "workload");
}

/* Answers every list that is asked for with all things but one; strangers belong to environment. */
static void list_all(Fixture *f, const char *environment, const char *but, bool complete) {
        ProviderEvents events = engine_provider_events(f->engine);
        unsigned looked = 0;

        assert_int_equal(engine_orphans_look(f->engine, on_looked, &looked, NULL), 0);
        turns(f);
        for (Pending **at = &f->first, *p; (p = *at);) {
                json_auto_t *items = json_array(), *result = NULL;
                const char *uid;
                size_t i = 0;

                if (!streq(p->verb, "list")) {
                        at = &p->next;
                        continue;
                }
                *at = p->next;
                while (map_next(f->things, &i, &uid))
                        if (of_provider(f, p, uid) && !streq_null(but, uid))
                                json_array_append_new(items, item_of(f, uid, environment));
                result = json_pack("{s:b}", "complete", complete);
                events.on_reply(
                        events.userdata,
                        &(ProviderReply){ .call_id = p->id, .result = result, .items = items });
                free(p->id);
                free(p->verb);
                free(p->type);
                free(p->uid);
                free(p->commit);
                json_decref(p->request);
                free(p);
        }
        settle(f);
        assert_int_equal(looked, 1);
}

/* The lists that the engine asks for by itself show nothing more. */
static void put_orphan(Fixture *f) {
        f->list_complete = true;
        assert_int_equal(map_put(f->things, ORPHAN, f), 0);
}

static json_t *known(Fixture *f, const char *kind) {
        json_t *all, *list;

        assert_int_equal(engine_orphans(f->engine, &all, NULL), 0);
        list = json_incref(json_object_get(all, kind));
        json_decref(all);
        return list;
}

static void assert_verdict(Fixture *f, const char *word) {
        json_t *orphans = known(f, "orphans");

        assert_int_equal(json_array_size(orphans), 1);
        assert_string_equal(text(json_array_get(orphans, 0), "uid"), ORPHAN);
        assert_string_equal(text(json_array_get(orphans, 0), "verdict"), word);
        json_decref(orphans);
}

static void assert_none(Fixture *f, const char *kind) {
        json_t *list = known(f, kind);

        assert_int_equal(json_array_size(list), 0);
        json_decref(list);
}

static int remove_orphan(Fixture *f, OrphanWish wish, Error *reterr) {
        char *uids[] = { (char *) ORPHAN, NULL };
        json_t *report = NULL;
        int r = engine_orphans_remove(f->engine, &(EngineActor){ .who = "uid:7" }, uids, wish,
                                      &report, reterr);

        json_decref(report);
        return r;
}

/* A provider is asked to list only when it has something. */
static void live_preview(Fixture *f, const char *branch, Environment *ret) {
        push(f, branch, A_COMMIT);
        settle(f);
        get(f, branch, ret);
        assert_int_equal(ret->state, ENV_READY);
}

/* ---- gates ---- */

static void test_seen_three_times_over_a_day_before_it_may_go(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error e = { 0 };
        json_t *report;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        f->list_complete = false; /* it would be taken for gone */
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_verdict(f, "young");
        assert_int_equal(remove_orphan(f, (OrphanWish){ 0 }, &e), -EPERM);
        assert_non_null(strstr(e.message, "seen in 1 complete lists"));
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_verdict(f, "young"); /* three times, within a moment */
        pass(f, LIMIT_ORPHAN_AGE_MS + 1000);
        settle(f);
        assert_verdict(f, "orphan");
        assert_int_equal(engine_orphans_remove(f->engine, NULL, NULL,
                                               (OrphanWish){ .dry_run = true }, &report, NULL),
                         0);
        assert_true(json_is_true(
                json_object_get(json_array_get(json_object_get(report, "orphans"), 0), "chosen")));
        json_decref(report);
        settle(f);
        assert_verdict(f, "orphan"); /* nothing was changed */
        assert_non_null(map_get(f->things, ORPHAN));
        f->list_complete = true;
        assert_int_equal(
                engine_orphans_remove(f->engine, NULL, NULL, (OrphanWish){ 0 }, &report, NULL), 0);
        json_decref(report);
        settle(f);
        assert_null(map_get(f->things, ORPHAN));
        assert_none(f, "orphans");
}

static void test_a_partial_list_counts_for_nothing(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(stray_done) Stray s = { 0 }, again = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        for (unsigned i = 0; i < 5; i++)
                list_all(f, GONE_ENVIRONMENT, NULL, false);
        pass(f, LIMIT_ORPHAN_AGE_MS + 1000);
        turns(f);
        assert_int_equal(ledger_stray_get(f->ledger, ORPHAN, &s, NULL), 0);
        assert_int_equal(s.times, 0);
        assert_verdict(f, "young");
        list_all(f, GONE_ENVIRONMENT, ORPHAN, false); /* left out: no evidence that it is gone */
        assert_verdict(f, "young");
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_int_equal(ledger_stray_get(f->ledger, ORPHAN, &again, NULL), 0);
        assert_int_equal(again.times, 1);
        assert_true(again.first_ms == s.first_ms);
        list_all(f, GONE_ENVIRONMENT, ORPHAN, true);
        assert_none(f, "orphans");
        assert_non_null(map_get(f->things, ORPHAN));
}

static void test_what_a_living_preview_may_use_stays(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error e = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, env.id, NULL, true);
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, &e), -EPERM);
        assert_non_null(strstr(e.message, "owned"));
        assert_int_equal(engine_pin(f->engine, NULL, env.id, INT64_MAX, "demo", NULL), 0);
        settle(f);
        assert_verdict(f, "protected");
        settle(f);
        assert_non_null(map_get(f->things, ORPHAN));
}

static void test_what_has_no_marker_of_its_own_is_not_removed(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error e = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, "unknown", NULL, true);
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, &e), -EPERM);
        assert_non_null(strstr(e.message, "uncertain"));
}

/* While providers list, the timer waits for what else there is: a past time would wake the daemon again and
 * again until the last of them is done. */
static void test_nobody_waits_awake_for_a_list(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_verdict(f, "young");
        pass(f, LIMIT_ORPHAN_LOOK_MS + 1);
        turns(f);
        assert_true(f->armed_ms > f->now_ms);
        settle(f);
}

/* ---- carrying it out ---- */

static void test_a_freeze_holds_it_also_when_the_wish_is_older(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_error e = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_int_equal(engine_freeze(f->engine, NULL, true, "audit", NULL), 0);
        turns(f);
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, &e), -EPERM);
        assert_non_null(strstr(e.message, "audit"));
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        turns(f);
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        turns(f); /* the look is under way */
        assert_int_equal(engine_freeze(f->engine, NULL, true, "wait", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_non_null(map_get(f->things, ORPHAN));
        assert_verdict(f, "removing");
        assert_int_equal(engine_freeze(f->engine, NULL, false, NULL, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_null(map_get(f->things, ORPHAN));
        assert_none(f, "orphans");
}

/* Judged at the wish, and once more right before it is done. */
static void test_what_was_pinned_since_the_wish_stays(void **state) {
        static const EngineActor admin = { .who = "uid:7" };
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE], *uids[] = { uid, NULL };
        const OrphanWish wish = { .young = true };
        json_t *report, *orphans;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        uid_of(f, "workload", uid);
        push(f, "login", B_COMMIT);
        settle_for(f, MS_PER_HOUR);
        assert_null(map_get(f->things, uid));
        assert_int_equal(map_put(f->things, uid, f), 0); /* its removal did not last */
        f->list_complete = true;
        list_all(f, env.id, NULL, true);
        assert_int_equal(engine_orphans_remove(f->engine, &admin, uids, wish, &report, NULL), 0);
        json_decref(report);
        turns(f); /* the look is under way */
        assert_int_equal(
                engine_pin(f->engine, &admin, env.id, f->now_ms + MS_PER_DAY, "demo", NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_non_null(map_get(f->things, uid));
        orphans = known(f, "orphans");
        assert_int_equal(json_array_size(orphans), 1);
        assert_non_null(strstr(text(json_array_get(orphans, 0), "cause"), "is pinned"));
        json_decref(orphans);
        assert_int_equal(engine_unpin(f->engine, &admin, env.id, NULL), 0);
        assert_int_equal(engine_orphans_remove(f->engine, &admin, uids, wish, &report, NULL), 0);
        json_decref(report);
        settle_for(f, MS_PER_HOUR);
        assert_null(map_get(f->things, uid));
        assert_none(f, "orphans");
}

static void test_somebody_elses_thing_in_its_place_is_left_alone(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_t *orphans;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        f->foreign = ORPHAN;
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_int_equal(f->n_foreign_touched, 0);
        assert_non_null(map_get(f->things, ORPHAN));
        orphans = known(f, "orphans");
        assert_non_null(strstr(text(json_array_get(orphans, 0), "cause"), "another marker"));
        json_decref(orphans);
}

static void test_killed_after_any_answer_it_is_removed_all_the_same(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        live_preview(f, "login", &env);
        for (unsigned n = 0; n < 6; n++) {
                put_orphan(f);
                list_all(f, GONE_ENVIRONMENT, NULL, true);
                assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
                turns(f);
                for (unsigned i = 0; i < n && answer_first(f); i++)
                        if (i % 2 == 0)
                                turns(f);
                daemon_killed(f);
                daemon_up(f);
                settle_for(f, MS_PER_HOUR);
                assert_null(map_get(f->things, ORPHAN));
                assert_none(f, "orphans");
        }
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

static void test_a_removal_that_fails_is_given_back_with_the_reason(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_t *orphans;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        f->fail_verb = "deprovision";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 100;
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, 2 * MS_PER_HOUR);
        assert_true(f->fail_times > 80); /* a bounded number of tries */
        orphans = known(f, "orphans");
        assert_string_equal(text(json_array_get(orphans, 0), "cause"), "it said no");
        json_decref(orphans);
        f->fail_times = 0;
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_none(f, "orphans");
}

/* An inspect that is blind to a part of it does not end it: a complete list has the last word. */
static void test_only_a_complete_list_ends_a_removal(void **state) {
        auto_cleanup(freep) char *marker = NULL;
        auto_cleanup(environment_done) Environment env = { 0 };
        json_t *orphans;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        f->list_complete = false;
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, 2 * MS_PER_HOUR);
        assert_null(map_get(f->things, ORPHAN));
        orphans = known(f, "orphans");
        assert_non_null(strstr(text(json_array_get(orphans, 0), "cause"), "no complete list"));
        json_decref(orphans);

        marker = str_format("%s/%s/%s", ledger_installation(f->ledger), GONE_ENVIRONMENT, ORPHAN);
        f->listed = json_pack("[{s:s, s:s}]", "uid", ORPHAN, "marker", marker);
        f->list_complete = true;
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, 2 * MS_PER_HOUR);
        orphans = known(f, "orphans");
        assert_non_null(strstr(text(json_array_get(orphans, 0), "cause"), "still listed"));
        json_decref(orphans);

        json_decref(f->listed);
        f->listed = json_array();
        assert_int_equal(remove_orphan(f, (OrphanWish){ .young = true }, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_none(f, "orphans");
}

/* Under a uid that the ledger has, of another provider: something else, and ours was not seen. */
static void test_what_is_not_as_the_ledger_has_it_is_an_orphan(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *marker = NULL;
        char uid[ID_SIZE];
        json_t *list;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        spend(f, MS_PER_MINUTE);
        uid_of(f, "volume", uid);
        marker = str_format("%s/%s/%s", ledger_installation(f->ledger), env.id, uid);
        f->listed =
                json_pack("[{s:s, s:s, s:s}]", "uid", uid, "marker", marker, "type", "checkout");
        f->list_complete = true;
        daemon_killed(f);
        daemon_up(f);
        turns(f);
        settle(f); /* each of its providers lists it */
        list = known(f, "orphans");
        assert_int_equal(json_array_size(list), 1);
        assert_string_equal(text(json_array_get(list, 0), "uid"), uid);
        assert_string_not_equal(text(json_array_get(list, 0), "provider"), "volume");
        json_decref(list);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

/* A mark without its thing is looked at. */
static void test_a_mark_alone_is_a_ghost(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(freep) char *marker = NULL;
        char uid[ID_SIZE];
        Fixture *f = *state;

        live_preview(f, "login", &env);
        spend(f, MS_PER_MINUTE);
        uid_of(f, "volume", uid);
        marker = str_format("%s/%s/%s", ledger_installation(f->ledger), env.id, uid);
        f->listed = json_pack("[{s:s, s:s, s:s}]", "uid", uid, "marker", marker, "present",
                              "uncertain");
        map_remove(f->things, uid);
        daemon_killed(f);
        daemon_up(f);
        calls_forget(f);
        settle_for(f, MS_PER_MINUTE);
        assert_int_equal(calls(f, "inspect", "volume"), 1);
        assert_int_equal(calls(f, "provision", "volume"), 1);
        assert_true(calls(f, "inspect", "workload") > 0); /* it may use the one that is no more */
        assert_non_null(map_get(f->things, uid));
        assert_none(f, "ghosts");
}

static void test_how_a_list_ended_is_told(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        json_t *lists;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        lists = known(f, "lists");
        assert_true(json_array_size(lists) > 0);
        for (size_t i = 0; i < json_array_size(lists); i++)
                assert_true(json_is_true(json_object_get(json_array_get(lists, i), "complete")));
        json_decref(lists);
        list_all(f, GONE_ENVIRONMENT, NULL, false);
        lists = known(f, "lists");
        assert_true(json_is_false(json_object_get(json_array_get(lists, 0), "complete")));
        assert_string_not_equal(text(json_array_get(lists, 0), "detail"), "");
        json_decref(lists);
}

/* ---- adopting ---- */

static void test_adopted_it_goes_with_its_environment(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        char *uids[] = { (char *) ORPHAN, NULL };
        json_t *report;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        put_orphan(f);
        list_all(f, env.id, NULL, true);
        assert_int_equal(engine_orphans_adopt(f->engine, NULL, uids,
                                              (OrphanWish){ .dry_run = true }, &report, NULL),
                         0);
        json_decref(report);
        settle(f);
        assert_int_equal(ledger_resource_get(f->ledger, ORPHAN, &r, NULL), -ENOENT);
        assert_int_equal(
                engine_orphans_adopt(f->engine, NULL, uids, (OrphanWish){ 0 }, &report, NULL), 0);
        json_decref(report);
        settle_for(f, MS_PER_HOUR / 6);
        assert_none(f, "orphans");
        list_all(f, env.id, NULL, true);
        assert_none(f, "orphans"); /* it is known now */
        (void) engine_retry(f->engine, NULL, env.id, NULL);
        settle(f);
        assert_int_equal(ledger_resource_get(f->ledger, ORPHAN, &r, NULL), 0);
        assert_int_equal(r.state, RES_FAILED); /* nobody knows how to make it */
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
        assert_non_null(map_get(f->things, ORPHAN));
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_HOUR);
        assert_int_equal(map_size(f->things), 0);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_GONE);
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &receipt, NULL), 0);
        assert_non_null(strstr(receipt.body, ORPHAN));
}

static void test_nothing_is_adopted_by_what_is_gone(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 }, other = { 0 };
        char *uids[] = { (char *) ORPHAN, NULL };
        auto_error e = { 0 }, unknown = { 0 };
        json_t *report;
        Fixture *f = *state;

        live_preview(f, "other", &other);
        live_preview(f, "login", &env);
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_HOUR / 6);
        put_orphan(f);
        list_all(f, env.id, NULL, true);
        assert_int_equal(
                engine_orphans_adopt(f->engine, NULL, uids, (OrphanWish){ 0 }, &report, &e),
                -EPERM);
        assert_non_null(strstr(e.message, "is gone"));
        map_remove(f->things, ORPHAN);
        list_all(f, env.id, NULL, true);
        put_orphan(f);
        list_all(f, GONE_ENVIRONMENT, NULL, true);
        assert_int_equal(
                engine_orphans_adopt(f->engine, NULL, uids, (OrphanWish){ 0 }, &report, &unknown),
                -EPERM);
        assert_non_null(strstr(unknown.message, "knows no environment"));
}

/* ---- ghosts ---- */

static void test_a_ghost_that_is_wanted_is_made_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char volume[ID_SIZE];
        unsigned before;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        assert_non_null(uid_of(f, "workload", volume));
        pass(f, MS_PER_MINUTE);
        map_remove(f->things, volume);
        before = f->n_started[0];
        list_all(f, GONE_ENVIRONMENT, NULL, true); /* answered, looked at, made again */
        assert_true(f->n_started[0] > before);
        assert_non_null(map_get(f->things, volume));
        assert_none(f, "ghosts");
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

static void test_a_ghost_that_cannot_be_looked_at_is_told(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        char uid[ID_SIZE];
        json_t *ghosts;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        assert_non_null(uid_of(f, "workload", uid));
        pass(f, MS_PER_MINUTE);
        f->fail_verb = "inspect";
        f->fail_type = "workload";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 1;
        list_all(f, GONE_ENVIRONMENT, uid, true); /* the list forgot it */
        ghosts = known(f, "ghosts");
        assert_int_equal(json_array_size(ghosts), 1);
        assert_string_equal(text(json_array_get(ghosts, 0), "uid"), uid);
        json_decref(ghosts);
        settle_for(f, MS_PER_HOUR / 6); /* and the look finds it there */
        assert_none(f, "ghosts");
}

/* ---- verify ---- */

static void on_verified(void *userdata, json_t *report) {
        *(json_t **) userdata = report;
}

static json_t *verify(Fixture *f, const char *id) {
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        EngineVerify *v = NULL;
        json_t *report = NULL;

        assert_int_equal(ledger_receipt_get(f->ledger, id, &receipt, NULL), 0);
        assert_int_equal(engine_verify(f->engine, &receipt, on_verified, &report, &v, NULL), 0);
        assert_null(report);
        settle(f);
        assert_non_null(report);
        return report;
}

static void test_verify_looks_again(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        EngineVerify *v = NULL;
        auto_cleanup(receipt_done) Receipt receipt = { 0 };
        char uid[ID_SIZE];
        json_t *report, *never = NULL;
        Fixture *f = *state;

        live_preview(f, "login", &env);
        assert_non_null(uid_of(f, "volume", uid));
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_HOUR / 6);
        report = verify(f, env.id);
        assert_true(json_array_size(json_object_get(report, "looks")) >= 4);
        assert_int_equal(json_integer_value(json_object_get(report, "left")), 0);
        assert_true(json_is_true(json_object_get(report, "route_gone")));
        /* The lists of this world are never complete: unknown is not gone. */
        assert_true(json_integer_value(json_object_get(report, "unknown")) > 0);
        assert_false(json_is_true(json_object_get(report, "gone")));
        json_decref(report);
        assert_int_equal(map_put(f->things, uid, f), 0); /* it came back */
        report = verify(f, env.id);
        assert_int_equal(json_integer_value(json_object_get(report, "left")), 1);
        assert_false(json_is_true(json_object_get(report, "gone")));
        json_decref(report);
        map_remove(f->things, uid);

        /* Given up half way: nobody is told, nothing is left of it. */
        assert_int_equal(ledger_receipt_get(f->ledger, env.id, &receipt, NULL), 0);
        assert_int_equal(engine_verify(f->engine, &receipt, on_verified, &never, &v, NULL), 0);
        turns(f);
        (void) answer_first(f);
        turns(f);
        engine_verify_cancel(v);
        settle(f);
        assert_null(never);
        assert_int_equal(engine_verify(f->engine, &receipt, on_verified, &never, &v, NULL), 0);
        turns(f);
}

/* ---- what is forgotten ---- */

static int64_t ended_intents(Fixture *f) {
        auto_cleanup(db_freep) Db *db = NULL;
        auto_cleanup(db_query_donep) DbQuery *q = NULL;

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(
                db_query(db, "SELECT count(*) FROM intent WHERE outcome IS NOT NULL", &q, NULL), 0);
        assert_int_equal(db_step(q, NULL), 1);
        return db_int(q, 0);
}

static int count_route(void *userdata, const Route *r) {
        ++*(unsigned *) userdata;
        return 0;
}

static void test_old_intents_and_routes_are_forgotten(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 }, living = { 0 };
        Fixture *f = *state;
        unsigned n = 0, n_front;
        int64_t armed;

        push(f, "stays", A_COMMIT);
        settle(f);
        get(f, "stays", &living);
        assert_int_equal(engine_pin(f->engine, NULL, living.id, INT64_MAX, "", NULL), 0);
        push(f, "login", A_COMMIT);
        settle(f);
        get(f, "login", &env);
        assert_int_equal(engine_down(f->engine, NULL, env.id, NULL), 0);
        settle_for(f, MS_PER_HOUR / 6);
        assert_int_equal(ledger_route_each(f->ledger, count_route, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_true(ended_intents(f) > 5);
        armed = f->armed_ms;
        pass(f, LIMIT_GONE_ROUTE_MS + MS_PER_DAY);
        n_front = f->n_front;
        assert_true(armed == f->armed_ms); /* nothing wakes for it */
        assert_int_equal(engine_extend(f->engine, NULL, living.id, MS_PER_DAY, NULL), 0);
        settle(f);
        n = 0;
        assert_int_equal(ledger_route_each(f->ledger, count_route, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_true(f->n_front > n_front); /* the gateway is told */
        assert_int_equal(ended_intents(f), 0);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_seen_three_times_over_a_day_before_it_may_go),
                WITH(test_a_partial_list_counts_for_nothing),
                WITH(test_what_a_living_preview_may_use_stays),
                WITH(test_what_has_no_marker_of_its_own_is_not_removed),
                WITH(test_nobody_waits_awake_for_a_list),
                WITH(test_a_freeze_holds_it_also_when_the_wish_is_older),
                WITH(test_what_was_pinned_since_the_wish_stays),
                WITH(test_somebody_elses_thing_in_its_place_is_left_alone),
                WITH(test_killed_after_any_answer_it_is_removed_all_the_same),
                WITH(test_a_removal_that_fails_is_given_back_with_the_reason),
                WITH(test_only_a_complete_list_ends_a_removal),
                WITH(test_what_is_not_as_the_ledger_has_it_is_an_orphan),
                WITH(test_a_mark_alone_is_a_ghost),
                WITH(test_how_a_list_ended_is_told),
                WITH(test_adopted_it_goes_with_its_environment),
                WITH(test_nothing_is_adopted_by_what_is_gone),
                WITH(test_a_ghost_that_is_wanted_is_made_again),
                WITH(test_a_ghost_that_cannot_be_looked_at_is_told),
                WITH(test_verify_looks_again),
                WITH(test_old_intents_and_routes_are_forgotten),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
