/* The map grows under readers of the same and of other processes; it ends at its maximum and recovers. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/table.h"
#include "store_fixture.h"

TestSuite(store_growth, .init = fixture_make_dir, .fini = fixture_teardown, .timeout = 60);

#define START (64 << 10)
#define MAX   (32 << 20)

/* A record whose every byte is that of its number. */
struct batch {
    uint32_t from, to;
    size_t bytes;
    unsigned runs;
};

static char room[64 << 10];

static int put_batch(struct store_write *w, void *arg, struct err *e)
{
    struct batch *b = arg;
    uint8_t key[4];
    int rc = 0;
    b->runs++;
    for (uint32_t i = b->from; i < b->to && !rc; i++) {
        memset(room, (int)(i & 0xff), b->bytes);
        bytes_store_be32(key, i);
        rc = table_put(w, TABLE_CHATS, table_bytes(key, 4), table_bytes(room, b->bytes), e);
    }
    return rc;
}

/* Reads everything; false when something is not as it was written. */
static bool check_all(struct store_read *r, uint64_t *ret_count)
{
    struct table_cursor c;
    struct slice key, value;
    uint64_t n = 0;
    struct err e = {0};
    if (table_cursor_open(r, TABLE_CHATS, &c, &e))
        return false;
    int rc = table_seek(&c, (struct slice){0}, &key, &value, &e);
    for (; !rc; rc = table_next(&c, &key, &value, &e), n++) {
        uint32_t i = bytes_load_be32((const uint8_t *)key.p);
        if (i != n || value.p[0] != (char)(i & 0xff) || value.p[value.n - 1] != (char)(i & 0xff))
            break;
    }
    table_cursor_close(&c);
    *ret_count = n;
    return rc == ERR_NOT_FOUND;
}

static atomic_bool stop;

/* Reads until told to stop, or, in a process of its own, until all records are there. Returns why it failed.
 */
static void *read_loop(void *arg)
{
    struct store *s = arg;
    uint64_t count = 0, before = 0;
    while (!atomic_load(&stop) && count < 1000) {
        struct store_read *r;
        struct err e = {0};
        if (store_read_begin(s, &r, &e)) {
            fprintf(stderr, "begin: %s\n", e.text);
            return (void *)"begin";
        }
        bool good = check_all(r, &count);
        store_read_end(r);
        if (!good || count < before)
            return (void *)"contents";
        before = count;
    }
    return NULL;
}

#define THREADS 3

static void start_threads(struct store *s, pthread_t threads[THREADS])
{
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_loop, s), 0);
}

static bool join_threads(pthread_t threads[THREADS])
{
    bool good = true;
    for (int i = 0; i < THREADS; i++) {
        void *why;
        pthread_join(threads[i], &why);
        good = good && !why;
    }
    return good;
}

static pid_t reader_process(void)
{
    pid_t pid = fixture_fork();
    if (pid)
        return pid;
    struct store_options o = {.access = STORE_READER};
    struct store *s;
    struct err e = {0};
    pthread_t threads[THREADS];
    if (store_open(store_dir, &o, &s, &e))
        _exit(2);
    start_threads(s, threads);
    bool good = join_threads(threads);
    store_close(s);
    _exit(good ? 0 : 1);
}

Test(store_growth, readers_of_three_processes_see_no_error)
{
    pthread_t threads[THREADS];
    pid_t readers[2];
    struct store_usage u;
    struct err e = {0};
    fixture_open(STORE_WRITER, START, MAX); /* so that there is something to open */
    store_close(store);
    for (int i = 0; i < 2; i++)
        readers[i] = reader_process();
    fixture_open(STORE_WRITER, START, MAX);
    start_threads(store, threads);
    unsigned grown = 0;
    uint64_t map = START;
    for (uint32_t i = 0; i < 1000; i += 5) {
        struct batch b = {i, i + 5, 8 << 10, 0};
        WRITE(put_batch, &b);
        cr_assert_eq(store_usage(store, &u, &e), 0);
        grown += u.map_bytes != map;
        map = u.map_bytes;
    }
    cr_assert(join_threads(threads));
    for (int i = 0; i < 2; i++) {
        int status;
        waitpid(readers[i], &status, 0);
        cr_assert_eq(status, 0, "reader %d: %x", i, status);
    }
    cr_assert_geq(grown, 7, "64 KiB to more than 8 MiB");
}

Test(store_growth, one_transaction_may_need_several_doublings)
{
    struct batch b = {0, 500, 8 << 10, 0};
    uint64_t n;
    fixture_open(STORE_WRITER, START, MAX);
    WRITE(put_batch, &b);
    cr_assert_geq(b.runs, 6);
    struct store_read *r = fixture_read();
    cr_assert(check_all(r, &n));
    cr_assert_eq(n, 500);
    store_read_end(r);
}

/* The body may hide that the map was full. */
static int put_batch_quietly(struct store_write *w, void *arg, struct err *e)
{
    return put_batch(w, arg, e) ? 0 : 0;
}

Test(store_growth, a_body_that_hides_the_failure_runs_again_too)
{
    struct batch b = {0, 50, 8 << 10, 0};
    uint64_t n;
    fixture_open(STORE_WRITER, START, MAX);
    WRITE(put_batch_quietly, &b);
    struct store_read *r = fixture_read();
    cr_assert(check_all(r, &n));
    cr_assert_eq(n, 50);
    store_read_end(r);
}

static int delete_some(struct store_write *w, void *arg, struct err *e)
{
    struct batch *b = arg;
    uint8_t key[4];
    int rc = 0;
    for (uint32_t i = b->from; i < b->to && !rc; i++) {
        bytes_store_be32(key, i);
        rc = table_delete(w, TABLE_CHATS, table_bytes(key, 4), e);
    }
    return rc;
}

Test(store_growth, at_its_maximum_it_refuses_and_recovers_by_deleting)
{
    struct err e = {0};
    uint32_t n = 0;
    int rc = 0;
    fixture_open(STORE_WRITER, START, 2 << 20);
    while (!rc && n < 10000) {
        struct batch b = {n, n + 3, 3000, 0};
        rc = store_write(store, 0, put_batch, &b, &e);
        n += rc ? 0 : 3;
    }
    cr_assert_eq(rc, ERR_NOSPC, "%s", e.text);
    cr_assert_not_null(strstr(e.text, "map_max_mib"), "%s", e.text);
    struct store_read *r = fixture_read();
    uint64_t count;
    cr_assert(check_all(r, &count), "reads go on");
    cr_assert_eq(count, n, "nothing of the failed transaction");
    store_read_end(r);
    for (uint32_t i = 0; i < 60; i += 6) {
        struct batch gone = {i, i + 6, 0, 0};
        WRITE(delete_some, &gone);
    }
    struct batch again = {n, n + 3, 3000, 0};
    WRITE(put_batch, &again);
}

Test(store_growth, the_next_start_has_room_for_what_is_there)
{
    struct batch b = {0, 500, 8 << 10, 0}, more = {500, 510, 8 << 10, 0};
    struct store_usage u;
    struct err e = {0};
    fixture_open(STORE_WRITER, START, MAX);
    WRITE(put_batch, &b);
    store_close(store);
    fixture_open(STORE_WRITER, START, MAX);
    cr_assert_eq(store_usage(store, &u, &e), 0);
    cr_assert_geq(u.map_bytes, 500 * (8 << 10) * 5 / 4);
    WRITE(put_batch, &more);
    cr_assert_eq(more.runs, 1);
    store_close(store);
    fixture_open(STORE_WRITER, START, 1 << 20); /* a maximum below what is there */
    WRITE(delete_some, &more);
}

Test(store_growth, an_address_space_limit_breaks_nothing)
{
    struct batch small = {0, 2, 1000, 0}, large = {0, 60, 64 << 10, 0};
    struct err e = {0};
    struct rlimit limit, none;
    fixture_open(STORE_WRITER, START, 1ull << 40);
    WRITE(put_batch, &small);
    getrlimit(RLIMIT_AS, &none);
    limit = none;
    limit.rlim_cur = 1; /* no further mapping at all */
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    int rc = store_write(store, 0, put_batch, &large, &e);
    setrlimit(RLIMIT_AS, &none);
    cr_assert_eq(rc, ERR_NOMEM, "%d %s", rc, e.text);
    uint64_t n;
    struct store_read *r = fixture_read();
    cr_assert(check_all(r, &n));
    cr_assert_eq(n, 2);
    store_read_end(r);
    WRITE(put_batch, &large);
}
