/* Answers that may be given again: entries, their time, and the chats they point to. */
#include "store/cache.h"

#include <lmdb.h>

#include "store/chats.h"
#include "store/requests.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(cache, .init = fixture_setup, .fini = fixture_teardown);

#define S(text) SLICE_LITERAL(text)
#define DAY_US  1769947200000000ull

struct answer {
    uint8_t key[CACHE_KEY_SIZE];
    struct uuid id;
    const char *text;
    uint64_t expires_s;
};

static int answer_body(struct store_write *w, void *arg, struct err *e)
{
    const struct answer *a = arg;
    struct chat chat = {.id = a->id,
                        .endpoint = ENDPOINT_QUERY,
                        .time_us = DAY_US,
                        .request_id = S("id"),
                        .prompt = S("?"),
                        .text = slice_of(a->text)};
    struct buf record;
    buf_init(&record, 4096);
    chat_encode(&record, &chat);
    int rc = chats_append(w, &chat, buf_slice(&record), e);
    buf_fini(&record);
    return rc ? rc : cache_put(w, a->key, &a->id, a->expires_s, e);
}

static void answer(uint8_t key, uint32_t id, const char *text, uint64_t expires_s)
{
    struct answer a = {{key}, fixture_id(DAY_US, id), text, expires_s};
    WRITE(answer_body, &a);
}

/* The text found, in static room; "" for none. */
static const char *found(uint8_t key, uint64_t now_s)
{
    static char text[64];
    uint8_t k[CACHE_KEY_SIZE] = {key};
    struct slice record;
    struct chat chat;
    struct err e = {0};
    struct store_read *r = fixture_read();
    int rc = cache_get(r, k, now_s, &record, &e);
    if (rc == 0)
        cr_assert_eq(chat_decode(record, &chat), 0);
    snprintf(text, sizeof(text), "%.*s", rc ? 0 : (int)chat.text.n, rc ? "" : chat.text.p);
    store_read_end(r);
    cr_assert(rc == 0 || rc == ERR_NOT_FOUND, "%d %s", rc, e.text);
    return text;
}

static uint64_t count(enum table t)
{
    uint64_t n = 0;
    struct store_read *r = fixture_read();
    cr_assert_eq(table_count(r, t, &n, NULL), 0);
    store_read_end(r);
    return n;
}

struct sweep {
    uint64_t now_s;
    uint8_t at[CACHE_KEY_SIZE];
    uint32_t dropped;
};

static int sweep_body(struct store_write *w, void *arg, struct err *e)
{
    struct sweep *x = arg;
    return cache_sweep(w, x->at, x->now_s, x->at, &x->dropped, e);
}

/* A step from x->at. */
static uint32_t sweep(struct sweep *x)
{
    x->dropped = 77;
    WRITE(sweep_body, x);
    return x->dropped;
}

static uint32_t sweep_first(uint64_t now_s)
{
    struct sweep x = {.now_s = now_s};
    return sweep(&x);
}

Test(cache, finds_what_was_put_until_it_expires)
{
    cr_assert_str_eq(found(1, 0), "");
    answer(1, 1, "one", 100);
    answer(2, 2, "two", 200);
    cr_assert_str_eq(found(1, 99), "one");
    cr_assert_str_eq(found(1, 100), "", "expired, though not swept");
    cr_assert_str_eq(found(2, 100), "two");
    cr_assert_str_eq(found(3, 0), "");
}

Test(cache, a_newer_answer_replaces_and_has_a_time_of_its_own)
{
    answer(1, 1, "old", 100);
    answer(1, 2, "new", 300);
    cr_assert_str_eq(found(1, 99), "new");
    cr_assert_eq(sweep_first(299), 0);
    cr_assert_str_eq(found(1, 299), "new");
    answer(1, 3, "newest", 250);
    cr_assert_str_eq(found(1, 250), "");
    cr_assert_eq(sweep_first(250), 1);
    cr_assert_eq(count(TABLE_CACHE), 0);
    cr_assert_eq(count(TABLE_CHATS), 3, "chats are not its business");
}

static int delete_body(struct store_write *w, void *arg, struct err *e)
{
    uint32_t n;
    bool more;
    (void)arg;
    return chats_delete_request(w, S("id"), 10, 0, &n, &more, e);
}

Test(cache, without_the_chat_there_is_no_answer)
{
    answer(1, 1, "one", 100);
    WRITE(delete_body, NULL);
    cr_assert_str_eq(found(1, 0), "");
    answer(1, 2, "another", 200);
    cr_assert_str_eq(found(1, 150), "another");
}

Test(cache, is_swept_round_and_round_in_bounded_steps)
{
    struct sweep x = {.now_s = 100};
    static const uint8_t start[CACHE_KEY_SIZE];
    cr_assert_eq(sweep(&x), 0, "an empty one");
    for (uint8_t i = 0; i < 200; i++)
        answer(i, i, "x", i % 2 ? 100 : 200);
    uint32_t dropped = 0;
    for (int step = 0; step < 3; step++) {
        cr_assert_eq(sweep(&x), CACHE_SWEEP_MAX / 2);
        cr_assert_eq(x.at[0], (step + 1) * CACHE_SWEEP_MAX);
        dropped += x.dropped;
    }
    cr_assert_eq(sweep(&x), 4);
    cr_assert_arr_eq(x.at, start, sizeof(start), "it begins again");
    cr_assert_eq(count(TABLE_CACHE), 200 - dropped - 4);
    x.now_s = 200;
    cr_assert_eq(sweep(&x), CACHE_SWEEP_MAX);
    cr_assert_eq(sweep(&x), 100 - CACHE_SWEEP_MAX);
    cr_assert_eq(count(TABLE_CACHE), 0);
}

static int damage_body(struct store_write *w, void *arg, struct err *e)
{
    uint8_t key[CACHE_KEY_SIZE] = {1};
    return table_put(w, TABLE_CACHE, table_bytes(key, sizeof(key)), slice_of(arg), e);
}

static int put_record(struct store_write *w, void *arg, struct err *e)
{
    uint8_t key[REQUEST_KEY_SIZE] = {*(uint8_t *)arg};
    struct request_record r = {.state = REQUEST_DONE, .expires_s = 100};
    return requests_put(w, key, &r, 1, e);
}

Test(cache, what_cannot_be_read_is_none_and_goes)
{
    answer(1, 1, "one", 100);
    WRITE(damage_body, (char[]){"of another version"});
    cr_assert_str_eq(found(1, 0), "");
    answer(1, 2, "two", 200);
    cr_assert_str_eq(found(1, 0), "two");
    WRITE(damage_body, (char[]){"?"});
    cr_assert_eq(sweep_first(1), 1);
    cr_assert_eq(count(TABLE_CACHE), 0);
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
    answer(1, 1, "one", 100);
    cr_assert_str_eq(found(1, 0), "one");
}
