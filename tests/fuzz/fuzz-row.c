/* A ledger whose rows somebody spoilt: columns that are NULL, of another type, or hold anything at all.
 * The constraints of its tables are taken away first, and the input then sets columns:
 *
 *   TABLE COLUMN ROW KIND value... 0x1e      (KIND modulo 4: text, number as text, blob, NULL)
 *
 * Every row is read, judged, shown and acted on. Whatever comes of it is an error and no crash. */
#include "tests/unit/engine-world.h"

#include <stdint.h>
#include <string.h>

#include "orchestrator/api/render.h"
#include "orchestrator/base/io.h"
#include "orchestrator/glue/db.h"

#define EDITS 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
        const char *name, *columns;
} tables[] = {
        { "environment",
          "id project_id branch commit label owner team trust trace slot state level "
          "wanted_generation live_generation cause gone_by gone_why created_ms used_ms "
          "asleep_ms closed_ms deleted_ms pinned_until_ms pinned_by pin_reason "
          "extended_until_ms due_ms wake_wanted sleep_wanted lease clocks policy_ms" },
        { "generation", "environment_id number commit trace state graph cause created_ms ready_ms "
                        "ended_ms" },
        { "resource",
          "uid environment_id generation key type class id name workload marker provider "
          "slot state node live outputs secret sealed applied inspect touched emptied "
          "tries retry_ms cause cause_class created_ms ready_ms removed_ms" },
        { "intent", "id resource_uid environment_id verb provider attempt created_ms deadline_ms "
                    "outcome message ended_ms" },
        { "event", "number time_ms environment_id project_id kind actor trace text data chain" },
        { "route", "host environment_id answer endpoints facts changed_ms" },
        { "project", "id name repository base_branch team owner clocks created_ms removed_ms "
                     "compared_ms" },
        { "value", "name value" },
};

/* What every input begins with: one environment that is ready, one under way, one gone. */
static char *sound, *sound_key;
static size_t sound_size, sound_key_size;

static void template_make(void) {
        static const char loosen[] =
                "PRAGMA writable_schema = ON;"
                "DELETE FROM sqlite_schema WHERE type = 'trigger';"
                "UPDATE sqlite_schema SET sql = replace(replace(replace(sql,"
                " ') STRICT, WITHOUT ROWID', ') WITHOUT ROWID'), ') STRICT', ')'), ' NOT NULL', '')"
                " WHERE type = 'table';";
        void *state;
        Fixture *f;
        Db *db;

        assert(set_up(&state) == 0);
        f = state;
        push(f, "gone", A_COMMIT);
        push(f, "ready", A_COMMIT);
        settle(f);
        assert(engine_down(f->engine, NULL, "gone--shop", NULL) == 0);
        settle(f);
        push(f, "ready", B_COMMIT);
        push(f, "way", A_COMMIT);
        turns(f);
        (void) answer_first(f);
        turns(f);
        daemon_killed(f);
        assert(db_open(f->db, NULL, &db, NULL) == 0);
        assert(db_exec(db, loosen, NULL) == 0);
        db_free(db);
        assert(read_file(f->db, 1 << 24, &sound, &sound_size, NULL) == 0);
        assert(read_file(f->key, 4096, &sound_key, &sound_key_size, NULL) == 0);
        daemon_up(f);
        assert(tear_down(&state) == 0);
}

/* The n-th word of a row of words, modulo their number, into buf. */
static const char *word(const char *words, unsigned n, char buf[static 40]) {
        unsigned count = 1;

        for (const char *c = words; *c; c++)
                count += *c == ' ';
        for (n %= count; n > 0; n--)
                words = strchr(words, ' ') + 1;
        snprintf(buf, 40, "%.*s", (int) strcspn(words, " "), words);
        return buf;
}

static char *literal(unsigned kind, const uint8_t *data, size_t size) {
        auto_strbuf b = { 0 };
        char number[24] = "";

        switch (kind % 4) {
        case 1:
                memcpy(number, data, size < 20 ? size : 20);
                return str_format("%lld", strtoll(number, NULL, 10));
        case 3:
                return strdup("NULL");
        default:
                strbuf_add(&b, kind % 4 ? "x'" : "CAST(x'");
                for (size_t i = 0; i < size; i++)
                        strbuf_addf(&b, "%02x", data[i]);
                strbuf_add(&b, kind % 4 ? "'" : "' AS TEXT)");
                return strbuf_take(&b);
        }
}

static void spoil(const char *path, const uint8_t *data, size_t size) {
        Db *db;

        assert(db_open(path, NULL, &db, NULL) == 0);
        assert(db_exec(db, "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF",
                       NULL) == 0);
        for (unsigned n = 0; size >= 4 && n < EDITS; n++) {
                const uint8_t *end = memchr(data + 4, 0x1e, size - 4);
                size_t length = end ? (size_t) (end - data) - 4 : size - 4;
                unsigned table = data[0] % N_ELEMENTS(tables);
                auto_cleanup(freep) char *value = literal(data[3], data + 4, length), *sql = NULL;
                bool value_table =
                        streq(tables[table].name, "value") || streq(tables[table].name, "route");
                const char *key = value_table ? streq(tables[table].name, "value") ? "name" : "host"
                                              : "rowid";
                char column[40];

                sql = str_format("UPDATE \"%s\" SET \"%s\" = %s WHERE %s IN (SELECT %s FROM \"%s\""
                                 " LIMIT 1 OFFSET %u)",
                                 tables[table].name, word(tables[table].columns, data[1], column),
                                 value, key, key, tables[table].name, data[2] % 16);
                (void) db_exec(db, sql, NULL); /* some would break a key */
                data += 4 + length + (end != NULL);
                size -= 4 + length + (end != NULL);
        }
        db_free(db);
}

/* ---- all of it is read and shown ---- */

static int show(json_t *object) {
        char *said = object ? json_dumps(object, JSON_COMPACT) : NULL;

        free(said);
        json_decref(object);
        return 0;
}

static int on_event(void *userdata, const Event *e) {
        return show(render_event(e, "label"));
}

static int on_project(void *userdata, const Project *p) {
        return show(render_project(p));
}

static int on_resource(void *userdata, const Resource *r) {
        Fixture *f = userdata;
        char *outputs = NULL;

        if (ledger_resource_outputs(f->ledger, r, &outputs, NULL) == 0)
                free(outputs);
        return show(render_resource(r));
}

static int on_generation(void *userdata, const Generation *g) {
        return show(render_generation(g));
}

static int on_environment(void *userdata, const Environment *env) {
        Fixture *f = userdata;
        json_t *why = NULL;

        (void) ledger_generation_each(f->ledger, env->id, on_generation, f, NULL);
        (void) ledger_resource_each(f->ledger, env->id, true, on_resource, f, NULL);
        if (engine_why(f->engine, env->id, &why, NULL) == 0)
                show(why);
        return 0;
}

static int on_intent(void *userdata, const Intent *i) {
        return 0;
}

static int on_route(void *userdata, const Route *r) {
        return 0;
}

static void read_all(Fixture *f) {
        (void) ledger_event_each(f->ledger, 0, NULL, 1000, on_event, f, NULL);
        (void) ledger_project_each(f->ledger, on_project, f, NULL);
        (void) ledger_environment_each(f->ledger, NULL, true, on_environment, f, NULL);
        (void) ledger_intent_each_open(f->ledger, on_intent, f, NULL);
        (void) ledger_route_each(f->ledger, on_route, f, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int64_t bad = 0;
        void *state;
        Fixture *f;

        if (!sound)
                template_make();
        f = world_new();
        assert(write_file(f->db, sound, sound_size, 0600, NULL) == 0);
        assert(write_file(f->key, sound_key, sound_key_size, 0600, NULL) == 0);
        spoil(f->db, data, size);
        if (daemon_try(f, NULL) == 0) {
                read_all(f);
                settle(f);
                read_all(f);
                (void) engine_push(f->engine, NULL, "shop", "ready", A_COMMIT, NULL, NULL);
                (void) engine_down(f->engine, NULL, "way--shop", NULL);
                settle(f);
                (void) ledger_verify_events(f->ledger, &bad, NULL);
        }
        state = f;
        assert(tear_down(&state) == 0);
        return 0;
}
