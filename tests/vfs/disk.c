#include "tests/vfs/disk.h"

#undef NDEBUG
#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "orchestrator/base/cleanup.h"
#include "orchestrator/base/str.h"

#define FILES      12
#define NAME_BYTES 96
#define SECTOR     512
#define SHM_LOCKS  8
#define SHM_PIECES 16

typedef struct Bytes {
        uint8_t *data;
        size_t size, room;
} Bytes;

/* A change that was not synced yet. */
typedef struct Change {
        size_t at, size;
        uint8_t *data; /* NULL: truncated to at */
} Change;

typedef struct File {
        char name[NAME_BYTES]; /* "" when unused */
        bool exists, durable;  /* durable: its name would survive a power loss */
        bool journal;          /* its first sync also syncs the folder */
        Bytes now, synced;
        bool has_ghost; /* a file of this name was deleted, and may come back */
        Bytes ghost;
        Change *changes;
        size_t n_changes, room;
} File;

/* What open handles share; goes with the last of them. */
typedef struct Shared {
        int handles;
        int shared; /* handles with at least a SHARED lock */
        void *reserved, *pending, *exclusive;
        void *pieces[SHM_PIECES];
        int shm_handles, shm_shared[SHM_LOCKS];
        void *shm_exclusive[SHM_LOCKS];
} Shared;

struct Disk {
        File files[FILES];
};

typedef struct Handle {
        sqlite3_file base;
        File *file;
        Shared *s;
        int lock;
        bool passing; /* deleted when closed */
        bool has_shm;
        unsigned shm_shared, shm_exclusive;
} Handle;

static Disk disk;
static Shared shares[FILES];
static struct {
        DiskPlan plan;
        unsigned counted;
        bool fired, dead;
} arm;

/* ---- bytes ---- */

static void bytes_resize(Bytes *b, size_t size) {
        if (size > b->room) {
                b->room = size + size / 2 + 4096;
                b->data = realloc(b->data, b->room);
                assert(b->data);
        }
        if (size > b->size)
                memset(b->data + b->size, 0, size - b->size);
        b->size = size;
}

static void bytes_write(Bytes *b, size_t at, const void *data, size_t size) {
        if (at + size > b->size)
                bytes_resize(b, at + size);
        memcpy(b->data + at, data, size);
}

static void bytes_set(Bytes *b, const Bytes *from) {
        bytes_resize(b, 0);
        if (from->size > 0)
                bytes_write(b, 0, from->data, from->size);
}

static void bytes_done(Bytes *b) {
        free(b->data);
        *b = (Bytes){ 0 };
}

/* ---- files ---- */

static void changes_drop(File *f) {
        for (size_t i = 0; i < f->n_changes; i++)
                free(f->changes[i].data);
        f->n_changes = 0;
}

static void change_add(File *f, size_t at, const void *data, size_t size) {
        Change c = { .at = at, .size = size };

        if (f->n_changes == f->room) {
                f->room = f->room * 2 + 16;
                f->changes = realloc(f->changes, f->room * sizeof(Change));
                assert(f->changes);
        }
        if (data) {
                c.data = malloc(size + 1);
                assert(c.data);
                memcpy(c.data, data, size);
        }
        f->changes[f->n_changes++] = c;
}

static void file_write(File *f, size_t at, const void *data, size_t size) {
        bytes_write(&f->now, at, data, size);
        change_add(f, at, data, size);
}

static void file_done(File *f) {
        changes_drop(f);
        free(f->changes);
        bytes_done(&f->now);
        bytes_done(&f->synced);
        bytes_done(&f->ghost);
        *f = (File){ 0 };
}

static File *file_find(const char *name, bool make) {
        File *unused = NULL;

        for (size_t i = 0; i < FILES; i++) {
                if (streq(disk.files[i].name, name))
                        return &disk.files[i];
                if (!disk.files[i].name[0] && !unused)
                        unused = &disk.files[i];
        }
        if (!make)
                return NULL;
        assert(unused);
        snprintf(unused->name, sizeof(unused->name), "%s", name);
        return unused;
}

static void folder_sync(void) {
        for (size_t i = 0; i < FILES; i++) {
                disk.files[i].durable = disk.files[i].exists;
                disk.files[i].has_ghost = false;
        }
}

static void file_delete(File *f) {
        if (f->durable) {
                bytes_set(&f->ghost, &f->synced);
                f->has_ghost = true;
        }
        f->exists = f->durable = false;
        bytes_resize(&f->now, 0);
        bytes_resize(&f->synced, 0);
        changes_drop(f);
}

static void file_sync(File *f) {
        for (size_t i = 0; i < f->n_changes; i++) {
                Change *c = &f->changes[i];

                if (c->data)
                        bytes_write(&f->synced, c->at, c->data, c->size);
                else if (c->at < f->synced.size)
                        bytes_resize(&f->synced, c->at);
        }
        changes_drop(f);
        if (f->journal && !f->durable)
                folder_sync();
}

/* ---- faults ---- */

/* Counts an operation; what is to happen to it. */
static DiskFault meet(const File *f, DiskOp op) {
        const DiskPlan *p = &arm.plan;

        if (arm.dead)
                return DISK_IOERR;
        if (!(p->ops & op) || (p->only && (!f || !str_ends_with(f->name, p->only))))
                return DISK_HEALTHY;
        arm.counted++;
        if (p->n == 0 || arm.counted < p->n || (arm.counted > p->n && !p->onwards))
                return DISK_HEALTHY;
        arm.fired = true;
        if (p->fault == DISK_CRASH)
                arm.dead = true;
        if (p->fault == DISK_DELAY) {
                nanosleep(&(struct timespec){ .tv_nsec = 1000 }, NULL);
                return DISK_HEALTHY;
        }
        return p->fault;
}

static int refuse(DiskFault fault, int code) {
        return fault == DISK_FULL || fault == DISK_TEAR_FULL ? SQLITE_FULL : code;
}

/* ---- a file for SQLite ---- */

static Handle *handle(sqlite3_file *f) {
        return (Handle *) f;
}

static int on_unlock(sqlite3_file *f, int level);
static int on_shm_unmap(sqlite3_file *f, int drop);

static int on_close(sqlite3_file *f) {
        Handle *h = handle(f);

        on_unlock(f, SQLITE_LOCK_NONE);
        on_shm_unmap(f, 0);
        h->s->handles--;
        if (h->passing)
                file_done(h->file);
        return SQLITE_OK;
}

static int on_read(sqlite3_file *f, void *buf, int size, sqlite3_int64 at) {
        Bytes *b = &handle(f)->file->now;
        size_t have;

        if (meet(handle(f)->file, DISK_READ) != DISK_HEALTHY)
                return SQLITE_IOERR_READ;
        have = (size_t) at < b->size ? b->size - (size_t) at : 0;
        if (have >= (size_t) size) {
                memcpy(buf, b->data + at, (size_t) size);
                return SQLITE_OK;
        }
        memset(buf, 0, (size_t) size);
        if (have > 0)
                memcpy(buf, b->data + at, have);
        return SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *f, const void *data, int size, sqlite3_int64 at) {
        File *file = handle(f)->file;
        bool dead = arm.dead;
        DiskFault fault = meet(file, DISK_WRITE);

        switch (fault) {
        case DISK_HEALTHY:
                file_write(file, (size_t) at, data, (size_t) size);
                return SQLITE_OK;
        case DISK_TEAR:
        case DISK_TEAR_FULL:
                file_write(file, (size_t) at, data, (size_t) size / 2);
                return refuse(fault, SQLITE_IOERR_WRITE);
        case DISK_DROP:
                return SQLITE_OK;
        case DISK_CRASH:
                if (!dead)
                        file_write(file, (size_t) at, data, (size_t) size);
                return SQLITE_IOERR_WRITE;
        default:
                return refuse(fault, SQLITE_IOERR_WRITE);
        }
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size) {
        File *file = handle(f)->file;
        DiskFault fault = meet(file, DISK_TRUNCATE);

        if (fault == DISK_DROP)
                return SQLITE_OK;
        if (fault != DISK_HEALTHY)
                return refuse(fault, SQLITE_IOERR_TRUNCATE);
        if ((size_t) size < file->now.size) {
                bytes_resize(&file->now, (size_t) size);
                change_add(file, (size_t) size, NULL, 0);
        }
        return SQLITE_OK;
}

static int on_sync(sqlite3_file *f, int flags) {
        DiskFault fault = meet(handle(f)->file, DISK_SYNC);

        if (fault == DISK_DROP)
                return SQLITE_OK;
        if (fault != DISK_HEALTHY)
                return refuse(fault, SQLITE_IOERR_FSYNC);
        file_sync(handle(f)->file);
        return SQLITE_OK;
}

static int on_size(sqlite3_file *f, sqlite3_int64 *ret) {
        *ret = (sqlite3_int64) handle(f)->file->now.size;
        return SQLITE_OK;
}

static int on_lock(sqlite3_file *f, int level) {
        Handle *h = handle(f);
        Shared *s = h->s;

        if (h->lock >= level)
                return SQLITE_OK;
        if ((s->exclusive && s->exclusive != h) || (s->pending && s->pending != h))
                return SQLITE_BUSY;
        if (h->lock < SQLITE_LOCK_SHARED) {
                s->shared++;
                h->lock = SQLITE_LOCK_SHARED;
        }
        if (level == SQLITE_LOCK_SHARED)
                return SQLITE_OK;
        if (s->reserved && s->reserved != h)
                return SQLITE_BUSY;
        if (level == SQLITE_LOCK_RESERVED)
                s->reserved = h;
        else {
                s->pending = h;
                h->lock = SQLITE_LOCK_PENDING;
                if (s->shared > 1)
                        return SQLITE_BUSY;
                s->exclusive = h;
        }
        h->lock = level;
        return SQLITE_OK;
}

static int on_unlock(sqlite3_file *f, int level) {
        Handle *h = handle(f);
        Shared *s = h->s;

        if (h->lock <= level)
                return SQLITE_OK;
        if (s->reserved == h)
                s->reserved = NULL;
        if (s->pending == h)
                s->pending = NULL;
        if (s->exclusive == h)
                s->exclusive = NULL;
        if (level == SQLITE_LOCK_NONE)
                s->shared--;
        h->lock = level;
        return SQLITE_OK;
}

static int on_check_reserved(sqlite3_file *f, int *ret) {
        *ret = handle(f)->s->reserved != NULL;
        return SQLITE_OK;
}

static int on_control(sqlite3_file *f, int op, void *arg) {
        return SQLITE_NOTFOUND;
}

static int on_sector_size(sqlite3_file *f) {
        return 4096;
}

static int on_characteristics(sqlite3_file *f) {
        return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as SQLite's own Unix VFS */
}

/* ---- the shared WAL index ---- */

static int on_shm_map(sqlite3_file *f, int piece, int size, int extend, void volatile **ret) {
        Handle *h = handle(f);

        assert(piece < SHM_PIECES);
        if (!h->has_shm) {
                h->has_shm = true;
                h->s->shm_handles++;
        }
        if (!h->s->pieces[piece] && extend) {
                DiskFault fault = meet(h->file, DISK_SHM);

                if (fault != DISK_HEALTHY)
                        return refuse(fault, SQLITE_IOERR_SHMMAP);
                h->s->pieces[piece] = calloc(1, (size_t) size);
                assert(h->s->pieces[piece]);
        }
        *ret = h->s->pieces[piece];
        return SQLITE_OK;
}

static int on_shm_lock(sqlite3_file *f, int first, int n, int flags) {
        Handle *h = handle(f);
        Shared *s = h->s;
        unsigned bits = ((1u << n) - 1) << first;

        if (flags & SQLITE_SHM_UNLOCK) {
                for (int i = first; i < first + n; i++) {
                        if (h->shm_shared & 1u << i)
                                s->shm_shared[i]--;
                        if (h->shm_exclusive & 1u << i)
                                s->shm_exclusive[i] = NULL;
                }
                h->shm_shared &= ~bits;
                h->shm_exclusive &= ~bits;
                return SQLITE_OK;
        }
        for (int i = first; i < first + n; i++)
                if ((s->shm_exclusive[i] && s->shm_exclusive[i] != h) ||
                    ((flags & SQLITE_SHM_EXCLUSIVE) &&
                     s->shm_shared[i] > (h->shm_shared & 1u << i ? 1 : 0)))
                        return SQLITE_BUSY;
        for (int i = first; i < first + n; i++) {
                if (flags & SQLITE_SHM_EXCLUSIVE)
                        s->shm_exclusive[i] = h;
                else if (!(h->shm_shared & 1u << i))
                        s->shm_shared[i]++;
        }
        if (flags & SQLITE_SHM_EXCLUSIVE)
                h->shm_exclusive |= bits;
        else
                h->shm_shared |= bits;
        return SQLITE_OK;
}

static void on_shm_barrier(sqlite3_file *f) {
        __sync_synchronize();
}

static int on_shm_unmap(sqlite3_file *f, int drop) {
        Handle *h = handle(f);

        if (!h->has_shm)
                return SQLITE_OK;
        on_shm_lock(f, 0, SHM_LOCKS, SQLITE_SHM_UNLOCK);
        h->has_shm = false;
        if (--h->s->shm_handles == 0)
                for (int i = 0; i < SHM_PIECES; i++)
                        free(TAKE(h->s->pieces[i]));
        return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
        .iVersion = 2,
        .xClose = on_close,
        .xRead = on_read,
        .xWrite = on_write,
        .xTruncate = on_truncate,
        .xSync = on_sync,
        .xFileSize = on_size,
        .xLock = on_lock,
        .xUnlock = on_unlock,
        .xCheckReservedLock = on_check_reserved,
        .xFileControl = on_control,
        .xSectorSize = on_sector_size,
        .xDeviceCharacteristics = on_characteristics,
        .xShmMap = on_shm_map,
        .xShmLock = on_shm_lock,
        .xShmBarrier = on_shm_barrier,
        .xShmUnmap = on_shm_unmap,
};

/* ---- the VFS ---- */

static const char *last_part(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags, int *ret_flags) {
        static unsigned n_passing;
        Handle *h = handle(f);
        char name[NAME_BYTES];
        File *file;

        *h = (Handle){ 0 };
        if (path)
                snprintf(name, sizeof(name), "%s", last_part(path));
        else
                snprintf(name, sizeof(name), "passing-%u", n_passing++);
        file = file_find(name, false);
        if (meet(file, DISK_OPEN) != DISK_HEALTHY)
                return SQLITE_CANTOPEN;
        if (!file || !file->exists) {
                if (!(flags & SQLITE_OPEN_CREATE) || arm.dead)
                        return SQLITE_CANTOPEN;
                file = file_find(name, true);
                file->exists = true;
                file->journal = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
        }
        h->base.pMethods = &methods;
        h->file = file;
        h->s = &shares[file - disk.files];
        h->s->handles++;
        h->passing = !path || (flags & SQLITE_OPEN_DELETEONCLOSE);
        if (ret_flags)
                *ret_flags = flags;
        return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int sync_folder) {
        File *file = file_find(last_part(path), false);

        if (meet(file, DISK_DELETE) != DISK_HEALTHY)
                return SQLITE_IOERR_DELETE;
        if (!file || !file->exists)
                return SQLITE_IOERR_DELETE_NOENT;
        file_delete(file);
        if (sync_folder)
                folder_sync();
        return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret) {
        File *file = file_find(last_part(path), false);

        /* As in SQLite's own VFS: an empty file does not count as existing. */
        *ret = file && file->exists && (flags != SQLITE_ACCESS_EXISTS || file->now.size > 0);
        return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *vfs, const char *path, int size, char *ret) {
        snprintf(ret, (size_t) size, "%s", path);
        return SQLITE_OK;
}

static uint64_t mix(uint64_t x) {
        x += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

/* The salts of a WAL: never the same twice, and the same in every run. */
static int on_randomness(sqlite3_vfs *vfs, int size, char *ret) {
        static uint64_t n;

        for (int i = 0; i < size; i++)
                ret[i] = (char) mix(++n);
        return size;
}

static int on_sleep(sqlite3_vfs *vfs, int usec) {
        return usec;
}

static int on_time(sqlite3_vfs *vfs, double *ret) {
        *ret = 2461000.5;
        return SQLITE_OK;
}

static int on_last_error(sqlite3_vfs *vfs, int size, char *ret) {
        return 0;
}

void disk_register(void) {
        static sqlite3_vfs vfs = {
                .iVersion = 1,
                .szOsFile = sizeof(Handle),
                .mxPathname = 512,
                .zName = DISK_VFS,
                .xOpen = on_open,
                .xDelete = on_delete,
                .xAccess = on_access,
                .xFullPathname = on_full_path,
                .xRandomness = on_randomness,
                .xSleep = on_sleep,
                .xCurrentTime = on_time,
                .xGetLastError = on_last_error,
        };

        assert(sqlite3_vfs_register(&vfs, 0) == SQLITE_OK);
}

void disk_arm(const DiskPlan *plan) {
        arm.plan = *plan;
        arm.counted = 0;
        arm.fired = arm.dead = false;
}

void disk_heal(void) {
        disk_arm(&(DiskPlan){ 0 });
}

bool disk_fired(void) {
        return arm.fired;
}

unsigned disk_counted(void) {
        return arm.counted;
}

/* ---- copies and power ---- */

static void all_closed(void) {
        for (size_t i = 0; i < FILES; i++)
                assert(shares[i].handles == 0 && shares[i].shm_handles == 0);
}

static void files_copy(Disk *to, const Disk *from) {
        for (size_t i = 0; i < FILES; i++) {
                const File *f = &from->files[i];
                File *t = &to->files[i];

                changes_drop(t);
                memcpy(t->name, f->name, sizeof(t->name));
                t->exists = f->exists;
                t->durable = f->durable;
                t->journal = f->journal;
                t->has_ghost = f->has_ghost;
                bytes_set(&t->now, &f->now);
                bytes_set(&t->synced, &f->synced);
                bytes_set(&t->ghost, &f->ghost);
                for (size_t c = 0; c < f->n_changes; c++)
                        change_add(t, f->changes[c].at, f->changes[c].data, f->changes[c].size);
        }
}

Disk *disk_copy(void) {
        Disk *d = calloc(1, sizeof(Disk));

        assert(d);
        files_copy(d, &disk);
        return d;
}

void disk_put(const Disk *d) {
        all_closed();
        files_copy(&disk, d);
}

void disk_free(Disk *d) {
        if (!d)
                return;
        for (size_t i = 0; i < FILES; i++)
                file_done(&d->files[i]);
        free(d);
}

void disk_wipe(void) {
        all_closed();
        for (size_t i = 0; i < FILES; i++)
                file_done(&disk.files[i]);
}

/* How many of the file's n changes a sector has seen when the power fails. */
static size_t seen(DiskLoss loss, uint64_t seed, size_t sector, size_t n) {
        uint64_t x;

        if (loss != LOSS_RANDOM)
                return loss == LOSS_NONE ? n : 0;
        x = mix(seed ^ mix(sector));
        switch (x % 3) {
        case 0:
                return 0;
        case 1:
                return n;
        default:
                return (size_t) (x >> 8) % (n + 1);
        }
}

static void change_lose(File *f, size_t i, DiskLoss loss, uint64_t seed) {
        const Change *c = &f->changes[i];

        if (!c->data) {
                if (i < seen(loss, seed, SIZE_MAX, f->n_changes) && c->at < f->synced.size)
                        bytes_resize(&f->synced, c->at);
                return;
        }
        for (size_t at = 0; at < c->size;) {
                size_t sector = (c->at + at) / SECTOR;
                size_t end = (sector + 1) * SECTOR - c->at,
                       n = (end < c->size ? end : c->size) - at;

                if (i < seen(loss, seed, sector, f->n_changes))
                        bytes_write(&f->synced, c->at + at, c->data + at, n);
                at += n;
        }
}

static void file_lose(File *f, DiskLoss loss, uint64_t seed) {
        bool there = f->exists && (f->durable || seen(loss, seed, SIZE_MAX - 1, 1) > 0);

        if (there)
                for (size_t i = 0; i < f->n_changes; i++)
                        change_lose(f, i, loss, seed);
        else if (f->has_ghost && (f->exists || seen(loss, seed, SIZE_MAX - 2, 1) == 0)) {
                bytes_set(&f->synced, &f->ghost);
                there = true;
        }
        f->exists = f->durable = there;
        f->has_ghost = false;
        if (!there)
                bytes_resize(&f->synced, 0);
        changes_drop(f);
        bytes_set(&f->now, &f->synced);
}

void disk_power_loss(DiskLoss loss, uint64_t seed) {
        all_closed();
        for (size_t i = 0; i < FILES; i++)
                if (disk.files[i].name[0])
                        file_lose(&disk.files[i], loss, mix(seed) + i);
        disk_heal();
}

uint64_t disk_digest(void) {
        uint64_t h = 0;

        for (size_t i = 0; i < FILES; i++) {
                const Bytes *b = &disk.files[i].now;
                uint64_t part;
                size_t at = 0;

                if (!disk.files[i].exists)
                        continue;
                h = mix(h ^ (b->size + 1)) + i;
                for (; at + sizeof(part) <= b->size; at += sizeof(part)) {
                        memcpy(&part, b->data + at, sizeof(part));
                        h = (h ^ part) * UINT64_C(0x9e3779b97f4a7c15);
                        h ^= h >> 29;
                }
                for (; at < b->size; at++)
                        h = mix(h ^ b->data[at]);
        }
        return h;
}

uint8_t *disk_file(const char *name, size_t *ret_size) {
        File *f = file_find(name, false);

        if (!f || !f->exists)
                return NULL;
        *ret_size = f->now.size;
        return f->now.data;
}

void disk_file_put(const char *name, const void *data, size_t size) {
        File *f = file_find(name, true);

        f->exists = f->durable = true;
        bytes_resize(&f->now, 0);
        bytes_write(&f->now, 0, data, size);
        bytes_set(&f->synced, &f->now);
        changes_drop(f);
}
