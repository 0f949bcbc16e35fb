/*
 * JSON written straight into a buffer: commas and escapes are kept here, the structure is the caller's. The
 * caller checks buf_failed() once at the end.
 */
#ifndef CARPOOL_JSON_WRITE_H
#define CARPOOL_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Invariant: bit d of has_items says whether the container at depth d has an item already. */
struct json_writer {
    struct buf *out;
    uint64_t has_items;
    unsigned depth; /* < 64 */
    bool after_key;
};

void json_writer_init(struct json_writer *w, struct buf *out);
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
/* Absent (p == NULL) is written as null. Invalid UTF-8 is replaced by U+FFFD, so that output is always JSON.
 */
void json_text(struct json_writer *w, struct slice text);
void json_u64(struct json_writer *w, uint64_t number);
void json_i64(struct json_writer *w, int64_t number);
/* The shortest form that reads back the same; NaN and infinities as null. */
void json_double(struct json_writer *w, double number);
/* number of microseconds as milliseconds with at most three decimals: 1234567 -> 1234.567 */
void json_us_as_ms(struct json_writer *w, uint64_t us);
void json_bool(struct json_writer *w, bool value);
void json_null(struct json_writer *w);
/* Bytes that are one JSON value already. */
void json_raw(struct json_writer *w, struct slice json);

/* key and value in one go. */
void json_field_text(struct json_writer *w, const char *key, struct slice text);
void json_field_cstr(struct json_writer *w, const char *key, const char *text);
void json_field_u64(struct json_writer *w, const char *key, uint64_t number);
void json_field_bool(struct json_writer *w, const char *key, bool value);

/* The escaped text without quotes, for callers that build JSON inside JSON. */
void json_escape(struct buf *out, struct slice text);

#endif
