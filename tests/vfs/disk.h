/* A disk in memory, given to SQLite as the VFS "disk", on which everything can go wrong: the n-th write,
 * sync, truncation, read, open or deletion fails, is torn, is silently dropped or comes late; and the
 * power can fail at any moment, after which each sector of what was not synced is there or is not.
 *
 * There is one disk in a process. It keeps for every file what programs see, what was synced, and every
 * change between the two. A file that was created (or deleted) without a sync of its folder may be absent
 * (or back) after a power loss, as on a real file system. The shared memory of the WAL index goes with the
 * power. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_VFS "disk"

typedef enum DiskOp {
        DISK_WRITE = 1 << 0,
        DISK_SYNC = 1 << 1,
        DISK_TRUNCATE = 1 << 2,
        DISK_READ = 1 << 3,
        DISK_OPEN = 1 << 4,
        DISK_DELETE = 1 << 5,
        DISK_SHM = 1 << 6, /* a new piece of the shared WAL index */
        DISK_CHANGES = DISK_WRITE | DISK_SYNC | DISK_TRUNCATE,
} DiskOp;

typedef enum DiskFault {
        DISK_HEALTHY,
        DISK_IOERR,     /* refused, nothing done */
        DISK_FULL,      /* refused: no space left */
        DISK_TEAR,      /* a write stops half-way with an I/O error */
        DISK_TEAR_FULL, /* a write stops half-way: no space left */
        DISK_DROP,      /* says that it was done, and was not */
        DISK_DELAY,     /* done, late */
        DISK_CRASH,     /* nothing from here on reaches the disk; a write under way may in part */
} DiskFault;

typedef struct DiskPlan {
        DiskFault fault;
        unsigned ops;     /* which operations count */
        unsigned n;       /* the n-th of them, from 1; 0: never */
        bool onwards;     /* that one and all after it */
        const char *only; /* only files whose name ends so, or NULL */
} DiskPlan;

typedef struct Disk Disk;

void disk_register(void);
/* Counting begins again. */
void disk_arm(const DiskPlan *plan);
void disk_heal(void);
bool disk_fired(void);
/* Operations of the armed plan's kind seen so far. */
unsigned disk_counted(void);

/* Copies of the whole disk; disk_put() needs every file closed. */
Disk *disk_copy(void);
void disk_put(const Disk *d);
void disk_free(Disk *d);
void disk_wipe(void);

typedef enum DiskLoss {
        LOSS_ALL,    /* only what was synced is left */
        LOSS_NONE,   /* everything reached the disk (the process was killed, not the machine) */
        LOSS_RANDOM, /* each sector as it was after some of its unsynced writes */
} DiskLoss;

/* The power fails and comes back: what is left is what was synced. Every file must be closed. */
void disk_power_loss(DiskLoss loss, uint64_t seed);

/* A hash of everything that would be read after the next start. */
uint64_t disk_digest(void);

/* For tests that damage a file by hand. NULL when there is no such file. */
uint8_t *disk_file(const char *name, size_t *ret_size);
void disk_file_put(const char *name, const void *data, size_t size);
