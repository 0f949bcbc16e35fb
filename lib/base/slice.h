/*
 * A view of bytes that somebody else owns. p == NULL means "absent", which differs from an empty value.
 */
#ifndef CARPOOL_BASE_SLICE_H
#define CARPOOL_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE_LITERAL(s) ((struct slice){(s), sizeof(s) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return a.p && slice_equal(a, slice_of(text));
}

/* Without white space (ASCII) at either end. */
static inline struct slice slice_trim(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r')))
        s = (struct slice){s.p + 1, s.n - 1};
    while (s.n && (s.p[s.n - 1] == ' ' || (s.p[s.n - 1] >= '\t' && s.p[s.n - 1] <= '\r')))
        s.n--;
    return s;
}

#endif
