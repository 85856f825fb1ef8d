#include "tests/vfs/scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/str.h"

#define TRACE "0123456789abcdef0123456789abcdef"

#define TRY(call)                  \
        do {                       \
                int r_ = (call);   \
                if (r_ < 0)        \
                        return r_; \
        } while (0)

static int event(Ledger *l, const char *kind, const char *text, Error *e) {
        return ledger_event_add(l,
                                &(Event){ .time_ms = 1000,
                                          .environment_id = (char *) "e1",
                                          .project_id = (char *) "p1",
                                          .kind = (char *) kind,
                                          .actor = (char *) "uid:1000",
                                          .trace = (char *) TRACE,
                                          .text = (char *) text,
                                          .data = (char *) "{\"a\":1}" },
                                e);
}

static int project(Ledger *l, const char *id, const char *name, Error *e) {
        return ledger_project_insert(l,
                                     &(Project){ .id = (char *) id,
                                                 .name = (char *) name,
                                                 .repository = (char *) "/srv/shop.git",
                                                 .base_branch = (char *) "main",
                                                 .clocks = (char *) "{}",
                                                 .created_ms = 1 },
                                     e);
}

static int environment(Ledger *l, const char *id, const char *label, Error *e) {
        Environment row = {
                .id = (char *) id,
                .project_id = (char *) "p1",
                .branch = (char *) label,
                .commit = (char *) "c0ffee",
                .label = (char *) label,
                .owner = (char *) "ana",
                .trust = (char *) "member",
                .trace = (char *) TRACE,
                .wanted_generation = 1,
                .created_ms = 2,
                .due_ms = INT64_MAX,
                .lease = (char *) "{}",
        };

        return ledger_environment_insert(l, &row, e);
}

static int generation(Ledger *l, const char *environment_id, int64_t number, Error *e) {
        return ledger_generation_insert(l,
                                        &(Generation){ .environment_id = (char *) environment_id,
                                                       .number = number,
                                                       .commit = (char *) "c0ffee",
                                                       .trace = (char *) TRACE,
                                                       .created_ms = 3 },
                                        e);
}

static int resource(Ledger *l, const char *uid, const char *node, Error *e) {
        Resource row = {
                .uid = (char *) uid,
                .environment_id = (char *) "e1",
                .generation = 1,
                .key = (char *) uid,
                .type = (char *) "volume",
                .class = (char *) "default",
                .id = (char *) uid,
                .name = (char *) "data",
                .marker = (char *) uid,
                .provider = (char *) "volume",
                .node = (char *) (node ? node : "{}"),
                .created_ms = 4,
        };

        return ledger_resource_insert(l, &row, e);
}

int scenario_populate(Ledger *l, Error *e) {
        TRY(project(l, "p1", "shop", e));
        TRY(environment(l, "e1", "login--shop", e));
        return event(l, "environment.created", "made", e);
}

/* ---- the machines, a move a turn ---- */

static int move_environment(Ledger *l, EnvState to, Error *e) {
        auto_cleanup(environment_done) Environment row = { 0 };

        TRY(ledger_environment_get(l, "e1", &row, e));
        if (to == ENV_READY)
                row.live_generation = row.wanted_generation;
        TRY(ledger_environment_move(l, &row, to, e));
        return event(l, "environment.moved", env_state_to_string(to), e);
}

static int turn_environment(Ledger *l, unsigned i, Error *e) {
        static const EnvState way[] = { ENV_BUILDING, ENV_READY,    ENV_FAILED,
                                        ENV_READY,    ENV_DELETING, ENV_GONE };

        return move_environment(l, way[i], e);
}

static int turn_level(Ledger *l, unsigned i, Error *e) {
        static const EnvLevel way[] = { LEVEL_FALLING, LEVEL_STOPPED, LEVEL_WAKING, LEVEL_AWAKE };
        auto_cleanup(environment_done) Environment row = { 0 };

        TRY(ledger_environment_get(l, "login--shop", &row, e));
        row.used_ms = 100 + i;
        return ledger_environment_move_level(l, &row, way[i], e);
}

static int turn_generation(Ledger *l, unsigned i, Error *e) {
        static const GenState way[] = { GEN_CHECKOUT, GEN_PROVISIONING, GEN_LIVE, GEN_RETIRING,
                                        GEN_REMOVED };
        auto_cleanup(generation_done) Generation row = { 0 };

        if (i == 0)
                return generation(l, "e1", 1, e);
        TRY(ledger_generation_get(l, "e1", 1, &row, e));
        if (i == 2)
                TRY(str_replace(&row.graph, "{\"nodes\":[]}"));
        return ledger_generation_move(l, &row, way[i - 1], e);
}

static int move_resource(Ledger *l, const char *uid, ResState to, Error *e) {
        auto_cleanup(resource_done) Resource row = { 0 };

        TRY(ledger_resource_get(l, uid, &row, e));
        row.touched = true;
        row.emptied = to == RES_REMOVED;
        row.tries++;
        TRY(ledger_resource_move(l, &row, to, e));
        return event(l, "resource.moved", res_state_to_string(to), e);
}

static int turn_resource(Ledger *l, unsigned i, Error *e) {
        static const ResState way[] = { RES_PROVISIONING, RES_READY,  RES_FALLING,  RES_ASLEEP,
                                        RES_WAKING,       RES_READY,  RES_REMOVING, RES_STUCK,
                                        RES_REMOVING,     RES_REMOVED };

        return i == 0 ? resource(l, "r1", NULL, e) : move_resource(l, "r1", way[i - 1], e);
}

static int prepare_ready(Ledger *l, Error *e) {
        TRY(scenario_populate(l, e));
        TRY(move_environment(l, ENV_BUILDING, e));
        return move_environment(l, ENV_READY, e);
}

static int prepare_resource(Ledger *l, Error *e) {
        TRY(scenario_populate(l, e));
        return resource(l, "r1", NULL, e);
}

/* ---- one kind of row at a time ---- */

static int turn_project(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(project_done) Project row = { 0 };

        if (i == 0)
                return project(l, "p2", "blog", e);
        TRY(ledger_project_get(l, "p2", &row, e));
        row.compared_ms = i;
        if (i == 2)
                row.removed_ms = 9;
        return ledger_project_update(l, &row, e);
}

static int intent(Ledger *l, const char *id, Error *e) {
        return ledger_intent_insert(l,
                                    &(Intent){ .id = (char *) id,
                                               .resource_uid = (char *) "r1",
                                               .environment_id = (char *) "e1",
                                               .verb = (char *) "provision",
                                               .provider = (char *) "volume",
                                               .created_ms = 5,
                                               .deadline_ms = 60000 },
                                    e);
}

static int turn_intent(Ledger *l, unsigned i, Error *e) {
        char id[16];

        snprintf(id, sizeof(id), "c%u", i / 2);
        if (i % 2 == 0)
                return intent(l, id, e);
        return ledger_intent_end(l, id, "transient", "no answer", 6, e);
}

static int turn_outputs(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(resource_done) Resource row = { 0 };
        char *secret[] = { (char *) "password", NULL };
        char json[96];

        snprintf(json, sizeof(json), "{\"host\":\"h%u\",\"password\":\"s3cret-%u\"}", i, i);
        TRY(ledger_resource_get(l, "r1", &row, e));
        return ledger_resource_set_outputs(l, &row, json, i == 2 ? NULL : secret, e);
}

static int turn_events(Ledger *l, unsigned i, Error *e) {
        for (unsigned n = 0; n < 6; n++)
                TRY(event(l, "environment.seen", n % 2 ? "a visit" : "a probe", e));
        return 0;
}

static int route(Ledger *l, const char *host, const char *answer, unsigned n, Error *e) {
        return ledger_route_put(
                l,
                &(Route){ .host = (char *) host,
                          .environment_id = (char *) "e1",
                          .answer = (char *) answer,
                          .endpoints =
                                  (char *) (streq(answer, "direct") ? "[{\"path\":\"/\"}]" : "[]"),
                          .facts = (char *) "{}",
                          .changed_ms = n },
                e);
}

static int turn_routes(Ledger *l, unsigned i, Error *e) {
        static const char *const answers[] = { "building", "direct", "asleep", "waking", "gone" };

        if (i == 5)
                return ledger_route_remove(l, "login--shop.test", e);
        TRY(route(l, "login--shop.test", answers[i], i, e));
        return route(l, i % 2 ? "a.test" : "b.test", "building", i, e);
}

static int deliver(void *userdata, const OutboxItem *o) {
        OutboxItem copy = *o; /* borrowed strings */

        copy.tries++;
        copy.delivered_ms = 50;
        return ledger_outbox_update(userdata, &copy, NULL);
}

static int turn_outbox(Ledger *l, unsigned i, Error *e) {
        if (i == 2)
                return ledger_outbox_each_due(l, 100, deliver, l, e);
        for (unsigned n = 0; n < 3; n++)
                TRY(ledger_outbox_add(l,
                                      &(OutboxItem){ .target = (char *) (n % 2 ? "forge" : "mail"),
                                                     .kind = (char *) "link",
                                                     .body = (char *) "{}",
                                                     .created_ms = 7,
                                                     .not_before_ms = n },
                                      e));
        return 0;
}

static int turn_values(Ledger *l, unsigned i, Error *e) {
        TRY(ledger_value_set(l, "frozen", i % 3 == 2 ? NULL : "{\"reason\":\"a look\"}", e));
        TRY(ledger_value_set(l, "clock.mark", i % 2 ? "10 20" : "30 40", e));
        return ledger_value_set(l, i == 3 ? "other" : "more", "1", e);
}

/* ---- shapes of turns ---- */

static char *long_text(unsigned size) {
        char *text = malloc(size + 8);

        if (!text)
                return NULL;
        text[0] = '"';
        memset(text + 1, 'x', size);
        strcpy(text + 1 + size, "\"");
        return text;
}

/* More pages than the page cache holds: SQLite writes some of them before the commit. */
static int turn_big(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(freep) char *node = long_text(15000);
        char uid[24];

        for (unsigned n = 0; node && n < 6; n++) {
                snprintf(uid, sizeof(uid), "big-%u-%u", i, n);
                TRY(resource(l, uid, node, e));
        }
        return node ? event(l, "environment.big", "much", e) : -ENOMEM;
}

static int turn_wide(Ledger *l, unsigned i, Error *e) {
        char uid[24];

        for (unsigned n = 0; n < 25; n++) {
                snprintf(uid, sizeof(uid), "wide-%u-%u", i, n);
                TRY(resource(l, uid, NULL, e));
        }
        return 0;
}

static int turn_overflow(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(generation_done) Generation row = { 0 };

        if (i == 0)
                return generation(l, "e1", 1, e);
        TRY(ledger_generation_get(l, "e1", 1, &row, e));
        free(row.graph);
        row.graph = long_text(i == 1 ? 30000 : 12000);
        return row.graph ? ledger_generation_update(l, &row, e) : -ENOMEM;
}

static int turn_savepoints(Ledger *l, unsigned i, Error *e) {
        static const char *const uids[] = { "undone", "kept", "undone", "kept too" };

        TRY(event(l, "before", "before the part", e));
        TRY(ledger_savepoint(l, e));
        TRY(resource(l, uids[i], NULL, e));
        TRY(event(l, "inside", "in the part", e));
        TRY(i % 2 ? ledger_savepoint_keep(l, e) : ledger_savepoint_undo(l, e));
        return event(l, "after", "after the part", e);
}

/* A part that breaks a rule of the tables is undone, the rest of the turn stands. */
static int turn_rule(Ledger *l, unsigned i, Error *e) {
        int r;

        TRY(event(l, "before", "before the part", e));
        TRY(ledger_savepoint(l, e));
        TRY(event(l, "inside", "in the part", e));
        r = project(l, "p1", "again", NULL);
        if (r != -EEXIST)
                return r < 0 ? r : -ENOTRECOVERABLE;
        TRY(ledger_savepoint_undo(l, e));
        return event(l, "after", "the part was refused", e);
}

/* A caller that does not look at what its writes return: then the commit must not go through. */
static int turn_unseeing(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(freep) char *node = long_text(9000);
        char uid[24];

        for (unsigned n = 0; node && n < 8; n++) {
                snprintf(uid, sizeof(uid), "unseen-%u-%u", i, n);
                (void) resource(l, uid, node, e);
                (void) event(l, "unseen", "written", e);
        }
        return 0;
}

/* What was written is given up, then written again otherwise. */
static int turn_given_up(Ledger *l, unsigned i, Error *e) {
        TRY(resource(l, "r9", NULL, e));
        TRY(event(l, "lost", "never committed", e));
        ledger_rollback(l);
        return event(l, "kept", "committed", e);
}

/* Writes while a walk over the same table is under way. */
static int touch(void *userdata, const Resource *r) {
        Resource copy = *r; /* borrowed strings */

        copy.tries++;
        return ledger_resource_update(userdata, &copy, NULL);
}

static int turn_walk(Ledger *l, unsigned i, Error *e) {
        char uid[16];

        for (unsigned n = 0; i == 0 && n < 8; n++) {
                snprintf(uid, sizeof(uid), "w%u", n);
                TRY(resource(l, uid, NULL, e));
        }
        TRY(ledger_resource_each(l, "e1", false, touch, l, e));
        return event(l, "walked", "all", e);
}

/* Pages become free and are used again. */
static int turn_churn(Ledger *l, unsigned i, Error *e) {
        char host[32];

        for (unsigned n = 0; n < 40; n++) {
                snprintf(host, sizeof(host), "host-%u.test", n);
                if (i % 2 == 0)
                        TRY(route(l, host, "building", i, e));
                else
                        TRY(ledger_route_remove(l, host, e));
        }
        return event(l, "churned", "routes", e);
}

static int turn_small(Ledger *l, unsigned i, Error *e) {
        char name[16];

        snprintf(name, sizeof(name), "n%u", i % 4);
        TRY(ledger_value_set(l, name, "x", e));
        return event(l, "small", "one of many", e);
}

static int turn_first(Ledger *l, unsigned i, Error *e) {
        return i == 0 ? scenario_populate(l, e) : event(l, "first", "the next one", e);
}

/* ---- an environment's life ---- */

static int life_begin(Ledger *l, Error *e) {
        TRY(environment(l, "e2", "pay--shop", e));
        TRY(generation(l, "e2", 1, e));
        TRY(resource(l, "r2", NULL, e));
        return event(l, "environment.created", "pushed", e);
}

static int life_provision(Ledger *l, Error *e) {
        TRY(move_resource(l, "r2", RES_PROVISIONING, e));
        return ledger_intent_insert(l,
                                    &(Intent){ .id = (char *) "c9",
                                               .resource_uid = (char *) "r2",
                                               .environment_id = (char *) "e2",
                                               .verb = (char *) "provision",
                                               .provider = (char *) "volume",
                                               .deadline_ms = 1000 },
                                    e);
}

static int life_ready(Ledger *l, Error *e) {
        auto_cleanup(environment_done) Environment row = { 0 };

        TRY(ledger_intent_end(l, "c9", "ok", NULL, 9, e));
        TRY(move_resource(l, "r2", RES_READY, e));
        TRY(ledger_environment_get(l, "e2", &row, e));
        row.live_generation = 1;
        TRY(ledger_environment_move(l, &row, ENV_BUILDING, e));
        TRY(ledger_environment_move(l, &row, ENV_READY, e));
        return route(l, "pay--shop.test", "direct", 9, e);
}

static int life_end(Ledger *l, Error *e) {
        auto_cleanup(environment_done) Environment row = { 0 };

        TRY(ledger_environment_get(l, "e2", &row, e));
        row.live_generation = 0;
        TRY(ledger_environment_move(l, &row, ENV_DELETING, e));
        TRY(move_resource(l, "r2", RES_REMOVING, e));
        return route(l, "pay--shop.test", "gone", 10, e);
}

static int life_gone(Ledger *l, Error *e) {
        auto_cleanup(environment_done) Environment row = { 0 };

        TRY(move_resource(l, "r2", RES_REMOVED, e));
        TRY(ledger_environment_get(l, "e2", &row, e));
        return ledger_environment_move(l, &row, ENV_GONE, e);
}

static int turn_life(Ledger *l, unsigned i, Error *e) {
        static int (*const steps[])(Ledger *, Error *) = { life_begin, life_provision, life_ready,
                                                           life_end, life_gone };

        return steps[i](l, e);
}

/* Slots are used again when nothing is left. */
static int turn_slots(Ledger *l, unsigned i, Error *e) {
        auto_cleanup(environment_done) Environment row = { 0 };
        char id[16], label[24];

        snprintf(id, sizeof(id), "s%u", i / 2);
        snprintf(label, sizeof(label), "slot-%u--shop", i / 2);
        if (i % 2 == 0)
                return environment(l, id, label, e);
        TRY(ledger_environment_get(l, id, &row, e));
        TRY(ledger_environment_move(l, &row, ENV_DELETING, e));
        return ledger_environment_move(l, &row, ENV_GONE, e);
}

const Scenario scenarios[] = {
        { .name = "the first start", .empty = true, .n_turns = 2, .turn = turn_first },
        { .name = "a project", .n_turns = 3, .turn = turn_project },
        { .name = "states of an environment", .n_turns = 6, .turn = turn_environment },
        { .name = "levels of an environment",
          .prepare = prepare_ready,
          .n_turns = 4,
          .turn = turn_level },
        { .name = "states of a generation", .n_turns = 6, .turn = turn_generation },
        { .name = "states of a resource", .n_turns = 11, .turn = turn_resource },
        { .name = "intents and outcomes",
          .prepare = prepare_resource,
          .n_turns = 6,
          .turn = turn_intent },
        { .name = "outputs with secrets",
          .prepare = prepare_resource,
          .n_turns = 4,
          .turn = turn_outputs },
        { .name = "events", .n_turns = 4, .turn = turn_events },
        { .name = "routes", .n_turns = 6, .turn = turn_routes },
        { .name = "the outbox", .n_turns = 3, .turn = turn_outbox },
        { .name = "values", .n_turns = 6, .turn = turn_values },
        { .name = "a turn beyond the page cache",
          .small_cache = true,
          .n_turns = 2,
          .turn = turn_big },
        { .name = "a turn of many rows", .small_cache = true, .n_turns = 2, .turn = turn_wide },
        { .name = "rows over many pages", .n_turns = 3, .turn = turn_overflow },
        { .name = "parts of a turn", .n_turns = 4, .turn = turn_savepoints },
        { .name = "a part against the rules", .n_turns = 2, .turn = turn_rule },
        { .name = "a caller that does not look",
          .small_cache = true,
          .n_turns = 2,
          .turn = turn_unseeing },
        { .name = "a turn given up", .n_turns = 2, .turn = turn_given_up },
        { .name = "writes in a walk", .n_turns = 2, .turn = turn_walk },
        { .name = "pages used again", .small_wal = true, .n_turns = 4, .turn = turn_churn },
        { .name = "many turns over checkpoints",
          .small_wal = true,
          .n_turns = 16,
          .turn = turn_small },
        { .name = "opened for each turn", .reopen = true, .n_turns = 4, .turn = turn_small },
        { .name = "after a kill", .hot = true, .n_turns = 3, .turn = turn_small },
        { .name = "an environment's life", .n_turns = 5, .turn = turn_life },
        { .name = "a life over checkpoints",
          .small_wal = true,
          .reopen = true,
          .n_turns = 5,
          .turn = turn_life },
        { .name = "slots used again", .n_turns = 6, .turn = turn_slots },
};
const unsigned n_scenarios = N_ELEMENTS(scenarios);
