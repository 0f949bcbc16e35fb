/*
 * Numbers and strings as bytes: little-endian fixed-width integers and length-prefixed strings. The one
 * encoding of wire messages and of records in the store.
 *
 * A string is a u32 length and its bytes; length 0xffffffff is an absent one (slice.p == NULL).
 */
#ifndef CARPOOL_BASE_BYTES_H
#define CARPOOL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

void bytes_put_u8(struct buf *out, uint8_t v);
void bytes_put_u16(struct buf *out, uint16_t v);
void bytes_put_u32(struct buf *out, uint32_t v);
void bytes_put_u64(struct buf *out, uint64_t v);
void bytes_put_double(struct buf *out, double v); /* IEEE 754 bits */
void bytes_put_fixed(struct buf *out, const void *bytes, size_t n);
void bytes_put_text(struct buf *out, struct slice text);

/* Reads from the front of a message. Invariant: after the first read past the end, failed is set and every
 * read gives zero or an absent slice, so a decoder checks bytes_done() once. Slices lend from the message. */
struct bytes_reader {
    const uint8_t *at, *end;
    bool failed;
};

void bytes_reader_init(struct bytes_reader *r, struct slice message);
uint8_t bytes_get_u8(struct bytes_reader *r);
uint16_t bytes_get_u16(struct bytes_reader *r);
uint32_t bytes_get_u32(struct bytes_reader *r);
uint64_t bytes_get_u64(struct bytes_reader *r);
double bytes_get_double(struct bytes_reader *r);
void bytes_get_fixed(struct bytes_reader *r, void *ret_bytes, size_t n);
struct slice bytes_get_text(struct bytes_reader *r);
/* True when nothing failed and nothing is left. */
bool bytes_done(const struct bytes_reader *r);

/* Big-endian, for keys that must sort. */
void bytes_store_be64(uint8_t ret_bytes[8], uint64_t v);
uint64_t bytes_load_be64(const uint8_t bytes[8]);
void bytes_store_be32(uint8_t ret_bytes[4], uint32_t v);
uint32_t bytes_load_be32(const uint8_t bytes[4]);

#endif
