/*
 * The write transaction: fence, body, durable commit; growing the map when it is full; and telling a commit
 * that certainly wrote nothing from one whose outcome is open.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "store/lmdb_private.h"
#include "store/meta.h"

/* A scratch buffer larger than this is not kept for the next transaction. */
#define SCRATCH_KEPT (1u << 20)
/* With less than this left, a short write is taken for a full disk. */
#define DISK_FULL_BYTES (1u << 20)

/* LMDB reports a short write, which is what a disk that runs full gives first, as EIO. */
static bool disk_is_full(struct store *s)
{
    struct statvfs fs;
    struct stat st;
    struct rlimit limit;
    int fd;
    if (mdb_env_get_fd(s->env, &fd) || fstatvfs(fd, &fs) || fstat(fd, &st))
        return false;
    if ((uint64_t)fs.f_bavail * fs.f_frsize < DISK_FULL_BYTES)
        return true;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           (uint64_t)st.st_size + DISK_FULL_BYTES > limit.rlim_cur;
}

/* LMDB marks an environment whose meta page could not be written; every transaction then fails to begin. A
 * write transaction is tried, since a reading one may also fail for want of a slot. */
static bool is_unusable(struct store *s)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->env, NULL, 0, &txn);
    if (!rc)
        mdb_txn_abort(txn);
    return rc != 0;
}

static int outcome_open(struct store *s, int rc, struct err *e)
{
    s->must_reopen = true;
    return err_set(e, ERR_IO,
                   "The store failed to write (%s); whether the last commit is on the disk is not known.",
                   mdb_strerror(rc));
}

/*
 * A commit writes the pages, syncs, then writes the meta page that makes them count. What fails before that
 * wrote nothing that will ever be read: a full disk, which recovers by itself. A failed sync or meta page is
 * another matter: after the former the kernel may have dropped what it could not write, after the latter
 * either state may be on the disk. Nothing more is written then until the store is opened again.
 */
static int commit_failed(struct store *s, int rc, struct err *e)
{
    if (is_unusable(s))
        return outcome_open(s, rc, e);
    if (rc == EIO && disk_is_full(s))
        rc = ENOSPC;
    if (rc == ENOSPC || rc == EDQUOT || rc == EFBIG)
        return err_set(e, ERR_NOSPC, "The disk that holds the store is full.");
    if (rc == ENOMEM || rc == MDB_TXN_FULL || rc == MDB_BAD_TXN)
        return rc == MDB_BAD_TXN ? err_set(e, ERR_INVAL, "A failed write was to be committed.")
                                 : table_err(rc, e);
    return outcome_open(s, rc, e);
}

static int check_fence(struct store_write *w, uint64_t epoch, struct err *e)
{
    uint64_t stored;
    int rc = epoch ? meta_epoch(&w->read, &stored, e) : 0;
    if (rc || !epoch || stored == epoch)
        return rc;
    return err_set(e, ERR_FENCED, "Another coordinator (epoch %llu, ours is %llu) owns the store.",
                   (unsigned long long)stored, (unsigned long long)epoch);
}

/* A reader never makes another process grow the map, but a second writer (carpoolctl, a coordinator that is
 * being replaced) may have done so. */
static int begin(struct store *s, struct err *e)
{
    for (int tries = 0; tries < 8; tries++) {
        int rc = store_enter(s, e);
        if (rc)
            return rc;
        rc = mdb_txn_begin(s->env, NULL, 0, &s->write.read.txn);
        if (!rc)
            return 0;
        store_leave(s);
        if (rc == MDB_PANIC)
            return outcome_open(s, rc, e);
        if (rc != MDB_MAP_RESIZED)
            return table_err(rc, e);
        rc = store_remap(s, 0, e);
        if (rc)
            return rc;
    }
    return err_set(e, ERR_IO, "The store's map does not follow its file.");
}

static int write_once(struct store *s, uint64_t epoch, store_write_body body, void *arg, struct err *e)
{
    struct store_write *w = &s->write;
    w->map_full = false;
    int rc = begin(s, e);
    if (rc)
        return rc;
    rc = check_fence(w, epoch, e);
    if (!rc)
        rc = body(w, arg, e);
    if (rc || w->map_full) {
        mdb_txn_abort(w->read.txn);
    } else {
        int failed = mdb_txn_commit(w->read.txn);
        w->map_full = failed == MDB_MAP_FULL;
        if (failed && !w->map_full)
            rc = commit_failed(s, failed, e);
    }
    w->read.txn = NULL;
    store_leave(s);
    if (w->scratch.cap > SCRATCH_KEPT)
        buf_fini(&w->scratch);
    return rc;
}

static int grow(struct store *s, struct err *e)
{
    MDB_envinfo info;
    int rc = table_err(mdb_env_info(s->env, &info), e);
    if (rc)
        return rc;
    if (info.me_mapsize >= s->map_max_bytes)
        return err_set(e, ERR_NOSPC,
                       "The store has reached its maximum of %llu MiB (storage.map_max_mib); keep chats for "
                       "a shorter time or raise it.",
                       (unsigned long long)(s->map_max_bytes >> 20));
    uint64_t bytes = (uint64_t)info.me_mapsize * 2;
    return store_remap(s, bytes < s->map_max_bytes ? bytes : s->map_max_bytes, e);
}

int store_write(struct store *s, uint64_t epoch, store_write_body body, void *arg, struct err *e)
{
    if (s->access != STORE_WRITER)
        return err_set(e, ERR_PERM, "The store is open for reading only.");
    if (s->must_reopen)
        return err_set(e, ERR_IO, "The store must be opened again after a failed write.");
    for (;;) {
        int rc = write_once(s, epoch, body, arg, e);
        if (!s->write.map_full)
            return rc;
        rc = grow(s, e);
        if (rc)
            return rc;
    }
}

struct store_read *store_write_as_read(struct store_write *w)
{
    return &w->read;
}
