/*
 * Read transactions: the gate that keeps them apart from changes of the map, and the pool that makes
 * beginning one cheap (a reset transaction keeps its reader slot and its memory).
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "store/lmdb_private.h"

/* More rounds than this mean that the map does not become what the file needs. */
#define REMAP_TRIES 64

static int map_gone(struct err *e)
{
    return err_set(e, ERR_IO, "The store lost its memory map and must be opened again.");
}

/* Passes the gate and takes an idle transaction along, if there is one. */
static int enter(struct store *s, struct store_read **ret_idle, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    while (s->remapping)
        pthread_cond_wait(&s->changed, &s->lock);
    bool gone = s->unmapped;
    if (!gone) {
        s->inside++;
        if (ret_idle) {
            *ret_idle = s->idle;
            if (s->idle) {
                s->idle = s->idle->next;
                s->idle_n--;
            }
        }
    }
    pthread_mutex_unlock(&s->lock);
    return gone ? map_gone(e) : 0;
}

int store_enter(struct store *s, struct err *e)
{
    return enter(s, NULL, e);
}

static void leave_locked(struct store *s)
{
    if (--s->inside == 0 && s->remapping)
        pthread_cond_broadcast(&s->changed);
}

void store_leave(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    leave_locked(s);
    pthread_mutex_unlock(&s->lock);
}

/* LMDB unmaps before it maps; when the second half fails, the environment is lost. So ask first. */
static bool address_space_allows(uint64_t bytes)
{
    if (!bytes)
        return false;
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, bytes);
    return true;
}

/* What the file needs by now, as a power of two times the present map. Our map need not be as large as the
 * writer's, and a size known beforehand can be asked for. */
static uint64_t size_to_follow(struct store *s)
{
    MDB_envinfo info;
    struct stat st;
    int fd;
    if (mdb_env_info(s->env, &info) || mdb_env_get_fd(s->env, &fd) || fstat(fd, &st))
        return 0;
    uint64_t bytes = info.me_mapsize;
    do
        bytes *= 2;
    while (bytes < (uint64_t)st.st_size);
    return bytes;
}

static int remap_alone(struct store *s, uint64_t bytes, struct err *e)
{
    if (!bytes)
        bytes = size_to_follow(s);
    if (!address_space_allows(bytes))
        return err_set(e, ERR_NOMEM,
                       "The store needs a map of %llu KiB, which the address space limit (ulimit -v) of "
                       "this process does not allow.",
                       (unsigned long long)(bytes >> 10));
    if (mdb_env_set_mapsize(s->env, bytes)) {
        s->unmapped = true;
        return map_gone(e);
    }
    return 0;
}

int store_remap(struct store *s, uint64_t bytes, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    if (s->remapping && !bytes) { /* somebody is at it: what we need is what he makes */
        while (s->remapping)
            pthread_cond_wait(&s->changed, &s->lock);
        goto out;
    }
    while (s->remapping)
        pthread_cond_wait(&s->changed, &s->lock);
    s->remapping = true;
    while (s->inside)
        pthread_cond_wait(&s->changed, &s->lock);
    rc = s->unmapped ? map_gone(e) : remap_alone(s, bytes, e);
    s->remapping = false;
    pthread_cond_broadcast(&s->changed);
out:
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Opens the tables that a writer has made since, alone with the environment. Waits as store_remap. */
static int follow_tables(struct store *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    while (s->remapping)
        pthread_cond_wait(&s->changed, &s->lock);
    s->remapping = true;
    while (s->inside)
        pthread_cond_wait(&s->changed, &s->lock);
    int rc = s->unmapped ? map_gone(e) : s->incomplete ? store_open_tables(s, e) : 0;
    s->remapping = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* No transaction outlives its environment (store_reopen): it is inside the gate, in the pool, or given up
 * here, before the gate is left. */
static void give_up(struct store_read *r)
{
    if (r->txn)
        mdb_txn_abort(r->txn);
    r->txn = NULL;
}

/* Leaves the gate; the transaction goes back to the pool when it may be used again. */
static void leave_with(struct store *s, struct store_read *r)
{
    bool counted = r->running;
    r->running = false;
    pthread_mutex_lock(&s->lock);
    bool keep = r->txn && s->idle_n < STORE_IDLE_READS;
    if (keep) {
        r->next = s->idle;
        s->idle = r;
        s->idle_n++;
    } else
        give_up(r);
    if (counted)
        leave_locked(s);
    pthread_mutex_unlock(&s->lock);
    if (!keep)
        free(r);
}

static int start(struct store *s, struct store_read *r)
{
    return r->txn ? mdb_txn_renew(r->txn) : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &r->txn);
}

/*
 * A transaction reads its number first and then the meta page of that number, which the commit after the next
 * one overwrites: LMDB 0.9.24 does not notice when both happen in between, and the transaction then sees a
 * commit that is not announced yet, and maybe not on the disk.
 */
static bool overtaken(struct store *s, MDB_txn *txn)
{
    MDB_envinfo info;
    return mdb_env_info(s->env, &info) == 0 && info.me_last_txnid > mdb_txn_id(txn) + 1;
}

/* Starts r, which has passed the gate; on failure it has left it again. */
static int start_entered(struct store *s, struct store_read *r, struct err *e)
{
    bool reaped = false;
    for (int tries = 0; tries < REMAP_TRIES; tries++) {
        int rc = start(s, r);
        if (!rc && !overtaken(s, r->txn)) {
            if (!s->incomplete || !store_has_grown_tables(s, r->txn)) {
                r->running = true;
                return 0;
            }
            give_up(r);
            store_leave(s);
            rc = follow_tables(s, e);
            if (!rc)
                rc = store_enter(s, e);
            if (rc)
                return rc;
            continue;
        }
        if (!rc) {
            mdb_txn_reset(r->txn);
            continue;
        }
        if (rc == MDB_READERS_FULL && !reaped) {
            reaped = true;
            if (mdb_reader_check(s->env, NULL) == 0)
                continue;
        }
        give_up(r);
        store_leave(s);
        if (rc == MDB_READERS_FULL)
            return err_set(e, ERR_LIMIT, "All reader slots of the store are taken.");
        if (rc != MDB_MAP_RESIZED)
            return table_err(rc, e);
        rc = store_remap(s, 0, e);
        if (!rc)
            rc = store_enter(s, e);
        if (rc)
            return rc;
    }
    store_leave(s);
    return err_set(e, ERR_IO, "The store's map does not follow its file.");
}

int store_read_begin(struct store *s, struct store_read **ret_read, struct err *e)
{
    struct store_read *r = NULL;
    int rc = enter(s, &r, e);
    if (rc)
        return rc;
    if (!r && !(r = calloc(1, sizeof(*r)))) {
        store_leave(s);
        return err_set(e, ERR_NOMEM, "Out of memory.");
    }
    r->store = s;
    rc = start_entered(s, r, e);
    if (rc) {
        leave_with(s, r);
        return rc;
    }
    *ret_read = r;
    return 0;
}

/* Lets those through who wait for everybody to leave. */
static int step_aside(struct store *s, struct store_read *r, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool wanted = s->remapping;
    pthread_mutex_unlock(&s->lock);
    if (!wanted)
        return 0;
    give_up(r);
    store_leave(s);
    return store_enter(s, e);
}

int store_read_renew(struct store_read *r, struct err *e)
{
    struct store *s = r->store;
    bool inside = r->running;
    if (inside)
        mdb_txn_reset(r->txn);
    r->running = false;
    int rc = inside ? step_aside(s, r, e) : store_enter(s, e);
    return rc ? rc : start_entered(s, r, e);
}

void store_read_end(struct store_read *r)
{
    if (!r)
        return;
    if (r->running)
        mdb_txn_reset(r->txn);
    leave_with(r->store, r);
}

uint64_t store_read_version(const struct store_read *r)
{
    return mdb_txn_id(r->txn);
}
