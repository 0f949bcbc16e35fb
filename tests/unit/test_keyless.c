/* LINK: fcgi_app/worker/keyless.c */
/* Who is served without a key: this machine, directly, and no page from elsewhere. */
#include <criterion/criterion.h>

#include "worker/keyless.h"

static struct request local(void)
{
    return (struct request){.remote_addr = SLICE_LITERAL("127.0.0.1"),
                            .host = SLICE_LITERAL("127.0.0.1:8000")};
}

Test(keyless, addresses_of_this_machine)
{
    static const struct {
        const char *address;
        bool allowed;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.8.9.10", true},
        {"::1", true},
        {"::ffff:127.0.0.1", true},
        {"::FFFF:127.0.0.1", true},
        {"10.0.0.1", false},
        {"::ffff:10.0.0.1", false},
        {"::2", false},
        {"1270.0.0.1", false},
        {"127.", false},
        {"127.0.0.1.evil", false},
        {"", false},
        {NULL, false},
        {"0.0.0.0", false},
        {"fe80::1", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = local();
        r.remote_addr = slice_of(cases[i].address);
        cr_assert_eq(keyless_allowed(&r, ""), cases[i].allowed, "%s", cases[i].address);
    }
}

Test(keyless, hosts_of_this_machine)
{
    static const struct {
        const char *host;
        bool allowed;
    } cases[] = {
        {"localhost", true},
        {"LocalHost:8000", true},
        {"127.0.0.1", true},
        {"127.0.0.1:8000", true},
        {"[::1]", true},
        {"[::1]:8000", true},
        {"localhost:", true},
        {"127.0.0.1.example.org", false},
        {"localhost.example.org", false},
        {"example.org", false},
        {"localhost:8000@example.org", false},
        {"localhost:example.org", false},
        {"[::1].example.org", false},
        {"[::1]example.org", false},
        {"[::2]", false},
        {"[::1", false},
        {"10.0.0.1", false},
        {"127", false},
        {"", false},
        {NULL, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = local();
        r.host = slice_of(cases[i].host);
        cr_assert_eq(keyless_allowed(&r, ""), cases[i].allowed, "%s", cases[i].host);
    }
}

Test(keyless, no_proxy_between)
{
    struct request r = local();
    r.forwarded = SLICE_LITERAL("for=127.0.0.1");
    cr_assert_not(keyless_allowed(&r, ""));
    r.forwarded = SLICE_LITERAL("");
    cr_assert_not(keyless_allowed(&r, ""), "an empty one, too");
}

Test(keyless, pages)
{
    static const struct {
        const char *origin, *site, *listed;
        bool allowed;
    } cases[] = {
        {NULL, NULL, "", true},
        {NULL, "none", "", true},
        {NULL, "same-origin", "", true},
        {NULL, "same-site", "", false}, /* another port of this machine */
        {NULL, "cross-site", "", false},
        {NULL, "Same-Origin", "", false}, /* a browser does not write it that way */
        {NULL, "", "", false},
        {"http://127.0.0.1:8000", NULL, "", true},
        {"https://127.0.0.1:8000", NULL, "", true},
        {"http://127.0.0.1:8000", "same-origin", "", true},
        {"http://127.0.0.1:8000", "cross-site", "", false},
        {"http://127.0.0.1:3000", NULL, "", false},
        {"http://127.0.0.1:3000", "same-site", "", false},
        {"http://127.0.0.1:3000", "same-site", "http://127.0.0.1:3000", true},
        {"http://127.0.0.1:3000", NULL, "https://a.example, http://127.0.0.1:3000", true},
        {"https://page.example", "cross-site", "https://page.example", true},
        {"https://page.example", NULL, "https://page.example.org", false},
        {"https://page.example", NULL, "*", false},
        {"*", NULL, "*", false},
        {"null", NULL, "", false},
        {"", NULL, "", false},
        {"ftp://127.0.0.1:8000", NULL, "", false},
        {"http://127.0.0.1:8000/", NULL, "", false},
        {"https://page.example", "same-origin", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request r = local();
        r.origin = slice_of(cases[i].origin);
        r.fetch_site = slice_of(cases[i].site);
        cr_assert_eq(keyless_allowed(&r, cases[i].listed), cases[i].allowed, "%zu: %s %s", i, cases[i].origin,
                     cases[i].site);
    }
}
