/* API keys in the store, and stores from before there were any. */
#include "store/keys.h"

#include <lmdb.h>
#include <sys/wait.h>

#include "store/table.h"
#include "store_fixture.h"

TestSuite(keys, .init = fixture_setup, .fini = fixture_teardown);
TestSuite(keys_before, .init = fixture_make_dir, .fini = fixture_teardown, .timeout = 60);

static struct key_record sample(uint8_t n)
{
    struct key_record k = {.role = n & 1 ? KEY_CLIENT : KEY_ADMIN,
                           .requests_per_minute = n,
                           .tokens_per_minute = 1000u * n,
                           .budget_microusd = UINT64_MAX - n,
                           .created_s = 1700000000u + n,
                           .ends_s = n & 2 ? 1800000000u : 0,
                           .revoked_s = n & 4 ? 1750000000u : 0};
    memset(k.hash, n, sizeof(k.hash));
    memset(k.id, n + 1, sizeof(k.id));
    snprintf(k.label, sizeof(k.label), "key %u", n);
    return k;
}

static bool same(const struct key_record *a, const struct key_record *b)
{
    return memcmp(a->hash, b->hash, sizeof(a->hash)) == 0 && memcmp(a->id, b->id, sizeof(a->id)) == 0 &&
           a->role == b->role && strcmp(a->label, b->label) == 0 &&
           a->requests_per_minute == b->requests_per_minute && a->tokens_per_minute == b->tokens_per_minute &&
           a->budget_microusd == b->budget_microusd && a->created_s == b->created_s &&
           a->ends_s == b->ends_s && a->revoked_s == b->revoked_s;
}

static int put(struct store_write *w, void *arg, struct err *e)
{
    return keys_put(w, arg, e);
}

static int delete (struct store_write *w, void *arg, struct err *e)
{
    return keys_delete(w, ((struct key_record *)arg)->hash, e);
}

static bool any(struct store_read *r)
{
    bool there = false;
    cr_assert_eq(keys_any(r, &there, NULL), 0);
    return there;
}

struct seen {
    unsigned n, stop_at;
};

static int see(void *arg, const struct key_record *k)
{
    struct seen *s = arg;
    struct key_record expected = sample((uint8_t)++s->n);
    cr_assert(same(k, &expected), "%s", k->label);
    return s->n == s->stop_at ? ERR_LIMIT : 0;
}

Test(keys, what_is_put_is_found)
{
    struct key_record found;
    struct store_read *r = fixture_read();
    cr_assert_not(any(r));
    store_read_end(r);
    for (uint8_t n = 9; n > 0; n--) {
        struct key_record k = sample(n);
        WRITE(put, &k);
    }
    r = fixture_read();
    cr_assert(any(r));
    for (uint8_t n = 1; n <= 9; n++) {
        struct key_record k = sample(n);
        cr_assert_eq(keys_find(r, k.hash, &found, NULL), 0);
        cr_assert(same(&found, &k));
    }
    struct key_record none = sample(10);
    cr_assert_eq(keys_find(r, none.hash, &found, NULL), ERR_NOT_FOUND);
    store_read_end(r);
}

Test(keys, replaced_and_deleted)
{
    struct key_record found, k = sample(1);
    memset(k.label, 'x', KEY_LABEL_MAX);
    k.label[KEY_LABEL_MAX] = 0;
    WRITE(put, &k);
    k.revoked_s = 5;
    WRITE(put, &k);
    struct store_read *r = fixture_read();
    cr_assert_eq(keys_find(r, k.hash, &found, NULL), 0);
    cr_assert(same(&found, &k));
    store_read_end(r);
    WRITE(delete, &k);
    WRITE(delete, &k);
    r = fixture_read();
    cr_assert_eq(keys_find(r, k.hash, &found, NULL), ERR_NOT_FOUND);
    cr_assert_not(any(r));
    store_read_end(r);
}

Test(keys, each_goes_by_hash_and_can_be_stopped)
{
    struct seen s = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(keys_each(r, see, &s, NULL), 0);
    cr_assert_eq(s.n, 0);
    store_read_end(r);
    for (uint8_t n = 5; n > 0; n--) {
        struct key_record k = sample(n);
        WRITE(put, &k);
    }
    r = fixture_read();
    cr_assert_eq(keys_each(r, see, &s, NULL), 0);
    cr_assert_eq(s.n, 5);
    s = (struct seen){.stop_at = 3};
    cr_assert_eq(keys_each(r, see, &s, NULL), ERR_LIMIT);
    cr_assert_eq(s.n, 3);
    store_read_end(r);
}

Test(keys, usable)
{
    struct key_record k = {.role = KEY_CLIENT};
    cr_assert(key_usable(&k, 100));
    k.ends_s = 100;
    cr_assert(key_usable(&k, 99));
    cr_assert_not(key_usable(&k, 100));
    k = (struct key_record){.revoked_s = 1};
    cr_assert_not(key_usable(&k, 0));
}

/* What a damaged store may hold. */
struct raw {
    struct slice hash, value;
};

static int put_raw(struct store_write *w, void *arg, struct err *e)
{
    const struct raw *raw = arg;
    return table_put(w, TABLE_KEYS, raw->hash, raw->value, e);
}

static int ignore(void *arg, const struct key_record *k)
{
    (void)arg, (void)k;
    return 0;
}

static void check_damaged(const char *value, size_t n)
{
    struct err e = {0};
    struct key_record found, k = sample(1);
    struct raw raw = {table_bytes(k.hash, sizeof(k.hash)), table_bytes(value, n)};
    WRITE(put_raw, &raw);
    struct store_read *r = fixture_read();
    cr_assert_eq(keys_find(r, k.hash, &found, &e), ERR_CORRUPT);
    cr_assert(e.text[0]);
    cr_assert_eq(keys_each(r, ignore, NULL, &e), ERR_CORRUPT);
    store_read_end(r);
}

Test(keys, damaged_records_are_told)
{
    struct key_record k = sample(1);
    struct slice value;
    char copy[300];
    WRITE(put, &k);
    struct store_read *r = fixture_read();
    cr_assert_eq(table_get(r, TABLE_KEYS, table_bytes(k.hash, sizeof(k.hash)), &value, NULL), 0);
    size_t n = value.n;
    cr_assert_lt(n + 1, sizeof(copy));
    memcpy(copy, value.p, n);
    copy[n] = 0;
    store_read_end(r);
    for (size_t cut = 1; cut < n; cut++)
        check_damaged(copy, cut);
    check_damaged(copy, n + 1);
    copy[0] = 2; /* a version that is not known */
    check_damaged(copy, n);
    copy[0] = 1;
    copy[1] = 3; /* a role */
    check_damaged(copy, n);
}

/* ---- a store that was made before there were keys ---- */

/* Takes the table out of the file. */
static void make_older(void)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    fixture_open(STORE_WRITER, 0, 64 << 20);
    store_close(store);
    store = NULL;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 4), 0);
    cr_assert_eq(mdb_env_open(env, store_dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    for (int i = 0; i < TABLES - TABLES_LATER; i++) {
        static const char *const later[] = {"keys", "audit"};
        cr_assert_eq(mdb_dbi_open(txn, later[i], 0, &dbi), 0);
        cr_assert_eq(mdb_drop(txn, dbi, 1), 0);
    }
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

Test(keys_before, the_writer_makes_the_table)
{
    struct key_record found, k = sample(1);
    make_older();
    fixture_open(STORE_WRITER, 0, 64 << 20);
    WRITE(put, &k);
    struct store_read *r = fixture_read();
    cr_assert_eq(keys_find(r, k.hash, &found, NULL), 0);
    store_read_end(r);
}

static void put_in_child(struct key_record *k)
{
    int status;
    pid_t pid = fixture_fork();
    if (pid == 0) {
        struct store_options o = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
        struct store *s;
        bool done = store_open(store_dir, &o, &s, NULL) == 0 && store_write(s, 0, put, k, NULL) == 0;
        _exit(done ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

Test(keys_before, a_reader_finds_none_until_a_writer_makes_the_table)
{
    struct seen s = {0};
    struct key_record found, k = sample(1);
    make_older();
    fixture_open(STORE_READER, 0, 0);
    struct store_read *old = fixture_read(), *other = fixture_read();
    store_read_end(other); /* one that waits to be used again */
    cr_assert_not(any(old));
    cr_assert_eq(keys_find(old, k.hash, &found, NULL), ERR_NOT_FOUND);
    cr_assert_eq(keys_each(old, see, &s, NULL), 0);
    put_in_child(&k);
    cr_assert_not(any(old), "a transaction stays where it began");
    cr_assert_eq(store_read_renew(old, NULL), 0);
    cr_assert(any(old));
    cr_assert_eq(keys_find(old, k.hash, &found, NULL), 0);
    cr_assert(same(&found, &k));
    store_read_end(old);
    for (int i = 0; i < 3; i++) {
        struct store_read *r = fixture_read();
        cr_assert_eq(keys_each(r, see, &(struct seen){0}, NULL), 0);
        cr_assert(any(r));
        store_read_end(r);
    }
}
