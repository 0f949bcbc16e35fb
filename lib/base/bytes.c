/* Numbers and strings as bytes; see bytes.h. */
#include "base/bytes.h"

#include <endian.h>
#include <string.h>

#define ABSENT UINT32_MAX

void bytes_put_u8(struct buf *out, uint8_t v)
{
    buf_append(out, &v, 1);
}

void bytes_put_u16(struct buf *out, uint16_t v)
{
    v = htole16(v);
    buf_append(out, &v, sizeof(v));
}

void bytes_put_u32(struct buf *out, uint32_t v)
{
    v = htole32(v);
    buf_append(out, &v, sizeof(v));
}

void bytes_put_u64(struct buf *out, uint64_t v)
{
    v = htole64(v);
    buf_append(out, &v, sizeof(v));
}

void bytes_put_double(struct buf *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    bytes_put_u64(out, bits);
}

void bytes_put_fixed(struct buf *out, const void *bytes, size_t n)
{
    buf_append(out, bytes, n);
}

void bytes_put_text(struct buf *out, struct slice text)
{
    if (!text.p) {
        bytes_put_u32(out, ABSENT);
        return;
    }
    if (text.n >= ABSENT) {
        out->failed = true;
        return;
    }
    bytes_put_u32(out, (uint32_t)text.n);
    buf_append(out, text.p, text.n);
}

void bytes_reader_init(struct bytes_reader *r, struct slice message)
{
    r->at = (const uint8_t *)message.p;
    r->end = r->at ? r->at + message.n : NULL;
    r->failed = false;
}

/* The next n bytes, or NULL past the end. */
static const uint8_t *next(struct bytes_reader *r, size_t n)
{
    if (r->failed || (size_t)(r->end - r->at) < n) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    if (n)
        r->at += n;
    return p;
}

uint8_t bytes_get_u8(struct bytes_reader *r)
{
    const uint8_t *p = next(r, 1);
    return p ? *p : 0;
}

uint16_t bytes_get_u16(struct bytes_reader *r)
{
    uint16_t v = 0;
    bytes_get_fixed(r, &v, sizeof(v));
    return le16toh(v);
}

uint32_t bytes_get_u32(struct bytes_reader *r)
{
    uint32_t v = 0;
    bytes_get_fixed(r, &v, sizeof(v));
    return le32toh(v);
}

uint64_t bytes_get_u64(struct bytes_reader *r)
{
    uint64_t v = 0;
    bytes_get_fixed(r, &v, sizeof(v));
    return le64toh(v);
}

double bytes_get_double(struct bytes_reader *r)
{
    uint64_t bits = bytes_get_u64(r);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

void bytes_get_fixed(struct bytes_reader *r, void *ret_bytes, size_t n)
{
    const uint8_t *p = next(r, n);
    if (p)
        memcpy(ret_bytes, p, n);
    else
        memset(ret_bytes, 0, n);
}

struct slice bytes_get_text(struct bytes_reader *r)
{
    uint32_t n = bytes_get_u32(r);
    if (r->failed || n == ABSENT)
        return (struct slice){0};
    const uint8_t *p = next(r, n);
    return p ? (struct slice){(const char *)p, n} : (struct slice){0};
}

bool bytes_done(const struct bytes_reader *r)
{
    return !r->failed && r->at == r->end;
}

void bytes_store_be64(uint8_t ret_bytes[8], uint64_t v)
{
    v = htobe64(v);
    memcpy(ret_bytes, &v, sizeof(v));
}

uint64_t bytes_load_be64(const uint8_t bytes[8])
{
    uint64_t v;
    memcpy(&v, bytes, sizeof(v));
    return be64toh(v);
}

void bytes_store_be32(uint8_t ret_bytes[4], uint32_t v)
{
    v = htobe32(v);
    memcpy(ret_bytes, &v, sizeof(v));
}

uint32_t bytes_load_be32(const uint8_t bytes[4])
{
    uint32_t v;
    memcpy(&v, bytes, sizeof(v));
    return be32toh(v);
}
