/*
 * A store in a directory of its own, for the tests of lib/store. Each Criterion test is a process, so the
 * globals are the test's own.
 */
#ifndef CARPOOL_TESTS_STORE_FIXTURE_H
#define CARPOOL_TESTS_STORE_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/uuid.h"
#include "store/store.h"

__attribute__((unused)) static char store_dir[64];
__attribute__((unused)) static struct store *store;

static int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

__attribute__((unused)) static void fixture_make_dir(void)
{
    strcpy(store_dir, "/tmp/carpool-test-XXXXXX");
    cr_assert_not_null(mkdtemp(store_dir));
}

__attribute__((unused)) static void fixture_open(enum store_access access, uint64_t start, uint64_t max)
{
    struct store_options o = {.access = access, .map_max_bytes = max, .map_start_bytes = start};
    struct err e = {0};
    cr_assert_eq(store_open(store_dir, &o, &store, &e), 0, "%s", e.text);
}

__attribute__((unused)) static void fixture_setup(void)
{
    fixture_make_dir();
    fixture_open(STORE_WRITER, 0, 64 << 20);
}

__attribute__((unused)) static void fixture_teardown(void)
{
    store_close(store);
    store = NULL;
    nftw(store_dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Runs body without a fence and wants it to succeed. */
#define WRITE(body, arg)                                                                                     \
    do {                                                                                                     \
        struct err e_ = {0};                                                                                 \
        int rc_ = store_write(store, 0, body, arg, &e_);                                                     \
        cr_assert_eq(rc_, 0, "%d %s", rc_, e_.text);                                                         \
    } while (0)

__attribute__((unused)) static struct store_read *fixture_read(void)
{
    struct store_read *r;
    struct err e = {0};
    int rc = store_read_begin(store, &r, &e);
    cr_assert_eq(rc, 0, "%d %s", rc, e.text);
    return r;
}

/* fork(), but the child does not outlive a test that failed or ran out of time. */
__attribute__((unused)) static pid_t fixture_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* Puts another file under the store's descriptors of data.mdb: those of the meta page (O_DSYNC), or all. */
__attribute__((unused)) static void fixture_break_descriptors(const char *by, int flags, bool meta_only)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    int dead = open(by ? by : path, flags | O_CLOEXEC), broken = 0;
    cr_assert_geq(dead, 0);
    for (int fd = 3; fd < dead; fd++) {
        char link[64], to[300];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, to, sizeof(to) - 1);
        if (n < 0)
            continue;
        to[n] = 0;
        if (strcmp(to, path) || (meta_only && !(fcntl(fd, F_GETFL) & O_DSYNC)))
            continue;
        cr_assert_eq(dup3(dead, fd, O_CLOEXEC), fd);
        broken++;
    }
    close(dead);
    cr_assert_geq(broken, 1);
}

/* A version 7 UUID of that time, n apart from others of the same millisecond. */
__attribute__((unused)) static struct uuid fixture_id(uint64_t us, uint32_t n)
{
    struct uuid id = {{0}};
    bytes_store_be64(id.bytes, us / 1000 << 16 | 0x7000);
    id.bytes[8] = 0x80;
    bytes_store_be32(id.bytes + 12, n);
    return id;
}

#endif
