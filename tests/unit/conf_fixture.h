/*
 * What the tests of the configuration share: a directory of their own, an empty environment, and how a file
 * is loaded. Each test is a process of its own, so the environment may be changed freely.
 */
#ifndef CARPOOL_TESTS_CONF_FIXTURE_H
#define CARPOOL_TESTS_CONF_FIXTURE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"

static char directory[] = "/tmp/carpool-test-conf-XXXXXX", path[64];
static struct conf c;
static struct err e;

static inline void conf_begin(void)
{
    clearenv();
    setenv("HOME", "/nonexistent", 1);
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    snprintf(path, sizeof(path), "%s/carpool.conf", directory);
}

static inline void conf_end(void)
{
    unlink(path);
    unlink("secret");
    rmdir(directory);
}

static inline void write_bytes(const char *name, const char *text, size_t n)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, n), (ssize_t)n);
    close(fd);
}

static inline int load(const char *text)
{
    if (text)
        write_bytes(path, text, strlen(text));
    return conf_load(text ? path : NULL, &c, &e);
}

static inline void expect_loaded(const char *text)
{
    int rc = load(text);
    cr_assert_eq(rc, 0, "%s: %s", text ? text : "", e.text);
}

static inline void expect_refused(const char *text, const char *message)
{
    memset(&c, 0x5a, sizeof(c));
    cr_assert_neq(load(text), 0, "%s", message);
    cr_assert_not_null(strstr(e.text, message), "said: %s", e.text);
    cr_assert_eq(*(unsigned char *)&c, 0x5a);
}

#endif
