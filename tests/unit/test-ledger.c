#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"
#include "orchestrator/ledger/states.h"

typedef struct Fixture {
        char dir[32];
        char db[64], key[64];
        Ledger *ledger;
} Fixture;

static void reopen(Fixture *f) {
        auto_error e = { 0 };
        LedgerOptions o = { .path = f->db, .key_path = f->key, .random = &random_system };

        f->ledger = ledger_close(f->ledger);
        if (ledger_open(&o, &f->ledger, &e) < 0)
                fail_msg("%s", error_text(&e, 0));
}

static int set_up(void **state) {
        Fixture *f = calloc(1, sizeof(Fixture));

        strcpy(f->dir, "/tmp/ledger-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->db, sizeof(f->db), "%s/ledger.db", f->dir);
        snprintf(f->key, sizeof(f->key), "%s/key", f->dir);
        reopen(f);
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        fault_arm("none", 0, 0);
        f->ledger = ledger_close(f->ledger);
        assert_int_equal(remove_tree(f->dir, NULL), 0);
        free(f);
        return 0;
}

static const Project a_project = {
        .id = (char *) "p000000000000000000a",
        .name = (char *) "shop",
        .repository = (char *) "/srv/shop.git",
        .base_branch = (char *) "main",
        .team = (char *) "web",
        .owner = (char *) "ana",
        .clocks = (char *) "{\"sleep_after_idle\":60000}",
        .created_ms = 11,
        .removed_ms = 0,
        .compared_ms = 13,
};

static Environment an_environment(const char *id, const char *branch, const char *label) {
        return (Environment){
                .id = (char *) id,
                .project_id = a_project.id,
                .branch = (char *) branch,
                .commit = (char *) "c0ffee",
                .label = (char *) label,
                .owner = (char *) "ana",
                .team = (char *) "web",
                .trust = (char *) "member",
                .trace = (char *) "0123456789abcdef0123456789abcdef",
                .state = ENV_WANTED,
                .level = LEVEL_AWAKE,
                .wanted_generation = 1,
                .live_generation = 0,
                .cause = (char *) "why",
                .gone_by = (char *) "uid:1",
                .gone_why = (char *) "enough",
                .created_ms = 21,
                .used_ms = 22,
                .asleep_ms = 23,
                .closed_ms = 24,
                .deleted_ms = 25,
                .pinned_until_ms = 26,
                .pinned_by = (char *) "bob",
                .pin_reason = (char *) "demo",
                .extended_until_ms = 27,
                .due_ms = 28,
                .wake_wanted = true,
                .sleep_wanted = false,
                .lease = (char *) "{}",
                .clocks = (char *) "{\"a\":1}",
                .policy_ms = 29,
        };
}

static Resource a_resource(const char *uid, const char *key) {
        return (Resource){
                .uid = (char *) uid,
                .environment_id = (char *) "e1",
                .generation = 1,
                .key = (char *) key,
                .type = (char *) "volume",
                .class = (char *) "default",
                .id = (char *) "api.data",
                .name = (char *) "data",
                .workload = (char *) "api",
                .marker = (char *) uid,
                .provider = (char *) "volume",
                .state = RES_PLANNED,
                .node = (char *) "{\"key\":\"x\"}",
                .live = (char *) "{\"a\":1}",
                .applied = 4,
                .inspect = true,
                .touched = true,
                .emptied = false,
                .tries = 3,
                .retry_ms = 31,
                .cause = (char *) "no",
                .cause_class = (char *) "transient",
                .created_ms = 32,
                .ready_ms = 33,
                .removed_ms = 0,
        };
}

/* A project and one environment, committed. */
static void populate(Fixture *f) {
        Environment e = an_environment("e1", "login", "login--shop");

        assert_int_equal(ledger_project_insert(f->ledger, &a_project, NULL), 0);
        assert_int_equal(ledger_environment_insert(f->ledger, &e, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
}

static void assert_project_equal(const Project *a, const Project *b) {
        assert_string_equal(a->id, b->id);
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->repository, b->repository);
        assert_string_equal(a->base_branch, b->base_branch);
        assert_string_equal(a->team, b->team);
        assert_string_equal(a->owner, b->owner);
        assert_string_equal(a->clocks, b->clocks);
        assert_int_equal(a->created_ms, b->created_ms);
        assert_int_equal(a->removed_ms, b->removed_ms);
        assert_int_equal(a->compared_ms, b->compared_ms);
}

static void assert_environment_equal(const Environment *a, const Environment *b) {
        assert_string_equal(a->id, b->id);
        assert_string_equal(a->project_id, b->project_id);
        assert_string_equal(a->branch, b->branch);
        assert_string_equal(a->commit, b->commit);
        assert_string_equal(a->label, b->label);
        assert_string_equal(a->owner, b->owner);
        assert_string_equal(a->team, b->team);
        assert_string_equal(a->trust, b->trust);
        assert_string_equal(a->trace, b->trace);
        assert_int_equal(a->slot, b->slot);
        assert_int_equal(a->state, b->state);
        assert_int_equal(a->level, b->level);
        assert_int_equal(a->wanted_generation, b->wanted_generation);
        assert_int_equal(a->live_generation, b->live_generation);
        assert_string_equal(a->cause, b->cause);
        assert_string_equal(a->gone_by, b->gone_by);
        assert_string_equal(a->gone_why, b->gone_why);
        assert_int_equal(a->created_ms, b->created_ms);
        assert_int_equal(a->used_ms, b->used_ms);
        assert_int_equal(a->asleep_ms, b->asleep_ms);
        assert_int_equal(a->closed_ms, b->closed_ms);
        assert_int_equal(a->deleted_ms, b->deleted_ms);
        assert_int_equal(a->pinned_until_ms, b->pinned_until_ms);
        assert_string_equal(a->pinned_by, b->pinned_by);
        assert_string_equal(a->pin_reason, b->pin_reason);
        assert_int_equal(a->extended_until_ms, b->extended_until_ms);
        assert_int_equal(a->due_ms, b->due_ms);
        assert_int_equal(a->wake_wanted, b->wake_wanted);
        assert_int_equal(a->sleep_wanted, b->sleep_wanted);
        assert_string_equal(a->lease, b->lease);
        assert_string_equal(a->clocks, b->clocks);
        assert_int_equal(a->policy_ms, b->policy_ms);
}

static void assert_resource_equal(const Resource *a, const Resource *b) {
        assert_string_equal(a->uid, b->uid);
        assert_string_equal(a->environment_id, b->environment_id);
        assert_int_equal(a->generation, b->generation);
        assert_string_equal(a->key, b->key);
        assert_string_equal(a->type, b->type);
        assert_string_equal(a->class, b->class);
        assert_string_equal(a->id, b->id);
        assert_string_equal(a->name, b->name);
        assert_string_equal(a->workload, b->workload);
        assert_string_equal(a->marker, b->marker);
        assert_string_equal(a->provider, b->provider);
        assert_int_equal(a->slot, b->slot);
        assert_int_equal(a->state, b->state);
        assert_string_equal(a->node, b->node);
        assert_string_equal(a->live, b->live);
        assert_int_equal(a->applied, b->applied);
        assert_int_equal(a->inspect, b->inspect);
        assert_int_equal(a->touched, b->touched);
        assert_int_equal(a->emptied, b->emptied);
        assert_int_equal(a->tries, b->tries);
        assert_int_equal(a->retry_ms, b->retry_ms);
        assert_string_equal(a->cause, b->cause);
        assert_string_equal(a->cause_class, b->cause_class);
        assert_int_equal(a->created_ms, b->created_ms);
        assert_int_equal(a->ready_ms, b->ready_ms);
        assert_int_equal(a->removed_ms, b->removed_ms);
}

static void test_rows_there_and_back(void **state) {
        Fixture *f = *state;
        Environment in = an_environment("e1", "login", "login--shop");
        Generation gen = { .environment_id = (char *) "e1",
                           .number = 1,
                           .commit = (char *) "c0",
                           .trace = (char *) "t",
                           .state = GEN_WANTED,
                           .graph = (char *) "{}",
                           .cause = (char *) "c",
                           .created_ms = 1,
                           .ready_ms = 2,
                           .ended_ms = 3 };
        Resource res = a_resource("r1", "volume.default#api.data");
        auto_cleanup(project_done) Project p = { 0 };
        auto_cleanup(environment_done) Environment e = { 0 };
        auto_cleanup(generation_done) Generation g = { 0 };
        auto_cleanup(resource_done) Resource r = { 0 };

        assert_int_equal(ledger_project_insert(f->ledger, &a_project, NULL), 0);
        assert_int_equal(ledger_environment_insert(f->ledger, &in, NULL), 0);
        assert_int_equal(in.slot, 1);
        assert_int_equal(ledger_generation_insert(f->ledger, &gen, NULL), 0);
        assert_int_equal(ledger_resource_insert(f->ledger, &res, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        reopen(f);

        assert_int_equal(ledger_project_get(f->ledger, "shop", &p, NULL), 0);
        assert_project_equal(&p, &a_project);
        assert_int_equal(ledger_environment_get(f->ledger, "shop/login", &e, NULL), 0);
        assert_environment_equal(&e, &in);
        assert_string_equal(e.project, "shop");
        assert_int_equal(ledger_generation_get(f->ledger, "e1", 1, &g, NULL), 0);
        assert_string_equal(g.commit, "c0");
        assert_string_equal(g.trace, "t");
        assert_string_equal(g.graph, "{}");
        assert_string_equal(g.cause, "c");
        assert_int_equal(g.created_ms, 1);
        assert_int_equal(g.ready_ms, 2);
        assert_int_equal(g.ended_ms, 3);
        assert_int_equal(ledger_resource_get(f->ledger, "r1", &r, NULL), 0);
        assert_resource_equal(&r, &res);
}

static void test_doors(void **state) {
        Fixture *f = *state;
        auto_cleanup(environment_done) Environment e = { 0 }, stale = { 0 };
        auto_error refused = { 0 };

        populate(f);
        assert_int_equal(ledger_environment_get(f->ledger, "e1", &e, NULL), 0);
        assert_int_equal(ledger_environment_get(f->ledger, "login--shop", &stale, NULL), 0);

        assert_int_equal(ledger_environment_move(f->ledger, &e, ENV_GONE, &refused), -EPERM);
        assert_string_equal(refused.message, "environment e1 is wanted and cannot become gone");
        assert_int_equal(e.state, ENV_WANTED);
        assert_int_equal(ledger_environment_move(f->ledger, &e, ENV_BUILDING, NULL), 0);
        /* the copy still says "wanted": compare-and-set refuses */
        assert_int_equal(ledger_environment_move(f->ledger, &stale, ENV_FAILED, NULL), -ESTALE);
        assert_int_equal(ledger_environment_update(f->ledger, &stale, NULL), -ESTALE);
        assert_int_equal(stale.state, ENV_WANTED);
        assert_int_equal(ledger_environment_move_level(f->ledger, &e, LEVEL_STOPPED, NULL), -EPERM);
        assert_int_equal(ledger_environment_move_level(f->ledger, &e, LEVEL_FALLING, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
}

/* Every state of a table is accepted by the schema, anything else is not. */
static void test_schema_knows_the_states(void **state) {
        Fixture *f = *state;
        auto_cleanup(db_freep) Db *db = NULL;
        auto_cleanup(freep) char *sql = NULL;

        populate(f);
        Resource res = a_resource("r1", "k");
        assert_int_equal(ledger_resource_insert(f->ledger, &res, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        for (int i = 0; i < machine_resource.n_states; i++) {
                free(sql);
                sql = str_format("UPDATE resource SET emptied = 1, state = '%s'",
                                 state_name(&machine_resource, i));
                assert_int_equal(db_exec(db, sql, NULL), 0);
        }
        for (int i = 0; i < machine_environment.n_states; i++) {
                free(sql);
                sql = str_format("UPDATE environment SET live_generation = 1, state = '%s'",
                                 state_name(&machine_environment, i));
                assert_int_equal(db_exec(db, sql, NULL), 0);
        }
        for (int i = 0; i < machine_level.n_states; i++) {
                free(sql);
                sql = str_format("UPDATE environment SET level = '%s'",
                                 state_name(&machine_level, i));
                assert_int_equal(db_exec(db, sql, NULL), 0);
        }
        for (int i = 0; i < machine_generation.n_states; i++) {
                free(sql);
                sql = str_format(
                        "INSERT INTO generation VALUES ('e1', %d, 'c', 't', '%s', NULL, NULL, 0, 0, 0)",
                        i + 1, state_name(&machine_generation, i));
                assert_int_equal(db_exec(db, sql, NULL), 0);
        }
        assert_int_equal(db_exec(db, "UPDATE resource SET state = 'x'", NULL), -EEXIST);
        assert_int_equal(db_exec(db, "UPDATE environment SET state = 'x'", NULL), -EEXIST);
        assert_int_equal(db_exec(db, "UPDATE environment SET level = 'x'", NULL), -EEXIST);
        assert_int_equal(db_exec(db, "UPDATE generation SET state = 'x'", NULL), -EEXIST);
        /* removed without a confirmed removal: not of something that was touched */
        assert_int_equal(db_exec(db,
                                 "UPDATE resource SET touched = 1, emptied = 0, state = 'removed'",
                                 NULL),
                         -EEXIST);
}

static void test_names_and_slots(void **state) {
        Fixture *f = *state;
        Environment same = an_environment("e2", "login", "login--shop");
        Environment other = an_environment("e3", "other", "other--shop");
        Project twin = a_project;
        auto_cleanup(environment_done) Environment e = { 0 }, found = { 0 };

        populate(f);
        assert_int_equal(ledger_environment_insert(f->ledger, &same, NULL), -EEXIST);
        twin.id = (char *) "p2";
        assert_int_equal(ledger_project_insert(f->ledger, &twin, NULL), -EEXIST);
        assert_int_equal(ledger_environment_insert(f->ledger, &other, NULL), 0);
        assert_int_equal(other.slot, 2);

        /* one that is being deleted frees its name, not its slot */
        assert_int_equal(ledger_environment_get(f->ledger, "e1", &e, NULL), 0);
        assert_int_equal(ledger_environment_move(f->ledger, &e, ENV_DELETING, NULL), 0);
        assert_int_equal(ledger_environment_insert(f->ledger, &same, NULL), 0);
        assert_int_equal(same.slot, 3);
        assert_int_equal(ledger_environment_get(f->ledger, "login--shop", &found, NULL), 0);
        assert_string_equal(found.id, "e2");
        assert_int_equal(ledger_environment_move(f->ledger, &e, ENV_GONE, NULL), 0);
        Environment again = an_environment("e4", "third", "third--shop");
        assert_int_equal(ledger_environment_insert(f->ledger, &again, NULL), 0);
        assert_int_equal(again.slot, 1);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);

        for (int i = 0; i < 5; i++) {
                char uid[16], key[16];

                snprintf(uid, sizeof(uid), "r%d", i);
                snprintf(key, sizeof(key), "k%d", i);
                Resource r = a_resource(uid, key);
                assert_int_equal(ledger_resource_insert(f->ledger, &r, NULL), 0);
                assert_int_equal(r.slot, i + 1);
        }
        auto_cleanup(resource_done) Resource gap = { 0 };
        assert_int_equal(ledger_resource_get(f->ledger, "r1", &gap, NULL), 0);
        gap.emptied = true;
        assert_int_equal(ledger_resource_move(f->ledger, &gap, RES_REMOVED, NULL), 0);
        Resource fills = a_resource("r9", "k9");
        assert_int_equal(ledger_resource_insert(f->ledger, &fills, NULL), 0);
        assert_int_equal(fills.slot, 2);
}

static bool file_holds(const char *path, const char *needle) {
        auto_cleanup(freep) char *text = NULL;
        size_t size = 0;

        if (read_file(path, 64 << 20, &text, &size, NULL) < 0)
                return false;
        return memmem(text, size, needle, strlen(needle));
}

static void test_secrets_are_sealed(void **state) {
        static const char secret[] = "correct-horse-battery";
        char *names[] = { (char *) "password", NULL };
        Fixture *f = *state;
        auto_cleanup(resource_done) Resource r = { 0 }, other = { 0 };
        auto_cleanup(freep) char *outputs = NULL, *stolen = NULL, *wal = NULL;
        auto_cleanup(db_freep) Db *db = NULL;
        struct stat st;
        Resource in = a_resource("r1", "k1"), in2 = a_resource("r2", "k2");

        populate(f);
        assert_int_equal(ledger_resource_insert(f->ledger, &in, NULL), 0);
        assert_int_equal(ledger_resource_insert(f->ledger, &in2, NULL), 0);
        assert_int_equal(ledger_resource_get(f->ledger, "r1", &r, NULL), 0);
        assert_int_equal(
                ledger_resource_set_outputs(
                        f->ledger, &r,
                        "{\"host\":\"plain-db-host\",\"password\":\"correct-horse-battery\"}",
                        names, NULL),
                0);
        assert_int_equal(
                ledger_resource_set_outputs(f->ledger, &r, "{\"passwrod\":\"x\"}", names, NULL),
                -EBADMSG);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        assert_string_equal(r.outputs, "{\"host\":\"plain-db-host\"}");
        assert_string_equal(r.secret[0], "password");

        wal = str_format("%s-wal", f->db);
        assert_true(file_holds(f->db, "plain-db-host") || file_holds(wal, "plain-db-host"));
        assert_false(file_holds(f->db, secret) || file_holds(wal, secret));
        reopen(f);
        assert_false(file_holds(f->db, secret));
        assert_int_equal(ledger_resource_outputs(f->ledger, &r, &outputs, NULL), 0);
        assert_string_equal(outputs,
                            "{\"host\":\"plain-db-host\",\"password\":\"correct-horse-battery\"}");
        assert_int_equal(stat(f->key, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);

        /* moved to another row it does not open */
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(
                db_exec(db,
                        "UPDATE resource SET sealed = (SELECT sealed FROM resource WHERE uid = 'r1')"
                        " WHERE uid = 'r2'",
                        NULL),
                0);
        assert_int_equal(ledger_resource_get(f->ledger, "r2", &other, NULL), 0);
        assert_int_equal(ledger_resource_outputs(f->ledger, &other, &stolen, NULL), -EBADMSG);
}

static int count_event(void *userdata, const Event *e) {
        ++*(int *) userdata;
        return 0;
}

static int add_events(Ledger *l, int n) {
        for (int i = 0; i < n; i++) {
                Event e = { .time_ms = 100 + i,
                            .environment_id = i % 2 ? (char *) "e1" : NULL,
                            .kind = (char *) "test",
                            .actor = (char *) "uid:1",
                            .text = (char *) "something happened",
                            .data = (char *) "{}" };
                int r = ledger_event_add(l, &e, NULL);

                if (r < 0)
                        return r;
        }
        return ledger_commit(l, NULL);
}

static void test_events_are_append_only_and_chained(void **state) {
        static const struct {
                const char *sql;
                int64_t bad;
        } attacks[] = {
                { "UPDATE event SET text = 'other' WHERE number = 4", 4 },
                { "DELETE FROM event WHERE number = 5", 5 },
                { "UPDATE event SET number = 100 WHERE number = 3", 3 },
                { "UPDATE event SET number = -7 WHERE number = 6", -7 },
                { "UPDATE event SET number = 0 WHERE number = 6", 0 },
                { "UPDATE event SET actor = NULL WHERE number = 1", 1 },
        };
        Fixture *f = *state;
        auto_cleanup(db_freep) Db *db = NULL;
        int64_t bad = -1, before;
        int n = 0;

        assert_int_equal(add_events(f->ledger, 10), 0);
        assert_int_equal(ledger_event_each(f->ledger, 0, NULL, 100, count_event, &n, NULL), 0);
        assert_int_equal(n, 10);
        n = 0;
        assert_int_equal(ledger_event_each(f->ledger, 4, "e1", 2, count_event, &n, NULL), 0);
        assert_int_equal(n, 2);
        assert_int_equal(ledger_event_before_last(f->ledger, NULL, 0, &before, NULL), 0);
        assert_int_equal(before, 10);
        assert_int_equal(ledger_event_before_last(f->ledger, NULL, 3, &before, NULL), 0);
        assert_int_equal(before, 7);
        assert_int_equal(ledger_event_before_last(f->ledger, "e1", 1, &before, NULL), 0);
        assert_int_equal(before, 8);
        assert_int_equal(ledger_event_before_last(f->ledger, NULL, 10, &before, NULL), 0);
        assert_int_equal(before, 0);
        assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 0);
        assert_int_equal(bad, 0);

        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(attacks); i++)
                assert_int_equal(db_exec(db, attacks[i].sql, NULL), -EEXIST);
        /* somebody who removes the triggers is still found out */
        assert_int_equal(
                db_exec(db, "DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete", NULL), 0);
        for (size_t i = 0; i < N_ELEMENTS(attacks); i++) {
                assert_int_equal(db_exec(db, "BEGIN", NULL), 0);
                assert_int_equal(db_exec(db, attacks[i].sql, NULL), 0);
                assert_int_equal(db_exec(db, "COMMIT", NULL), 0);
                assert_int_equal(ledger_verify_events(f->ledger, &bad, NULL), 1);
                assert_int_equal(bad, attacks[i].bad);
                /* back to a fresh log */
                f->ledger = ledger_close(f->ledger);
                db = db_free(db);
                assert_int_equal(remove_tree(f->db, NULL), 0);
                reopen(f);
                assert_int_equal(add_events(f->ledger, 10), 0);
                assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
                assert_int_equal(
                        db_exec(db, "DROP TRIGGER event_no_update; DROP TRIGGER event_no_delete",
                                NULL),
                        0);
        }
}

static void test_intents_and_outbox_and_routes(void **state) {
        Fixture *f = *state;
        Resource res = a_resource("r1", "k1");
        Intent i = { .id = (char *) "c1",
                     .resource_uid = (char *) "r1",
                     .environment_id = (char *) "e1",
                     .verb = (char *) "provision",
                     .provider = (char *) "volume",
                     .attempt = 1,
                     .created_ms = 5,
                     .deadline_ms = 6 };
        Intent second = i;
        OutboxItem o = { .target = (char *) "forge",
                         .kind = (char *) "link",
                         .body = (char *) "{}",
                         .created_ms = 1 };
        Route route = { .host = (char *) "a.b",
                        .environment_id = (char *) "e1",
                        .answer = (char *) "direct",
                        .endpoints = (char *) "[]",
                        .facts = (char *) "{}",
                        .changed_ms = 9 };
        auto_cleanup(route_done) Route back = { 0 };
        int64_t next = 0;

        populate(f);
        assert_int_equal(ledger_resource_insert(f->ledger, &res, NULL), 0);
        assert_int_equal(ledger_intent_insert(f->ledger, &i, NULL), 0);
        second.id = (char *) "c2";
        assert_int_equal(ledger_intent_insert(f->ledger, &second, NULL),
                         -EEXIST); /* one open intent each */
        assert_int_equal(ledger_intent_end(f->ledger, "c1", "ok", NULL, 7, NULL), 0);
        assert_int_equal(ledger_intent_end(f->ledger, "c1", "ok", NULL, 7, NULL), -ESTALE);
        assert_int_equal(ledger_intent_insert(f->ledger, &second, NULL), 0);

        assert_int_equal(ledger_outbox_next(f->ledger, &next, NULL), 0);
        assert_true(next == INT64_MAX);
        o.not_before_ms = 40;
        assert_int_equal(ledger_outbox_add(f->ledger, &o, NULL), 0);
        assert_int_equal(ledger_outbox_next(f->ledger, &next, NULL), 0);
        assert_int_equal(next, 40);

        assert_int_equal(ledger_route_put(f->ledger, &route, NULL),
                         -EEXIST); /* direct to nowhere */
        route.endpoints = (char *) "[{\"path\":\"/\"}]";
        assert_int_equal(ledger_route_put(f->ledger, &route, NULL), 0);
        assert_int_equal(ledger_route_get(f->ledger, "a.b", &back, NULL), 0);
        assert_string_equal(back.endpoints, route.endpoints);
        assert_int_equal(ledger_route_remove(f->ledger, "a.b", NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
}

static void test_rollback_and_savepoints(void **state) {
        Fixture *f = *state;
        auto_cleanup(freep) char *value = NULL;

        assert_int_equal(ledger_value_set(f->ledger, "a", "1", NULL), 0);
        assert_int_equal(ledger_savepoint(f->ledger, NULL), 0);
        assert_int_equal(ledger_value_set(f->ledger, "a", "2", NULL), 0);
        assert_int_equal(ledger_savepoint_undo(f->ledger, NULL), 0);
        assert_int_equal(ledger_savepoint(f->ledger, NULL), 0);
        assert_int_equal(ledger_value_set(f->ledger, "b", "2", NULL), 0);
        assert_int_equal(ledger_savepoint_keep(f->ledger, NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
        assert_int_equal(ledger_value_get(f->ledger, "a", &value, NULL), 0);
        assert_string_equal(value, "1");
        assert_int_equal(ledger_value_set(f->ledger, "b", "3", NULL), 0);
        ledger_rollback(f->ledger);
        free(TAKE(value));
        assert_int_equal(ledger_value_get(f->ledger, "b", &value, NULL), 0);
        assert_string_equal(value, "2");
        assert_int_equal(ledger_value_set(f->ledger, "b", NULL, NULL), 0);
        free(TAKE(value));
        assert_int_equal(ledger_value_get(f->ledger, "b", &value, NULL), -ENOENT);
        assert_null(value);
}

/* A turn of five writes; whichever fails, nothing of the turn is there afterwards. */
static int busy_turn(Ledger *l) {
        Environment e = an_environment("e1", "login", "login--shop");
        Resource res = a_resource("r1", "k1");
        auto_error error = { 0 };
        int r;

        /* deliberately goes on after failures, as a careless caller would */
        (void) ledger_project_insert(l, &a_project, NULL);
        (void) ledger_environment_insert(l, &e, NULL);
        (void) ledger_resource_insert(l, &res, NULL);
        (void) ledger_value_set(l, "x", "y", NULL);
        (void) add_events(l, 0); /* commits */
        r = ledger_value_set(l, "after", "commit", &error);
        return r < 0 ? r : ledger_commit(l, &error);
}

static void test_write_faults_lose_whole_turns_only(void **state) {
        Fixture *f = *state;

        for (unsigned n = 1; n < 40; n++) {
                auto_cleanup(project_done) Project p = { 0 };
                auto_cleanup(environment_done) Environment e = { 0 };
                auto_cleanup(freep) char *x = NULL;
                bool have_p, have_e, have_x;

                f->ledger = ledger_close(f->ledger);
                assert_int_equal(remove_tree(f->db, NULL), 0);
                reopen(f);
                fault_arm("ledger", n, 1);
                (void) busy_turn(f->ledger);
                if (!fault_fired())
                        break;
                assert_true(n < 39);
                reopen(f);
                have_p = ledger_project_get(f->ledger, "shop", &p, NULL) == 0;
                have_e = ledger_environment_get(f->ledger, "e1", &e, NULL) == 0;
                have_x = ledger_value_get(f->ledger, "x", &x, NULL) == 0;
                assert_true(have_p == have_e && have_e == have_x);
        }
        fault_arm("ledger.commit", 1, 1);
        assert_int_equal(ledger_value_set(f->ledger, "z", "1", NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), -EIO);
        assert_false(ledger_is_open(f->ledger));
        assert_int_equal(ledger_value_set(f->ledger, "z", "2", NULL), 0);
        assert_int_equal(ledger_commit(f->ledger, NULL), 0);
}

static void test_newer_and_foreign_files_are_refused(void **state) {
        Fixture *f = *state;
        LedgerOptions o = { .path = f->db, .key_path = f->key, .random = &random_system };
        auto_error newer = { 0 }, foreign = { 0 };
        auto_cleanup(db_freep) Db *db = NULL;
        Ledger *l = NULL;

        f->ledger = ledger_close(f->ledger);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, "PRAGMA user_version = 1000", NULL), 0);
        db = db_free(db);
        assert_int_equal(ledger_open(&o, &l, &newer), -EINVAL);
        assert_non_null(strstr(newer.message, "newer mayfly"));

        assert_int_equal(remove_tree(f->db, NULL), 0);
        assert_int_equal(db_open(f->db, NULL, &db, NULL), 0);
        assert_int_equal(db_exec(db, "CREATE TABLE cooking (recipe TEXT)", NULL), 0);
        db = db_free(db);
        assert_int_equal(ledger_open(&o, &l, &foreign), -EINVAL);
        assert_non_null(strstr(foreign.message, "not a ledger"));
}

static void test_due_times(void **state) {
        Fixture *f = *state;
        auto_cleanup(environment_done) Environment e = { 0 };
        int64_t next = 0;

        assert_int_equal(ledger_environment_next_due(f->ledger, &next, NULL), 0);
        assert_true(next == INT64_MAX);
        populate(f);
        assert_int_equal(ledger_environment_next_due(f->ledger, &next, NULL), 0);
        assert_int_equal(next, 28);
        assert_int_equal(ledger_environment_get(f->ledger, "e1", &e, NULL), 0);
        assert_int_equal(ledger_environment_move(f->ledger, &e, ENV_DELETING, NULL), 0);
        assert_int_equal(ledger_environment_next_due(f->ledger, &next, NULL), 0);
        assert_true(next == INT64_MAX);
}

static void test_installation_and_backup(void **state) {
        Fixture *f = *state;
        char id[ID_SIZE], path[64];
        LedgerOptions o = { .path = path, .key_path = f->key, .random = &random_system };
        auto_cleanup(ledger_closep) Ledger *copy = NULL;

        strcpy(id, ledger_installation(f->ledger));
        assert_int_equal(id[0], 'i');
        assert_int_equal(strlen(id), 20);
        reopen(f);
        assert_string_equal(id, ledger_installation(f->ledger));
        snprintf(path, sizeof(path), "%s/copy.db", f->dir);
        assert_int_equal(ledger_backup(f->ledger, path, NULL), 0);
        assert_int_equal(ledger_open(&o, &copy, NULL), 0);
        assert_string_equal(id, ledger_installation(copy));
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
        static const struct CMUnitTest tests[] = {
                WITH(test_rows_there_and_back),
                WITH(test_doors),
                WITH(test_schema_knows_the_states),
                WITH(test_names_and_slots),
                WITH(test_secrets_are_sealed),
                WITH(test_events_are_append_only_and_chained),
                WITH(test_intents_and_outbox_and_routes),
                WITH(test_rollback_and_savepoints),
                WITH(test_write_faults_lose_whole_turns_only),
                WITH(test_newer_and_foreign_files_are_refused),
                WITH(test_due_times),
                WITH(test_installation_and_backup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
