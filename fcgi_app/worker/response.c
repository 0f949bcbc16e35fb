/* Answers to the web server; see response.h. */
#include "worker/response.h"

#include <fcgiapp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "base/log.h"

#define KEPT        (64 * 1024) /* a thread does not hold on to more than this between requests */
#define MAX_BODY    (256u << 20)
#define MAX_HEADERS (16 * 1024)
#define ID_MAX      128
/* Whatever a browser takes an answer for, it runs nothing in it, shows it in no frame, and tells no other
 * site where it found it. */
#define POLICY    "default-src 'none'; frame-ancestors 'none'"
#define CONSTANTS "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
#define NO_MEMORY                                                                                            \
    "{\"success\":false,\"request_id\":null,\"error\":{\"error_type\":\"unavailable_error\",\"error_code\":" \
    "\"OUT_OF_MEMORY\",\"message\":\"There is no memory for this answer now.\"},\"timestamp\":null}"

void response_init(struct response *r)
{
    *r = (struct response){.status = 200};
    buf_init(&r->headers, MAX_HEADERS);
    buf_init(&r->body, MAX_BODY);
}

void response_fini(struct response *r)
{
    buf_fini(&r->headers);
    buf_fini(&r->body);
}

void response_reset(struct response *r, struct FCGX_Request *fcgi, const char *id, bool head_only)
{
    if (r->body.cap > KEPT)
        buf_fini(&r->body);
    buf_clear(&r->headers);
    buf_clear(&r->body);
    r->fcgi = fcgi;
    r->id = id;
    r->status = 200;
    r->content_type = "application/json";
    r->policy = POLICY;
    r->keep_s = 0;
    r->head_only = head_only;
    r->begun = r->gone = false;
}

static bool has_control(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

void response_header(struct response *r, const char *name, const char *format, ...)
{
    char value[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(value)) {
        r->headers.failed = true;
        return;
    }
    if (has_control(value, (size_t)n)) {
        log_error("A header %s was left out: its value has a control character.", name);
        return;
    }
    buf_append_text(&r->headers, name);
    buf_append(&r->headers, ": ", 2);
    buf_append(&r->headers, value, (size_t)n);
    buf_append(&r->headers, "\r\n", 2);
}

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {422, "Unprocessable Content"},
        {424, "Failed Dependency"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

static void put(struct response *r, const char *bytes, size_t n)
{
    while (n && !r->gone) {
        int piece = n > (1 << 20) ? 1 << 20 : (int)n;
        if (FCGX_PutStr(bytes, piece, r->fcgi->out) != piece)
            r->gone = true;
        bytes += piece;
        n -= (size_t)piece;
    }
}

static void put_text(struct response *r, const char *text)
{
    put(r, text, strlen(text));
}

static void put_number(struct response *r, uint64_t number)
{
    char digits[DIGITS_SIZE];
    put(r, digits, (size_t)(digits_of(digits, number) - digits));
}

/* length: of the body; negative: not known. */
static void put_head(struct response *r, long long length)
{
    struct slice id = {r->id, strnlen(r->id, ID_MAX)};
    put_text(r, "Status: ");
    put_number(r, (uint64_t)r->status);
    put_text(r, " ");
    put_text(r, reason_of(r->status));
    put_text(r, "\r\n" CONSTANTS "Content-Security-Policy: ");
    put_text(r, r->policy);
    put_text(r, "\r\nX-Request-Id: ");
    if (has_control(id.p, id.n))
        id = SLICE_LITERAL("-");
    put(r, id.p, id.n);
    if (r->keep_s && r->status == 200) {
        put_text(r, "\r\nCache-Control: public, max-age=");
        put_number(r, r->keep_s);
    } else
        put_text(r, "\r\nCache-Control: no-store");
    if (r->content_type) {
        put_text(r, "\r\nContent-Type: ");
        put_text(r, r->content_type);
    }
    if (r->content_type && length >= 0) {
        put_text(r, "\r\nContent-Length: ");
        put_number(r, (uint64_t)length);
    }
    put_text(r, "\r\n");
    put(r, r->headers.data, r->headers.len);
    put_text(r, "\r\n");
    r->begun = true;
}

void response_send(struct response *r)
{
    const char *bytes = r->body.data;
    size_t n = r->content_type ? r->body.len : 0;
    if (r->begun || r->gone)
        return;
    if (buf_failed(&r->body) || buf_failed(&r->headers)) {
        buf_clear(&r->headers);
        r->status = 503;
        r->content_type = "application/json";
        bytes = NO_MEMORY;
        n = sizeof(NO_MEMORY) - 1;
    }
    put_head(r, (long long)n);
    if (!r->head_only)
        put(r, bytes, n);
}

bool response_stream(struct response *r)
{
    if (r->gone || buf_failed(&r->body) || buf_failed(&r->headers))
        return false;
    if (!r->begun)
        put_head(r, -1);
    if (r->head_only)
        return false;
    put(r, r->body.data, r->body.len);
    if (FCGX_FFlush(r->fcgi->out) < 0)
        r->gone = true;
    buf_clear(&r->body);
    return !r->gone;
}
