/* The growing buffer: contents, ceilings, failure that sticks, moving out. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/buf.h"

Test(buf, appends_and_terminates)
{
    struct buf b;
    buf_init(&b, 100);
    buf_append_text(&b, "one");
    buf_append_byte(&b, ' ');
    buf_printf(&b, "%d", 23);
    buf_append_slice(&b, SLICE_LITERAL("\0x"));
    cr_assert(slice_equal(buf_slice(&b), SLICE_LITERAL("one 23\0x")));
    cr_assert_eq(b.data[b.len], 0);
    cr_assert_not(buf_failed(&b));
    buf_fini(&b);
    cr_assert_eq(b.len, 0);
    cr_assert_eq(b.max, 100);
}

Test(buf, an_empty_one_is_an_empty_slice)
{
    struct buf b;
    buf_init(&b, 10);
    cr_assert_not_null(buf_slice(&b).p);
    cr_assert_eq(buf_slice(&b).n, 0);
    buf_consume(&b, 0);
    buf_clear(&b);
    buf_fini(&b);
    buf_fini(NULL);
}

Test(buf, holds_its_ceiling_and_not_a_byte_more)
{
    struct buf b;
    buf_init(&b, 8);
    buf_append_text(&b, "12345678");
    cr_assert_not(buf_failed(&b));
    cr_assert_leq(b.cap, 9);
    buf_append_byte(&b, '9');
    cr_assert(buf_failed(&b));
    cr_assert(slice_is(buf_slice(&b), "12345678"));
    buf_fini(&b);
}

Test(buf, a_failure_sticks_until_cleared)
{
    struct buf b;
    buf_init(&b, 4);
    buf_append_text(&b, "12345");
    buf_append_text(&b, "1");
    cr_assert(buf_failed(&b));
    cr_assert_eq(b.len, 0);
    cr_assert_null(buf_reserve(&b, 1));
    buf_clear(&b);
    buf_append_text(&b, "1");
    cr_assert_not(buf_failed(&b));
    cr_assert(slice_is(buf_slice(&b), "1"));
    buf_fini(&b);
}

Test(buf, huge_sizes_do_not_wrap)
{
    struct buf b;
    buf_init(&b, 1000);
    buf_append_text(&b, "x");
    cr_assert_null(buf_reserve(&b, SIZE_MAX));
    cr_assert(buf_failed(&b));
    buf_fini(&b);
}

Test(buf, printf_meets_the_ceiling)
{
    struct buf b;
    buf_init(&b, 5);
    buf_printf(&b, "%s", "12345");
    cr_assert_not(buf_failed(&b));
    buf_printf(&b, "%d", 6);
    cr_assert(buf_failed(&b));
    cr_assert(slice_is(buf_slice(&b), "12345"));
    buf_fini(&b);
}

Test(buf, reserve_and_advance)
{
    struct buf b;
    buf_init(&b, 64);
    char *p = buf_reserve(&b, 10);
    cr_assert_not_null(p);
    memcpy(p, "abc", 3);
    buf_advance(&b, 3);
    cr_assert(slice_is(buf_slice(&b), "abc"));
    buf_consume(&b, 2);
    cr_assert(slice_is(buf_slice(&b), "c"));
    cr_assert_eq(b.data[1], 0);
    buf_fini(&b);
}

Test(buf, take_moves_the_bytes_out)
{
    struct buf b;
    char *data = NULL;
    size_t n = 99;
    buf_init(&b, 64);
    buf_append_text(&b, "abc");
    cr_assert_eq(buf_take(&b, &data, &n), 0);
    cr_assert_str_eq(data, "abc");
    cr_assert_eq(n, 3);
    cr_assert_eq(b.len, 0);
    cr_assert_null(b.data);
    free(data);
    cr_assert_eq(buf_take(&b, &data, &n), 0);
    cr_assert_eq(n, 0);
    cr_assert_str_eq(data, "");
    free(data);
}

Test(buf, take_of_a_failed_one_moves_nothing)
{
    struct buf b;
    char *data = NULL;
    size_t n = 99;
    buf_init(&b, 3);
    buf_append_text(&b, "abc");
    buf_append_text(&b, "d");
    cr_assert_eq(buf_take(&b, &data, &n), ERR_LIMIT);
    cr_assert_null(data);
    cr_assert_eq(n, 99);
    buf_fini(&b);
}
