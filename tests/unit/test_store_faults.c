/* What the disk, a signal or another process can do to the store. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "store/table.h"
#include "store_fixture.h"

TestSuite(store_faults, .init = fixture_make_dir, .fini = fixture_teardown, .timeout = 60);

#define S(text) SLICE_LITERAL(text)
#define MAX     (64 << 20)

static int put_name(struct store_write *w, void *arg, struct err *e)
{
    return table_put(w, TABLE_META, slice_of(arg), S("here"), e);
}

static bool has(const char *name)
{
    struct slice found;
    struct store_read *r = fixture_read();
    int rc = table_get(r, TABLE_META, slice_of(name), &found, NULL);
    store_read_end(r);
    return rc == 0;
}

static int ready[2];

/* Writes much (so that pages are spilled), then waits for its end in the middle of the transaction. */
static int put_and_hang(struct store_write *w, void *arg, struct err *e)
{
    int rc = put_name(w, arg, e);
    for (uint32_t i = 0; i < 2000 && !rc; i++) {
        uint8_t key[4];
        bytes_store_be32(key, i);
        rc = table_put(w, TABLE_CHATS, table_bytes(key, 4), table_bytes(store_dir, sizeof(store_dir)), e);
    }
    if (!rc && write(ready[1], "x", 1) == 1)
        pause();
    return rc;
}

Test(store_faults, a_writer_killed_in_its_transaction)
{
    struct err e = {0};
    char byte;
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(pipe(ready), 0);
        if (round == 1) /* one that is open all the time must get the dead one's lock */
            fixture_open(STORE_WRITER, 0, MAX);
        pid_t child = fixture_fork();
        if (child == 0) {
            char kept[] = "kept0";
            kept[4] = (char)('0' + round);
            struct store_options o = {.access = STORE_WRITER, .map_max_bytes = MAX};
            if (store_open(store_dir, &o, &store, &e) || store_write(store, 0, put_name, kept, &e))
                _exit(1);
            _exit(store_write(store, 0, put_and_hang, (void *)"lost", &e) ? 2 : 3);
        }
        close(ready[1]); /* so that a child that fails is noticed */
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (round != 1)
            fixture_open(STORE_WRITER, 0, MAX);
        char kept[] = "kept0";
        kept[4] = (char)('0' + round);
        cr_assert(has(kept));
        cr_assert_not(has("lost"));
        WRITE(put_name, (void *)"after");
        store_close(store);
        store = NULL;
    }
}

static char page[4000];

static int put_pages(struct store_write *w, void *arg, struct err *e)
{
    uint32_t from = *(uint32_t *)arg;
    int rc = 0;
    for (uint32_t i = 0; i < 50 && !rc; i++) {
        uint8_t key[4];
        bytes_store_be32(key, from + i);
        rc = table_put(w, TABLE_CHATS, table_bytes(key, 4), table_bytes(page, sizeof(page)), e);
    }
    return rc;
}

/* A file size limit is the full disk that needs no privileges: a short write, then EFBIG. */
Test(store_faults, a_full_disk_is_refused_and_recovers)
{
    struct err e = {0};
    struct rlimit none, limit;
    uint32_t n = 0;
    uint64_t before, after;
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(STORE_WRITER, 0, MAX);
    getrlimit(RLIMIT_FSIZE, &none);
    limit = none;
    limit.rlim_cur = (4 << 20) + 1234; /* in the middle of a page */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = 0;
    while (!rc && n < 5000) {
        rc = store_write(store, 0, put_pages, &n, &e);
        n += rc ? 0 : 50;
    }
    cr_assert_eq(rc, ERR_NOSPC, "%d %s", rc, e.text);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(store_write(store, 0, put_pages, &n, &e), ERR_NOSPC, "and again: %s", e.text);
    struct store_read *r = fixture_read();
    cr_assert_eq(table_count(r, TABLE_CHATS, &before, &e), 0);
    cr_assert_eq(before, n, "reads go on, nothing was written");
    store_read_end(r);
    setrlimit(RLIMIT_FSIZE, &none);
    cr_assert_eq(store_write(store, 0, put_pages, &n, &e), 0, "%s", e.text);
    r = fixture_read();
    cr_assert_eq(table_count(r, TABLE_CHATS, &after, &e), 0);
    cr_assert_eq(after, n + 50);
    store_read_end(r);
}

static void check_failed_commit(const char *by, int flags, bool meta_only)
{
    struct err e = {0};
    fixture_open(STORE_WRITER, 0, MAX);
    WRITE(put_name, (void *)"before");
    fixture_break_descriptors(by, flags, meta_only);
    cr_assert_eq(store_write(store, 0, put_name, (void *)"during", &e), ERR_IO, "%s", e.text);
    cr_assert_eq(store_write(store, 0, put_name, (void *)"later", &e), ERR_IO,
                 "not before it is opened again");
    store_close(store);
    fixture_open(STORE_WRITER, 0, MAX);
    cr_assert(has("before"));
    cr_assert_not(has("later"));
    WRITE(put_name, (void *)"again");
    cr_assert(has("again"));
}

Test(store_faults, a_failed_write_of_pages_wants_a_reopen)
{
    check_failed_commit(NULL, O_RDONLY, false);
}

Test(store_faults, a_failed_write_of_the_meta_page_wants_a_reopen)
{
    check_failed_commit(NULL, O_RDONLY, true);
}

/* The one full disk after which the outcome is open: LMDB gives up the environment. */
Test(store_faults, no_space_for_the_meta_page_wants_a_reopen)
{
    check_failed_commit("/dev/full", O_RDWR, true);
}

/* Until the store wants to be opened again. */
static void fail_a_commit(void)
{
    struct err e = {0};
    fixture_break_descriptors(NULL, O_RDONLY, false);
    cr_assert_eq(store_write(store, 0, put_name, (void *)"during", &e), ERR_IO, "%s", e.text);
}

Test(store_faults, reopened_in_place_after_a_failed_commit)
{
    struct err e = {0};
    fixture_open(STORE_WRITER, 0, MAX);
    for (int round = 0; round < 3; round++) {
        WRITE(put_name, (void *)"before");
        cr_assert(has("before"), "leaves a transaction in the pool");
        fail_a_commit();
        cr_assert_eq(store_reopen(store, &e), 0, "%s", e.text);
        cr_assert(has("before"));
        cr_assert_not(has("later"));
        WRITE(put_name, (void *)"again");
        cr_assert(has("again"));
        cr_assert_eq(store_reap_readers(store), 0);
    }
}

Test(store_faults, a_reopen_that_fails_can_be_tried_again)
{
    struct err e = {0};
    struct store_read *r;
    char away[80];
    fixture_open(STORE_WRITER, 0, MAX);
    WRITE(put_name, (void *)"before");
    fail_a_commit();
    snprintf(away, sizeof(away), "%s.away", store_dir);
    cr_assert_eq(rename(store_dir, away), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_lt(store_reopen(store, &e), 0);
        cr_assert_eq(store_read_begin(store, &r, &e), ERR_IO, "%s", e.text);
        cr_assert_eq(store_write(store, 0, put_name, (void *)"later", &e), ERR_IO, "%s", e.text);
        cr_assert_eq(store_reap_readers(store), 0);
    }
    cr_assert_eq(rename(away, store_dir), 0);
    cr_assert_eq(store_reopen(store, &e), 0, "%s", e.text);
    cr_assert(has("before"));
    WRITE(put_name, (void *)"later");
    cr_assert(has("later"));
}

static atomic_bool over;
static atomic_uint reads, wrong;

/* cr_assert is for the test's own thread. */
static void note_read(int rc, struct store_read *r)
{
    struct slice found;
    atomic_fetch_add(&reads, 1);
    if (rc == 0)
        rc = table_get(r, TABLE_META, S("before"), &found, NULL);
    if (rc != 0 && rc != ERR_IO)
        atomic_fetch_add(&wrong, 1);
}

static void *read_and_renew(void *arg)
{
    bool renews = arg != NULL;
    while (!atomic_load(&over)) {
        struct store_read *r = NULL;
        int rc = store_read_begin(store, &r, NULL);
        note_read(rc, r);
        for (int i = 0; rc == 0 && renews && i < 20; i++)
            note_read(store_read_renew(r, NULL), r);
        if (rc == 0)
            store_read_end(r);
    }
    return NULL;
}

static void wait_for_reads(unsigned n)
{
    for (unsigned from = atomic_load(&reads); atomic_load(&reads) - from < n;)
        usleep(100);
}

Test(store_faults, readers_while_the_store_is_reopened)
{
    struct err e = {0};
    pthread_t readers[4];
    fixture_open(STORE_WRITER, 0, MAX);
    WRITE(put_name, (void *)"before");
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, read_and_renew, i % 2 ? &over : NULL), 0);
    for (int round = 0; round < 20; round++) {
        wait_for_reads(50);
        fail_a_commit();
        cr_assert_eq(store_reopen(store, &e), 0, "%s", e.text);
        WRITE(put_name, (void *)"again");
    }
    wait_for_reads(50);
    atomic_store(&over, true);
    for (size_t i = 0; i < 4; i++)
        pthread_join(readers[i], NULL);
    cr_assert_eq(atomic_load(&wrong), 0);
}

static void *reopen(void *arg)
{
    *(int *)arg = store_reopen(store, NULL);
    return NULL;
}

/* The reader's transaction belongs to the environment that goes. */
Test(store_faults, a_reader_renewed_while_a_reopen_waits_for_it)
{
    pthread_t other;
    int rc = -1;
    struct slice found;
    struct err e = {0};
    fixture_open(STORE_WRITER, 0, MAX);
    WRITE(put_name, (void *)"before");
    struct store_read *r = fixture_read();
    cr_assert_eq(pthread_create(&other, NULL, reopen, &rc), 0);
    usleep(50000);
    cr_assert_eq(store_read_renew(r, &e), 0, "%s", e.text);
    cr_assert_eq(table_get(r, TABLE_META, S("before"), &found, &e), 0);
    pthread_join(other, NULL);
    cr_assert_eq(rc, 0);
    store_read_end(r);
    WRITE(put_name, (void *)"again");
    cr_assert(has("again"));
}

/* A second writer, such as a coordinator that is being replaced, made the map grow. */
Test(store_faults, a_writer_follows_another_that_grew_the_map)
{
    uint32_t n = 100;
    fixture_open(STORE_WRITER, 64 << 10, MAX);
    pid_t child = fixture_fork();
    if (child == 0) {
        struct store_options o = {.access = STORE_WRITER, .map_max_bytes = MAX};
        struct store *mine;
        uint32_t zero = 0;
        _exit(store_open(store_dir, &o, &mine, NULL) || store_write(mine, 0, put_pages, &zero, NULL));
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
    WRITE(put_pages, &n);
    uint64_t count;
    struct store_read *r = fixture_read();
    cr_assert_eq(table_count(r, TABLE_CHATS, &count, NULL), 0);
    cr_assert_eq(count, 100);
    store_read_end(r);
}
