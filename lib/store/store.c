/* Opening and closing the store, its tables and schema; see store.h. */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/dir.h"
#include "store/lmdb_private.h"
#include "store/place.h"
#include "store/whole.h"

#define MAP_START       ((uint64_t)16 << 20)
#define READERS_DEFAULT 126 /* LMDB's */
#define MAP_SLACK       ((uint64_t)1 << 20)
#define MAP_LEAST       ((uint64_t)64 << 10) /* room for the tables themselves */

static const char *const table_names[TABLES] = {
    [TABLE_META] = "meta",
    [TABLE_SETTINGS] = "settings",
    [TABLE_CHATS] = "chats",
    [TABLE_CHATS_BY_USER] = "chats_by_user",
    [TABLE_CHATS_BY_REQUEST] = "chats_by_request",
    [TABLE_REQUESTS] = "requests",
    [TABLE_UNFINISHED] = "unfinished",
    [TABLE_EXPIRY] = "expiry",
    [TABLE_COUNTERS] = "counters",
    [TABLE_CACHE] = "cache",
    [TABLE_KEYS] = "keys",
    [TABLE_AUDIT] = "audit",
};

static const struct slice SCHEMA = SLICE_LITERAL("schema");

static int not_there(const char *dir, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "There is no store in %s yet; the coordinator creates it.", dir);
}

/* The size of data.mdb; 0 when there is none. */
static int data_size(const char *dir, uint64_t *ret_bytes, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    if (snprintf(path, sizeof(path), "%s/data.mdb", dir) >= (int)sizeof(path))
        return err_set(e, ERR_INVAL, "The path of the storage directory is too long.");
    if (stat(path, &st)) {
        if (errno != ENOENT)
            return err_set_errno(e, "Cannot look at %s", path);
        st.st_size = 0;
    }
    *ret_bytes = (uint64_t)st.st_size;
    return 0;
}

/* What LMDB makes of its lock file: two cache lines and one more for each reader. It would leave holes there,
 * and whoever takes a slot in one on a full disk is killed by SIGBUS. */
static uint64_t lock_bytes(const struct store_options *o)
{
    return ((o->readers_max ? o->readers_max : READERS_DEFAULT) + 2) * (uint64_t)64;
}

static int prepare_place(const char *dir, const struct store_options *o, uint64_t *ret_bytes, struct err *e)
{
    uint64_t bytes;
    enum store_access access = o->access;
    int rc = access == STORE_WRITER ? dir_make(dir, e) : 0;
    if (!rc)
        rc = data_size(dir, &bytes, e);
    if (rc)
        return rc;
    /* Both meta pages are written in one go; with fewer bytes LMDB, reading only, would map nothing. */
    if (access == STORE_READER && bytes < 8192)
        return not_there(dir, e);
    rc = place_check_local(dir, e);
    if (!rc && access == STORE_WRITER)
        rc = place_make_file(dir, "data.mdb", 0, e);
    if (!rc)
        rc = place_make_file(dir, "lock.mdb", lock_bytes(o), e);
    /* LMDB syncs what is in data.mdb, never its name; always, since who made it may have died before. */
    if (!rc && access == STORE_WRITER)
        rc = dir_sync(dir, e);
    if (!rc)
        *ret_bytes = bytes;
    return rc;
}

/* The first map: the file and a quarter more, so that a restart does not grow at once. A file at the maximum
 * or over it gets a little all the same: deleting needs new pages before it frees old ones. */
static uint64_t first_map(const struct store_options *o, uint64_t file_bytes)
{
    uint64_t least = file_bytes + MAP_SLACK;
    uint64_t most = o->map_max_bytes > least ? o->map_max_bytes : least;
    uint64_t bytes = o->map_start_bytes ? o->map_start_bytes : MAP_START;
    if (bytes < MAP_LEAST)
        bytes = MAP_LEAST;
    while (bytes < file_bytes + file_bytes / 4)
        bytes *= 2;
    return bytes < most ? bytes : most;
}

/* 0: there is none. */
static uint64_t lock_inode(const struct store *s)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/lock.mdb", s->dir);
    return stat(path, &st) ? 0 : (uint64_t)st.st_ino;
}

static int open_env(struct store *s, const struct store_options *o, uint64_t file_bytes, struct err *e)
{
    bool writer = o->access == STORE_WRITER;
    uint64_t before = lock_inode(s);
    int fd, rc = whole_check(s->dir, e);
    if (rc)
        return rc;
    rc = mdb_env_create(&s->env);
    if (!rc)
        rc = mdb_env_set_maxdbs(s->env, TABLES);
    if (!rc && o->readers_max)
        rc = mdb_env_set_maxreaders(s->env, o->readers_max);
    if (!rc && writer)
        rc = mdb_env_set_mapsize(s->env, first_map(o, file_bytes));
    if (!rc)
        rc = mdb_env_open(s->env, s->dir, MDB_NOTLS | (writer ? 0 : MDB_RDONLY), 0600);
    if (!rc)
        rc = mdb_env_get_fd(s->env, &fd);
    if (rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH)
        return err_set(e, ERR_CORRUPT, "%s/data.mdb is no store of this program.", s->dir);
    if (rc)
        return table_err(rc, e);
    /* prepare_place() has made it; one that was exchanged just now is not taken for either. */
    s->lock_inode = before == lock_inode(s) ? before : 0;
    /* LMDB's other descriptors are close-on-exec already. */
    return fcntl(fd, F_SETFD, FD_CLOEXEC) ? err_set_errno(e, "Cannot set up %s/data.mdb", s->dir) : 0;
}

/* ERR_NOT_FOUND: nothing was stored yet. */
static int check_schema(struct store *s, MDB_txn *txn, struct err *e)
{
    struct store_read r = {.txn = txn, .store = s};
    struct slice value;
    struct bytes_reader b;
    int rc = table_get(&r, TABLE_META, SCHEMA, &value, e);
    if (rc)
        return rc;
    bytes_reader_init(&b, value);
    uint32_t version = bytes_get_u32(&b);
    if (!bytes_done(&b) || !version)
        return err_set(e, ERR_CORRUPT, "The store in %s does not say its version.", s->dir);
    if (version > STORE_SCHEMA_VERSION)
        return err_set(e, ERR_INVAL,
                       "The store in %s was written by a newer version of this program (format %u, this one "
                       "reads up to %d); install that version again.",
                       s->dir, version, STORE_SCHEMA_VERSION);
    return 0;
}

static int put_schema(struct store *s, MDB_txn *txn, struct err *e)
{
    uint32_t version = STORE_SCHEMA_VERSION;
    uint8_t bytes[4] = {version & 0xff, version >> 8 & 0xff, version >> 16 & 0xff, version >> 24};
    MDB_val key = {SCHEMA.n, (void *)SCHEMA.p}, value = {sizeof(bytes), bytes};
    return table_err(mdb_put(txn, s->dbi[TABLE_META], &key, &value, 0), e);
}

static int open_table(struct store *s, MDB_txn *txn, enum table t, MDB_dbi *ret_dbi, struct err *e)
{
    bool writer = s->access == STORE_WRITER;
    int rc = mdb_dbi_open(txn, table_names[t], writer ? MDB_CREATE : 0, ret_dbi);
    if (rc == MDB_NOTFOUND && t >= TABLES_LATER) {
        *ret_dbi = 0;
        return 0;
    }
    if (rc)
        return rc == MDB_NOTFOUND ? not_there(s->dir, e) : table_err(rc, e);
    if (t != TABLE_META)
        return 0;
    s->dbi[t] = *ret_dbi;
    rc = check_schema(s, txn, e);
    if (rc == ERR_NOT_FOUND)
        rc = writer ? put_schema(s, txn, e) : not_there(s->dir, e);
    return rc;
}

/* The handles stay good only when the transaction that opened them is committed, a reading one too. The
 * schema is looked at first: a newer store may have other tables. */
int store_open_tables(struct store *s, struct err *e)
{
    MDB_dbi dbi[TABLES];
    MDB_txn *txn;
    int rc = table_err(mdb_txn_begin(s->env, NULL, s->access == STORE_WRITER ? 0 : MDB_RDONLY, &txn), e);
    if (rc)
        return rc;
    rc = table_err(mdb_dbi_open(txn, NULL, 0, &s->names), e);
    for (enum table t = 0; !rc && t < TABLES; t++)
        rc = open_table(s, txn, t, &dbi[t], e);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = table_err(mdb_txn_commit(txn), e);
    if (rc)
        return rc;
    memcpy(s->dbi, dbi, sizeof(dbi));
    s->incomplete = false;
    for (enum table t = TABLES_LATER; t < TABLES; t++)
        s->incomplete |= !dbi[t];
    return 0;
}

bool store_has_grown_tables(struct store *s, MDB_txn *txn)
{
    for (enum table t = TABLES_LATER; t < TABLES; t++) {
        MDB_val name = {strlen(table_names[t]), (void *)table_names[t]}, value;
        if (!s->dbi[t] && mdb_get(txn, s->names, &name, &value) == 0)
            return true;
    }
    return false;
}

int store_open(const char *dir, const struct store_options *options, struct store **ret_store, struct err *e)
{
    uint64_t file_bytes = 0;
    struct store *s = calloc(1, sizeof(*s));
    if (!s || !(s->dir = strdup(dir))) {
        free(s);
        return err_set(e, ERR_NOMEM, "Out of memory.");
    }
    s->access = options->access;
    s->options = *options;
    s->map_max_bytes = options->map_max_bytes;
    s->write.read.store = s;
    buf_init(&s->write.scratch, TABLE_VALUE_MAX);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    int rc = prepare_place(dir, options, &file_bytes, e);
    if (!rc)
        rc = open_env(s, options, file_bytes, e);
    if (!rc)
        rc = store_open_tables(s, e);
    if (rc) {
        store_close(s);
        return rc;
    }
    *ret_store = s;
    return 0;
}

/* Safe also after a commit that failed and a map that was lost: nothing here reads pages. */
static void close_env(struct store *s)
{
    while (s->idle) {
        struct store_read *r = s->idle;
        s->idle = r->next;
        mdb_txn_abort(r->txn);
        free(r);
    }
    s->idle_n = 0;
    if (s->env)
        mdb_env_close(s->env);
    s->env = NULL;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    assert(!s->inside);
    close_env(s);
    buf_fini(&s->write.scratch);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->dir);
    free(s);
}

static int reopen_alone(struct store *s, struct err *e)
{
    uint64_t file_bytes = 0;
    close_env(s);
    s->unmapped = true;
    int rc = data_size(s->dir, &file_bytes, e);
    if (!rc)
        rc = open_env(s, &s->options, file_bytes, e);
    if (!rc)
        rc = store_open_tables(s, e);
    if (rc) {
        close_env(s);
        return rc;
    }
    s->unmapped = false;
    s->must_reopen = false;
    return 0;
}

int store_reopen(struct store *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    while (s->remapping)
        pthread_cond_wait(&s->changed, &s->lock);
    s->remapping = true;
    while (s->inside)
        pthread_cond_wait(&s->changed, &s->lock);
    int rc = reopen_alone(s, e);
    s->remapping = false;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

bool store_is_there(struct store *s)
{
    char path[PATH_MAX];
    struct stat there, open;
    int fd;
    if (store_enter(s, NULL) < 0)
        return true; /* it has no file open now */
    snprintf(path, sizeof(path), "%s/data.mdb", s->dir);
    bool same = mdb_env_get_fd(s->env, &fd) == 0 && fstat(fd, &open) == 0 && stat(path, &there) == 0 &&
                there.st_ino == open.st_ino && there.st_dev == open.st_dev && lock_inode(s) == s->lock_inode;
    store_leave(s);
    return same;
}

int store_reap_readers(struct store *s)
{
    int dead = 0;
    if (store_enter(s, NULL) < 0)
        return 0;
    if (mdb_reader_check(s->env, &dead))
        dead = 0;
    store_leave(s);
    return dead;
}

/* Pages that are in the file but free: LMDB keeps their numbers in table 0, each record a count and then the
 * pages. */
static int free_pages(MDB_txn *txn, uint64_t *ret_pages)
{
    MDB_cursor *c;
    MDB_val key, value;
    uint64_t pages = 0;
    int rc = mdb_cursor_open(txn, 0, &c);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0) {
        size_t n = 0;
        if (value.mv_size >= sizeof(n))
            memcpy(&n, value.mv_data, sizeof(n));
        pages += n;
    }
    mdb_cursor_close(c);
    if (rc != MDB_NOTFOUND)
        return rc;
    *ret_pages = pages;
    return 0;
}

int store_usage(struct store *s, struct store_usage *ret_usage, struct err *e)
{
    struct store_read *r;
    MDB_envinfo info;
    MDB_stat st;
    uint64_t spare = 0;
    int rc = store_read_begin(s, &r, e);
    if (rc)
        return rc;
    int failed = mdb_env_info(s->env, &info);
    if (!failed)
        failed = mdb_env_stat(s->env, &st);
    if (!failed)
        failed = free_pages(r->txn, &spare);
    store_read_end(r);
    if (failed)
        return table_err(failed, e);
    uint64_t pages = (uint64_t)info.me_last_pgno + 1;
    *ret_usage = (struct store_usage){
        .map_bytes = info.me_mapsize,
        .used_bytes = (pages > spare ? pages - spare : 0) * st.ms_psize,
        .map_max_bytes = s->map_max_bytes,
        .readers = info.me_numreaders,
        .readers_max = info.me_maxreaders,
    };
    return 0;
}
