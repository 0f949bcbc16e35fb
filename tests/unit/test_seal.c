/* LINK: fcgi_app/ctl/seal.c */
/* The seal of a backup: all is there and as it was, or it is said. */
#include "ctl/seal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATA "some pages of a store"
#define KEY  "sk-a-key\nopenai\n"

static int fd;

static void make(void)
{
    char path[] = "/tmp/carpool-test-XXXXXX";
    struct seal s = {.schema = 7, .key_bytes = sizeof(KEY) - 1, .data_bytes = sizeof(DATA) - 1, .made_us = 5};
    cr_assert(sodium_init() >= 0);
    fd = mkstemp(path);
    cr_assert(fd >= 0);
    unlink(path);
    cr_assert_eq(seal_write(fd, DATA KEY, s.data_bytes + s.key_bytes, NULL), 0);
    cr_assert_eq(seal_append(fd, &s, NULL), 0);
}

static void done(void)
{
    close(fd);
}

TestSuite(seal, .init = make, .fini = done);

Test(seal, gives_back_what_it_says)
{
    struct seal s;
    struct buf key;
    struct err e = {0};
    cr_assert_eq(seal_check(fd, &s, &e), 0, "%s", e.text);
    cr_assert_eq(s.schema, 7);
    cr_assert_eq(s.made_us, 5);
    cr_assert_eq(s.data_bytes, sizeof(DATA) - 1);
    buf_init(&key, SEAL_KEY_MAX);
    if (!seal_read_key(fd, &s, &key, &e))
        cr_assert(slice_is(buf_slice(&key), KEY));
    else
        cr_assert_eq(e.code, ERR_NOMEM);
    buf_fini(&key);
}

Test(seal, notices_every_bit)
{
    off_t size = lseek(fd, 0, SEEK_END);
    cr_assert_eq(size, sizeof(DATA KEY) - 1 + SEAL_SIZE);
    for (off_t at = 0; at < size; at++) {
        struct seal s = {.schema = 1};
        struct err e = {0};
        uint8_t byte, wrong;
        cr_assert_eq(pread(fd, &byte, 1, at), 1);
        wrong = byte ^ 1u << at % 8;
        cr_assert_eq(pwrite(fd, &wrong, 1, at), 1);
        bool magic = at >= size - SEAL_SIZE && at < size - SEAL_SIZE + 16;
        cr_assert_eq(seal_check(fd, &s, &e), magic ? ERR_NOT_FOUND : ERR_CORRUPT, "byte %d", (int)at);
        cr_assert_eq(s.schema, 1, "untouched");
        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    }
    struct seal s;
    cr_assert_eq(seal_check(fd, &s, NULL), 0);
}

Test(seal, notices_what_is_missing)
{
    struct seal s;
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t n = size - 1; n >= 0; n -= 7) {
        cr_assert_eq(ftruncate(fd, n), 0);
        cr_assert_eq(seal_check(fd, &s, NULL), ERR_NOT_FOUND, "%d bytes", (int)n);
    }
}
