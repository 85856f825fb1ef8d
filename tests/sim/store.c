/* Databases in memory, shared by name among the connections of this process (SQLite's VFS "memdb"). A
 * store holds a connection of its own: the database lives as long as that. New ones are copies of one
 * ledger that was made once, which is much cheaper than to make each. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#undef NDEBUG
#include <assert.h>

#include "orchestrator/base/io.h"
#include "orchestrator/glue/db.h"
#include "orchestrator/ledger/ledger.h"
#include "tests/sim/store.h"

struct Store {
        sqlite3 *handle;
        Db *db; /* what ledgers use, one after the other */
        sqlite3_stmt *version;
        char path[64];
};

static struct {
        char folder[64], key[80];
        Store *template;
        Store *present; /* of one scenario after the other: its statements are prepared */
        uint64_t state;
        void *pages; /* SQLite's, until the process ends */
} process;

static void fill(void *userdata, void *buf, size_t size) {
        unsigned char *at = buf;

        while (size-- > 0) {
                process.state = process.state * UINT64_C(6364136223846793005) + 1442695040888963407;
                *at++ = (unsigned char) (process.state >> 56);
        }
}

static Store *store_open(void) {
        static unsigned n;
        Store *s = calloc(1, sizeof(Store));

        assert(s);
        snprintf(s->path, sizeof(s->path), "file:/sim-%d-%u?vfs=memdb", (int) getpid(), ++n);
        assert(sqlite3_open_v2(s->path, &s->handle,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI |
                                       SQLITE_OPEN_NOMUTEX,
                               NULL) == SQLITE_OK);
        return s;
}

static sqlite3_file *store_file(const Store *s) {
        sqlite3_file *file = NULL;

        assert(sqlite3_file_control(s->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file) ==
               SQLITE_OK);
        assert(file && file->pMethods);
        return file;
}

/* A number that no database had before: by it the connections see that their pages are old ones. It counts
 * commits and is valid when it stands in both places (the file format's "change counter" and
 * "version-valid-for"); each copy leaves room for commits. */
static void stamp(unsigned char *page) {
        static uint32_t n;

        n += UINT32_C(0x10000);
        for (int i = 0; i < 4; i++)
                page[24 + i] = page[92 + i] = (unsigned char) (n >> (24 - 8 * i));
}

/* Byte by byte, and not with sqlite3_backup_init(): that would also count the schema up, and whatever the
 * connection has prepared would be prepared again. */
static void store_fill(Store *to, const Store *from) {
        sqlite3_file *source = store_file(from), *target = store_file(to);
        unsigned char *bytes;
        sqlite3_int64 size;

        assert(source->pMethods->xFileSize(source, &size) == SQLITE_OK && size > 100);
        bytes = malloc((size_t) size);
        assert(bytes);
        assert(source->pMethods->xRead(source, bytes, (int) size, 0) == SQLITE_OK);
        stamp(bytes);
        assert(target->pMethods->xWrite(target, bytes, (int) size, 0) == SQLITE_OK);
        assert(target->pMethods->xTruncate(target, size) == SQLITE_OK);
        free(bytes);
}

/* Pages come out of one block. Otherwise each temporary table of a statement allocates a cache of its own,
 * which under the sanitizers costs more than what it is for. */
static void pages_from_one_block(void) {
        enum {
                PAGES = 2048,
                PAGE_BYTES = 4096
        };
        int header;

        assert(sqlite3_config(SQLITE_CONFIG_PCACHE_HDRSZ, &header) == SQLITE_OK);
        header = (header + 7) / 8 * 8;
        process.pages = malloc((size_t) PAGES * (size_t) (PAGE_BYTES + header));
        assert(process.pages);
        assert(sqlite3_config(SQLITE_CONFIG_PAGECACHE, process.pages, PAGE_BYTES + header, PAGES) ==
               SQLITE_OK);
}

void store_init(void) {
        Random random = { .fill = fill };
        LedgerOptions options = { .key_path = process.key, .random = &random, .fast = true };
        Ledger *ledger;

        /* One thread, and nobody reads the counters. */
        assert(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
        assert(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
        assert(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 1200, 400) == SQLITE_OK);
        pages_from_one_block();
        snprintf(process.folder, sizeof(process.folder), "%s/mayfly-sim-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert(mkdtemp(process.folder));
        snprintf(process.key, sizeof(process.key), "%s/key", process.folder);
        process.state = 1;
        process.template = store_open();
        options.path = process.template->path;
        assert(ledger_open(&options, &ledger, NULL) == 0);
        ledger_close(ledger);
}

void store_done(void) {
        process.present = store_free(process.present);
        process.template = store_free(process.template);
        (void) remove_tree(process.folder, NULL);
}

const char *store_folder(void) {
        return process.folder;
}

const char *store_key(void) {
        return process.key;
}

Store *store_new(void) {
        if (!process.present)
                process.present = store_copy(process.template);
        else
                store_fill(process.present, process.template);
        return process.present;
}

Db *store_db(Store *s) {
        if (s->db)
                return s->db;
        assert(db_open(s->path, NULL, &s->db, NULL) == 0);
        assert(db_exec(s->db,
                       "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                       " PRAGMA synchronous = OFF; PRAGMA cache_size = -4096",
                       NULL) == 0);
        return s->db;
}

int64_t store_version(Store *s) {
        int64_t version;

        if (!s->version)
                assert(sqlite3_prepare_v2(s->handle, "PRAGMA data_version", -1, &s->version,
                                          NULL) == SQLITE_OK);
        assert(sqlite3_step(s->version) == SQLITE_ROW);
        version = sqlite3_column_int64(s->version, 0);
        sqlite3_reset(s->version);
        return version;
}

Store *store_copy(const Store *s) {
        Store *copy = store_open();

        store_fill(copy, s);
        return copy;
}

void store_put(Store *s, const Store *copy) {
        store_fill(s, copy);
}

const char *store_path(const Store *s) {
        return s->path;
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;
        db_free(s->db);
        sqlite3_finalize(s->version);
        sqlite3_close(s->handle);
        free(s);
        return NULL;
}
