/* Copies of the whole store; see copy.h. */
#include "store/copy.h"

#include "store/chats.h"
#include "store/lmdb_private.h"
#include "store/requests.h"

#define TRIES     16
#define SMALLEST  512 /* bytes of a page of LMDB */
#define SCAN_STEP 1000

int store_copy(struct store *s, int fd, struct err *e)
{
    int rc = MDB_MAP_RESIZED;
    for (int i = 0; rc == MDB_MAP_RESIZED && i < TRIES; i++) {
        /* Follows the map of a writer, which the transaction that LMDB makes for the copy would not. */
        struct store_read *r;
        int failed = store_read_begin(s, &r, e);
        if (failed)
            return failed;
        store_read_end(r);
        failed = store_enter(s, e);
        if (failed)
            return failed;
        rc = mdb_env_copyfd2(s->env, fd, MDB_CP_COMPACT);
        store_leave(s);
    }
    return table_err(rc, e);
}

/* One byte of each page that a value lies on. */
static unsigned touch(struct slice value)
{
    const volatile unsigned char *p = (const volatile unsigned char *)value.p;
    unsigned sum = 0;
    for (size_t i = 0; i < value.n; i += SMALLEST)
        sum += p[i];
    return value.n ? sum + p[value.n - 1] : sum;
}

static int look_through_table(struct store_read *r, enum table t, uint64_t *ret_records, struct err *e)
{
    static const struct slice first = {"", 0};
    struct table_cursor c;
    struct slice key, value;
    uint64_t expected, n = 0;
    int rc = table_count(r, t, &expected, e);
    if (!rc)
        rc = table_cursor_open(r, t, &c, e);
    if (rc)
        return rc;
    for (rc = table_seek(&c, first, &key, &value, e); !rc; rc = table_next(&c, &key, &value, e)) {
        (void)touch(key);
        (void)touch(value);
        n++;
    }
    table_cursor_close(&c);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if (n != expected)
        return err_set(e, ERR_CORRUPT, "A table of the store has %llu records where it says %llu.",
                       (unsigned long long)n, (unsigned long long)expected);
    *ret_records += n;
    return 0;
}

static bool pass_chat(void *arg, const struct chat *c)
{
    (void)arg, (void)c;
    return true;
}

static int read_chats(struct store_read *r, struct err *e)
{
    struct chats_filter all = {0};
    struct uuid last = {{0}};
    bool more = true;
    int rc = 0;
    while (!rc && more)
        rc = chats_scan(r, &all, &last, SCAN_STEP, pass_chat, NULL, &last, &more, e);
    return rc;
}

static bool pass_request(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    (void)arg, (void)key, (void)record;
    return true;
}

int store_look_through(struct store_read *r, uint64_t *ret_records, struct err *e)
{
    uint64_t records = 0;
    int rc = 0;
    for (enum table t = 0; !rc && t < TABLES; t++)
        rc = look_through_table(r, t, &records, e);
    if (!rc)
        rc = read_chats(r, e);
    if (!rc)
        rc = requests_unfinished(r, 0, pass_request, NULL, e);
    if (!rc)
        *ret_records = records;
    return rc;
}
