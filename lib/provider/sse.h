/*
 * Server-Sent Events taken apart as they come, cut anywhere. Only what providers make use of: data, and
 * whether an event is named "error"; ids and reconnection times are nothing to a call that is made once.
 * Source: html.spec.whatwg.org, "Server-sent events", 9.2.5 and 9.2.6. Private to lib/provider.
 */
#ifndef CARPOOL_PROVIDER_SSE_H
#define CARPOOL_PROVIDER_SSE_H

#include "base/buf.h"
#include "base/slice.h"

/* Invariants: line holds what came of a line whose end has not come, data the data lines of the event that
 * is being read. */
struct sse {
    struct buf line, data;
    bool begun;    /* a line ended: a byte order mark can no longer come */
    bool after_cr; /* a line feed that comes next belongs to the line before */
    bool has_data, is_error;
    bool over; /* max_bytes are exceeded */
};

/* max_bytes: of one line, and of one event's data. */
void sse_init(struct sse *s, size_t max_bytes);
/* NULL is allowed. */
void sse_fini(struct sse *s);

/* Calls event for each that is complete and has data: without line breaks (several data lines are joined by a
 * space, which JSON takes for the line feed of the standard), lent until it returns. ERR_LIMIT, ERR_NOMEM:
 * what comes after is not to be fed. */
MUST_CHECK
int sse_feed(struct sse *s, struct slice bytes, void (*event)(void *arg, bool is_error, struct slice data),
             void *arg);
/* The data of an event that the end of the stream cut off from the empty line behind it; empty: none. */
struct slice sse_rest(struct sse *s);

#endif
