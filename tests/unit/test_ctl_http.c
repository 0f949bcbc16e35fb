/* LINK: fcgi_app/ctl/http_ask.c */
/* The doctor's HTTP client: addresses, and answers of all kinds. */
#include "ctl/http_ask.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

Test(http, urls_are_taken_apart)
{
    static const char *const good[][4] = {
        {"http://example.org", "example.org", "80", ""},
        {"HTTP://127.0.0.1:8000/", "127.0.0.1", "8000", ""},
        {"http://a/llm/b//", "a", "80", "/llm/b"},
        {"http://[::1]:65535/x", "::1", "65535", "/x"},
        {"http://[::1]", "::1", "80", ""},
    };
    static const char *const bad[] = {
        "",           "example.org",    "http://",         "http://:80",  "http://a:",
        "http://a:0", "http://a:65536", "http://a:123456", "http://a:8x", "http://[::1",
        "http://[]",  "http://a b",     "http://a?x",      "http://u@a",  "http://a#b",
        "ftp://a",    "https://a"};
    struct http_url u;
    struct err e;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert_eq(http_url_parse(good[i][0], &u, &e), 0, "%s", good[i][0]);
        cr_assert_str_eq(u.host, good[i][1]);
        cr_assert_str_eq(u.port, good[i][2]);
        cr_assert_str_eq(u.path, good[i][3]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(http_url_parse(bad[i], &u, &e), ERR_INVAL, "%s", bad[i]);
    char text[1024] = "http://";
    memset(text + 7, 'a', HTTP_HOST_MAX);
    cr_assert_eq(http_url_parse(text, &u, &e), ERR_INVAL, "too long a host");
    strcpy(text, "http://a/");
    memset(text + 9, 'b', HTTP_PATH_MAX);
    cr_assert_eq(http_url_parse(text, &u, &e), ERR_INVAL, "too long a path");
}

static int parse(struct http_answer *a, const char *text)
{
    *a = (struct http_answer){0};
    buf_init(&a->raw, 4096);
    buf_append_text(&a->raw, text);
    return http_answer_parse(a);
}

Test(http, an_answer_has_status_headers_and_body)
{
    struct http_answer a;
    cr_assert_eq(
        parse(&a, "HTTP/1.1 404 Not Found\r\nServer:  x/1 \r\ncontent-length: 3\r\nX-A:\r\n\r\nabcd"), 0);
    cr_assert_eq(a.status, 404);
    cr_assert(slice_is(http_header(&a, "server"), "x/1"));
    cr_assert(slice_is(http_header(&a, "X-A"), ""));
    cr_assert(!http_header(&a, "X").p && !http_header(&a, "erver").p);
    cr_assert(slice_is(a.body, "abc"));
    http_answer_fini(&a);
    cr_assert_eq(parse(&a, "HTTP/1.0 200\r\n\r\nall of it"), 0, "until the end of the connection");
    cr_assert(slice_is(a.body, "all of it"));
    http_answer_fini(&a);
}

Test(http, chunks_are_joined)
{
    struct http_answer a;
    const char *head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    static const struct {
        const char *body;
        int rc;
        const char *joined;
    } cases[] = {
        {"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 0, "abc0123456789"},
        {"0\r\n\r\n", 0, ""},
        {"3\r\nabc\r\n", ERR_CLOSED, NULL},
        {"5\r\nabc", ERR_CLOSED, NULL},
        {"ffffffffffffffff\r\nabc", ERR_CLOSED, NULL},
        {"-1\r\nabc\r\n0\r\n", ERR_INVAL, NULL},
        {"zz\r\n", ERR_INVAL, NULL},
        {"", ERR_CLOSED, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "%s%s", head, cases[i].body);
        cr_assert_eq(parse(&a, text), cases[i].rc, "%s", cases[i].body);
        if (cases[i].joined)
            cr_assert(slice_is(a.body, cases[i].joined), "%.*s", (int)a.body.n, a.body.p);
        http_answer_fini(&a);
    }
}

Test(http, of_what_is_too_much_the_front_is_kept)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc",
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n63\r\nabc",
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n6"};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct http_answer a = {.cut = true};
        buf_init(&a.raw, 4096);
        buf_append_text(&a.raw, heads[i]);
        cr_assert_eq(http_answer_parse(&a), 0, "%zu", i);
        cr_assert(slice_is(a.body, "abc"), "%.*s", (int)a.body.n, a.body.p);
        http_answer_fini(&a);
    }
}

Test(http, what_is_none_or_cut_short_is_told)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", ERR_CLOSED},
        {"SSH-2.0-OpenSSH_9\r\n", ERR_INVAL},
        {"HTTP/1.1 abc\r\n\r\n", ERR_INVAL},
        {"HTTP/1.1 200 OK\r\nA: b\r\n", ERR_CLOSED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ERR_CLOSED},
        {"\n\n\n\n\n\n\n\n\n\n\n\n\n\n", ERR_INVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_answer a;
        cr_assert_eq(parse(&a, cases[i].text), cases[i].rc, "%s", cases[i].text);
        http_answer_fini(&a);
    }
}
