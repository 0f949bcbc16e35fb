/*
 * A binary min-heap of timed things, embedded in them: deadlines and retry times.
 */
#ifndef CARPOOL_BASE_HEAP_H
#define CARPOOL_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Invariant: index is the node's place in the heap's array plus one; 0 while it is in no heap. */
struct heap_node {
    uint64_t at_us;
    size_t index;
};

struct heap {
    struct heap_node **nodes;
    size_t len, cap;
};

void heap_init(struct heap *h);
void heap_fini(struct heap *h);
/* at_us is set on the node by the caller before. ERR_NOMEM. */
MUST_CHECK
int heap_push(struct heap *h, struct heap_node *n);
/* Gives n, which is in the heap, another time. */
void heap_move(struct heap *h, struct heap_node *n, uint64_t at_us);
/* Harmless on a node that is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);
/* The earliest node, left in place; NULL when empty. */
struct heap_node *heap_peek(const struct heap *h);

#endif
