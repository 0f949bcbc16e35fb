/* LINK: fcgi_app/worker/response.c */
/* What goes out with every answer, and what never does. */
#include <criterion/criterion.h>
#include <fcgiapp.h>

#include "worker/response.h"

static char sent[1 << 16];
static size_t sent_n;

/* Instead of libfcgi's. */
int FCGX_PutStr(const char *bytes, int n, FCGX_Stream *stream)
{
    (void)stream;
    cr_assert_lt(sent_n + (size_t)n, sizeof(sent));
    memcpy(sent + sent_n, bytes, (size_t)n);
    sent_n += (size_t)n;
    sent[sent_n] = 0;
    return n;
}

int FCGX_FFlush(FCGX_Stream *stream)
{
    (void)stream;
    return 0;
}

static FCGX_Request fcgi;
static struct response r;

static void begin(const char *id, bool head_only)
{
    sent_n = 0;
    response_reset(&r, &fcgi, id, head_only);
}

static void setup(void)
{
    response_init(&r);
    begin("id-1", false);
}

static void teardown(void)
{
    response_fini(&r);
}

TestSuite(response, .init = setup, .fini = teardown);

static bool has(const char *text)
{
    return strstr(sent, text) != NULL;
}

static void expect_guards(void)
{
    cr_assert(has("\r\nX-Content-Type-Options: nosniff\r\n"));
    cr_assert(has("\r\nReferrer-Policy: no-referrer\r\n"));
    cr_assert(has("\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"));
}

Test(response, guards_go_out_with_every_answer)
{
    buf_append_text(&r.body, "{}");
    response_send(&r);
    expect_guards();
    cr_assert(has("\r\nCache-Control: no-store\r\n"));
    cr_assert(has("\r\nX-Request-Id: id-1\r\n"));
    cr_assert(has("\r\nContent-Length: 2\r\n"));
    cr_assert(has("\r\n\r\n{}"));

    begin("id-2", false); /* no body */
    r.status = 204;
    r.content_type = NULL;
    response_send(&r);
    expect_guards();
    cr_assert(!has("\r\nContent-Type: "));

    begin("id-3", false); /* in pieces */
    buf_append_text(&r.body, "[");
    cr_assert(response_stream(&r));
    expect_guards();

    begin("id-4", false); /* no memory */
    r.body.failed = true;
    response_send(&r);
    expect_guards();
    cr_assert(has("Status: 503 "));
}

Test(response, what_may_be_kept_is_said)
{
    r.keep_s = 60;
    response_send(&r);
    cr_assert(has("\r\nCache-Control: public, max-age=60\r\n"));
    cr_assert(!has("no-store"));
    begin("id", false);
    cr_assert_eq(r.keep_s, 0);
    r.keep_s = 60;
    r.status = 503;
    response_send(&r);
    cr_assert(has("\r\nCache-Control: no-store\r\n"), "an error is never kept");
}

Test(response, a_header_breaks_into_no_other)
{
    static const char *const bad[] = {
        "a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "\x01", "a\x7f", "a\x1b[0m", "\b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        response_header(&r, "Location", "/v1/requests/%s", bad[i]);
    cr_assert_eq(r.headers.len, 0);
    response_header(&r, "Location", "/v1/%s", "a b\t\xc3\xa4");
    cr_assert_eq(r.headers.len, strlen("Location: /v1/a b\t\xc3\xa4\r\n"));
    response_send(&r);
    cr_assert(!has("Set-Cookie"));
}

Test(response, nor_does_a_request_id)
{
    begin("a\r\nSet-Cookie: x=1", false);
    response_send(&r);
    cr_assert(!has("Set-Cookie"));
    cr_assert(has("\r\nX-Request-Id: -\r\n"));
}

Test(response, the_longest_head_is_whole)
{
    char id[129];
    memset(id, 'i', 128);
    id[128] = 0;
    begin(id, true);
    r.status = 422;
    r.content_type = "text/plain; version=0.0.4; charset=utf-8";
    buf_append_text(&r.body, "not sent");
    response_send(&r);
    cr_assert(has("\r\nContent-Length: 8\r\n\r\n"));
    cr_assert(!has("not sent"));
    cr_assert(has(id));
    expect_guards();
}
