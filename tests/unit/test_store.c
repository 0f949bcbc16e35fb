/* The store: opening, permissions, refusals, transactions, the fence. */
#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/meta.h"
#include "store/place.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(store, .init = fixture_setup, .fini = fixture_teardown);
TestSuite(store_open, .init = fixture_make_dir, .fini = fixture_teardown);

#define S(text) SLICE_LITERAL(text)

static const struct store_options WRITER = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
static const struct store_options READER = {.access = STORE_READER};

static unsigned mode_of(const char *name)
{
    char path[200];
    struct stat st;
    snprintf(path, sizeof(path), "%s%s", store_dir, name);
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    return st.st_mode & 07777;
}

static void check_modes_under(mode_t mask)
{
    char dir[200];
    struct err e = {0};
    snprintf(dir, sizeof(dir), "%s/a%o/b", store_dir, mask);
    umask(mask);
    int rc = store_open(dir, &WRITER, &store, &e);
    umask(022);
    cr_assert_eq(rc, 0, "%s", e.text);
    store_close(store);
    store = NULL;
    char name[100];
    static const char *const names[] = {"", "/b", "/b/data.mdb", "/b/lock.mdb"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(name, sizeof(name), "/a%o%s", mask, names[i]);
        cr_assert_eq(mode_of(name), i < 2 ? 0700 : 0600, "%s: %o", name, mode_of(name));
    }
}

static int dir_syncs; /* of store_dir */

/* In the place of libc's. */
int fsync(int fd)
{
    struct stat open, dir;
    if (fstat(fd, &open) == 0 && stat(store_dir, &dir) == 0 && open.st_ino == dir.st_ino)
        dir_syncs++;
    return 0;
}

/* LMDB syncs what is in data.mdb, but not its name. */
Test(store_open, a_writer_syncs_the_directory)
{
    for (int n = 1; n <= 2; n++) {
        fixture_open(STORE_WRITER, 0, 64 << 20);
        cr_assert_eq(dir_syncs, n);
        store_close(store);
    }
    fixture_open(STORE_READER, 0, 0);
    cr_assert_eq(dir_syncs, 2);
}

Test(store_open, private_whatever_the_umask)
{
    check_modes_under(0);
    check_modes_under(022);
    check_modes_under(0777);
}

Test(store_open, permissions_of_others_are_taken_away)
{
    char path[200];
    fixture_open(STORE_WRITER, 0, 64 << 20);
    store_close(store);
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    cr_assert_eq(chmod(path, 0644), 0);
    fixture_open(STORE_WRITER, 0, 64 << 20);
    cr_assert_eq(mode_of("/data.mdb"), 0600);
}

/* Calls each for every descriptor of this process that is a file of the store. */
static int each_fd(void (*each)(int fd, const char *path))
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++) {
        char link[64], path[300];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof(path) - 1);
        if (len < 0)
            continue;
        path[len] = 0;
        if (strncmp(path, store_dir, strlen(store_dir)) == 0) {
            each(fd, path);
            n++;
        }
    }
    return n;
}

static void check_cloexec(int fd, const char *path)
{
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", path);
}

Test(store, descriptors_are_close_on_exec)
{
    cr_assert_geq(each_fd(check_cloexec), 2, "data.mdb and lock.mdb");
}

Test(store_open, a_reader_waits_for_a_writer)
{
    struct err e = {0};
    char path[200];
    cr_assert_eq(store_open(store_dir, &READER, &store, &e), ERR_NOT_FOUND, "%s", e.text);
    cr_assert_null(store);
    cr_assert_eq(store_open("/nonexistent/place", &READER, &store, &e), ERR_NOT_FOUND);
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* a writer that died just after creating it */
    cr_assert_eq(store_open(store_dir, &READER, &store, &e), ERR_NOT_FOUND);
    fixture_open(STORE_WRITER, 0, 64 << 20);
    store_close(store);
    fixture_open(STORE_READER, 0, 0);
    store_read_end(fixture_read());
}

Test(store_open, refusals)
{
    struct err e = {0};
    char path[200];
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 9000; i++)
        fputc('x', f);
    fclose(f);
    cr_assert_eq(store_open(store_dir, &WRITER, &store, &e), ERR_CORRUPT, "%s", e.text);
    cr_assert_eq(store_open(store_dir, &READER, &store, &e), ERR_CORRUPT);
    cr_assert_eq(store_open(path, &WRITER, &store, &e), ERR_INVAL, "a file");
    cr_assert_eq(store_open("", &WRITER, &store, &e), ERR_INVAL);
    cr_assert_null(store);
}

static int put_schema(struct store_write *w, void *arg, struct err *e)
{
    return table_put(w, TABLE_META, S("schema"), table_bytes(arg, 4), e);
}

Test(store_open, a_newer_schema_is_refused)
{
    struct err e = {0};
    uint8_t newer[4] = {STORE_SCHEMA_VERSION + 1};
    fixture_open(STORE_WRITER, 0, 64 << 20);
    WRITE(put_schema, newer);
    store_close(store);
    store = NULL;
    cr_assert_eq(store_open(store_dir, &WRITER, &store, &e), ERR_INVAL);
    cr_assert_not_null(strstr(e.text, "newer version"), "%s", e.text);
    cr_assert_eq(store_open(store_dir, &READER, &store, &e), ERR_INVAL);
}

Test(store_open, network_file_systems)
{
    struct err e = {0};
    cr_assert_str_eq(place_network_name(0x6969), "NFS");
    cr_assert_str_eq(place_network_name(0xff534d42), "CIFS");
    cr_assert_str_eq(place_network_name(0x65735546), "FUSE");
    /* f_type may be a signed int, and then be extended. */
    cr_assert_str_eq(place_network_name((unsigned long)(long)(int)0xfe534d42), "SMB");
    cr_assert_null(place_network_name(0xef53), "ext4");
    cr_assert_null(place_network_name(0x01021994), "tmpfs");
    cr_assert_eq(place_check_local(store_dir, &e), 0, "%s", e.text);
}

static int put_x(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    return table_put(w, TABLE_META, S("x"), S("1"), e);
}

static int put_x_and_fail(struct store_write *w, void *arg, struct err *e)
{
    struct slice found;
    cr_assert_eq(put_x(w, arg, e), 0);
    cr_assert_eq(table_get(store_write_as_read(w), TABLE_META, S("x"), &found, e), 0, "sees its own writes");
    return err_set(e, ERR_EXISTS, "on purpose");
}

static int find_x(void)
{
    struct slice found;
    struct store_read *r = fixture_read();
    int rc = table_get(r, TABLE_META, S("x"), &found, NULL);
    store_read_end(r);
    return rc;
}

Test(store, a_failed_body_writes_nothing)
{
    struct err e = {0};
    cr_assert_eq(store_write(store, 0, put_x_and_fail, NULL, &e), ERR_EXISTS);
    cr_assert_str_eq(e.text, "on purpose");
    cr_assert_eq(find_x(), ERR_NOT_FOUND);
    WRITE(put_x, NULL);
    cr_assert_eq(find_x(), 0);
}

Test(store, fence)
{
    struct err e = {0};
    uint64_t first, second, seen;
    cr_assert_eq(meta_raise_epoch(store, &first, &e), 0);
    cr_assert_eq(first, 1);
    cr_assert_eq(store_write(store, first, put_x, NULL, &e), 0);
    cr_assert_eq(meta_raise_epoch(store, &second, &e), 0);
    cr_assert_eq(second, 2);
    cr_assert_eq(store_write(store, first, put_x_and_fail, NULL, &e), ERR_FENCED, "body does not run");
    cr_assert_eq(store_write(store, 3, put_x, NULL, &e), ERR_FENCED, "an epoch nobody raised");
    cr_assert_eq(store_write(store, second, put_x, NULL, &e), 0);
    struct store_read *r = fixture_read();
    cr_assert_eq(meta_epoch(r, &seen, &e), 0);
    cr_assert_eq(seen, 2);
    store_read_end(r);
}

Test(store, a_read_stays_until_it_is_renewed)
{
    struct err e = {0};
    struct slice found;
    struct store_read *r = fixture_read();
    uint64_t before = store_read_version(r);
    WRITE(put_x, NULL);
    cr_assert_eq(store_read_version(r), before);
    cr_assert_eq(table_get(r, TABLE_META, S("x"), &found, &e), ERR_NOT_FOUND);
    cr_assert_eq(store_read_renew(r, &e), 0);
    cr_assert_gt(store_read_version(r), before);
    cr_assert_eq(table_get(r, TABLE_META, S("x"), &found, &e), 0);
    store_read_end(r);
    store_read_end(NULL);
}

Test(store_open, a_reader_does_not_write)
{
    struct err e = {0};
    fixture_open(STORE_WRITER, 0, 64 << 20);
    store_close(store);
    fixture_open(STORE_READER, 0, 0);
    cr_assert_eq(store_write(store, 0, put_x, NULL, &e), ERR_PERM);
}

#define SLOTS 8

Test(store_open, reader_slots_run_out_and_are_reaped)
{
    struct store_options o = WRITER;
    struct store_read *reads[SLOTS], *more;
    struct err e = {0};
    int ready[2];
    o.readers_max = SLOTS;
    cr_assert_eq(store_open(store_dir, &o, &store, &e), 0);
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fixture_fork();
    if (child == 0) { /* takes half of the slots and dies with them */
        struct store *mine;
        if (store_open(store_dir, &READER, &mine, &e))
            _exit(1);
        for (int i = 0; i < SLOTS / 2; i++)
            if (store_read_begin(mine, &reads[i], &e))
                _exit(1);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    char byte;
    close(ready[1]); /* so that a child that fails is noticed */
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    for (int i = 0; i < SLOTS / 2; i++)
        reads[i] = fixture_read();
    cr_assert_eq(store_read_begin(store, &more, &e), ERR_LIMIT, "%s", e.text);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_assert_eq(store_read_begin(store, &more, &e), 0, "slots of the dead are freed: %s", e.text);
    store_read_end(more);
    for (int i = 0; i < SLOTS / 2; i++)
        store_read_end(reads[i]);
    cr_assert_eq(store_reap_readers(store), 0, "nothing left to reap");
}

/* On a full disk the first to take a slot in a hole would be killed by SIGBUS. */
Test(store_open, every_reader_slot_is_on_the_disk)
{
    struct store_options o = WRITER;
    struct err e = {0};
    struct store_usage u;
    struct stat st;
    char path[80];
    o.readers_max = 1000;
    cr_assert_eq(store_open(store_dir, &o, &store, &e), 0, "%s", e.text);
    snprintf(path, sizeof(path), "%s/lock.mdb", store_dir);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert(st.st_size >= 1000 * 64);
    cr_assert(st.st_blocks * 512 >= st.st_size, "%ld of %ld bytes", st.st_blocks * 512L, (long)st.st_size);
    WRITE(put_x, NULL);
    cr_assert_eq(store_usage(store, &u, &e), 0, "%s", e.text);
    cr_assert_eq(u.readers_max, 1000);
}

Test(store, usage)
{
    struct store_usage u;
    struct err e = {0};
    WRITE(put_x, NULL);
    cr_assert_eq(store_usage(store, &u, &e), 0, "%s", e.text);
    cr_assert_eq(u.map_bytes, 16 << 20);
    cr_assert_eq(u.map_max_bytes, 64 << 20);
    cr_assert(u.used_bytes > 4096 && u.used_bytes < 1 << 20);
    cr_assert_eq(u.readers_max, 126);
}
