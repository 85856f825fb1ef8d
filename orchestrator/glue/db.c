#include "orchestrator/glue/db.h"

#include <sqlite3.h>
#include <string.h>

#include "orchestrator/base/str.h"

struct DbQuery {
        Db *db;
        const char *sql; /* static */
        sqlite3_stmt *statement;
        int failed; /* SQLite code of the first failed bind */
        bool busy;
        DbQuery *next;
};

/* A power of two; queries are spread over the slots by the address of their text. */
#define DB_SLOTS 256

struct Db {
        sqlite3 *handle;
        DbQuery *slots[DB_SLOTS];
        int trouble;
};

/* A full disk is SQLITE_FULL only where a database or journal grows; for the WAL index, a sync or a new
 * file SQLite says "I/O error" and keeps the system's own number. */
static int io_errno(Db *db) {
        int n = db->handle ? sqlite3_system_errno(db->handle) : 0;

        return n == ENOSPC || n == EDQUOT ? -ENOSPC : -EIO;
}

static int db_fail(Db *db, int code, const char *what, Error *reterr) {
        int r;

        switch (code & 0xff) {
        case SQLITE_FULL:
                r = -ENOSPC;
                break;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
                r = -EBUSY;
                break;
        case SQLITE_CONSTRAINT:
                r = -EEXIST;
                break;
        case SQLITE_NOMEM:
                r = -ENOMEM;
                break;
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
                r = io_errno(db);
                break;
        case SQLITE_ERROR:
        case SQLITE_MISUSE:
        case SQLITE_RANGE:
                r = -EINVAL;
                break;
        default:
                r = -EIO;
        }
        if (db->trouble == 0 && (r == -EIO || r == -ENOSPC || r == -ENOMEM))
                db->trouble = r;
        return error_set(reterr, r, "%s: %s", what,
                         db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code));
}

static int open_with(const char *path, const char *vfs, int flags, Db **ret, Error *reterr) {
        auto_cleanup(db_freep) Db *db = calloc(1, sizeof(Db));
        int r;

        if (!db)
                return -ENOMEM;
        r = sqlite3_open_v2(path, &db->handle,
                            flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE,
                            vfs);
        if (r != SQLITE_OK) {
                db_fail(db, r, path, reterr);
                return error_prefix(reterr, reterr ? reterr->code : -EIO,
                                    "Cannot open the database");
        }
        sqlite3_busy_timeout(db->handle, 5000);
        *ret = TAKE(db);
        return 0;
}

int db_open(const char *path, const char *vfs, Db **ret, Error *reterr) {
        return open_with(path, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ret, reterr);
}

int db_open_to_read(const char *path, const char *vfs, Db **ret, Error *reterr) {
        return open_with(path, vfs, SQLITE_OPEN_READONLY, ret, reterr);
}

Db *db_free(Db *db) {
        if (!db)
                return NULL;
        for (size_t i = 0; i < DB_SLOTS; i++)
                while (db->slots[i]) {
                        DbQuery *q = db->slots[i];

                        db->slots[i] = q->next;
                        sqlite3_finalize(q->statement);
                        free(q);
                }
        sqlite3_close(db->handle);
        free(db);
        return NULL;
}

int db_exec(Db *db, const char *sql, Error *reterr) {
        int r = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

        return r == SQLITE_OK ? 0 : db_fail(db, r, "Database", reterr);
}

int db_query(Db *db, const char *sql, DbQuery **ret, Error *reterr) {
        DbQuery **slot = &db->slots[((uintptr_t) sql >> 3) & (DB_SLOTS - 1)], *q;
        int r;

        for (q = *slot; q; q = q->next)
                if (q->sql == sql && !q->busy)
                        break;
        if (!q) {
                q = calloc(1, sizeof(DbQuery));
                if (!q)
                        return -ENOMEM;
                r = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                       &q->statement, NULL);
                if (r != SQLITE_OK) {
                        free(q);
                        return db_fail(db, r, "Database", reterr);
                }
                q->db = db;
                q->sql = sql;
                q->next = *slot;
                *slot = q;
        }
        q->busy = true;
        q->failed = SQLITE_OK;
        *ret = q;
        return 0;
}

void db_query_done(DbQuery *q) {
        if (!q)
                return;
        sqlite3_reset(q->statement); /* repeats the error that step returned */
        sqlite3_clear_bindings(q->statement);
        q->busy = false;
}

static void bind_result(DbQuery *q, int r) {
        if (q->failed == SQLITE_OK)
                q->failed = r;
}

void db_bind_text(DbQuery *q, int at, const char *text) {
        bind_result(q, sqlite3_bind_text(q->statement, at, text, -1, SQLITE_TRANSIENT));
}

void db_bind_borrowed(DbQuery *q, int at, const char *text) {
        bind_result(q, sqlite3_bind_text(q->statement, at, text, -1, SQLITE_STATIC));
}

void db_bind_int(DbQuery *q, int at, int64_t value) {
        bind_result(q, sqlite3_bind_int64(q->statement, at, value));
}

void db_bind_null(DbQuery *q, int at) {
        bind_result(q, sqlite3_bind_null(q->statement, at));
}

void db_bind_blob(DbQuery *q, int at, const void *data, size_t size) {
        bind_result(q, sqlite3_bind_blob64(q->statement, at, data, size, SQLITE_TRANSIENT));
}

int db_step(DbQuery *q, Error *reterr) {
        int r;

        if (q->failed != SQLITE_OK)
                return db_fail(q->db, q->failed, "Database", reterr);
        r = sqlite3_step(q->statement);
        if (r == SQLITE_ROW)
                return 1;
        return r == SQLITE_DONE ? 0 : db_fail(q->db, r, "Database", reterr);
}

int db_run(DbQuery *q, Error *reterr) {
        int r;

        do
                r = db_step(q, reterr);
        while (r > 0);
        return r;
}

const char *db_text(DbQuery *q, int column) {
        return (const char *) sqlite3_column_text(q->statement, column);
}

int64_t db_int(DbQuery *q, int column) {
        return sqlite3_column_int64(q->statement, column);
}

bool db_is_null(DbQuery *q, int column) {
        return sqlite3_column_type(q->statement, column) == SQLITE_NULL;
}

bool db_is_plain(DbQuery *q, int column) {
        int type = sqlite3_column_type(q->statement, column);
        const char *text;

        if (type != SQLITE_TEXT)
                return type == SQLITE_INTEGER || type == SQLITE_NULL;
        text = (const char *) sqlite3_column_text(q->statement, column);
        return text && strlen(text) == (size_t) sqlite3_column_bytes(q->statement, column);
}

const void *db_blob(DbQuery *q, int column, size_t *ret_size) {
        const void *data = sqlite3_column_blob(q->statement, column);

        *ret_size = (size_t) sqlite3_column_bytes(q->statement, column);
        return data;
}

int64_t db_changes(Db *db) {
        return sqlite3_changes64(db->handle);
}

int64_t db_last_id(Db *db) {
        return sqlite3_last_insert_rowid(db->handle);
}

bool db_in_transaction(Db *db) {
        return !sqlite3_get_autocommit(db->handle);
}

int db_trouble(const Db *db) {
        return db->trouble;
}

void db_trouble_forget(Db *db) {
        db->trouble = 0;
}

int db_backup(Db *db, const char *path, Error *reterr) {
        auto_cleanup(db_freep) Db *copy = NULL;
        sqlite3_backup *backup;
        int r;

        r = db_open(path, NULL, &copy, reterr);
        if (r < 0)
                return r;
        backup = sqlite3_backup_init(copy->handle, "main", db->handle, "main");
        if (!backup)
                return db_fail(copy, sqlite3_errcode(copy->handle), "Backup", reterr);
        (void) sqlite3_backup_step(backup, -1); /* its failure comes back from finish */
        r = sqlite3_backup_finish(backup);
        return r == SQLITE_OK ? 0 : db_fail(copy, r, "Backup", reterr);
}
