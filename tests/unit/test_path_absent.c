/* A request without REQUEST_URI, as a web server that breaks off may leave it: shown by UBSan. */
/* LINK: fcgi_app/worker/path.c */
#include <criterion/criterion.h>

#include "worker/path.h"

Test(path_absent, no_uri_is_no_crash)
{
    struct arena arena;
    struct err e = {0};
    struct slice path = {0}, query = {0};
    arena_init(&arena, 1 << 20);
    cr_assert_leq(path_from_uri((struct slice){0}, "", &arena, &path, &query, &e), 0);
    cr_assert_eq(query.n, 0);
    arena_fini(&arena);
}
