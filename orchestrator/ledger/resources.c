/* Outputs are kept in two columns: what everybody may read as JSON, and the secret ones sealed, with the
 * resource's uid as context, so that a sealed value cannot be moved to another row. */
#include <jansson.h>

#include "orchestrator/base/log.h"
#include "orchestrator/ledger/private.h"

/* Who a resource is, and what changes. An update names only the latter: for one that named the key,
 * SQLite would look through all intents, living and ended, for rows that refer to it. */
#define IDENTITY \
        "uid, environment_id, generation, key, type, class, id, name, workload, marker, provider, slot"
#define CHANGING                                                                                   \
        "state, node, live, outputs, secret, applied, inspect, touched, emptied, tries, retry_ms," \
        " cause, cause_class, created_ms, ready_ms, removed_ms, notes"
#define COLUMNS        IDENTITY ", " CHANGING
#define CHANGING_MARKS "?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29"
#define MARKS          "?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?"

static const Column columns[] = {
        TEXT(Resource, uid),
        TEXT(Resource, environment_id),
        INT(Resource, generation),
        TEXT(Resource, key),
        TEXT(Resource, type),
        TEXT(Resource, class),
        TEXT(Resource, id),
        TEXT_OR_NULL(Resource, name),
        TEXT_OR_NULL(Resource, workload),
        TEXT(Resource, marker),
        TEXT(Resource, provider),
        INT(Resource, slot),
        STATE(Resource, state, machine_resource),
        TEXT(Resource, node),
        TEXT_OR_NULL(Resource, live),
        TEXT_OR_NULL(Resource, outputs),
        LIST(Resource, secret),
        INT(Resource, applied),
        BOOL(Resource, inspect),
        BOOL(Resource, touched),
        BOOL(Resource, emptied),
        INT(Resource, tries),
        INT(Resource, retry_ms),
        TEXT_OR_NULL(Resource, cause),
        TEXT_OR_NULL(Resource, cause_class),
        INT(Resource, created_ms),
        INT(Resource, ready_ms),
        INT(Resource, removed_ms),
        LIST(Resource, notes),
};

DEFINE_ROW(Resource, resource, columns)

void resource_take(const Resource *row, Resource *ret) {
        *ret = *row;
        memset((Resource *) row, 0, sizeof(*row)); /* a walk's own variable */
}

int ledger_resource_get(Ledger *l, const char *uid, Resource *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM resource WHERE uid = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, uid);
        r = resource_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No resource '%s'", uid);
        return r < 0 ? r : 0;
}

/* Over all environments: one spoilt row is told of once, and its own environment's looks say it too. */
static int walk_all(Ledger *l, DbQuery *q, int (*func)(void *userdata, const Resource *r),
                    void *userdata, Error *reterr) {
        Skipped skipped = { 0 };
        int r = resource_walk_on(q, &skipped, func, userdata, reterr);

        if (skipped.n > 0 && !l->told_spoilt)
                log_error("The ledger's row of resource %s%s cannot be read and is left out; its "
                          "environment waits, and nothing of it is removed",
                          skipped.first, skipped.n > 1 ? " and others" : "");
        l->told_spoilt = l->told_spoilt || skipped.n > 0;
        return r;
}

int ledger_resource_each(Ledger *l, const char *environment_id, bool removed,
                         int (*func)(void *userdata, const Resource *r), void *userdata,
                         Error *reterr) {
        /* The living ones have indexes of their own: a look must not walk a long history. */
        static const char *const sql[2][2] = {
                { "SELECT " COLUMNS " FROM resource WHERE state != 'removed' ORDER BY rowid",
                  "SELECT " COLUMNS " FROM resource ORDER BY rowid" },
                { "SELECT " COLUMNS " FROM resource INDEXED BY resource_key"
                  " WHERE environment_id = ?1 AND state != 'removed' ORDER BY rowid",
                  "SELECT " COLUMNS " FROM resource WHERE environment_id = ?1 ORDER BY rowid" },
        };
        DbQuery *q;
        int r;

        r = db_query(l->db, sql[environment_id != NULL][removed], &q, reterr);
        if (r < 0)
                return r;
        if (!environment_id)
                return walk_all(l, q, func, userdata, reterr);
        db_bind_text(q, 1, environment_id);
        return resource_walk(q, func, userdata, reterr);
}

int ledger_resource_each_retry(Ledger *l, int64_t since_ms, int64_t now_ms,
                               int (*func)(void *userdata, const Resource *r), void *userdata,
                               Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS " FROM resource WHERE retry_ms > max(?2, 0) AND retry_ms > 0"
                     " AND retry_ms <= ?1"
                     " AND state != 'removed' ORDER BY retry_ms",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, now_ms);
        db_bind_int(q, 2, since_ms);
        return walk_all(l, q, func, userdata, reterr);
}

int ledger_resource_next_retry(Ledger *l, int64_t now_ms, int64_t *ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(
                l->db,
                "SELECT min(retry_ms) FROM resource WHERE retry_ms > max(?1, 0) AND retry_ms > 0"
                " AND state != 'removed'",
                &q, reterr);
        if (r < 0)
                return r;
        db_bind_int(q, 1, now_ms);
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = r > 0 && !db_is_null(q, 0) ? db_int(q, 0) : INT64_MAX;
        return 0;
}

static int choose_slot(Ledger *l, int64_t *ret, Error *reterr) {
        /* The first gap; both halves walk the partial index on living slots. */
        static const char sql[] =
                "SELECT CASE WHEN NOT EXISTS"
                " (SELECT 1 FROM resource WHERE slot = 1 AND state != 'removed') THEN 1 ELSE"
                " (SELECT a.slot + 1 FROM resource a WHERE a.state != 'removed' AND a.slot > 0"
                "  AND NOT EXISTS (SELECT 1 FROM resource b WHERE b.slot = a.slot + 1"
                "   AND b.state != 'removed') ORDER BY a.slot LIMIT 1) END";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(l->db, sql, &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        *ret = db_int(q, 0);
        return 0;
}

int ledger_resource_insert(Ledger *l, Resource *res, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = choose_slot(l, &res->slot, reterr);
        if (r < 0)
                return ledger_turn_break(l, r);
        r = ledger_write(l, "INSERT INTO resource (" COLUMNS ") VALUES (" MARKS ")", &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), res);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_resource_move(Ledger *l, Resource *res, ResState to, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        ResState from = res->state;
        int r;

        r = ledger_check_move(&machine_resource, res->uid, (int) from, (int) to, reterr);
        if (r < 0)
                return r;
        r = ledger_write(l,
                         "UPDATE resource SET (" CHANGING ") = (" CHANGING_MARKS
                         ") WHERE uid = ?1 AND state = ?30",
                         &q, reterr);
        if (r < 0)
                return r;
        res->state = to;
        r = row_bind(q, columns, N_ELEMENTS(columns), res);
        db_bind_text(q, N_ELEMENTS(columns) + 1, res_state_to_string(from));
        if (r == 0)
                r = ledger_run(l, q, reterr);
        if (r == 0)
                r = ledger_check_moved(l, &machine_resource, res->uid, (int) from, reterr);
        if (r < 0)
                res->state = from;
        return r;
}

int ledger_resource_update(Ledger *l, const Resource *res, Error *reterr) {
        Resource copy = *res; /* borrowed strings; the state does not change */

        return ledger_resource_move(l, &copy, res->state, reterr);
}

/* ---- outputs ---- */

static void wipe_free(char **text) {
        if (*text)
                wipe(*text, strlen(*text));
        free(*text);
}

static int sealed_write(Ledger *l, const char *uid, const json_t *secrets, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        auto_cleanup(wipe_free) char *text = NULL;
        auto_cleanup(freep) uint8_t *sealed = NULL;
        size_t size = 0;
        int r;

        r = ledger_write(l, "UPDATE resource SET sealed = ?2 WHERE uid = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, uid);
        if (json_object_size(secrets) > 0) {
                text = json_dumps(secrets, JSON_COMPACT | JSON_SORT_KEYS);
                if (!text)
                        return -ENOMEM;
                r = seal(l->key, uid, text, strlen(text), &sealed, &size, reterr);
                if (r < 0)
                        return r;
                db_bind_blob(q, 2, sealed, size);
        } else
                db_bind_null(q, 2);
        return ledger_run(l, q, reterr);
}

int ledger_resource_set_outputs(Ledger *l, Resource *res, const char *outputs_json,
                                char *const *secret, Error *reterr) {
        auto_cleanup(strv_freep) char **names = NULL;
        auto_cleanup(freep) char *text = NULL;
        json_auto_t *outputs = NULL, *secrets = json_object();
        int r;

        outputs = json_loads(outputs_json, 0, NULL);
        if (!json_is_object(outputs))
                return error_set(reterr, -EINVAL, "Outputs must be an object");
        for (; secret && *secret; secret++) {
                json_t *value = json_object_get(outputs, *secret);

                if (!value) /* what was meant would be stored in clear */
                        return error_set(reterr, -EBADMSG, "The secret '%s' is no output", *secret);
                if (json_object_set(secrets, *secret, value) < 0 || strv_add(&names, *secret) < 0)
                        return -ENOMEM;
                (void) json_object_del(outputs, *secret); /* it is there */
        }
        text = json_dumps(outputs, JSON_COMPACT | JSON_SORT_KEYS);
        if (!text)
                return -ENOMEM;
        r = sealed_write(l, res->uid, secrets, reterr);
        if (r < 0)
                return r;
        free(res->outputs);
        res->outputs = TAKE(text);
        strv_free(res->secret);
        res->secret = TAKE(names);
        return ledger_resource_update(l, res, reterr);
}

int ledger_resource_outputs(Ledger *l, const Resource *res, char **ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        auto_cleanup(wipe_free) char *opened = NULL;
        json_auto_t *outputs = NULL, *secrets = NULL;
        const void *sealed;
        size_t size;
        int r;

        outputs = json_loads(res->outputs ? res->outputs : "{}", 0, NULL);
        if (!json_is_object(outputs))
                return error_set(reterr, -EBADMSG, "The outputs of %s are damaged", res->uid);
        r = db_query(l->db, "SELECT sealed FROM resource WHERE uid = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, res->uid);
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        if (r > 0 && !db_is_null(q, 0)) {
                sealed = db_blob(q, 0, &size);
                r = unseal(l->key, res->uid, sealed, size, &opened, NULL, reterr);
                if (r < 0)
                        return r;
                secrets = json_loads(opened, 0, NULL);
                if (!json_is_object(secrets) || json_object_update(outputs, secrets) < 0)
                        return error_set(reterr, -EBADMSG, "The outputs of %s are damaged",
                                         res->uid);
        }
        *ret = json_dumps(outputs, JSON_COMPACT | JSON_SORT_KEYS);
        return *ret ? 0 : -ENOMEM;
}
