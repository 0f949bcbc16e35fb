/* A store that was cut short is refused before it is mapped, and none that is whole. */
#include "store/whole.h"

#include <sys/stat.h>

#include "store/copy.h"
#include "store/table.h"
#include "store_fixture.h"

/* The map never grows, which would wait for a reader of the same thread. */
static void set_up(void)
{
    fixture_make_dir();
    fixture_open(STORE_WRITER, 512 << 20, 512 << 20);
}

TestSuite(store_whole, .init = set_up, .fini = fixture_teardown);

#define PAGE       4096 /* on the machines these tests run on; others are skipped */
#define FREE_DEPTH 46   /* where a meta page says how deep the tree of free pages is */
#define LAST_PAGE  136  /* and this, and then its transaction */

static uint64_t seed = 1;

static unsigned any(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static char *path_in(const char *dir)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return path;
}

/* How many pages the file lacks of those that it counts. */
static long missing(void)
{
    uint64_t last[2], transaction[2];
    struct stat st;
    int fd = open(path_in(store_dir), O_RDONLY);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pread(fd, &last[i], 8, i * PAGE + LAST_PAGE), 8);
        cr_assert_eq(pread(fd, &transaction[i], 8, i * PAGE + LAST_PAGE + 8), 8);
    }
    cr_assert_eq(fstat(fd, &st), 0);
    close(fd);
    return (long)(last[transaction[1] > transaction[0]] + 1) - st.st_size / PAGE;
}

/* A commit as none should be: much that is put and deleted again, some of it large. */
static int churn(struct store_write *w, void *arg, struct err *e)
{
    static char bytes[60000];
    unsigned most = *(unsigned *)arg, n = 1 + any(400), from = any(3) ? 1000 : any(1000);
    char name[24];
    int rc = 0;
    for (unsigned i = 0; !rc && i < n; i++) {
        snprintf(name, sizeof(name), "%u", any(1000));
        rc = any(3) ? table_put(w, TABLE_SETTINGS, slice_of(name), table_bytes(bytes, any(most)), e)
                    : table_delete(w, TABLE_SETTINGS, slice_of(name), e);
    }
    for (; !rc && from < 1000; from++) {
        snprintf(name, sizeof(name), "%u", from);
        rc = table_delete(w, TABLE_SETTINGS, slice_of(name), e);
    }
    return rc;
}

static void skip_other_machines(void)
{
    if (sysconf(_SC_PAGESIZE) != PAGE || sizeof(size_t) != 8)
        cr_skip_test("pages of another size");
}

Test(store_whole, is_one_that_lacks_only_what_is_free)
{
    unsigned shorter = 0;
    struct err e = {0};
    skip_other_machines();
    for (int i = 0; i < 300 && shorter < 3; i++) {
        unsigned sizes[] = {100, 3000, 60000};
        WRITE(churn, &sizes[any(3)]);
        cr_assert_eq(whole_check(store_dir, &e), 0, "%s", e.text);
        shorter += missing() > 0;
    }
    cr_assert_eq(shorter, 3, "too little was tried");

    /* And it is not without a part of what it needs. */
    struct stat st;
    cr_assert_eq(stat(path_in(store_dir), &st), 0);
    for (off_t bytes = st.st_size / 2 / PAGE * PAGE; bytes >= (off_t)2 * PAGE; bytes /= 2) {
        cr_assert_eq(truncate(path_in(store_dir), bytes), 0);
        cr_assert_eq(whole_check(store_dir, &e), ERR_CORRUPT, "%ld bytes", (long)bytes);
    }
}

static int free_one(struct store_write *w, void *arg, struct err *e)
{
    unsigned *n = arg;
    char name[24];
    snprintf(name, sizeof(name), "%u", (*n)++);
    return table_put(w, TABLE_SETTINGS, slice_of(name), SLICE_LITERAL("some"), e);
}

/* A store with what the check has to find its way in: pages that were never written, and, by commits that a
 * reader keeps, so many records of free pages that their tree has more than one page. */
static void make_a_short_one(void)
{
    unsigned large = 60000, n = 0;
    uint16_t depth;
    for (int i = 0; i < 5; i++) /* what is free before the reader comes is used again, */
        WRITE(churn, &large);
    struct store_read *r = fixture_read();
    for (int i = 0; i < 200; i++)
        WRITE(free_one, &n);
    for (int i = 0; i < 20 && missing() <= 0; i++) /* and given back without being written */
        WRITE(churn, &large);
    store_read_end(r);
    int fd = open(path_in(store_dir), O_RDONLY);
    cr_assert_eq(pread(fd, &depth, sizeof(depth), FREE_DEPTH), sizeof(depth));
    close(fd);
    cr_assert_gt(depth, 1);
    cr_assert_gt(missing(), 0);
}

Test(store_whole, finds_what_is_free_in_a_large_tree)
{
    struct err e = {0};
    skip_other_machines();
    make_a_short_one();
    cr_assert_eq(whole_check(store_dir, &e), 0, "%s", e.text);
    cr_assert_eq(truncate(path_in(store_dir), 4 * PAGE), 0);
    cr_assert_eq(whole_check(store_dir, &e), ERR_CORRUPT);
}

Test(store_whole, is_none_whose_end_is_gone_wherever_it_was_cut)
{
    struct store_options writer = {.access = STORE_WRITER, .map_max_bytes = 64 << 20}, reader = {0};
    unsigned large = 3000;
    struct store *s = NULL;
    struct stat st;
    struct err e = {0};
    char dir[100];
    skip_other_machines();
    reader.access = STORE_READER;
    WRITE(churn, &large);
    snprintf(dir, sizeof(dir), "%s/copy", store_dir);
    cr_assert_eq(mkdir(dir, 0700), 0);
    int fd = open(path_in(dir), O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_eq(store_copy(store, fd, &e), 0, "%s", e.text);
    close(fd);
    cr_assert_eq(store_open(dir, &reader, &s, &e), 0, "%s", e.text);
    store_close(s);
    cr_assert_eq(stat(path_in(dir), &st), 0);
    cr_assert_gt(st.st_size, 20 * PAGE);
    for (off_t bytes = st.st_size - 1; bytes >= 2 * PAGE; bytes -= PAGE) {
        cr_assert_eq(truncate(path_in(dir), bytes), 0);
        cr_assert_eq(store_open(dir, &reader, &s, &e), ERR_CORRUPT, "%ld", (long)bytes);
        cr_assert(strstr(e.text, "cut short"), "%s", e.text);
        cr_assert_eq(store_open(dir, &writer, &s, &e), ERR_CORRUPT, "%ld", (long)bytes);
        cr_assert_eq(stat(path_in(dir), &st), 0);
        cr_assert_eq(st.st_size, bytes, "it is left alone");
    }
}

/* Whatever the pages of a short file hold, the check comes to its end. */
Test(store_whole, is_none_that_is_damaged_besides, .timeout = 60)
{
    char page[PAGE], good[PAGE];
    struct err e = {0};
    skip_other_machines();
    make_a_short_one();
    int fd = open(path_in(store_dir), O_RDWR);
    for (int i = 0; i < 200; i++) {
        off_t at = (off_t)any(i % 2 ? 2 : 3000) * PAGE;
        cr_assert_eq(pread(fd, page, PAGE, at), PAGE);
        memcpy(good, page, PAGE);
        for (int bytes = 0; bytes < 20; bytes++)
            page[any(at < 2 * PAGE ? 160 : PAGE)] = (char)any(256);
        cr_assert_eq(pwrite(fd, page, PAGE, at), PAGE);
        int rc = whole_check(store_dir, &e);
        cr_assert(!rc || rc == ERR_CORRUPT);
        cr_assert_eq(pwrite(fd, good, PAGE, at), PAGE);
    }
    close(fd);
    cr_assert_eq(whole_check(store_dir, &e), 0, "%s", e.text);
}
