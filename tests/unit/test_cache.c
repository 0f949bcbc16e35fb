/* Answers that may be given again: what is stored of them, in the order of their chats. */
#include "store/cache.h"

#include <lmdb.h>

#include "store/requests.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(cache, .init = fixture_setup, .fini = fixture_teardown);

#define DAY_US 1769947200000000ull

struct entry {
    uint8_t key[CACHE_KEY_SIZE];
    struct uuid id;
    uint64_t expires_s;
};

static int append_body(struct store_write *w, void *arg, struct err *e)
{
    const struct entry *a = arg;
    return cache_append(w, &a->id, a->key, a->expires_s, e);
}

static void append(uint8_t key, uint32_t id, uint64_t expires_s)
{
    struct entry a = {{key}, fixture_id(DAY_US, id), expires_s};
    WRITE(append_body, &a);
}

struct seen {
    uint8_t keys[300];
    size_t n, max;
};

static bool see(void *arg, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE], uint64_t expires_s)
{
    struct seen *s = arg;
    cr_assert(chat_id && expires_s);
    s->keys[s->n++] = key[0];
    return s->n < s->max;
}

static struct seen newest(uint64_t now_s, size_t max)
{
    struct seen s = {.max = max};
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(cache_newest(r, now_s, see, &s, &e), 0, "%s", e.text);
    store_read_end(r);
    return s;
}

static uint64_t count(enum table t)
{
    uint64_t n = 0;
    struct store_read *r = fixture_read();
    cr_assert_eq(table_count(r, t, &n, NULL), 0);
    store_read_end(r);
    return n;
}

struct expiry {
    uint64_t now_s;
    uint32_t max, dropped;
};

static int expire_body(struct store_write *w, void *arg, struct err *e)
{
    struct expiry *x = arg;
    return cache_expire(w, x->now_s, x->max, &x->dropped, e);
}

static uint32_t expire(uint64_t now_s, uint32_t max)
{
    struct expiry x = {now_s, max, 77};
    WRITE(expire_body, &x);
    return x.dropped;
}

Test(cache, is_read_from_the_newest_on_until_that_is_enough)
{
    cr_assert_eq(newest(0, 9).n, 0);
    append(1, 1, 100);
    append(2, 2, 200);
    append(3, 3, 300);
    struct seen s = newest(0, 9);
    cr_assert_eq(s.n, 3);
    cr_assert(s.keys[0] == 3 && s.keys[1] == 2 && s.keys[2] == 1);
    cr_assert_eq(newest(0, 2).n, 2);
}

Test(cache, what_has_expired_is_left_out_though_it_is_there)
{
    append(1, 1, 100);
    append(2, 2, 300);
    append(3, 3, 200);
    struct seen s = newest(200, 9);
    cr_assert_eq(s.n, 1);
    cr_assert_eq(s.keys[0], 2);
    cr_assert_eq(count(TABLE_CACHE), 3);
}

Test(cache, one_that_is_there_already_is_no_other)
{
    append(1, 1, 100);
    append(9, 1, 900);
    struct seen s = newest(0, 9);
    cr_assert_eq(s.n, 1);
    cr_assert_eq(s.keys[0], 1);
}

Test(cache, a_chat_of_before_the_last_one_has_its_place_before_it)
{
    append(2, 2, 100);
    append(1, 1, 100);
    struct seen s = newest(0, 9);
    cr_assert(s.n == 2 && s.keys[0] == 2 && s.keys[1] == 1);
}

Test(cache, expires_oldest_first_in_bounded_steps)
{
    cr_assert_eq(expire(1000, 5), 0, "an empty one");
    for (uint8_t i = 0; i < 100; i++)
        append(i, i, 100u + i);
    cr_assert_eq(expire(99, 64), 0);
    cr_assert_eq(expire(149, 20), 20);
    cr_assert_eq(expire(149, 64), 30);
    cr_assert_eq(expire(149, 64), 0);
    cr_assert_eq(count(TABLE_CACHE), 50);
    cr_assert_eq(newest(149, 200).n, 50);
}

static int damage_body(struct store_write *w, void *arg, struct err *e)
{
    struct uuid id = fixture_id(DAY_US, 1);
    return table_put(w, TABLE_CACHE, table_bytes(id.bytes, sizeof(id.bytes)), slice_of(arg), e);
}

static int foreign_body(struct store_write *w, void *arg, struct err *e)
{
    return table_put(w, TABLE_CACHE, slice_of(arg), SLICE_LITERAL("?"), e);
}

Test(cache, what_cannot_be_read_is_none_and_goes)
{
    append(1, 1, 100);
    append(2, 2, 200);
    WRITE(damage_body, (char[]){"of another version"});
    WRITE(foreign_body, (char[]){"!"});
    struct seen s = newest(0, 9);
    cr_assert(s.n == 1 && s.keys[0] == 2);
    cr_assert_eq(expire(1, 64), 1);
    cr_assert_eq(expire(200, 64), 2);
    cr_assert_eq(count(TABLE_CACHE), 0);
}

static int put_record(struct store_write *w, void *arg, struct err *e)
{
    uint8_t key[REQUEST_KEY_SIZE] = {*(uint8_t *)arg};
    struct request_record r = {.state = REQUEST_DONE, .expires_s = 100};
    return requests_put(w, key, &r, 1, e);
}

/* A store of before there was a cache: a writer gives it the table, and all that is there stays. */
Test(cache, a_store_without_the_table_is_opened)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t key = 7;
    WRITE(put_record, &key);
    store_close(store);
    store = NULL;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 20), 0);
    cr_assert_eq(mdb_env_open(env, store_dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "cache", 0, &dbi), 0);
    cr_assert_eq(mdb_drop(txn, dbi, 1), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    struct store_options reader = {.access = STORE_READER};
    struct err e = {0};
    cr_assert_eq(store_open(store_dir, &reader, &store, &e), ERR_NOT_FOUND, "a reader waits for a writer");
    fixture_open(STORE_WRITER, 0, 64 << 20);
    cr_assert_eq(count(TABLE_REQUESTS), 1);
    append(1, 1, 100);
    cr_assert_eq(newest(0, 9).n, 1);
}
