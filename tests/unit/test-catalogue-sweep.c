/* The catalogue of what reapers get wrong, by its numbers: many things, few places, lists, restarts. See
 * test-catalogue-lease.c. */
#include "tests/unit/engine-world.h"

#include <stdio.h>
#include <string.h>

#include "orchestrator/base/limits.h"
#include "orchestrator/glue/db.h"
#include "reaper/reaper.h"

static EnvState state_of(Fixture *f, const char *branch) {
        auto_cleanup(environment_done) Environment env = { 0 };

        get(f, branch, &env);
        return env.state;
}

static void push_many(Fixture *f, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                auto_cleanup(freep) char *branch = str_format("many%u", i);

                push(f, branch, A_COMMIT);
        }
}

/* One after the other, so that a turn has room for all that it does. */
static void settle_many(Fixture *f) {
        unsigned n = 0;

        do
                turns(f);
        while (answer_first(f) && ++n < 20000);
        turns(f);
}

static unsigned count_state(Fixture *f, unsigned n, EnvState wanted) {
        unsigned found = 0;

        for (unsigned i = 0; i < n; i++) {
                auto_cleanup(freep) char *branch = str_format("many%u", i);

                found += state_of(f, branch) == wanted;
        }
        return found;
}

static void restart(Fixture *f) {
        daemon_killed(f);
        daemon_up(f);
        calls_forget(f);
}

/* ---- F1 ---- */

/* A provider that lists everybody's things: none of them becomes ours, or is touched. */
static int count_stray(void *userdata, const Stray *s) {
        ++*(unsigned *) userdata;
        return 0;
}

#define NOBODYS(n) "r000000000000000000" #n

static void F01_filter_ignored_so_everything_matches(void **state) {
        auto_cleanup(freep) char *longer = NULL, *ours = NULL;
        Fixture *f = *state;
        unsigned n = 0;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        longer = str_format("%sx/e1/" NOBODYS(2), ledger_installation(f->ledger));
        ours = str_format("%s/e1/" NOBODYS(3), ledger_installation(f->ledger));
        f->listed = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "uid", NOBODYS(1),
                              "marker", "i0000000000000000000/e1/" NOBODYS(1), "uid", NOBODYS(2),
                              "marker", longer, "uid", NOBODYS(4), "marker", ours, "uid",
                              NOBODYS(5), "marker", NOBODYS(5));
        f->list_complete = true;
        restart(f);
        settle(f);
        assert_int_equal(f->n_lists, 3);
        assert_int_equal(ledger_stray_each(f->ledger, NULL, count_stray, &n, NULL), 0);
        /* ghosts are of the ledger; nothing of the list is an orphan */
        for (unsigned i = 1; i <= 5; i++) {
                auto_cleanup(stray_done) Stray s = { 0 };
                char uid[ID_SIZE];

                snprintf(uid, sizeof(uid), "r%019u", i);
                assert_int_equal(ledger_stray_get(f->ledger, uid, &s, NULL), -ENOENT);
        }
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        /* all of it is others': what of ours is missing is looked at, and nothing else */
        assert_int_equal(strv_length(f->log), calls(f, "inspect", NULL));
        /* and one that is ours by its marker and uid is seen */
        json_decref(f->listed);
        f->listed = json_pack("[{s:s, s:s}]", "uid", NOBODYS(3), "marker", ours);
        restart(f);
        settle(f);
        n = 0;
        assert_int_equal(ledger_stray_each(f->ledger, NULL, count_stray, &n, NULL), 0);
        assert_true(n > 0);
}

/* ---- F9 ---- */

/* An empty list, even one that is called complete, is no proof that everything is gone: it is a reason to
 * look. From a provider that computes all it gives it is not even that. */
static void F09_empty_list_makes_nothing_missing(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        f->listed = json_array();
        f->list_complete = f->list_computed = true;
        restart(f);
        settle(f);
        assert_int_equal(f->n_lists, 3);
        assert_int_equal(strv_length(f->log), 0);
        f->list_computed = false;
        restart(f);
        settle(f);
        assert_int_equal(calls(f, "inspect", NULL), 4);
        assert_int_equal(strv_length(f->log), 4);
        get(f, "login", &env);
        assert_int_equal(env.state, ENV_READY);
}

/* A list that says itself that it was cut short is no proof of anything that it leaves out. */
static void F09_partial_list_makes_nothing_missing(void **state) {
        auto_cleanup(freep) char *marker = NULL;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        marker = str_format("%s/e1/r1", ledger_installation(f->ledger));
        f->listed = json_pack("[{s:s, s:s}]", "uid", "r1", "marker", marker);
        restart(f);
        settle(f);
        assert_int_equal(f->n_lists, 3);
        assert_int_equal(strv_length(f->log), 0);
        f->list_complete = true; /* the same one, whole: now all of ours are missing */
        restart(f);
        settle(f);
        assert_int_equal(calls(f, "inspect", NULL), 4);
}

/* Things with names that we never made are not kept, however many and however long, and whoever writes them
 * has not listed everything. */
static void F09_list_with_impossible_names_makes_nothing_missing(void **state) {
        char uid[3][3000] = { "r-1", "../r1", "r" };
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        memset(uid[2], 'r', sizeof(uid[2]) - 1);
        for (size_t i = 0; i < N_ELEMENTS(uid); i++) {
                auto_cleanup(freep) char *marker = NULL, *good = NULL;
                json_auto_t *orphans = NULL;

                marker = str_format("%s/e1/%s", ledger_installation(f->ledger), uid[i]);
                good = str_format("%s/e1/r1", ledger_installation(f->ledger));
                json_decref(f->listed);
                f->listed = json_pack("[{s:s, s:s}, {s:s, s:s}]", "uid", uid[i], "marker", marker,
                                      "uid", "r1", "marker", good);
                f->list_complete = true;
                restart(f);
                settle(f);
                assert_int_equal(calls(f, "inspect", NULL), 0);
                assert_int_equal(engine_orphans(f->engine, &orphans, NULL), 0);
                assert_int_equal(json_array_size(json_object_get(orphans, "orphans")), 1);
        }
}

/* ---- F14 ---- */

static void F14_limit_that_does_not_limit(void **state) {
        static const char yaml[] = "bounds: {clocks: {delete_after_age: 2d}}\n";
        json_auto_t *project = json_pack("{s:s, s:s, s:{s:i}}", "name", "wild", "repository",
                                         "/srv/wild.git", "clocks", "delete_after_age", 0);
        auto_cleanup(environment_done) Environment env = { 0 };
        SpecFaults faults = { 0 };
        Config *config;
        Fixture *f = *state;

        push_many(f, 40);
        settle_many(f);
        assert_int_equal(count_state(f, 40, ENV_READY), 40);
        assert_int_equal(f->n_most, LIMIT_PROVIDER_CALLS);

        /* "off" is longer than any bound, and a bound holds for it too */
        assert_int_equal(config_parse("m", yaml, strlen(yaml), &config, &faults, NULL), 0);
        engine_set_config(f->engine, config);
        config_free(f->config);
        f->config = config;
        assert_int_equal(engine_project_add(f->engine, NULL, project, NULL, NULL), 0);
        assert_int_equal(engine_push(f->engine, NULL, "wild", "main", A_COMMIT, NULL, NULL), 0);
        settle_many(f);
        assert_int_equal(ledger_environment_get(f->ledger, "wild/main", &env, NULL), 0);
        assert_non_null(strstr(env.clocks, "\"delete_after_age\":172800000"));
        assert_int_equal(engine_extend(f->engine, NULL, "many0--shop", 2 * MS_PER_DAY, NULL), 0);
        assert_int_equal(engine_extend(f->engine, NULL, "many0--shop", 1, NULL), -ERANGE);
}

static unsigned pending_of(Fixture *f, const char *type) {
        unsigned n = 0;

        for (Pending *p = f->first; p; p = p->next)
                n += streq(p->type, type);
        return n;
}

/* Builds may take long: never more than their share, and who waits for one is in nobody's way. */
static void F14_builds_hold_up_what_is_quick(void **state) {
        auto_cleanup(environment_done) Environment env = { 0 };
        Fixture *f = *state;

        push(f, "quick", A_COMMIT);
        settle(f);
        assert_int_equal(engine_sleep(f->engine, NULL, "quick--shop", NULL), 0);
        settle(f);
        f->held_type[0] = "build";
        for (unsigned i = 0; i < 30; i++) {
                auto_cleanup(freep) char *branch = str_format("build%u", i);

                push(f, branch, D_COMMIT);
        }
        settle_many(f);
        assert_int_equal(pending_of(f, "build"), LIMIT_PROVIDER_BUILDS);
        assert_int_equal(engine_wake(f->engine, NULL, "quick--shop", NULL), 0);
        push(f, "other", A_COMMIT);
        settle_many(f);
        get(f, "quick", &env);
        assert_int_equal(env.level, LEVEL_AWAKE);
        assert_int_equal(state_of(f, "other"), ENV_READY);
        assert_int_equal(pending_of(f, "build"), LIMIT_PROVIDER_BUILDS);

        /* the same when every place is taken and one becomes free */
        assert_int_equal(engine_sleep(f->engine, NULL, "quick--shop", NULL), 0);
        settle_many(f);
        f->held_type[1] = "checkout";
        push_many(f, LIMIT_PROVIDER_CALLS - LIMIT_PROVIDER_BUILDS);
        settle_many(f);
        assert_int_equal(pending_of(f, "build") + pending_of(f, "checkout"), LIMIT_PROVIDER_CALLS);
        assert_int_equal(engine_wake(f->engine, NULL, "quick--shop", NULL), 0);
        turns(f);
        calls_forget(f);
        for (unsigned i = 0; i < 9; i++) { /* as many as were there before it */
                f->held_type[1] = NULL;
                assert_true(answer_first(f));
                f->held_type[1] = "checkout";
                turns(f);
        }
        assert_int_equal(calls(f, "wake", "workload"), 1);
        f->held_type[0] = f->held_type[1] = NULL;
        settle_many(f);
        assert_int_equal(state_of(f, "build29"), ENV_READY);
}

/* ---- F15 ---- */

/* Whatever the world has done of it when the daemon dies: looked at first, and made once. */
static void F15_create_crashed_half_way(void **state) {
        Fixture *f = *state;

        for (unsigned done = 0; done < 2; done++) {
                auto_cleanup(freep) char *branch = str_format("half%u", done),
                                         *label = str_format("half%u--shop", done);
                char uid[ID_SIZE];

                push(f, branch, A_COMMIT);
                turns(f);
                assert_non_null(f->first);
                assert_string_equal(f->first->verb, "provision");
                strcpy(uid, f->first->uid);
                if (done)
                        do_first(f);
                restart(f);
                turns(f);
                assert_non_null(str_after(f->log[0], "inspect "));
                assert_non_null(strstr(f->log[0], uid));
                assert_int_equal(calls(f, "provision", NULL), 0);
                settle(f);
                assert_int_equal(state_of(f, branch), ENV_READY);
                assert_int_equal(map_size(f->things), 4);
                assert_non_null(map_get(f->things, uid)); /* under the name that was chosen first */

                /* the same for a removal */
                assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
                turns(f);
                assert_true(answer_first(f)); /* the look before it */
                turns(f);
                assert_non_null(f->first);
                assert_string_equal(f->first->verb, "deprovision");
                strcpy(uid, f->first->uid);
                if (done)
                        do_first(f);
                restart(f);
                turns(f);
                assert_non_null(strstr(f->log[0], uid));
                assert_non_null(str_after(f->log[0], "inspect "));
                settle(f);
                assert_int_equal(state_of(f, branch), ENV_GONE);
                assert_int_equal(map_size(f->things), 0);
        }
}

/* ---- F19 ---- */

/* After a long absence everything is overdue: nothing goes before an hour has passed in which somebody
 * could come, also when the daemon dies in that hour; and then no more at a time than ever. */
static void F19_herd_after_restart(void **state) {
        Fixture *f = *state;

        push_many(f, 20);
        settle_many(f);
        spend(f, MS_PER_HOUR);
        assert_int_equal(f->armed_ms > f->now_ms, true);
        daemon_killed(f);
        pass(f, 30 * MS_PER_DAY);
        daemon_up(f);
        settle_many(f);
        calls_forget(f);
        spend(f, 20 * MS_PER_MINUTE);
        assert_int_equal(count_state(f, 20, ENV_READY), 20);
        restart(f);
        spend(f, 30 * MS_PER_MINUTE);
        assert_int_equal(count_state(f, 20, ENV_READY), 20);
        assert_int_equal(calls(f, "deprovision", NULL), 0);
        spend(f, 11 * MS_PER_MINUTE);
        settle_many(f);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(count_state(f, 20, ENV_GONE), 20);
        assert_in_range(f->n_most, 1, LIMIT_PROVIDER_CALLS);
}

static int collect_retry(void *userdata, const Resource *r) {
        Map *times = userdata;
        auto_cleanup(freep) char *text_of = str_format("%lld", (long long) r->retry_ms);

        if (r->retry_ms > 0)
                assert_true(map_put(times, text_of, times) >= 0);
        return 0;
}

/* What failed together does not come back together. */
static void F19_failed_together_tried_together(void **state) {
        Map *times = map_new(NULL);
        Fixture *f = *state;

        f->fail_verb = "provision";
        f->fail_type = "volume";
        f->fail_class = PROVIDER_TRANSIENT;
        f->fail_times = 10;
        push_many(f, 10);
        settle_many(f);
        assert_int_equal(f->fail_times, 0);
        assert_int_equal(ledger_resource_each(f->ledger, NULL, false, collect_retry, times, NULL),
                         0);
        assert_true(map_size(times) >= 5);
        map_free(times);
}

/* ---- F23, F24, F25 ---- */

/* More is due at once than a turn looks at: the rest comes in the next turns, without waiting. */
static void F23_falls_behind_for_ever(void **state) {
        const unsigned n = 100;
        Fixture *f = *state;

        push_many(f, n);
        settle_many(f);
        assert_int_equal(count_state(f, n, ENV_READY), n);
        pass(f, 31 * MS_PER_MINUTE);
        turns(f); /* no call is answered, nothing else happens */
        for (unsigned i = 0; i < n; i++) {
                auto_cleanup(environment_done) Environment env = { 0 };
                auto_cleanup(freep) char *branch = str_format("many%u", i);

                get(f, branch, &env);
                assert_int_equal(env.level, LEVEL_FALLING);
        }
        settle_many(f);
}

/* A list that is longer than what we keep of it is not a complete one, and costs no more. */
static void F24_dies_of_its_backlog(void **state) {
        unsigned n_kept = 0;
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        spend(f, MS_PER_MINUTE);
        f->listed = json_array();
        for (unsigned i = 0; i <= LIMIT_PROVIDER_LISTED; i++) {
                char uid[16], marker[64];

                snprintf(uid, sizeof(uid), "r%u", i);
                snprintf(marker, sizeof(marker), "%s/e1/%s", ledger_installation(f->ledger), uid);
                json_array_append_new(f->listed,
                                      json_pack("{s:s, s:s}", "uid", uid, "marker", marker));
        }
        f->list_complete = f->list_computed = true; /* the other lists are empty by right */
        restart(f);
        turns(f);
        while (f->n_lists > 0 && !streq(f->first->verb, "list"))
                (void) answer_first(f);
        (void) answer_first(f);
        json_array_clear(f->listed); /* one of them is enough for the test */
        settle(f);
        assert_int_equal(strv_length(f->log), 0); /* nothing counts as missing */
        assert_int_equal(ledger_stray_each(f->ledger, NULL, count_stray, &n_kept, NULL), 0);
        assert_int_equal(n_kept, LIMIT_ORPHANS);
}

static unsigned number_of(Fixture *f, const Pending *p) {
        auto_cleanup(environment_done) Environment env = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };

        assert_int_equal(ledger_resource_get(f->ledger, p->uid, &r, NULL), 0);
        assert_int_equal(ledger_environment_get(f->ledger, r.environment_id, &env, NULL), 0);
        return (unsigned) atoi(env.branch + strlen("many"));
}

/* Who came first is served first, however many wait behind a full house. */
static void F25_head_of_list_starvation(void **state) {
        const unsigned n = 30;
        unsigned order[30] = { 0 }, at = 0;
        const Pending *last;
        Fixture *f = *state;

        push_many(f, n);
        turns(f);
        /* who waits gets the place before who had it */
        (void) answer_first(f);
        order[at++] = 0;
        turns(f);
        for (last = f->first; last->next; last = last->next)
                ;
        assert_int_equal(number_of(f, last), LIMIT_PROVIDER_CALLS / 2);
        for (unsigned i = 0; i < 3000 && at < n; i++) {
                const Pending *p = f->first;

                for (unsigned k = 0; k < 2 && p; k++, p = p->next)
                        if (streq(p->type, "checkout"))
                                order[at++] = number_of(f, p);
                /* two at a time: who gets both leaves the next one without */
                if (!answer_first(f))
                        break;
                (void) answer_first(f);
                turns(f);
        }
        assert_int_equal(at, n);
        for (unsigned i = 0; i < n; i++)
                assert_int_equal(order[i], i);
        settle_many(f);
        assert_int_equal(count_state(f, n, ENV_READY), n);
}

/* A list that was cut short is no comparison: it is not noted as one. */
static void F25_false_green(void **state) {
        json_auto_t *some = json_pack("[{s:s, s:s}]", "name", "main", "commit", A_COMMIT);
        auto_cleanup(project_done) Project project = { 0 };
        Fixture *f = *state;

        assert_int_equal(engine_compare(f->engine, NULL, "shop", some, false, NULL, NULL), 0);
        settle(f);
        assert_int_equal(ledger_project_get(f->ledger, "shop", &project, NULL), 0);
        assert_int_equal(project.compared_ms, 0);
}

/* ---- F26 ---- */

static void spoil(Fixture *f, const char *sql) {
        Db *db;

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, sql, NULL), 0);
        db_free(db);
}

/* One environment's rows are damaged: it is told and tried again, the others go their way. */
static void F26_first_error_aborts_the_sweep(void **state) {
        Fixture *f = *state;

        push_many(f, 3);
        settle_many(f);
        daemon_killed(f);
        spoil(f, "UPDATE generation SET graph = '{}' WHERE environment_id ="
                 " (SELECT id FROM environment WHERE branch = 'many0')");
        daemon_up(f);
        spend(f, MS_PER_MINUTE);
        push(f, "many1", NULL);
        push(f, "many2", B_COMMIT);
        push(f, "new", A_COMMIT);
        spend(f, 2 * MS_PER_HOUR);
        assert_int_equal(state_of(f, "many1"), ENV_GONE);
        assert_int_equal(state_of(f, "new"), ENV_READY);
        assert_int_equal(state_of(f, "many2"), ENV_READY);
        assert_int_equal(state_of(f, "many0"), ENV_READY);
}

/* ---- F28 ---- */

/* Nothing is listed again and again: once at the start, and, when a watch dies, seldomer and seldomer. */
static void F28_quota_burned_by_listing(void **state) {
        Fixture *f = *state;

        push(f, "login", A_COMMIT);
        settle(f);
        assert_int_equal(f->n_lists, 0);
        restart(f);
        spend(f, MS_PER_DAY);
        assert_int_equal(f->n_lists, 3);
        f->watch_dies = true;
        restart(f);
        spend(f, MS_PER_HOUR);
        assert_in_range(f->n_lists, 4, 30);

        /* one that says "slow down" is slowed for everybody, for as long as it said */
        f->fail_verb = "provision";
        f->fail_type = "checkout";
        f->fail_class = PROVIDER_THROTTLED;
        f->fail_times = 1;
        f->watch_dies = false;
        push(f, "one", A_COMMIT);
        settle(f);
        calls_forget(f);
        push(f, "two", A_COMMIT);
        settle(f);
        assert_int_equal(calls(f, "provision", "checkout"), 0);
        spend(f, MS_PER_MINUTE);
        assert_int_equal(state_of(f, "one"), ENV_READY);
        assert_int_equal(state_of(f, "two"), ENV_READY);
}

/* ---- F30 ---- */

/* Asleep by one clock, deleted by a person, pushed to by another, all at once: one call at a time on each
 * thing (the world asserts it), and one end. */
static void F30_two_lifecycles_one_object(void **state) {
        Fixture *f = *state;

        for (unsigned n = 0; n < 8; n++) {
                auto_cleanup(freep) char *branch = str_format("b%u", n),
                                         *label = str_format("b%u--shop", n);
                auto_cleanup(environment_done) Environment env = { 0 };
                FrontEvents front = engine_front_events(f->engine);

                push(f, branch, A_COMMIT);
                settle(f);
                get(f, branch, &env);
                assert_int_equal(engine_sleep(f->engine, NULL, label, NULL), 0);
                turns(f);
                front.on_refused(front.userdata, env.id);
                if (n & 1)
                        front.on_visit(front.userdata, env.id);
                if (n & 2)
                        push(f, branch, B_COMMIT);
                turns(f);
                if (n & 4)
                        assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
                turns(f);
                spend(f, MS_PER_MINUTE);
                assert_int_equal(state_of(f, branch), n & 4 ? ENV_GONE : ENV_READY);
                if (!(n & 4))
                        assert_int_equal(engine_down(f->engine, NULL, label, NULL), 0);
                spend(f, MS_PER_MINUTE);
                assert_int_equal(map_size(f->things), 0);
        }
}

/* ---- F7 ---- */

/* Whose things a provider works on is not for a branch or a configuration to say. */
static void F07_scope_of_credential_wrong(void **state) {
        static const char yaml[] =
                "providers:\n"
                "  volume:\n"
                "    config: {installation: iother, state_dir: /elsewhere, size: 1}\n"
                "definitions:\n"
                "  - name: mine\n"
                "    match: {type: volume, project: shop}\n"
                "    provider: volume\n"
                "    config: {installation: iother, state_dir: /elsewhere, extra: 1}\n";
        SpecFaults faults = { 0 };
        const json_t *given = NULL;
        Config *config;
        Fixture *f = *state;

        assert_int_equal(config_parse("m", yaml, strlen(yaml), &config, &faults, NULL), 0);
        engine_set_config(f->engine, config);
        config_free(f->config);
        f->config = config;
        push(f, "login", A_COMMIT);
        turns(f);
        while (f->first && !streq(f->first->type, "volume")) {
                assert_true(answer_first(f));
                turns(f);
        }
        assert_non_null(f->first);
        given = json_object_get(f->first->request, "config");
        assert_string_equal(text(given, "installation"), ledger_installation(f->ledger));
        assert_string_equal(text(given, "state_dir"), "/state/providers/volume");
        assert_int_equal(json_integer_value(json_object_get(given, "extra")), 1);
        settle(f);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(F01_filter_ignored_so_everything_matches),
                WITH(F07_scope_of_credential_wrong),
                WITH(F09_empty_list_makes_nothing_missing),
                WITH(F09_partial_list_makes_nothing_missing),
                WITH(F09_list_with_impossible_names_makes_nothing_missing),
                WITH(F14_limit_that_does_not_limit),
                WITH(F14_builds_hold_up_what_is_quick),
                WITH(F15_create_crashed_half_way),
                WITH(F19_herd_after_restart),
                WITH(F19_failed_together_tried_together),
                WITH(F23_falls_behind_for_ever),
                WITH(F24_dies_of_its_backlog),
                WITH(F25_head_of_list_starvation),
                WITH(F25_false_green),
                WITH(F26_first_error_aborts_the_sweep),
                WITH(F28_quota_burned_by_listing),
                WITH(F30_two_lifecycles_one_object),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
