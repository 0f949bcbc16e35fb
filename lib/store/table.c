/* Tables by name; see table.h. */
#include "store/table.h"

#include <errno.h>

#include "store/lmdb_private.h"

static enum err_code code_of(int rc)
{
    switch (rc) {
    case MDB_NOTFOUND:
    case ENOENT:
        return ERR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_NOSPC;
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case MDB_DBS_FULL:
        return ERR_LIMIT;
    case MDB_BAD_VALSIZE:
        return ERR_INVAL;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_VERSION_MISMATCH:
    case MDB_INVALID:
    case MDB_INCOMPATIBLE:
        return ERR_CORRUPT;
    case ENOMEM:
        return ERR_NOMEM;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_PERM;
    default:
        return ERR_IO;
    }
}

int table_err(int rc, struct err *e)
{
    return rc ? err_set(e, code_of(rc), "The store failed: %s.", mdb_strerror(rc)) : 0;
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){s.n, (void *)s.p};
}

static struct slice slice_of_val(MDB_val v)
{
    /* A slice without bytes must still differ from an absent one. */
    return (struct slice){v.mv_size ? v.mv_data : "", v.mv_size};
}

int table_get(struct store_read *r, enum table t, struct slice key, struct slice *ret_value, struct err *e)
{
    MDB_val k = val_of(key), v;
    int rc = r->store->dbi[t] ? mdb_get(r->txn, r->store->dbi[t], &k, &v) : MDB_NOTFOUND;
    if (rc == MDB_NOTFOUND)
        return ERR_NOT_FOUND;
    if (rc)
        return table_err(rc, e);
    *ret_value = slice_of_val(v);
    return 0;
}

static int written(struct store_write *w, int rc, struct err *e)
{
    if (rc == MDB_MAP_FULL)
        w->map_full = true;
    return table_err(rc, e);
}

int table_put(struct store_write *w, enum table t, struct slice key, struct slice value, struct err *e)
{
    MDB_val k = val_of(key), v = val_of(value);
    return written(w, mdb_put(w->read.txn, w->read.store->dbi[t], &k, &v, 0), e);
}

int table_insert(struct store_write *w, enum table t, struct slice key, struct slice value,
                 struct slice *ret_old, struct err *e)
{
    MDB_val k = val_of(key), v = val_of(value);
    int rc = mdb_put(w->read.txn, w->read.store->dbi[t], &k, &v, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST) {
        *ret_old = slice_of_val(v);
        return ERR_EXISTS;
    }
    return written(w, rc, e);
}

int table_append(struct store_write *w, enum table t, struct slice key, struct slice value, struct err *e)
{
    MDB_val k = val_of(key), v = val_of(value);
    int rc = mdb_put(w->read.txn, w->read.store->dbi[t], &k, &v, MDB_APPEND);
    if (rc == MDB_KEYEXIST) { /* not behind all others */
        struct slice old;
        return table_insert(w, t, key, value, &old, e);
    }
    return written(w, rc, e);
}

int table_delete(struct store_write *w, enum table t, struct slice key, struct err *e)
{
    MDB_val k = val_of(key);
    int rc = mdb_del(w->read.txn, w->read.store->dbi[t], &k, NULL);
    return rc == MDB_NOTFOUND ? 0 : written(w, rc, e);
}

int table_count(struct store_read *r, enum table t, uint64_t *ret_count, struct err *e)
{
    MDB_stat st = {0};
    int rc = !r->store->dbi[t] ? 0 : mdb_stat(r->txn, r->store->dbi[t], &st);
    if (rc)
        return table_err(rc, e);
    *ret_count = st.ms_entries;
    return 0;
}

int table_cursor_open(struct store_read *r, enum table t, struct table_cursor *ret_cursor, struct err *e)
{
    MDB_cursor *c = NULL; /* of a table that is not there: at its end from the start */
    int rc = !r->store->dbi[t] ? 0 : mdb_cursor_open(r->txn, r->store->dbi[t], &c);
    if (rc)
        return table_err(rc, e);
    ret_cursor->c = c;
    return 0;
}

void table_cursor_close(struct table_cursor *c)
{
    if (c->c)
        mdb_cursor_close(c->c);
    c->c = NULL;
}

static int move(struct table_cursor *c, MDB_val k, MDB_cursor_op op, struct slice *ret_key,
                struct slice *ret_value, struct err *e)
{
    MDB_val v;
    int rc = c->c ? mdb_cursor_get(c->c, &k, &v, op) : MDB_NOTFOUND;
    if (rc == MDB_NOTFOUND)
        return ERR_NOT_FOUND;
    if (rc)
        return table_err(rc, e);
    *ret_key = slice_of_val(k);
    *ret_value = slice_of_val(v);
    return 0;
}

int table_seek(struct table_cursor *c, struct slice key, struct slice *ret_key, struct slice *ret_value,
               struct err *e)
{
    return move(c, val_of(key), key.n ? MDB_SET_RANGE : MDB_FIRST, ret_key, ret_value, e);
}

int table_last(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e)
{
    return move(c, (MDB_val){0}, MDB_LAST, ret_key, ret_value, e);
}

int table_next(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e)
{
    return move(c, (MDB_val){0}, MDB_NEXT, ret_key, ret_value, e);
}

int table_cursor_replace(struct store_write *w, struct table_cursor *c, struct slice key, struct slice value,
                         struct err *e)
{
    MDB_val k = val_of(key), v = val_of(value);
    return written(w, mdb_cursor_put(c->c, &k, &v, MDB_CURRENT), e);
}

int table_previous(struct table_cursor *c, struct slice *ret_key, struct slice *ret_value, struct err *e)
{
    return move(c, (MDB_val){0}, MDB_PREV, ret_key, ret_value, e);
}

struct buf *table_scratch(struct store_write *w)
{
    buf_clear(&w->scratch);
    return &w->scratch;
}
