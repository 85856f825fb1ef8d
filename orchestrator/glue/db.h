/* SQLite, as the ledger needs it: one connection, prepared statements kept, every failure with
 * SQLite's own sentence. Errors: -EIO (disk, corruption), -ENOSPC (full), -EBUSY (another writer),
 * -EEXIST (a constraint), -EINVAL (wrong SQL), -ENOMEM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/base/error.h"

typedef struct Db Db;
typedef struct DbQuery DbQuery;

/* Opens or makes the database. vfs is NULL for the default or the name of a registered one. */
int db_open(const char *path, const char *vfs, Db **ret, Error *reterr);
/* One that is there, to read only; others may write it meanwhile. */
int db_open_to_read(const char *path, const char *vfs, Db **ret, Error *reterr);
Db *db_free(Db *db);

/* Runs one or more statements without results. */
int db_exec(Db *db, const char *sql, Error *reterr);

/* The prepared statement for sql, ready to bind, from the connection's cache (sql must be a string
 * with static storage: its address is the key). One user at a time; db_query_done() gives it back. */
int db_query(Db *db, const char *sql, DbQuery **ret, Error *reterr);
void db_query_done(DbQuery *q);

/* Positions start at 1. Text and blobs are copied. NULL text binds NULL. A failure is remembered and
 * returned by the next step. */
void db_bind_text(DbQuery *q, int at, const char *text);
/* The same without a copy: text must stay as it is until db_query_done(). */
void db_bind_borrowed(DbQuery *q, int at, const char *text);
void db_bind_int(DbQuery *q, int at, int64_t value);
void db_bind_null(DbQuery *q, int at);
void db_bind_blob(DbQuery *q, int at, const void *data, size_t size);

/* 1 when there is a row, 0 at the end, negative errno. */
int db_step(DbQuery *q, Error *reterr);
/* Steps a statement that gives no rows, to its end; 0 or negative errno. */
int db_run(DbQuery *q, Error *reterr);

/* Columns start at 0. Text is valid until the next step; NULL columns are NULL. */
const char *db_text(DbQuery *q, int column);
int64_t db_int(DbQuery *q, int column);
bool db_is_null(DbQuery *q, int column);
/* NULL, an integer, or a text that db_text() shows all of. To be asked first. */
bool db_is_plain(DbQuery *q, int column);
const void *db_blob(DbQuery *q, int column, size_t *ret_size);

/* Rows changed by the last statement. */
int64_t db_changes(Db *db);
int64_t db_last_id(Db *db);
/* True between BEGIN and COMMIT or ROLLBACK. */
bool db_in_transaction(Db *db);
/* The first failure of disk or memory since db_trouble_forget(), from reads too; 0 for none. After such a
 * failure SQLite may have rolled the transaction back on its own. */
int db_trouble(const Db *db);
void db_trouble_forget(Db *db);
/* Copies the whole database to a new file while it is in use (sqlite3_backup_init). */
int db_backup(Db *db, const char *path, Error *reterr);

DEFINE_CLEANUP(Db *, db_free)
DEFINE_CLEANUP(DbQuery *, db_query_done)
