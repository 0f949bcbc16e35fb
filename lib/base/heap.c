/* A binary min-heap of timed things; see heap.h. */
#include "base/heap.h"

#include <stdlib.h>

#define FIRST_CAP 64

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_fini(struct heap *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->len; i++)
        h->nodes[i]->index = 0;
    free(h->nodes);
    heap_init(h);
}

static void put(struct heap *h, size_t place, struct heap_node *n)
{
    h->nodes[place] = n;
    n->index = place + 1;
}

static void sift_up(struct heap *h, size_t place, struct heap_node *n)
{
    while (place > 0) {
        size_t parent = (place - 1) / 2;
        if (h->nodes[parent]->at_us <= n->at_us)
            break;
        put(h, place, h->nodes[parent]);
        place = parent;
    }
    put(h, place, n);
}

static void sift_down(struct heap *h, size_t place, struct heap_node *n)
{
    for (size_t child; (child = 2 * place + 1) < h->len; place = child) {
        if (child + 1 < h->len && h->nodes[child + 1]->at_us < h->nodes[child]->at_us)
            child++;
        if (n->at_us <= h->nodes[child]->at_us)
            break;
        put(h, place, h->nodes[child]);
    }
    put(h, place, n);
}

int heap_push(struct heap *h, struct heap_node *n)
{
    if (h->len == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : FIRST_CAP;
        struct heap_node **nodes = reallocarray(h->nodes, cap, sizeof(struct heap_node *));
        if (!nodes)
            return ERR_NOMEM;
        h->nodes = nodes;
        h->cap = cap;
    }
    sift_up(h, h->len++, n);
    return 0;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->index == 0)
        return;
    size_t place = n->index - 1;
    struct heap_node *last = h->nodes[--h->len];
    n->index = 0;
    if (last == n)
        return;
    if (place > 0 && last->at_us < h->nodes[(place - 1) / 2]->at_us)
        sift_up(h, place, last);
    else
        sift_down(h, place, last);
}

void heap_move(struct heap *h, struct heap_node *n, uint64_t at_us)
{
    heap_remove(h, n);
    n->at_us = at_us;
    sift_up(h, h->len++, n); /* where there was room for it */
}

struct heap_node *heap_peek(const struct heap *h)
{
    return h->len ? h->nodes[0] : NULL;
}
