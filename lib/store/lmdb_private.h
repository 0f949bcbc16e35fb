/*
 * What store.c, store_read.c, store_write.c and table.c share: the LMDB environment and its transactions.
 * The only header that includes lmdb.h.
 */
#ifndef CARPOOL_STORE_LMDB_PRIVATE_H
#define CARPOOL_STORE_LMDB_PRIVATE_H

#include <lmdb.h>
#include <pthread.h>

#include "store/store.h"
#include "store/table.h"

/* Invariant: while it is `running` it is counted in store->inside, and txn is a running transaction;
 * otherwise txn is NULL or a reset one that keeps its reader slot. */
struct store_read {
    MDB_txn *txn;
    struct store *store;
    struct store_read *next; /* in store->idle */
    bool running;
};

struct store_write {
    struct store_read read; /* txn is the write transaction; never pooled, never renewed */
    struct buf scratch;
    bool map_full; /* some put met the end of the map: grow it and run the body again */
};

/*
 * The gate. mdb_env_set_mapsize unmaps the file, and LMDB 0.9.24 does not notice that transactions of the
 * same process are reading from it. So each transaction is counted in `inside` while it runs, and whoever
 * changes the map sets `remapping`, which keeps newcomers out, and waits until inside is 0.
 */
struct store {
    MDB_env *env;
    MDB_dbi dbi[TABLES]; /* 0: not there yet (TABLES_LATER) */
    MDB_dbi names;       /* LMDB's own table of the tables */
    bool incomplete;     /* some are not there yet */
    enum store_access access;
    struct store_options options; /* as it was opened */
    uint64_t map_max_bytes;
    char *dir;
    uint64_t lock_inode; /* of lock.mdb as it was opened; 0: not known */
    bool must_reopen;    /* writer's thread only: a commit failed in a way that leaves its outcome open */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    unsigned inside;
    bool remapping;
    bool unmapped; /* a change of the map failed half-way: nothing may touch it any more */
    struct store_read *idle;
    unsigned idle_n;

    struct store_write write;
};

#define STORE_IDLE_READS 64 /* reset read transactions kept; each holds a reader slot */

/* Opens the tables, for the writer with those that are missing. Nobody else may be inside. */
MUST_CHECK
int store_open_tables(struct store *s, struct err *e);
/* Whether a table that was not there is there now. */
bool store_has_grown_tables(struct store *s, MDB_txn *txn);

/* Passes the gate. ERR_IO when the map is gone. */
MUST_CHECK
int store_enter(struct store *s, struct err *e);
void store_leave(struct store *s);
/* Alone with the environment, sets the map to bytes, or, for 0, to what the file has grown to. Waits for
 * the transactions of this process to end; the calling thread must have none. ERR_NOMEM: the address space
 * does not allow it, nothing changed. */
MUST_CHECK
int store_remap(struct store *s, uint64_t bytes, struct err *e);

#endif
