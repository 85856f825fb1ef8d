#include "orchestrator/ledger/private.h"

#define COLUMNS \
        "id, name, repository, base_branch, team, owner, clocks, created_ms, removed_ms, compared_ms"
#define MARKS "?,?,?,?,?,?,?,?,?,?"

static const Column columns[] = {
        TEXT(Project, id),
        TEXT(Project, name),
        TEXT(Project, repository),
        TEXT_OR_NULL(Project, base_branch),
        TEXT_OR_NULL(Project, team),
        TEXT_OR_NULL(Project, owner),
        TEXT_OR_NULL(Project, clocks),
        INT(Project, created_ms),
        INT(Project, removed_ms),
        INT(Project, compared_ms),
};

DEFINE_ROW(Project, project, columns)

int ledger_project_get(Ledger *l, const char *name_or_id, Project *ret, Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db,
                     "SELECT " COLUMNS
                     " FROM project WHERE id = ?1 OR (name = ?1 AND removed_ms = 0)"
                     " ORDER BY id = ?1, removed_ms LIMIT 1",
                     &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, name_or_id);
        r = project_first(q, ret, reterr);
        if (r == 0)
                return error_set(reterr, -ENOENT, "No project '%s'", name_or_id);
        return r < 0 ? r : 0;
}

int ledger_project_each(Ledger *l, int (*func)(void *userdata, const Project *p), void *userdata,
                        Error *reterr) {
        DbQuery *q;
        int r;

        r = db_query(l->db, "SELECT " COLUMNS " FROM project WHERE removed_ms = 0 ORDER BY name",
                     &q, reterr);
        return r < 0 ? r : project_walk(q, func, userdata, reterr);
}

static int project_write(Ledger *l, const char *sql, const Project *p, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, sql, &q, reterr);
        if (r < 0)
                return r;
        r = row_bind(q, columns, N_ELEMENTS(columns), p);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

int ledger_project_insert(Ledger *l, const Project *p, Error *reterr) {
        return project_write(l, "INSERT INTO project (" COLUMNS ") VALUES (" MARKS ")", p, reterr);
}

int ledger_project_update(Ledger *l, const Project *p, Error *reterr) {
        int r;

        r = project_write(l, "UPDATE project SET (" COLUMNS ") = (" MARKS ") WHERE id = ?1", p,
                          reterr);
        if (r < 0)
                return r;
        return db_changes(l->db) == 1 ? 0 : error_set(reterr, -ENOENT, "No project %s", p->id);
}
