/* Inside of the ledger: the connection, how a write begins and fails, and rows as tables of columns. */
#pragma once

#include <jansson.h>
#include <string.h>

#include "orchestrator/base/io.h"
#include "orchestrator/base/str.h"
#include "orchestrator/glue/crypto.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"
#include "orchestrator/ledger/states.h"

/* How far a ledger has come, as its anchor says (anchor.c). */
typedef struct Anchor {
        char installation[ID_SIZE];
        int64_t epoch, event, time_ms;
        char chain[SHA256_HEX]; /* of that event */
        bool placed;            /* it says where it stands: */
        FileWhich which;        /* itself */
        char machine[SHA256_HEX];
} Anchor;

struct Ledger {
        Db *db;
        bool lent;        /* db is the caller's */
        char *path, *vfs; /* vfs may be NULL */
        char *reserve;    /* a file that takes up room; NULL: none */
        uint8_t key[SEAL_KEY_BYTES];
        uint8_t event_key[SHA256_BYTES]; /* derived from it, for the chain of events */
        uint8_t signing_key[SIGN_KEY_BYTES];
        char signing_public[SIGN_PUBLIC_TEXT];
        char installation[ID_SIZE];
        bool open;        /* the turn's transaction has begun */
        bool told_spoilt; /* that a row cannot be read, once */
        int broken;       /* a write of this turn failed in a way that may have lost others */

        char *anchor_path;  /* NULL: none is kept */
        bool placed;        /* its anchor says where it stands */
        Anchor anchor;      /* as it stands in the file; epoch 0: not yet */
        int64_t epoch;      /* of this start; 0: before the anchor was compared */
        bool epoch_written; /* the ledger says so, committed */
        unsigned n_events;  /* since the anchor */
        char *held;         /* why, or NULL */
        const char *doubt;  /* of one that is only read: why its end proves nothing, or NULL */
};

/* Every write starts here: begins the turn's transaction, refuses after a failure of the same turn. */
int ledger_write(Ledger *l, const char *sql, DbQuery **ret, Error *reterr);
/* Runs it; remembers a failure that makes the whole turn worthless (disk full, I/O, memory). */
int ledger_run(Ledger *l, DbQuery *q, Error *reterr);

/* For what a write must read first: such a failure breaks the turn as well. Returns r. */
int ledger_turn_break(Ledger *l, int r);

/* ---- rows ---- */

typedef enum ColumnKind {
        COLUMN_TEXT, /* char *, owned, never NULL in a row that was read */
        COLUMN_TEXT_OR_NULL,
        COLUMN_INT, /* int64_t */
        COLUMN_BOOL,
        COLUMN_STATE, /* an enum of a state machine, stored by name */
        COLUMN_LIST,  /* char **, stored as a JSON array */
} ColumnKind;

typedef struct Column {
        ColumnKind kind;
        size_t offset;
        const StateMachine *machine; /* of COLUMN_STATE */
} Column;

#define TEXT(type, field) \
        { COLUMN_TEXT, offsetof(type, field), NULL }
#define TEXT_OR_NULL(type, field) \
        { COLUMN_TEXT_OR_NULL, offsetof(type, field), NULL }
#define INT(type, field) \
        { COLUMN_INT, offsetof(type, field), NULL }
#define BOOL(type, field) \
        { COLUMN_BOOL, offsetof(type, field), NULL }
#define LIST(type, field) \
        { COLUMN_LIST, offsetof(type, field), NULL }
#define STATE(type, field, m) \
        { COLUMN_STATE, offsetof(type, field), &(m) }

/* Reads the row that q stands on: column i into columns[i]. On failure row is released and zero. */
int row_load(DbQuery *q, const Column *columns, size_t n, void *row, size_t size, Error *reterr);
/* Binds columns[i] to position i + 1. The row's texts are not copied: it must outlive the query. */
int row_bind(DbQuery *q, const Column *columns, size_t n, const void *row);
void row_done(const Column *columns, size_t n, void *row, size_t size);

/* For one kind of row: noun_load(), noun_done(), and walkers over a bound query, which they release. */
/* Rows that cannot be read, left out of a walk over everybody's: one spoilt row must not stop all. */
typedef struct Skipped {
        unsigned n;
        char first[64]; /* its name */
} Skipped;

void row_skip(DbQuery *q, Skipped *skipped, Error *reterr);

#define DEFINE_ROW(type, noun, columns)                                                           \
        void noun##_done(type *row) {                                                             \
                row_done(columns, N_ELEMENTS(columns), row, sizeof(type));                        \
        }                                                                                         \
                                                                                                  \
        /* With skipped, rows that cannot be read are left out and counted; else they end it. */  \
        __attribute__((unused)) static int noun##_walk_on(DbQuery *bound, Skipped *skipped,       \
                                                          int (*func)(void *, const type *),      \
                                                          void *userdata, Error *reterr) {        \
                auto_cleanup(db_query_donep) DbQuery *q = bound;                                  \
                int r;                                                                            \
                                                                                                  \
                while ((r = db_step(q, reterr)) > 0) {                                            \
                        auto_cleanup(noun##_done) type row = { 0 };                               \
                                                                                                  \
                        r = row_load(q, columns, N_ELEMENTS(columns), &row, sizeof(row), reterr); \
                        if (r == -EBADMSG && skipped) {                                           \
                                row_skip(q, skipped, reterr);                                     \
                                continue;                                                         \
                        }                                                                         \
                        if (r < 0)                                                                \
                                return r;                                                         \
                        r = func(userdata, &row);                                                 \
                        if (r != 0)                                                               \
                                return r;                                                         \
                }                                                                                 \
                return r;                                                                         \
        }                                                                                         \
                                                                                                  \
        __attribute__((unused)) static int noun##_walk(DbQuery *bound,                            \
                                                       int (*func)(void *, const type *),         \
                                                       void *userdata, Error *reterr) {           \
                return noun##_walk_on(bound, NULL, func, userdata, reterr);                       \
        }                                                                                         \
                                                                                                  \
        /* 1 when there was a row. */                                                             \
        __attribute__((unused)) static int noun##_first(DbQuery *bound, type *ret,                \
                                                        Error *reterr) {                          \
                auto_cleanup(db_query_donep) DbQuery *q = bound;                                  \
                type row = { 0 };                                                                 \
                int r;                                                                            \
                                                                                                  \
                r = db_step(q, reterr);                                                           \
                if (r <= 0)                                                                       \
                        return r;                                                                 \
                r = row_load(q, columns, N_ELEMENTS(columns), &row, sizeof(row), reterr);         \
                if (r < 0)                                                                        \
                        return r;                                                                 \
                *ret = row;                                                                       \
                return 1;                                                                         \
        }

/* The end of every door: says why a compare-and-set changed nothing. */
int ledger_check_moved(Ledger *l, const StateMachine *m, const char *id, int from, Error *reterr);
int ledger_check_move(const StateMachine *m, const char *id, int from, int to, Error *reterr);

/* Derives the key for one purpose from the installation's. */
int ledger_key_for(const Ledger *l, const char *purpose, uint8_t ret[static SHA256_BYTES]);
int ledger_proof_with(const uint8_t key[static SHA256_BYTES], const void *data, size_t size,
                      char ret[static SHA256_HEX]);
/* HMAC under the key for this purpose; hex. */
int ledger_proof(const Ledger *l, const char *purpose, const void *data, size_t size,
                 char ret[static SHA256_HEX]);
int ledger_check_whole(Db *db, Error *reterr);
/* Later environments get slots behind those that the missing events may have given away; 0: not known. */
int ledger_slots_skip(Ledger *l, int64_t missing, Error *reterr);

/* ---- what a check finds ---- */

typedef struct Findings {
        void (*found)(void *userdata, const char *sentence); /* or NULL */
        void *userdata;
        bool lost;         /* also what was noticed before, and cannot be put right any more */
        int64_t first_bad; /* event of the first finding */
        int n;
} Findings;

/* 0, or a negative errno that is no finding. */
int finding(Findings *f, int64_t event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int finding_range(Findings *f, int64_t first, int64_t last, const char *more, const char *words);
int events_check(Ledger *l, Findings *f, Error *reterr);
int receipts_check(Ledger *l, Findings *f, Error *reterr);

/* anchor.c */
int anchor_open(Ledger *l, const LedgerOptions *o, Error *reterr);
int anchor_before_commit(Ledger *l, Error *reterr);
void anchor_after_commit(Ledger *l);
void anchor_close(Ledger *l);

/* signing.c */
int signing_open(Ledger *l, const LedgerOptions *o, Error *reterr);
int signing_keys(Ledger *l, json_t **ret, Error *reterr); /* every public key there ever was */

/* schema.c */
int schema_migrate(Db *db, Error *reterr);
/* Is it a ledger, and of a format that can be read? */
int schema_check(Db *db, Error *reterr);
