/*
 * The store: one LMDB environment that every process reads and one commit thread of the coordinator writes.
 * lib/store is the only code that includes lmdb.h; the tables are in chats.h, requests.h, settings.h,
 * counters.h, cache.h, audit.h, meta.h.
 *
 * Readers never block and are never blocked. No transaction may span a wait.
 */
#ifndef CARPOOL_STORE_STORE_H
#define CARPOOL_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define STORE_SCHEMA_VERSION 1

struct store;       /* the environment; one a process, opened after fork */
struct store_read;  /* a read transaction */
struct store_write; /* the write transaction */

enum store_access { STORE_READER, STORE_WRITER };

struct store_options {
    enum store_access access;
    uint64_t map_max_bytes;   /* writer: the map starts small and grows up to this */
    uint64_t map_start_bytes; /* writer: 0 for 16 MiB; the file's size and some more when that is larger */
    uint32_t readers_max;     /* reader slots, 0 for LMDB's 126; fixed by whoever creates the lock file */
};

/*
 * Opens <dir>/data.mdb. A writer creates what is missing (directory and files 0700/0600 whatever the umask),
 * checks the schema version and refuses a network file system (statfs) with a sentence that says what to do.
 * A reader gets ERR_NOT_FOUND while no writer has created the store. data.mdb is made close-on-exec. Blocks
 * on files. ERR_INVAL: the network file system, or a store of a newer version. ERR_CORRUPT: it is no store,
 * or was cut short, and is not mapped. Never open one directory twice in a process: closing the second would
 * drop the locks of the first.
 */
MUST_CHECK
int store_open(const char *dir, const struct store_options *options, struct store **ret_store, struct err *e);
/* No transaction may be open. Safe after any failure, also ERR_IO of store_write. NULL is allowed. */
void store_close(struct store *s);
/* Opens the environment anew in place, after ERR_IO from store_write: waits for the read transactions of this
 * process to end, keeps newcomers out meanwhile. On failure every use of the store is ERR_IO until a later
 * call succeeds. The calling thread must have no transaction. Blocks on files. */
MUST_CHECK
int store_reopen(struct store *s, struct err *e);

/* A read transaction on the newest commit. Thread-safe; transactions are pooled, so this is about a
 * microsecond. Another process may have grown the map: that is handled here, guarded against readers of the
 * same process. ERR_LIMIT when all reader slots are taken; ERR_NOMEM, also when the address space does not
 * allow the grown map. A thread holds at most one, and none when it calls store_write(): a change of the map
 * waits for the running ones and makes new ones wait. */
MUST_CHECK
int store_read_begin(struct store *s, struct store_read **ret_read, struct err *e);
/* Moves to the newest commit; everything lent before is gone. After a failure only store_read_end() may
 * follow. */
MUST_CHECK
int store_read_renew(struct store_read *r, struct err *e);
void store_read_end(struct store_read *r); /* NULL is allowed */
/* A number that grows with each commit: two transactions with the same one see the same state. */
uint64_t store_read_version(const struct store_read *r);

/*
 * Runs body inside a write transaction and commits durably (fdatasync) when it returned 0; otherwise aborts
 * and returns what body returned. When the map is full it is grown (doubled, up to map_max_bytes) and body
 * runs again from the start, so body must have no effect outside the transaction. Before body, the epoch in
 * `meta` is compared with the one given: ERR_FENCED when another coordinator raised it (epoch 0: no check).
 * ERR_NOSPC: disk or map full, nothing was written, and a later call may succeed. ERR_IO: the outcome of the
 * commit is not known; every later call fails the same way until the store was closed and opened again.
 * Blocks on the disk. One thread of one process only. The program must ignore SIGXFSZ. body reads through
 * store_write_as_read(), never through a transaction of its own.
 */
typedef int (*store_write_body)(struct store_write *w, void *arg, struct err *e);
MUST_CHECK
int store_write(struct store *s, uint64_t epoch, store_write_body body, void *arg, struct err *e);

/* The transaction a writer reads through, for table functions that take either. Lends. */
struct store_read *store_write_as_read(struct store_write *w);

/* Whether <dir>/data.mdb and lock.mdb are still the files that are open: otherwise somebody removed or
 * replaced them. Processes with different lock files do not see each other's transactions. */
bool store_is_there(struct store *s);

/* Frees the slots of readers that died (mdb_reader_check). Returns how many; cheap. */
int store_reap_readers(struct store *s);

struct store_usage {
    uint64_t map_bytes, used_bytes /* without free pages */, map_max_bytes;
    uint32_t readers /* slots that were in use at once */, readers_max;
};
MUST_CHECK
int store_usage(struct store *s, struct store_usage *ret_usage, struct err *e);

#endif
