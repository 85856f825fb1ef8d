/* Databases in memory, shared by name among the connections of this process. A ledger is made once; every
 * other one begins as a copy of it, and keeps its connection and what that has prepared. */
#pragma once

#include <stdint.h>

struct Db;

typedef struct Store Store;
void store_init(void); /* once in a process, before anything else */
void store_done(void);
const char *store_folder(void); /* of this process: key, anchors */
const char *store_key(void);
/* A ledger in which nothing has happened; borrowed, and the next call begins it anew. */
Store *store_new(void);
Store *store_copy(const Store *s);
/* s is what copy is. Nobody may have a transaction open in either. */
void store_put(Store *s, const Store *copy);
/* The connection that ledgers are lent; the same one each time. */
struct Db *store_db(Store *s);
int64_t store_version(Store *s);        /* another one after each commit */
const char *store_path(const Store *s); /* for connections of one's own */
Store *store_free(Store *s);
