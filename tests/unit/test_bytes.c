/* Numbers and strings as bytes: the exact encoding, reading past the end, keys that sort. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/bytes.h"

Test(bytes, little_endian_and_back)
{
    struct buf b;
    struct bytes_reader r;
    char fixed[3];
    buf_init(&b, 1000);
    bytes_put_u8(&b, 0x01);
    bytes_put_u16(&b, 0x0203);
    bytes_put_u32(&b, 0x04050607);
    bytes_put_u64(&b, 0x08090a0b0c0d0e0full);
    bytes_put_double(&b, -1.5);
    bytes_put_fixed(&b, "xyz", 3);
    bytes_put_text(&b, SLICE_LITERAL("hi"));
    cr_assert_eq(memcmp(b.data, "\x01\x03\x02\x07\x06\x05\x04\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08", 15), 0);
    cr_assert_eq(memcmp(b.data + 23, "xyz\x02\0\0\0hi", 9), 0);

    bytes_reader_init(&r, buf_slice(&b));
    cr_assert_eq(bytes_get_u8(&r), 0x01);
    cr_assert_eq(bytes_get_u16(&r), 0x0203);
    cr_assert_eq(bytes_get_u32(&r), 0x04050607);
    cr_assert_eq(bytes_get_u64(&r), 0x08090a0b0c0d0e0full);
    cr_assert_eq(bytes_get_double(&r), -1.5);
    bytes_get_fixed(&r, fixed, 3);
    cr_assert_eq(memcmp(fixed, "xyz", 3), 0);
    cr_assert(slice_is(bytes_get_text(&r), "hi"));
    cr_assert(bytes_done(&r));
    buf_fini(&b);
}

Test(bytes, absent_is_not_empty)
{
    struct buf b;
    struct bytes_reader r;
    buf_init(&b, 100);
    bytes_put_text(&b, (struct slice){0});
    bytes_put_text(&b, SLICE_LITERAL(""));
    bytes_reader_init(&r, buf_slice(&b));
    cr_assert_null(bytes_get_text(&r).p);
    struct slice empty = bytes_get_text(&r);
    cr_assert_not_null(empty.p);
    cr_assert_eq(empty.n, 0);
    cr_assert(bytes_done(&r));
    buf_fini(&b);
}

Test(bytes, reading_past_the_end_fails_once_and_for_all)
{
    struct bytes_reader r;
    bytes_reader_init(&r, SLICE_LITERAL("\x05\0\0\0abc"));
    cr_assert_null(bytes_get_text(&r).p);
    cr_assert_not(bytes_done(&r));
    cr_assert_eq(bytes_get_u8(&r), 0);
    cr_assert(r.failed);
    bytes_reader_init(&r, (struct slice){0});
    cr_assert(bytes_done(&r));
    cr_assert_eq(bytes_get_u64(&r), 0);
    cr_assert_not(bytes_done(&r));
}

Test(bytes, what_is_left_over_is_not_done)
{
    struct bytes_reader r;
    bytes_reader_init(&r, SLICE_LITERAL("ab"));
    (void)bytes_get_u8(&r);
    cr_assert_not(bytes_done(&r));
}

Test(bytes, nan_survives)
{
    struct buf b;
    struct bytes_reader r;
    buf_init(&b, 100);
    bytes_put_double(&b, NAN);
    bytes_reader_init(&r, buf_slice(&b));
    cr_assert(isnan(bytes_get_double(&r)));
    buf_fini(&b);
}

Test(bytes, big_endian_keys_sort)
{
    uint8_t low[8], high[8], small[4];
    bytes_store_be64(low, 255);
    bytes_store_be64(high, 256);
    cr_assert_lt(memcmp(low, high, 8), 0);
    cr_assert_eq(bytes_load_be64(high), 256);
    bytes_store_be32(small, 0x01020304);
    cr_assert_eq(memcmp(small, "\1\2\3\4", 4), 0);
    cr_assert_eq(bytes_load_be32(small), 0x01020304);
}
