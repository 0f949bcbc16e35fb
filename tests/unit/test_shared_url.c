/* Where a Redis server is: what a URL may say, and that errors do not tell the password. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "shared/url.h"

static struct shared_url parsed(const char *text)
{
    struct shared_url u;
    struct err e = {0};
    cr_assert_eq(shared_url_parse(text, &u, &e), 0, "%s: %s", text, e.text);
    return u;
}

Test(shared_url, host_port_database)
{
    struct shared_url u = parsed("redis://cache.example");
    cr_assert_str_eq(u.host, "cache.example");
    cr_assert_eq(u.port, 6379);
    cr_assert_eq(u.db, 0);
    cr_assert(!u.path[0] && !u.user[0] && !u.password[0]);
    u = parsed("REDIS://10.0.0.1:7000/12");
    cr_assert_str_eq(u.host, "10.0.0.1");
    cr_assert_eq(u.port, 7000);
    cr_assert_eq(u.db, 12);
    u = parsed("redis://localhost/");
    cr_assert_str_eq(u.host, "localhost");
    u = parsed("redis://[::1]:7001/1");
    cr_assert_str_eq(u.host, "::1");
    cr_assert_eq(u.port, 7001);
    u = parsed("redis://[fe80::1]");
    cr_assert_str_eq(u.host, "fe80::1");
}

Test(shared_url, login)
{
    struct shared_url u = parsed("redis://:secret@h");
    cr_assert_str_eq(u.password, "secret");
    cr_assert_str_eq(u.user, "");
    u = parsed("redis://pool:p%40ss%3Aw%2ford@h:1/2");
    cr_assert_str_eq(u.user, "pool");
    cr_assert_str_eq(u.password, "p@ss:w/ord");
    cr_assert_str_eq(u.host, "h");
    u = parsed("redis://pool:with@sign:and:colons@h");
    cr_assert_str_eq(u.password, "with@sign:and:colons");
    cr_assert_str_eq(u.host, "h");
}

Test(shared_url, unix_socket)
{
    struct shared_url u = parsed("unix:///run/redis/redis.sock");
    cr_assert_str_eq(u.path, "/run/redis/redis.sock");
    cr_assert(!u.host[0]);
    u = parsed("unix://:secret@/run/s?db=3");
    cr_assert_str_eq(u.path, "/run/s");
    cr_assert_str_eq(u.password, "secret");
    cr_assert_eq(u.db, 3);
    u = parsed("unix:///with%20space");
    cr_assert_str_eq(u.path, "/with space");
}

Test(shared_url, refused_without_the_password)
{
    static const char *const bad[] = {
        "",
        "redis:",
        "http://hunter2@h",
        "rediss://:hunter2@h",
        "redis://",
        "redis://:hunter2@",
        "redis://hunter2@h",
        "redis://:hunter2%@h",
        "redis://:hunter2%4@h",
        "redis://:hunter2%zz@h",
        "redis://:hunter2%00@h",
        "redis://:hunter2@h:0",
        "redis://:hunter2@h:65536",
        "redis://:hunter2@h:",
        "redis://:hunter2@h:x",
        "redis://:hunter2@h/x",
        "redis://:hunter2@h/1x",
        "redis://:hunter2@h/-1",
        "redis://:hunter2@h/1000000000000",
        "redis://:hunter2@[::1",
        "redis://:hunter2@[::1]x",
        "redis://:hunter2@:6379",
        "unix://",
        "unix://relative",
        "unix://:hunter2@relative",
        "unix:///s?hunter2=1",
        "unix:///s?db=",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct shared_url u = {.host = "untouched"};
        struct err e = {0};
        cr_assert_eq(shared_url_parse(bad[i], &u, &e), ERR_INVAL, "%s", bad[i]);
        cr_assert(e.text[0] && !strstr(e.text, "hunter2"), "%s: %s", bad[i], e.text);
        cr_assert_str_eq(u.host, "untouched");
    }
    struct shared_url u;
    cr_assert_eq(shared_url_parse(NULL, &u, NULL), ERR_INVAL);
}

Test(shared_url, too_long)
{
    struct shared_url u;
    char text[1200];
    snprintf(text, sizeof(text), "redis://%0*d", 256, 0);
    cr_assert_eq(shared_url_parse(text, &u, NULL), ERR_INVAL);
    snprintf(text, sizeof(text), "redis://%0*d", 255, 0);
    cr_assert_eq(shared_url_parse(text, &u, NULL), 0);
    snprintf(text, sizeof(text), "unix:///%0*d", 107, 0);
    cr_assert_eq(shared_url_parse(text, &u, NULL), ERR_INVAL);
    snprintf(text, sizeof(text), "redis://:%0*d@h", 512, 0);
    cr_assert_eq(shared_url_parse(text, &u, NULL), ERR_INVAL);
    snprintf(text, sizeof(text), "redis://:%0*d@h", 511, 0);
    cr_assert_eq(shared_url_parse(text, &u, NULL), 0);
}

Test(shared_url, names_tell_no_secret)
{
    struct shared_url u = parsed("redis://pool:hunter2@h:7/1");
    char name[SHARED_URL_NAME_SIZE];
    shared_url_name(&u, name);
    cr_assert_str_eq(name, "h:7");
    u = parsed("redis://:hunter2@[::1]");
    shared_url_name(&u, name);
    cr_assert_str_eq(name, "[::1]:6379");
    u = parsed("unix://:hunter2@/run/s");
    shared_url_name(&u, name);
    cr_assert_str_eq(name, "/run/s");
}
