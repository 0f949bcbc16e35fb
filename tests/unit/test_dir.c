#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"

static char root[64];

static void make_root(void)
{
    snprintf(root, sizeof(root), "/tmp/dir-test-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static const char *below(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    return path;
}

/* What fsync was asked for, in the place of libc's: "path;" each, below root. */
static char synced[512];

int fsync(int fd)
{
    char link[64], path[256];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    if (strncmp(path, root, strlen(root)) == 0) {
        strcat(synced, path + strlen(root));
        strcat(synced, ";");
    }
    return 0;
}

static void remove_all(void)
{
    rmdir(below("a/b/c"));
    rmdir(below("a/b"));
    rmdir(below("a"));
    rmdir(below("logs"));
    rmdir(below("dpkg"));
    remove(below("file"));
    rmdir(root);
}

TestSuite(dir, .init = make_root, .fini = remove_all);

Test(dir, makes_the_whole_way_private_whatever_the_umask)
{
    struct stat st;
    umask(0277);
    cr_assert_eq(dir_make(below("a/b/c"), NULL), 0);
    umask(0);
    for (const char *const *name = (const char *const[]){"a", "a/b", "a/b/c", NULL}; *name; name++) {
        cr_assert_eq(stat(below(*name), &st), 0);
        cr_assert_eq(st.st_mode & 07777, 0700, "%s", *name);
    }
}

Test(dir, syncs_the_names_of_those_it_makes)
{
    cr_assert_eq(dir_make(below("a"), NULL), 0);
    cr_assert_str_eq(synced, ";");
    cr_assert_eq(dir_make(below("a/b/c/"), NULL), 0);
    cr_assert_str_eq(synced, ";/a;/a/b;");
    cr_assert_eq(dir_make(below("a/b/c"), NULL), 0);
    cr_assert_str_eq(synced, ";/a;/a/b;");
}

Test(dir, syncs_what_can_be_synced)
{
    struct err e = {0};
    cr_assert_eq(dir_sync(root, &e), 0);
    cr_assert_str_eq(synced, ";");
    cr_assert_lt(dir_sync(below("nowhere"), &e), 0);
    cr_assert_not_null(strstr(e.text, "nowhere"), "%s", e.text);
}

Test(dir, leaves_one_that_is_there_as_it_is)
{
    struct stat st;
    cr_assert_eq(mkdir(below("a"), 0750), 0);
    cr_assert_eq(chmod(below("a"), 0750), 0);
    cr_assert_eq(dir_make(below("a"), NULL), 0);
    cr_assert_eq(dir_make(below("a/b/"), NULL), 0);
    cr_assert_eq(stat(below("a"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0750);
}

Test(dir, says_what_is_in_the_way)
{
    struct err e = {0};
    FILE *f = fopen(below("file"), "w");
    cr_assert_not_null(f);
    fclose(f);
    cr_assert_lt(dir_make(below("file/below"), &e), 0);
    cr_assert_not_null(strstr(e.text, "is not a directory"), "%s", e.text);
    cr_assert_eq(dir_make("", &e), ERR_INVAL);
}

Test(dir, contains)
{
    cr_assert(dir_contains("/a/b", "/a/b/c"));
    cr_assert(dir_contains("/a/b", "/a/b/c/d"));
    cr_assert(dir_contains("/a/b/", "/a/b/c"));
    cr_assert(dir_contains("/", "/c"));
    cr_assert_not(dir_contains("/a/b", "/a/bc"));
    cr_assert_not(dir_contains("/a/b", "/a/b"));
    cr_assert_not(dir_contains("/a/b", "/a"));
    cr_assert_not(dir_contains("", "/a"));
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

Test(dir, is_shut_when_nothing_else_is_in_it)
{
    static const char *const names[] = {"data.mdb", "logs", NULL};
    char logs[256];
    snprintf(logs, sizeof(logs), "%s", below("logs"));
    cr_assert_eq(mkdir(logs, 0755), 0);
    cr_assert_eq(dir_tighten(root, names), DIR_PRIVATE, "it was made 0700");
    cr_assert_eq(chmod(root, 0755), 0);
    cr_assert_eq(dir_tighten(root, names), DIR_TIGHTENED);
    cr_assert_eq(mode_of(root), 0700);
    /* Somebody's own: /var/lib, by mistake. */
    cr_assert_eq(chmod(root, 0755), 0);
    cr_assert_eq(mkdir(below("dpkg"), 0755), 0);
    cr_assert_eq(dir_tighten(root, names), DIR_OPEN);
    cr_assert_eq(mode_of(root), 0755);
    cr_assert_eq(dir_tighten(below("none"), names), DIR_OPEN);
}

Test(dir, holds_only_what_is_named)
{
    static const char *const names[] = {"data.mdb", "logs", NULL};
    cr_assert(dir_holds_only(root, names), "it is empty");
    cr_assert_eq(mkdir(below("logs"), 0755), 0);
    cr_assert(dir_holds_only(root, names));
    cr_assert_eq(mkdir(below("dpkg"), 0755), 0);
    cr_assert_not(dir_holds_only(root, names));
    cr_assert_not(dir_holds_only(below("none"), names));
}
