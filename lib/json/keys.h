/*
 * Inside lib/json: strings as they stand in a scanned JSON text, compared by what they mean ("\u0061" is "a")
 * without unescaping them into memory.
 */
#ifndef CARPOOL_JSON_KEYS_H
#define CARPOOL_JSON_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* What stands between the quotes. Invariant: valid UTF-8 and valid escapes. */
struct json_span {
    const char *p;
    size_t n : 63;
    size_t escaped : 1; /* holds a backslash */
};

bool json_span_equal_escaped(const struct json_span *a, const struct json_span *b);

static inline bool json_span_equal(const struct json_span *a, const struct json_span *b)
{
    if (a->escaped || b->escaped)
        return json_span_equal_escaped(a, b);
    return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

/* Sorts spans. Returns one that equals another and stands later in the text (of several such, the first in
 * the text), or NULL when all differ. n log n. */
const struct json_span *json_spans_duplicate(struct json_span *spans, size_t n);

/* Unescaped, cut at a character to what fits, terminated. */
void json_span_decode(const struct json_span *s, char *ret_text, size_t size);

#endif
