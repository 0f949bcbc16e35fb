/* The heap of timed things against a plain list, and nodes that know where they are. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/heap.h"

Test(heap, gives_the_earliest_first)
{
    static const uint64_t times[] = {5, 3, 9, 1, 7, 3, 0, UINT64_MAX, 2};
    struct heap_node nodes[ARRAY_LEN(times)] = {{0}};
    struct heap h;
    uint64_t last = 0;
    heap_init(&h);
    cr_assert_null(heap_peek(&h));
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        nodes[i].at_us = times[i];
        cr_assert_eq(heap_push(&h, &nodes[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct heap_node *n = heap_peek(&h);
        cr_assert_geq(n->at_us, last);
        last = n->at_us;
        heap_remove(&h, n);
        cr_assert_eq(n->index, 0);
    }
    cr_assert_null(heap_peek(&h));
    heap_fini(&h);
}

Test(heap, a_node_gets_another_time)
{
    struct heap_node a = {.at_us = 1}, b = {.at_us = 2};
    struct heap h;
    heap_init(&h);
    cr_assert_eq(heap_push(&h, &a), 0);
    cr_assert_eq(heap_push(&h, &b), 0);
    heap_move(&h, &a, 3);
    cr_assert_eq(heap_peek(&h), &b);
    heap_move(&h, &a, 0);
    cr_assert_eq(heap_peek(&h), &a);
    cr_assert_eq(h.len, 2);
    heap_fini(&h);
}

Test(heap, removing_what_is_not_in_is_harmless)
{
    struct heap_node in = {.at_us = 1}, out = {.at_us = 2};
    struct heap h;
    heap_init(&h);
    cr_assert_eq(heap_push(&h, &in), 0);
    heap_remove(&h, &out);
    cr_assert_eq(heap_peek(&h), &in);
    heap_fini(&h);
    cr_assert_eq(in.index, 0);
    heap_fini(NULL);
}

static uint64_t earliest(const struct heap_node *nodes, size_t n)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < n; i++)
        if (nodes[i].index && nodes[i].at_us < least)
            least = nodes[i].at_us;
    return least;
}

Test(heap, random_pushes_and_removals)
{
    enum { N = 300 };
    static struct heap_node nodes[N];
    struct heap h;
    heap_init(&h);
    srand(7);
    for (int round = 0; round < 20000; round++) {
        struct heap_node *n = &nodes[rand() % N];
        if (n->index) {
            heap_remove(&h, n);
        } else {
            n->at_us = (uint64_t)(rand() % 1000);
            cr_assert_eq(heap_push(&h, n), 0);
        }
        for (size_t i = 0; i < h.len; i++) {
            cr_assert_eq(h.nodes[i]->index, i + 1);
            cr_assert_leq(h.nodes[i ? (i - 1) / 2 : 0]->at_us, h.nodes[i]->at_us);
        }
        cr_assert_eq(h.len ? heap_peek(&h)->at_us : UINT64_MAX, earliest(nodes, N));
    }
    heap_fini(&h);
}
