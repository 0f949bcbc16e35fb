/*
 * Escaping for JSON strings (RFC 8259, section 7), and how far a text goes on without a byte that such a
 * string treats specially. Scanner, writer and log spend most of their time there, so it looks at eight bytes
 * at once.
 */
#ifndef CARPOOL_BASE_ESCAPE_H
#define CARPOOL_BASE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"

/* ASCII but for control characters, the double quote and the backslash. */
static inline bool escape_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Nonzero when one of the eight bytes is not plain. "Has a zero byte" and "has a byte below n" are from Sean
 * Anderson's "Bit Twiddling Hacks"; both are exact here because bytes from 0x80 up are caught by themselves.
 */
static inline uint64_t escape_word_special(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101ull;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    uint64_t special = (word - ones * 0x20) | (quote - ones) | (backslash - ones) | word;
    return special & ones * 0x80;
}

/* The number of leading bytes of p[0..n) that are plain. */
static inline size_t escape_plain_run(const char *p, size_t n)
{
    size_t i = 0;
    for (uint64_t word; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        if (escape_word_special(word))
            break;
    }
    while (i < n && escape_is_plain((uint8_t)p[i]))
        i++;
    return i;
}

/* Appends text as it stands between the quotes of a JSON string. Invalid UTF-8 is replaced by U+FFFD. */
void escape_json(struct buf *out, struct slice text);

#endif
