/* Server-Sent Events taken apart; see sse.h. */
#include "provider/sse.h"

#define BYTE_ORDER_MARK SLICE_LITERAL("\xef\xbb\xbf")

void sse_init(struct sse *s, size_t max_bytes)
{
    *s = (struct sse){.begun = false};
    buf_init(&s->line, max_bytes);
    buf_init(&s->data, max_bytes);
}

void sse_fini(struct sse *s)
{
    if (!s)
        return;
    buf_fini(&s->line);
    buf_fini(&s->data);
}

/* Which of the two a buffer fails for has to be told apart. */
static void append(struct sse *s, struct buf *b, struct slice bytes)
{
    s->over = s->over || bytes.n > b->max - b->len;
    buf_append_slice(b, bytes);
}

static int failure(const struct sse *s)
{
    if (s->over)
        return ERR_LIMIT;
    return buf_failed(&s->line) || buf_failed(&s->data) ? ERR_NOMEM : 0;
}

static bool starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static void take_field(struct sse *s, struct slice line)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct slice name = {line.p, colon ? (size_t)(colon - line.p) : line.n};
    struct slice value = {line.p + name.n, line.n - name.n};
    for (size_t i = 0; i < 2 && value.n && value.p[0] == ": "[i]; i++)
        value = (struct slice){value.p + 1, value.n - 1};
    if (slice_is(name, "event"))
        s->is_error = slice_is(value, "error");
    if (!slice_is(name, "data"))
        return;
    if (s->has_data)
        append(s, &s->data, SLICE_LITERAL(" "));
    append(s, &s->data, value);
    s->has_data = true;
}

static void take_line(struct sse *s, struct slice line,
                      void (*event)(void *arg, bool is_error, struct slice data), void *arg)
{
    if (!s->begun && starts(line, BYTE_ORDER_MARK))
        line = (struct slice){line.p + BYTE_ORDER_MARK.n, line.n - BYTE_ORDER_MARK.n};
    s->begun = true;
    if (line.n) {
        if (line.p[0] != ':') /* a comment */
            take_field(s, line);
        return;
    }
    if (s->data.len && !failure(s))
        event(arg, s->is_error, buf_slice(&s->data));
    if (!failure(s))
        buf_clear(&s->data);
    s->has_data = s->is_error = false;
}

/* Up to the first line feed or carriage return, or all. */
static size_t line_length(struct slice bytes)
{
    size_t n = 0;
    while (n < bytes.n && bytes.p[n] != '\n' && bytes.p[n] != '\r')
        n++;
    return n;
}

int sse_feed(struct sse *s, struct slice bytes, void (*event)(void *arg, bool is_error, struct slice data),
             void *arg)
{
    while (bytes.n && !failure(s)) {
        bool pair = s->after_cr && bytes.p[0] == '\n';
        s->after_cr = false;
        size_t n = pair ? 0 : line_length(bytes);
        if (n == bytes.n) {
            append(s, &s->line, bytes);
            break;
        }
        if (!pair) {
            struct slice line = {bytes.p, n};
            if (s->line.len) {
                append(s, &s->line, line);
                line = buf_slice(&s->line);
            }
            if (!failure(s))
                take_line(s, line, event, arg);
            if (!failure(s))
                buf_clear(&s->line);
            s->after_cr = bytes.p[n] == '\r';
        }
        bytes = (struct slice){bytes.p + n + 1, bytes.n - n - 1};
    }
    return failure(s);
}

struct slice sse_rest(struct sse *s)
{
    if (s->line.len && !failure(s))
        take_field(s, buf_slice(&s->line));
    buf_clear(&s->line);
    return failure(s) ? (struct slice){"", 0} : buf_slice(&s->data);
}
