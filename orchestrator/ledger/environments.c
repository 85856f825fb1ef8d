/* "Living" here is what still owns its name: neither being deleted nor gone. Slots are owned longer,
 * until nothing is left in the world. */
#include <stdio.h>

#include "orchestrator/ledger/private.h"

#define SLOTS_SKIPPED_MAX 10000

/* Who an environment is, and what changes. An update names only the latter: for one that named the key,
 * SQLite would look through all rows of other tables that may refer to it. */
#define IDENTITY "id, project_id, branch, label, slot"
#define CHANGING                                                                              \
        "\"commit\", owner, team, trust, trace, state, level,"                                \
        " wanted_generation, live_generation, cause, gone_by, gone_why, created_ms, used_ms," \
        " asleep_ms, closed_ms, deleted_ms, pinned_until_ms, pinned_by, pin_reason,"          \
        " extended_until_ms, due_ms, wake_wanted, sleep_wanted, lease, clocks, policy_ms"
#define COLUMNS IDENTITY ", " CHANGING
#define CHANGING_MARKS                                             \
        "?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20," \
        "?21,?22,?23,?24,?25,?26,?27,?28,?29,?30,?31,?32"
#define MARKS "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?"
/* The project's name comes last: it is read, never written. */
#define SELECT                                                                         \
        "SELECT " COLUMNS ", (SELECT name FROM project WHERE project.id = project_id)" \
        " FROM environment "

static const Column columns[] = {
        TEXT(Environment, id),
        TEXT(Environment, project_id),
        TEXT(Environment, branch),
        TEXT(Environment, label),
        INT(Environment, slot),
        TEXT(Environment, commit),
        TEXT_OR_NULL(Environment, owner),
        TEXT_OR_NULL(Environment, team),
        TEXT(Environment, trust),
        TEXT(Environment, trace),
        STATE(Environment, state, machine_environment),
        STATE(Environment, level, machine_level),
        INT(Environment, wanted_generation),
        INT(Environment, live_generation),
        TEXT_OR_NULL(Environment, cause),
        TEXT_OR_NULL(Environment, gone_by),
        TEXT_OR_NULL(Environment, gone_why),
        INT(Environment, created_ms),
        INT(Environment, used_ms),
        INT(Environment, asleep_ms),
        INT(Environment, closed_ms),
        INT(Environment, deleted_ms),
        INT(Environment, pinned_until_ms),
        TEXT_OR_NULL(Environment, pinned_by),
        TEXT_OR_NULL(Environment, pin_reason),
        INT(Environment, extended_until_ms),
        INT(Environment, due_ms),
        BOOL(Environment, wake_wanted),
        BOOL(Environment, sleep_wanted),
        TEXT_OR_NULL(Environment, lease),
        TEXT_OR_NULL(Environment, clocks),
        INT(Environment, policy_ms),
        TEXT_OR_NULL(Environment, project),
};
#define N_STORED (N_ELEMENTS(columns) - 1)

DEFINE_ROW(Environment, environment, columns)

static int environment_found(DbQuery *q, const char *which, Environment *ret, Error *reterr) {
        int r = environment_first(q, ret, reterr);

        if (r == 0)
                return error_set(reterr, -ENOENT, "No environment '%s'", which);
        return r < 0 ? r : 0;
}

int ledger_environment_get(Ledger *l, const char *which, Environment *ret, Error *reterr) {
        /* The living one, else the newest. */
#define BEST                                       \
        " ORDER BY state IN ('deleting', 'gone')," \
        " environment.rowid DESC LIMIT 1"
        static const char by_id[] = SELECT "WHERE id = ?1";
        static const char by_label[] = SELECT "WHERE label = ?1" BEST;
        static const char by_branch[] = SELECT
                "WHERE project_id IN (SELECT id FROM project WHERE name = ?1) AND branch = ?2" BEST;
        auto_cleanup(freep) char *project = NULL;
        const char *slash = strchr(which, '/');
        DbQuery *q;
        int r;

        if (!slash) { /* an id first: that is one step in an index */
                r = db_query(l->db, by_id, &q, reterr);
                if (r < 0)
                        return r;
                db_bind_text(q, 1, which);
                r = environment_first(q, ret, reterr);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        r = db_query(l->db, slash ? by_branch : by_label, &q, reterr);
        if (r < 0)
                return r;
        if (slash) {
                project = strndup(which, (size_t) (slash - which));
                if (!project) {
                        db_query_done(q);
                        return -ENOMEM;
                }
                db_bind_text(q, 1, project);
                db_bind_text(q, 2, slash + 1);
        } else
                db_bind_text(q, 1, which);
        return environment_found(q, which, ret, reterr);
}

int ledger_environment_by_branch(Ledger *l, const char *project_id, const char *branch,
                                 Environment *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     SELECT "WHERE project_id = ?1 AND branch = ?2"
                            " AND state NOT IN ('deleting', 'gone')",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, project_id);
        db_bind_text(q, 2, branch);
        return environment_found(q, branch, ret, reterr);
}

int ledger_environment_each(Ledger *l, const char *project_id, bool gone,
                            int (*func)(void *userdata, const Environment *e), void *userdata,
                            Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     SELECT "WHERE (?1 IS NULL OR project_id = ?1) AND (?2 OR state != 'gone')"
                            " ORDER BY environment.rowid",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, project_id);
        db_bind_int(q, 2, gone);
        return environment_walk(q, func, userdata, reterr);
}

int ledger_environment_next_due(Ledger *l, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db,
                     "SELECT min(due_ms) FROM environment WHERE state NOT IN ('deleting', 'gone')",
                     &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 && !db_is_null(q, 0) ? db_int(q, 0) : INT64_MAX;
        return 0;
}

int ledger_environment_each_due(Ledger *l, int64_t now_ms,
                                int (*func)(void *userdata, const Environment *e), void *userdata,
                                Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     SELECT "WHERE due_ms <= ?1 AND state NOT IN ('deleting', 'gone')"
                            " ORDER BY due_ms",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, now_ms);
        return environment_walk(q, func, userdata, reterr);
}

static int choose_slot(Ledger *l, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db,
                     "WITH first(s) AS (SELECT coalesce((SELECT CAST(value AS INTEGER) FROM value"
                     "  WHERE name = 'slots.from'), 1))"
                     " SELECT min(s) FROM (SELECT s FROM first UNION ALL SELECT slot + 1"
                     "  FROM environment, first WHERE state != 'gone' AND slot >= s) WHERE s NOT IN"
                     " (SELECT slot FROM environment WHERE state != 'gone')",
                     &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = db_int(q, 0);
        return 0;
}

/* Each environment that was forgotten has left at least one event, so that many slots at most are in use
 * that nobody knows of: by processes that run as their users, and files that are theirs. */
int ledger_slots_skip(Ledger *l, int64_t missing, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        char text[24];
        int r;

        r = db_query(l->db,
                     "SELECT max(coalesce((SELECT max(slot) FROM environment), 0) + 1,"
                     " coalesce((SELECT CAST(value AS INTEGER) FROM value"
                     "  WHERE name = 'slots.from'), 0))",
                     &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        if (missing <= 0 || missing > SLOTS_SKIPPED_MAX)
                missing = SLOTS_SKIPPED_MAX;
        snprintf(text, sizeof(text), "%lld", (long long) (db_int(q, 0) + missing));
        db_query_done(TAKE(q));
        return ledger_value_set(l, "slots.from", text, reterr);
}

int ledger_environment_insert(Ledger *l, Environment *e, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = choose_slot(l, &e->slot, reterr);
        if (r < 0)
                return ledger_turn_break(l, r);
        r = ledger_write(l, "INSERT INTO environment (" COLUMNS ") VALUES (" MARKS ")", &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_STORED, e);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

/* The one statement that changes an environment. */
static int environment_door(Ledger *l, Environment *e, EnvState state, EnvLevel level,
                            Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        EnvState from = e->state;
        EnvLevel from_level = e->level;
        int r;

        r = ledger_check_move(&machine_environment, e->id, (int) from, (int) state, reterr);
        if (r == 0)
                r = ledger_check_move(&machine_level, e->id, (int) from_level, (int) level, reterr);
        if (r < 0)
                return r;
        r = ledger_write(l,
                         "UPDATE environment SET (" CHANGING ") = (" CHANGING_MARKS ")"
                         " WHERE id = ?1 AND state = ?33 AND level = ?34",
                         &q, reterr);
        if (r < 0)
                return r;
        e->state = state;
        e->level = level;
        r = row_bind(q, columns, N_STORED, e);
        db_bind_text(q, N_STORED + 1, env_state_to_string(from));
        db_bind_text(q, N_STORED + 2, env_level_to_string(from_level));
        if (r == 0)
                r = ledger_run(l, q, reterr);
        if (r == 0)
                r = ledger_check_moved(l, &machine_environment, e->id, (int) from, reterr);
        if (r < 0) {
                e->state = from;
                e->level = from_level;
        }
        return r;
}

int ledger_environment_update(Ledger *l, const Environment *e, Error *reterr) {
        Environment copy = *e; /* borrowed strings; the states do not change */

        return environment_door(l, &copy, e->state, e->level, reterr);
}

int ledger_environment_move(Ledger *l, Environment *e, EnvState to, Error *reterr) {
        return environment_door(l, e, to, e->level, reterr);
}

int ledger_environment_move_level(Ledger *l, Environment *e, EnvLevel to, Error *reterr) {
        return environment_door(l, e, e->state, to, reterr);
}
