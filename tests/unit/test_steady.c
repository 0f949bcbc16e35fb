/* What time it may be when the clock is set. */
#include <criterion/criterion.h>

#include "base/clock.h"
#include "base/steady.h"

#define START_US  1769947200000000ull
#define PASSED_US (77 * US_PER_S)
#define HOUR_US   (3600 * US_PER_S)

static const struct steady start = {START_US, PASSED_US};

static void expect(uint64_t real_us, uint64_t passed_us, uint64_t earliest_us, uint64_t latest_us)
{
    struct steady_bounds b = steady_now(&start, real_us, PASSED_US + passed_us);
    cr_assert_eq(b.earliest_us, earliest_us);
    cr_assert_eq(b.latest_us, latest_us);
}

Test(steady, a_clock_that_nobody_sets)
{
    expect(START_US, 0, START_US, START_US);
    expect(START_US + HOUR_US, HOUR_US, START_US + HOUR_US, START_US + HOUR_US);
}

Test(steady, one_that_is_set_forwards)
{
    expect(START_US + 3 * HOUR_US, HOUR_US, START_US + HOUR_US, START_US + 3 * HOUR_US);
}

Test(steady, one_that_is_set_back)
{
    expect(START_US - HOUR_US, HOUR_US, START_US - HOUR_US, START_US + HOUR_US);
    expect(0, HOUR_US, 0, START_US + HOUR_US);
}

/* One hour is promised; the clock is wrong while it is counted, or while it is judged, or both. */
Test(steady, nothing_expires_early)
{
    static const int64_t wrong_us[] = {0, 262 * 1000000ll, -262 * 1000000ll, 86400 * 1000000ll,
                                       -86400 * 1000000ll};
    for (size_t i = 0; i < 25; i++) {
        uint64_t then = 10 * US_PER_S, just_before = then + HOUR_US - 1;
        uint64_t until =
            steady_now(&start, START_US + then + (uint64_t)wrong_us[i / 5], PASSED_US + then).latest_us;
        struct steady_bounds b =
            steady_now(&start, START_US + just_before + (uint64_t)wrong_us[i % 5], PASSED_US + just_before);
        cr_assert_gt(until + HOUR_US, b.earliest_us);
    }
}
