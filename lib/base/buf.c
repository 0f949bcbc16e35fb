/* A growing byte buffer with a ceiling; see buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max = max_bytes};
}

void buf_fini(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

/* Makes cap at least len + n + 1. */
static bool grow(struct buf *b, size_t n)
{
    if (b->failed || n > b->max || b->len > b->max - n) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void *buf_reserve(struct buf *b, size_t n)
{
    return grow(b, n) ? b->data + b->len : NULL;
}

void buf_advance(struct buf *b, size_t n)
{
    b->len += n;
    b->data[b->len] = 0;
}

void buf_append(struct buf *b, const void *bytes, size_t n)
{
    if (!grow(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    buf_advance(b, n);
}

void buf_append_slice(struct buf *b, struct slice s)
{
    buf_append(b, s.p, s.n);
}

void buf_append_text(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_append_byte(struct buf *b, uint8_t byte)
{
    buf_append(b, &byte, 1);
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    if (b->failed)
        return;
    va_start(args, format);
    va_copy(again, args);
    /* What there is room for is written at once. */
    size_t room = b->data ? b->cap - b->len : 0;
    int n = vsnprintf(room ? b->data + b->len : NULL, room, format, args);
    va_end(args);
    if (n < 0)
        b->failed = true;
    else if (grow(b, (size_t)n)) {
        if ((size_t)n >= room)
            vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        buf_advance(b, (size_t)n);
    }
    if (b->failed && room)
        b->data[b->len] = 0;
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    if (!n)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = 0;
}

int buf_take(struct buf *b, char **ret_data, size_t *ret_len)
{
    if (b->failed)
        return b->len >= b->max ? ERR_LIMIT : ERR_NOMEM;
    if (!b->data && !buf_reserve(b, 0))
        return ERR_NOMEM;
    b->data[b->len] = 0;
    *ret_data = b->data;
    *ret_len = b->len;
    buf_init(b, b->max);
    return 0;
}
