/*
 * Memory for one request, freed at once. Not for sharing between threads.
 */
#ifndef CARPOOL_BASE_ARENA_H
#define CARPOOL_BASE_ARENA_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

struct arena_block;

/* Invariant: blocks is a chain, newest first; the newest one has the free room. */
struct arena {
    struct arena_block *blocks;
    size_t used, max; /* bytes handed out; ceiling */
};

void arena_init(struct arena *a, size_t max_bytes);
/* Frees everything; ready for use again. NULL is allowed. */
void arena_fini(struct arena *a);
/* Forgets all allocations but keeps one block, so that a thread's next request needs no malloc. */
void arena_reset(struct arena *a);

/* n zeroed bytes aligned for any type, or NULL when the heap or the ceiling is exhausted. */
void *arena_alloc(struct arena *a, size_t n);
/* A terminated copy, or NULL as arena_alloc. */
char *arena_copy(struct arena *a, struct slice s);
char *arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
