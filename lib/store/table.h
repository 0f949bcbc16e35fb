/*
 * The tables of the store by name, for the other files of lib/store: bytes in, bytes out, LMDB's return codes
 * turned into ours. A table that was full (of its map) marks the write transaction, so that store_write()
 * grows the map and runs the body again, whatever the body made of the failure.
 *
 * Not for use outside lib/store.
 */
#ifndef CARPOOL_STORE_TABLE_H
#define CARPOOL_STORE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "store/store.h"

enum table {
    TABLE_META,
    TABLE_SETTINGS,
    TABLE_CHATS,
    TABLE_CHATS_BY_USER,
    TABLE_CHATS_BY_REQUEST,
    TABLE_REQUESTS,
    TABLE_UNFINISHED,
    TABLE_EXPIRY,
    TABLE_COUNTERS,
    TABLE_CACHE,
    TABLE_KEYS,
    TABLE_AUDIT,
    TABLES
};

/* From here on they came after the first stores: to a reader of one that lacks such a table it is empty,
 * until a writer makes it. */
#define TABLES_LATER TABLE_KEYS

/* LMDB's limit, compiled in. */
#define TABLE_KEY_MAX 511

/* The largest record that any table takes; what a body encodes goes through a buffer of this ceiling. */
#define TABLE_VALUE_MAX (64u << 20)

/* A return code of LMDB (or an errno) as one of ours, with a sentence. 0 stays 0. */
MUST_CHECK
int table_err(int rc, struct err *e);

/* Lends from the transaction. ERR_NOT_FOUND leaves *e alone: the caller knows what is missing. */
MUST_CHECK
int table_get(struct store_read *r, enum table t, struct slice key, struct slice *ret_value, struct err *e);

/* Replaces. */
MUST_CHECK
int table_put(struct store_write *w, enum table t, struct slice key, struct slice value, struct err *e);
/* ERR_EXISTS, with *ret_old lent from the transaction, when the key is there already; *e is left alone then.
 */
MUST_CHECK
int table_insert(struct store_write *w, enum table t, struct slice key, struct slice value,
                 struct slice *ret_old, struct err *e);
/* As table_insert, quicker (and packing pages fully) when the key is behind all others. */
MUST_CHECK
int table_append(struct store_write *w, enum table t, struct slice key, struct slice value, struct err *e);
/* 0 also when there is none. */
MUST_CHECK
int table_delete(struct store_write *w, enum table t, struct slice key, struct err *e);
/* Number of records. */
MUST_CHECK
int table_count(struct store_read *r, enum table t, uint64_t *ret_count, struct err *e);

/* A place in a table. Close it before its transaction ends. c is NULL while closed. */
struct MDB_cursor;
struct table_cursor {
    struct MDB_cursor *c;
};
MUST_CHECK
int table_cursor_open(struct store_read *r, enum table t, struct table_cursor *ret_cursor, struct err *e);
void table_cursor_close(struct table_cursor *c);
/* The first record whose key is >= key (an empty key: the first of all). ERR_NOT_FOUND at the end, without a
 * sentence. */
MUST_CHECK
int table_seek(struct table_cursor *c, struct slice key, struct slice *ret_key, struct slice *ret_value,
               struct err *e);
/* The last record of all. ERR_NOT_FOUND as above. */
MUST_CHECK
int table_last(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e);
/* ERR_NOT_FOUND before the first one. */
MUST_CHECK
int table_previous(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e);
MUST_CHECK
int table_next(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e);
/* Writes another value into the record that the cursor stands on, whose key this is. */
MUST_CHECK
int table_cursor_replace(struct store_write *w, struct table_cursor *c, struct slice key, struct slice value,
                         struct err *e);

/* The write transaction's own buffer for encoding a record, emptied. One user at a time. */
struct buf *table_scratch(struct store_write *w);

static inline struct slice table_bytes(const void *p, size_t n)
{
    return (struct slice){p, n};
}

#endif
