/* Keys of a scanned JSON text; see keys.h. Called by scan.c. */
#include "json/keys.h"

#include <stdint.h>
#include <stdlib.h>

struct reader {
    const unsigned char *at, *end;
};

static struct reader reader_of(const struct json_span *s)
{
    const unsigned char *p = (const unsigned char *)s->p;
    return (struct reader){p, p + s->n};
}

static uint32_t read_hex4(struct reader *r)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = *r->at++;
        value = value * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

/* at stands behind a backslash. */
static uint32_t read_escape(struct reader *r)
{
    static const char names[] = "bfnrt", meant[] = "\b\f\n\r\t";
    unsigned char c = *r->at++;
    if (c != 'u') {
        const char *name = strchr(names, c);
        return name ? (uint32_t)meant[name - names] : c;
    }
    uint32_t high = read_hex4(r);
    if (high < 0xd800 || high > 0xdbff)
        return high;
    r->at += 2;
    return 0x10000 + ((high - 0xd800) << 10) + (read_hex4(r) - 0xdc00);
}

/* The next code point; only before the end. */
static uint32_t read_char(struct reader *r)
{
    unsigned char c = *r->at++;
    if (c == '\\')
        return read_escape(r);
    if (c < 0x80)
        return c;
    int more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t value = c & (0x3fu >> more);
    while (more-- > 0)
        value = value << 6 | (*r->at++ & 0x3f);
    return value;
}

/* By code points, which for UTF-8 is the order of memcmp: so both ways of comparing agree. */
static int order_escaped(const struct json_span *a, const struct json_span *b)
{
    struct reader x = reader_of(a), y = reader_of(b);
    while (x.at < x.end && y.at < y.end) {
        uint32_t c = read_char(&x), d = read_char(&y);
        if (c != d)
            return c < d ? -1 : 1;
    }
    return (x.at < x.end) - (y.at < y.end);
}

bool json_span_equal_escaped(const struct json_span *a, const struct json_span *b)
{
    return order_escaped(a, b) == 0;
}

static int order(const struct json_span *a, const struct json_span *b)
{
    if (a->escaped || b->escaped)
        return order_escaped(a, b);
    size_t shorter = a->n < b->n ? a->n : b->n;
    int difference = memcmp(a->p, b->p, shorter);
    return difference ? difference : (a->n > b->n) - (a->n < b->n);
}

/* Equal ones in the order of the text. */
static int compare(const void *left, const void *right)
{
    const struct json_span *a = left, *b = right;
    int difference = order(a, b);
    return difference ? difference : (a->p > b->p) - (a->p < b->p);
}

const struct json_span *json_spans_duplicate(struct json_span *spans, size_t n)
{
    const struct json_span *found = NULL;
    qsort(spans, n, sizeof(*spans), compare);
    for (size_t i = 1; i < n; i++)
        if (order(&spans[i - 1], &spans[i]) == 0 && (!found || spans[i].p < found->p))
            found = &spans[i];
    return found;
}

static size_t encode(uint32_t c, char ret_bytes[4])
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, c >>= 6)
        ret_bytes[i] = (char)(0x80 | (c & 0x3f));
    ret_bytes[0] = (char)(lead[size] | c);
    return size;
}

void json_span_decode(const struct json_span *s, char *ret_text, size_t size)
{
    struct reader r = reader_of(s);
    size_t n = 0;
    while (r.at < r.end) {
        char bytes[4];
        size_t more = encode(read_char(&r), bytes);
        if (n + more >= size)
            break;
        memcpy(ret_text + n, bytes, more);
        n += more;
    }
    ret_text[n] = 0;
}
