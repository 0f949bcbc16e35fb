/*
 * A priority queue of things by their age, oldest first: an intrusive pairing heap (Fredman, Sedgewick,
 * Sleator, Tarjan, "The pairing heap", 1986). Unlike base/heap.h it never allocates, so moving a group
 * between queues cannot fail. Peek and push are O(1), removal O(log n) amortised.
 */
#ifndef CARPOOL_BATCH_AGE_H
#define CARPOOL_BATCH_AGE_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in the thing. at_us and then seq give the order; neither may change while the node is in a heap.
 * Invariant: prev is the sibling before, or the parent of a first child; NULL for a root. */
struct age_node {
    uint64_t at_us, seq;
    struct age_node *child, *next, *prev;
};

struct age_heap {
    struct age_node *root; /* the oldest; NULL when empty */
};

/* n is in no heap. */
void age_push(struct age_heap *h, struct age_node *n);
/* n is in h. */
void age_remove(struct age_heap *h, struct age_node *n);

/* The older of two nodes, each of which may be NULL. */
struct age_node *age_older(struct age_node *a, struct age_node *b);

#endif
