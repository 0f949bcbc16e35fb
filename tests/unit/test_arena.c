/* The arena: alignment, zeroes, ceiling, reuse. */
#include <criterion/criterion.h>
#include <stdalign.h>
#include <stdint.h>

#include "base/arena.h"

Test(arena, gives_zeroed_aligned_bytes)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(&a, n);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, n);
    }
    arena_fini(&a);
    arena_fini(NULL);
}

Test(arena, zeroes_again_after_a_reset)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    memset(arena_alloc(&a, 100), 0xff, 100);
    arena_reset(&a);
    unsigned char *p = arena_alloc(&a, 100);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(p[i], 0);
    arena_fini(&a);
}

Test(arena, keeps_its_ceiling)
{
    struct arena a;
    arena_init(&a, 1000);
    cr_assert_not_null(arena_alloc(&a, 900));
    cr_assert_null(arena_alloc(&a, 200));
    cr_assert_null(arena_alloc(&a, SIZE_MAX));
    cr_assert_null(
        arena_copy(&a, SLICE_LITERAL("0123456789012345678901234567890123456789012345678901234567890123456"
                                     "789012345678901234567890123456789")));
    arena_reset(&a);
    cr_assert_not_null(arena_alloc(&a, 1000));
    arena_fini(&a);
}

Test(arena, copies_and_prints)
{
    struct arena a;
    arena_init(&a, 1 << 20);
    cr_assert_str_eq(arena_copy(&a, (struct slice){"abcdef", 3}), "abc");
    cr_assert_str_eq(arena_copy(&a, (struct slice){0}), "");
    cr_assert_str_eq(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    char *big = arena_alloc(&a, 500000);
    cr_assert_not_null(big);
    big[499999] = 1;
    cr_assert_str_eq(arena_printf(&a, "after"), "after");
    arena_fini(&a);
    cr_assert_eq(a.used, 0);
}
