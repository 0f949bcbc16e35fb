/* Copies of the store: whole, compact, taken beside a writer; and the successor of another store. */
#include "store/copy.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "store/meta.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(store_copy, .init = fixture_setup, .fini = fixture_teardown);

static const struct slice KEY = SLICE_LITERAL("key");

static int put_large(struct store_write *w, void *arg, struct err *e)
{
    static char bytes[200000];
    memset(bytes, *(const char *)arg, sizeof(bytes));
    return table_put(w, TABLE_SETTINGS, KEY, table_bytes(bytes, sizeof(bytes)), e);
}

static int delete_it(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    return table_delete(w, TABLE_SETTINGS, KEY, e);
}

/* A copy in a directory of its own, as a store. */
static struct store *copy(off_t *ret_size)
{
    char dir[100], path[128];
    struct store_options o = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
    struct store *made = NULL;
    struct stat st;
    struct err e = {0};
    snprintf(dir, sizeof(dir), "%s/copy", store_dir);
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    cr_assert_eq(mkdir(dir, 0700), 0);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_eq(store_copy(store, fd, &e), 0, "%s", e.text);
    cr_assert_eq(fstat(fd, &st), 0);
    close(fd);
    *ret_size = st.st_size;
    cr_assert_eq(store_open(dir, &o, &made, &e), 0, "%s", e.text);
    return made;
}

Test(store_copy, has_what_is_stored_and_nothing_that_was)
{
    uint64_t records = 0, here = 0;
    off_t full, compact;
    struct slice value;
    struct store_read *r;
    struct err e = {0};
    WRITE(put_large, (char[]){'a'});
    store_close(copy(&full));
    char path[128];
    snprintf(path, sizeof(path), "%s/copy/data.mdb", store_dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/copy/lock.mdb", store_dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/copy", store_dir);
    rmdir(path);
    WRITE(delete_it, NULL);
    struct store *made = copy(&compact);
    cr_assert(compact + 200000 <= full, "%d of %d", (int)compact, (int)full);
    r = fixture_read();
    cr_assert_eq(store_look_through(r, &here, &e), 0, "%s", e.text);
    store_read_end(r);
    cr_assert_eq(store_read_begin(made, &r, &e), 0, "%s", e.text);
    cr_assert_eq(store_look_through(r, &records, &e), 0, "%s", e.text);
    cr_assert_eq(records, here);
    cr_assert_eq(table_get(r, TABLE_SETTINGS, KEY, &value, &e), ERR_NOT_FOUND);
    store_read_end(r);
    store_close(made);
}

Test(store_copy, follows_a_map_that_another_process_grew)
{
    off_t size;
    struct slice value;
    struct store_read *r;
    struct err e = {0};
    store_close(store);
    fixture_open(STORE_WRITER, 64 << 10, 64 << 20);
    pid_t child = fixture_fork();
    if (child == 0) { /* which opens the store itself: LMDB is opened after fork */
        struct store_options o = {
            .access = STORE_WRITER, .map_start_bytes = 64 << 10, .map_max_bytes = 64 << 20};
        struct store *mine;
        _exit(store_open(store_dir, &o, &mine, NULL) || store_write(mine, 0, put_large, (char[]){'b'}, NULL));
    }
    int status;
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
    struct store *made = copy(&size);
    cr_assert_eq(store_read_begin(made, &r, &e), 0, "%s", e.text);
    cr_assert_eq(table_get(r, TABLE_SETTINGS, KEY, &value, &e), 0);
    cr_assert_eq(value.n, 200000);
    store_read_end(r);
    store_close(made);
}

Test(store_copy, of_a_full_disk_is_an_error)
{
    struct err e = {0};
    int fd = open("/dev/full", O_WRONLY);
    int rc = store_copy(store, fd, &e);
    cr_assert(rc == ERR_NOSPC || rc == ERR_IO || rc == ERR_NOMEM, "%d %s", rc, e.text);
    cr_assert(e.text[0]);
    close(fd);
}

Test(store_copy, succeeds_another_store)
{
    struct uuid machine = {{1, 2, 3}}, found;
    uint64_t epoch = 0;
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(meta_machine_get(r, &found, &e), ERR_NOT_FOUND);
    store_read_end(r);
    cr_assert_eq(meta_succeed(store, 40, &machine, &e), 0, "%s", e.text);
    r = fixture_read();
    cr_assert_eq(meta_epoch(r, &epoch, &e), 0);
    cr_assert_eq(epoch, 40);
    cr_assert_eq(meta_machine_get(r, &found, &e), 0);
    cr_assert_arr_eq(found.bytes, machine.bytes, sizeof(found.bytes));
    store_read_end(r);
    cr_assert_eq(meta_succeed(store, 7, NULL, &e), 0, "never back");
    r = fixture_read();
    cr_assert_eq(meta_epoch(r, &epoch, &e), 0);
    cr_assert_eq(epoch, 40);
    cr_assert_eq(meta_machine_get(r, &found, &e), 0);
    cr_assert_arr_eq(found.bytes, machine.bytes, sizeof(found.bytes));
    store_read_end(r);
}

/* With another lock file, processes do not see each other's transactions. */
Test(store_copy, a_lock_file_that_was_exchanged_is_noticed)
{
    char path[128];
    cr_assert(store_is_there(store));
    snprintf(path, sizeof(path), "%s/lock.mdb", store_dir);
    unlink(path);
    cr_assert_not(store_is_there(store));
    close(open(path, O_RDWR | O_CREAT, 0600));
    cr_assert_not(store_is_there(store));
}
