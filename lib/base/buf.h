/*
 * A growing byte buffer with a ceiling. Appends never fail loudly: the first one that meets the ceiling or
 * an exhausted heap marks the buffer as failed and later ones do nothing, so a writer checks buf_failed()
 * once, before it hands the bytes on.
 */
#ifndef CARPOOL_BASE_BUF_H
#define CARPOOL_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Invariants: len <= cap <= max + 1; while data is not NULL, data[len] is a zero byte (room for it is kept).
 */
struct buf {
    char *data;
    size_t len, cap, max;
    bool failed;
};

/* An empty buffer that owns nothing yet and will hold at most max_bytes. */
void buf_init(struct buf *b, size_t max_bytes);
/* Frees the bytes; the buffer is as after buf_init with the same ceiling. NULL is allowed. */
void buf_fini(struct buf *b);
/* Empties the buffer and clears a failure; the memory is kept. */
void buf_clear(struct buf *b);

void buf_append(struct buf *b, const void *bytes, size_t n);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_text(struct buf *b, const char *text);
void buf_append_byte(struct buf *b, uint8_t byte);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Makes room for n more bytes and lends the place; NULL on failure. The caller then says how many it
 * used with buf_advance(). The pointer is good until the next call on b. */
void *buf_reserve(struct buf *b, size_t n);
void buf_advance(struct buf *b, size_t n);

/* Drops n bytes from the front (memmove). */
void buf_consume(struct buf *b, size_t n);

static inline bool buf_failed(const struct buf *b)
{
    return b->failed;
}

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->data ? b->data : "", b->len};
}

/* Moves the bytes out: the caller frees *ret_data with free(); b is empty afterwards. ERR_NOMEM or ERR_LIMIT
 * when the buffer had failed (then nothing moves). */
MUST_CHECK
int buf_take(struct buf *b, char **ret_data, size_t *ret_len);

#endif
