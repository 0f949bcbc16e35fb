/* LINK: fcgi_app/worker/request.c fcgi_app/worker/assertion.c fcgi_app/worker/turnstile.c */
/* Headers that are lists: Prefer, Cache-Control. */
#include <criterion/criterion.h>

#include "worker/request.h"

Test(request_lists, finds_a_token_and_nothing_that_looks_like_it)
{
    static const struct {
        const char *header;
        bool listed;
    } cases[] = {
        {"no-cache", true},
        {"No-Cache", true},
        {" \tno-cache ", true},
        {"max-age=0, no-cache", true},
        {"max-age=0,no-cache", true},
        {",, ,no-cache", true},
        {"no-cache=\"Set-Cookie\"", true},
        {"no-cache; q=1", true},
        {"private=\"a, b\", no-cache", true},
        {"private=\"a\\\", b\", no-cache", true},
        {"no-cache,", true},
        {"", false},
        {",", false},
        {"no-cach", false},
        {"no-cache-please", false},
        {"xno-cache", false},
        {"no -cache", false},
        {"max-age=no-cache", false},
        {"private=\"a, no-cache\"", false},
        {"private=\"a\\\", no-cache", false},
        {"\"no-cache\"", false},
        {"private; no-cache", false},
        {"private no-cache", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(request_lists(slice_of(cases[i].header), "no-cache"), cases[i].listed, "%s",
                     cases[i].header);
    cr_assert_not(request_lists((struct slice){0}, "no-cache"));
}
