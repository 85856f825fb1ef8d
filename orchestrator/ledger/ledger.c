/* Opening, the turn's transaction, and small values.
 *
 * A failure of the disk may have made SQLite roll back everything (SQLITE_FULL, SQLITE_IOERR), also in a
 * read, which may have to write out pages of the turn first. What follows in the same turn would then be
 * committed each on its own: half a turn. So the first such failure, of a write or of a read in the turn,
 * marks the turn as broken, every later write is refused, and the commit reports it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "orchestrator/base/fault.h"
#include "orchestrator/base/io.h"
#include "orchestrator/base/log.h"
#include "orchestrator/ledger/private.h"

#define RESERVE_BYTES 65536

/* SQLite makes files that everybody may read, and gives its other files the mode of this one. Closed before
 * SQLite opens it: the end of any descriptor of a file ends every lock that this process has on it
 * (fcntl(2)), and who asks next would find the ledger unused and remove its WAL. */
static int file_make(const LedgerOptions *o, Error *reterr) {
        auto_cleanup(closep) int fd = -1;

        if (o->vfs || o->db || o->path[0] != '/')
                return 0;
        fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 || fchmod(fd, 0600) < 0)
                return error_set(reterr, -errno, "%s", strerror(errno));
        return 0;
}

/* Asked for, not ordered: where it cannot be had SQLite says so only in its answer, and goes on with a
 * journal whose commits a power loss may take back. The switch is a commit of its own, at the end of the
 * statement, so the mode is asked for again. */
static int wal_on(Ledger *l, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_exec(l->db, "PRAGMA journal_mode = WAL", reterr);
        if (r == 0)
                r = db_query(l->db, "PRAGMA journal_mode", &q, reterr);
        if (r == 0)
                r = db_step(q, reterr);
        if (r < 0)
                return r;
        if (!streq_null(db_text(q, 0), "wal"))
                return error_set(reterr, -EOPNOTSUPP,
                                 "Its file system cannot keep a write-ahead log; put the state "
                                 "directory on a local disk");
        return 0;
}

static int set_up(Ledger *l, const LedgerOptions *o, Error *reterr) {
        /* A small page cache: the ledger of a machine fits, and the daemon stays small. */
        static const char common[] = "PRAGMA foreign_keys = ON;"
                                     "PRAGMA cache_size = -1024; PRAGMA temp_store = MEMORY;";
        int r;

        if (l->lent)
                return 0;
        r = db_exec(l->db, common, reterr);
        if (r == 0 && !o->fast)
                r = wal_on(l, reterr);
        if (r == 0)
                r = db_exec(l->db,
                            o->fast ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF"
                                    : "PRAGMA synchronous = FULL",
                            reterr);
        return r;
}

int ledger_check_whole(Db *db, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = db_query(db, "PRAGMA quick_check(1)", &q, reterr);
        if (r < 0)
                return r;
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        if (r > 0 && !streq(db_text(q, 0), "ok"))
                return error_set(reterr, -EIO, "The ledger is damaged: %s", db_text(q, 0));
        return 0;
}

/* Secrets and the event chain depend on the key: another one in its place must not go unnoticed, and none is
 * made where there was one. known: what the ledger says of its key, NULL before it has one. */
static int load_key(Ledger *l, const LedgerOptions *o, const char *known, Error *reterr) {
        char proof[SHA256_HEX];
        int r;

        r = seal_key_load(o->key_path, l->key, NULL);
        if (r == -ENOENT && (known || o->read_only))
                return error_set(reterr, -ENOKEY,
                                 "Its key '%s' is missing. Put your copy of it back: without it "
                                 "neither the secrets of the previews nor the log of events can be "
                                 "read, and nothing else opens this ledger",
                                 o->key_path);
        if (r == -ENOENT)
                r = seal_key_make(o->key_path, l->key, reterr);
        else if (r < 0)
                r = seal_key_load(o->key_path, l->key, reterr); /* for its words */
        crash_point("ledger.key");
        if (r == 0)
                r = ledger_key_for(l, "event", l->event_key);
        if (r == 0)
                r = ledger_proof(l, "key", "", 0, proof);
        if (r == 0 && known && !streq(known, proof))
                return error_set(reterr, -EKEYREJECTED,
                                 "The key file is not the one that this ledger was made with; put "
                                 "that one back");
        return r < 0 || known || o->read_only ? r : ledger_value_set(l, "key", proof, reterr);
}

static int load_identity(Ledger *l, const LedgerOptions *o, Error *reterr) {
        auto_cleanup(freep) char *id = NULL, *known = NULL;
        int r;

        r = ledger_value_get(l, "installation", &id, NULL);
        if (r == -ENOENT && !o->read_only) {
                r = load_key(l, o, NULL, reterr);
                id_make(o->random, 'i', l->installation);
                if (r == 0)
                        r = ledger_value_set(l, "installation", l->installation, reterr);
                return r < 0 ? r : ledger_commit(l, reterr);
        }
        if (r < 0)
                return error_set(reterr, r, "The ledger's installation id cannot be read");
        if (strlen(id) != ID_SIZE - 1)
                return error_set(reterr, -EBADMSG, "The ledger's installation id is damaged");
        memcpy(l->installation, id, ID_SIZE);
        r = ledger_value_get(l, "key", &known, reterr);
        return r < 0 ? r : load_key(l, o, known, reterr);
}

static int db_get(Ledger *l, const LedgerOptions *o, Error *reterr) {
        if (o->read_only)
                return db_open_to_read(o->path, o->vfs, &l->db, reterr);
        if (!o->db)
                return db_open(o->path, o->vfs, &l->db, reterr);
        l->db = o->db;
        l->lent = true;
        return 0;
}

static int open_steps(Ledger *l, const LedgerOptions *o, Error *reterr) {
        int r = o->read_only ? 0 : file_make(o, reterr);

        if (r == 0)
                r = db_get(l, o, reterr);
        if (r == 0 && !o->read_only)
                r = set_up(l, o, reterr);
        if (r == 0)
                r = o->read_only ? schema_check(l->db, reterr) : schema_migrate(l->db, reterr);
        if (r == 0 && !o->fast)
                r = ledger_check_whole(l->db, reterr);
        if (r == 0)
                r = load_identity(l, o, reterr);
        if (r == 0 && !o->read_only)
                r = signing_open(l, o, reterr);
        return r == 0 ? anchor_open(l, o, reterr) : r;
}

/* On a full disk SQLite has no room for the index of its WAL, which each first one to open makes and each
 * last one to close removes; then a daemon that was stopped would not start again, and no address would
 * answer. So as much room is kept, and given up for that. */
static void reserve_make(const Ledger *l) {
        auto_cleanup(closep) int fd = -1;

        if (!l->reserve || path_exists(l->reserve))
                return;
        fd = open(l->reserve, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
                (void) unlink(l->reserve); /* no room now: the next one tries again */
}

static int open_once(const LedgerOptions *o, Ledger **ret, Error *reterr) {
        auto_cleanup(ledger_closep) Ledger *l = calloc(1, sizeof(Ledger));
        int r;

        if (!l)
                return -ENOMEM;
        l->path = strdup(o->path);
        if (!l->path)
                return -ENOMEM;
        if (o->vfs && !(l->vfs = strdup(o->vfs)))
                return -ENOMEM;
        r = open_steps(l, o, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(l);
        return 0;
}

int ledger_open(const LedgerOptions *o, Ledger **ret, Error *reterr) {
        bool real = !o->vfs && !o->db && !o->fast && !o->read_only;
        auto_cleanup(freep) char *reserve = real ? str_format("%s.reserve", o->path) : NULL;
        auto_error first = { 0 };
        int r = open_once(o, ret, &first);

        if ((r == -ENOSPC || r == -EIO) && reserve && unlink(reserve) == 0)
                r = open_once(o, ret, reterr);
        else if (r < 0)
                error_set(reterr, r, "%s", error_text(&first, r));
        if (r < 0)
                return error_prefix(reterr, r, "Cannot open the ledger '%s'", o->path);
        (*ret)->reserve = TAKE(reserve);
        reserve_make(*ret);
        return 0;
}

Ledger *ledger_close(Ledger *l) {
        if (!l)
                return NULL;
        if (l->db)
                ledger_rollback(l);
        anchor_close(l);
        if (!l->lent)
                db_free(l->db);
        reserve_make(l); /* now that the index is gone there is room for it */
        free(l->reserve);
        wipe(l->key, sizeof(l->key));
        wipe(l->event_key, sizeof(l->event_key));
        wipe(l->signing_key, sizeof(l->signing_key));
        free(l->path);
        free(l->vfs);
        free(l);
        return NULL;
}

const char *ledger_installation(const Ledger *l) {
        return l->installation;
}

/* ---- the turn ---- */

int ledger_turn_break(Ledger *l, int r) {
        if (r != -EEXIST && r != -EINVAL && l->broken == 0)
                l->broken = r;
        return r;
}

/* Has the turn under way met a failure? */
static int turn_trouble(Ledger *l) {
        if (l->open && l->broken == 0)
                l->broken = db_trouble(l->db);
        if (l->open && l->broken == 0 && !db_in_transaction(l->db))
                l->broken = -EIO; /* SQLite gave the turn up */
        return l->broken;
}

/* Prepared once, as every statement that a turn needs. */
static int run_plain(Ledger *l, const char *sql, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r = db_query(l->db, sql, &q, reterr);

        return r < 0 ? r : db_run(q, reterr);
}

int ledger_write(Ledger *l, const char *sql, DbQuery **ret, Error *reterr) {
        int r;

        if (turn_trouble(l) < 0)
                return error_set(reterr, l->broken, "An earlier step of this turn failed");
        if (fault_hit("ledger"))
                return ledger_turn_break(
                        l, error_set(reterr, -ENOSPC, "No space left for the ledger"));
        if (!l->open) {
                db_trouble_forget(l->db); /* of what was only read */
                r = run_plain(l, "BEGIN IMMEDIATE", reterr);
                if (r < 0)
                        return ledger_turn_break(l, r);
                l->open = true;
        }
        r = db_query(l->db, sql, ret, reterr);
        return r < 0 ? ledger_turn_break(l, r) : 0;
}

int ledger_run(Ledger *l, DbQuery *q, Error *reterr) {
        int r = db_run(q, reterr);

        if (r < 0)
                ledger_turn_break(l, r);
        return r;
}

int ledger_commit(Ledger *l, Error *reterr) {
        int r = turn_trouble(l);

        if (r < 0) {
                ledger_rollback(l);
                return error_set(reterr, r, "The ledger cannot be written: %s", strerror(-r));
        }
        if (!l->open)
                return 0;
        if (fault_hit("ledger.commit")) {
                ledger_rollback(l);
                return error_set(reterr, -EIO, "The ledger cannot be written: a simulated fault");
        }
        r = anchor_before_commit(l, reterr);
        crash_point("ledger.commit.before");
        if (r == 0)
                r = run_plain(l, "COMMIT", reterr);
        if (r < 0) {
                ledger_rollback(l);
                return error_prefix(reterr, r, "The ledger cannot be written");
        }
        crash_point("ledger.commit.after");
        l->open = false;
        anchor_after_commit(l);
        return 0;
}

void ledger_rollback(Ledger *l) {
        auto_error e = { 0 };

        if (db_in_transaction(l->db) && db_exec(l->db, "ROLLBACK", &e) < 0)
                log_debug("rollback: %s", error_text(&e, -EIO));
        l->open = false;
        l->broken = 0;
        db_trouble_forget(l->db);
}

bool ledger_is_open(const Ledger *l) {
        return l->open;
}

int ledger_savepoint(Ledger *l, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, "SAVEPOINT part", &q, reterr);
        return r < 0 ? r : ledger_run(l, q, reterr);
}

static int savepoint_end(Ledger *l, const char *sql, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        if (turn_trouble(l) < 0)
                return error_set(reterr, l->broken, "An earlier step of this turn failed");
        r = db_query(l->db, sql, &q, reterr);
        return r < 0 ? ledger_turn_break(l, r) : ledger_run(l, q, reterr);
}

int ledger_savepoint_keep(Ledger *l, Error *reterr) {
        return savepoint_end(l, "RELEASE part", reterr);
}

int ledger_savepoint_undo(Ledger *l, Error *reterr) {
        int r = savepoint_end(l, "ROLLBACK TO part", reterr);

        return r < 0 ? r : savepoint_end(l, "RELEASE part", reterr);
}

/* ---- doors ---- */

int ledger_check_move(const StateMachine *m, const char *id, int from, int to, Error *reterr) {
        if (from == to || state_may_become(m, from, to))
                return 0;
        return error_set(reterr, -EPERM, "%s %s is %s and cannot become %s", m->noun, id,
                         state_name(m, from), state_name(m, to));
}

int ledger_check_moved(Ledger *l, const StateMachine *m, const char *id, int from, Error *reterr) {
        if (db_changes(l->db) == 1)
                return 0;
        return error_set(reterr, -ESTALE, "%s %s is no longer %s", m->noun, id,
                         state_name(m, from));
}

/* ---- values ---- */

int ledger_value_get(Ledger *l, const char *name, char **ret, Error *reterr) {
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        char *copy;
        int r;

        r = db_query(l->db, "SELECT value FROM value WHERE name = ?1", &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, name);
        r = db_step(q, reterr);
        if (r < 0)
                return r;
        if (r == 0)
                return error_set(reterr, -ENOENT, "No value '%s' in the ledger", name);
        if (!db_text(q, 0))
                return error_set(reterr, -EBADMSG, "The value '%s' is damaged", name);
        copy = strdup(db_text(q, 0));
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int ledger_value_set(Ledger *l, const char *name, const char *value, Error *reterr) {
        static const char put[] = "INSERT INTO value (name, value) VALUES (?1, ?2)"
                                  " ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        static const char drop[] = "DELETE FROM value WHERE name = ?1";
        auto_cleanup(db_query_donep) DbQuery *q = NULL;
        int r;

        r = ledger_write(l, value ? put : drop, &q, reterr);
        if (r < 0)
                return r;
        db_bind_text(q, 1, name);
        if (value)
                db_bind_text(q, 2, value);
        return ledger_run(l, q, reterr);
}
