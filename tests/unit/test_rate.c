/* Rate limits: what is taken comes back evenly, and never more than there was. */
#include "batch/rate.h"

#include <criterion/criterion.h>

#define S 1000000ull

Test(rate, a_fresh_bucket_is_full)
{
    struct rate_bucket b = {0};
    cr_assert_eq(rate_remaining(&b, 60, 0), 60);
    cr_assert_eq(rate_remaining(&b, 60, UINT64_MAX), 60);
    cr_assert_eq(rate_reset_ms(&b, 5 * S), 0);
    cr_assert(rate_is_full(&b, 0));
    cr_assert_eq(rate_wait_ms(&b, 60, 60, 0), 0);
}

Test(rate, fills_evenly)
{
    struct rate_bucket b = {0};
    uint64_t now = 100 * S;
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(rate_wait_ms(&b, 60, 1, now), 0, "%d", i);
        rate_take(&b, 60, 1, now);
        cr_assert_eq(rate_remaining(&b, 60, now), 59 - i);
    }
    cr_assert_eq(rate_wait_ms(&b, 60, 1, now), 1000);
    cr_assert_eq(rate_reset_ms(&b, now), 60000);
    cr_assert_eq(rate_wait_ms(&b, 60, 1, now + S - 2), 1);
    cr_assert_eq(rate_wait_ms(&b, 60, 1, now + S), 0);
    cr_assert_eq(rate_wait_ms(&b, 60, 3, now + S), 2000);
    cr_assert_eq(rate_remaining(&b, 60, now + 2 * S + S / 2), 2);
    cr_assert_not(rate_is_full(&b, now + 60 * S - 1));
    cr_assert(rate_is_full(&b, now + 60 * S));
    cr_assert_eq(rate_remaining(&b, 60, now + 3600 * S), 60, "no more than it holds");
}

/* A minute holds no more than the limit and what came back in it, however it is asked. */
Test(rate, no_minute_has_more_than_twice_the_limit)
{
    struct rate_bucket b = {0};
    unsigned taken = 0;
    for (uint64_t now = S; now < 61 * S; now += 7001)
        if (!rate_wait_ms(&b, 50, 1, now)) {
            rate_take(&b, 50, 1, now);
            taken++;
        }
    cr_assert(taken >= 99 && taken <= 100, "%u", taken);
}

Test(rate, what_turns_out_dearer_is_owed)
{
    struct rate_bucket b = {0};
    rate_take(&b, 1000, 400, S);
    rate_take(&b, 1000, 1100, S);
    cr_assert_eq(rate_remaining(&b, 1000, S), 0);
    cr_assert_eq(rate_reset_ms(&b, S), 90000);
    cr_assert_eq(rate_wait_ms(&b, 1000, 1, S), 30060);
    cr_assert_eq(rate_wait_ms(&b, 1000, 0, S), 0);
    rate_take(&b, 1000, -500, S);
    cr_assert_eq(rate_remaining(&b, 1000, S), 0);
    cr_assert_eq(rate_wait_ms(&b, 1000, 1, S), 60);
    rate_take(&b, 1000, -5000, S);
    cr_assert_eq(rate_remaining(&b, 1000, S), 1000, "given back up to full");
    cr_assert(rate_is_full(&b, S));
}

Test(rate, more_than_it_holds_goes_when_it_is_full)
{
    struct rate_bucket b = {0};
    cr_assert_eq(rate_wait_ms(&b, 100, 250, S), 0);
    rate_take(&b, 100, 250, S);
    cr_assert_eq(rate_reset_ms(&b, S), 150000);
    cr_assert_eq(rate_wait_ms(&b, 100, 250, S), 150000);
    cr_assert_eq(rate_wait_ms(&b, 100, 250, 151 * S), 0);
}

Test(rate, the_largest_numbers)
{
    struct rate_bucket b = {0};
    rate_take(&b, 1, INT64_MAX, 0);
    cr_assert_eq(rate_reset_ms(&b, 0), 300000, "nobody waits longer");
    cr_assert_eq(rate_wait_ms(&b, 1, INT64_MAX, 0), 300000);
    cr_assert_eq(rate_remaining(&b, 1, 0), 0);
    rate_take(&b, 1, INT64_MIN, 0);
    cr_assert(rate_is_full(&b, 0));
    b = (struct rate_bucket){0};
    for (int i = 0; i < 1000000; i++)
        rate_take(&b, 4000000000u, 1, 1ull << 50);
    cr_assert_eq(rate_remaining(&b, 4000000000u, 1ull << 50) / 10000, 399900, "a millionth is not lost");
    cr_assert_eq(rate_remaining(&b, 4000000000u, UINT64_MAX), 4000000000u);
    cr_assert_eq(rate_wait_ms(&b, 4000000000u, 4000000000u, 1ull << 50), 15);
}

Test(rate, a_clock_that_goes_back_gives_nothing_and_takes_nothing)
{
    struct rate_bucket b = {0};
    rate_take(&b, 60, 60, 100 * S);
    cr_assert_eq(rate_remaining(&b, 60, 50 * S), 0);
    cr_assert_eq(rate_reset_ms(&b, 0), 60000);
    rate_take(&b, 60, -10, 50 * S);
    cr_assert_eq(rate_remaining(&b, 60, 100 * S), 10);
    cr_assert_eq(rate_remaining(&b, 60, 110 * S), 20, "counted from when it was last right");
}
