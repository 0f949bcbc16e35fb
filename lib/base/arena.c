/* Memory for one request; see arena.h. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK 4096

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max = max_bytes};
}

void arena_fini(struct arena *a)
{
    if (!a)
        return;
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    a->used = 0;
}

void arena_reset(struct arena *a)
{
    struct arena_block *kept = NULL;
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;
        /* The oldest block is the small one: a thread that once had a large request does not hold on to it.
         */
        if (next)
            free(a->blocks);
        else
            kept = a->blocks;
        a->blocks = next;
    }
    if (kept && kept->cap > 16 * FIRST_BLOCK) {
        free(kept);
        kept = NULL;
    }
    if (kept)
        kept->used = 0;
    a->blocks = kept;
    a->used = 0;
}

static struct arena_block *block_new(struct arena *a, size_t n)
{
    size_t cap = a->blocks ? a->blocks->cap * 2 : FIRST_BLOCK;
    if (cap > 256 * 1024)
        cap = 256 * 1024;
    if (cap < n)
        cap = n;
    struct arena_block *b = malloc(sizeof(*b) + cap);
    if (!b)
        return NULL;
    *b = (struct arena_block){.next = a->blocks, .cap = cap};
    a->blocks = b;
    return b;
}

static void *take(struct arena *a, size_t n)
{
    if (n > a->max || a->used > a->max - n)
        return NULL;
    n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct arena_block *b = a->blocks;
    if (!b || b->cap - b->used < n)
        b = block_new(a, n);
    if (!b)
        return NULL;
    void *p = b->bytes + b->used;
    b->used += n;
    a->used += n;
    return p;
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p = take(a, n ? n : 1);
    return p ? memset(p, 0, n) : NULL;
}

char *arena_copy(struct arena *a, struct slice s)
{
    char *p = take(a, s.n + 1);
    if (!p)
        return NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return p;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : take(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}
