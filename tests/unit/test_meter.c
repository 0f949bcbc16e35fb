/* Rates over a minute. */
#include "base/meter.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/clock.h"

#define START (1000 * US_PER_S + 400 * US_PER_MS)

static void expect_rate(const struct meter *m, uint64_t now_us, double expected)
{
    double seen = meter_per_second(m, now_us);
    cr_assert_lt(fabs(seen - expected), 1e-9, "%g, not %g", seen, expected);
}

Test(meter, nothing)
{
    struct meter m;
    meter_init(&m, START);
    expect_rate(&m, START, 0);
    expect_rate(&m, START + 500 * US_PER_S, 0);
}

Test(meter, the_first_second_counts_as_a_whole_one)
{
    struct meter m;
    meter_init(&m, START);
    meter_note(&m, START, 7);
    expect_rate(&m, START, 7);
    expect_rate(&m, START + US_PER_S / 2, 7);
    expect_rate(&m, START + 2 * US_PER_S, 3.5);
}

Test(meter, an_even_stream)
{
    struct meter m;
    meter_init(&m, START);
    for (uint64_t i = 0; i < 300 * 10; i++) {
        uint64_t now_us = START + i * 100 * US_PER_MS;
        meter_note(&m, now_us, 3);
        if (i % 10 == 9 && i > 20) {
            double seen = meter_per_second(&m, now_us + 99 * US_PER_MS);
            cr_assert_lt(fabs(seen - 30), 0.75, "after %llu: %g", (unsigned long long)i, seen);
        }
    }
}

Test(meter, what_is_older_than_a_minute_is_gone)
{
    struct meter m;
    meter_init(&m, START);
    meter_note(&m, START, 60);
    meter_note(&m, START + 30 * US_PER_S, 60);
    uint64_t last_us = 1059 * US_PER_S; /* START's second is 1000 */
    expect_rate(&m, last_us + 600 * US_PER_MS, 120 / 59.2);
    expect_rate(&m, last_us + US_PER_S, 60 / 59.0);
    expect_rate(&m, START + 89 * US_PER_S, 60 / 59.4);
    expect_rate(&m, START + 90 * US_PER_S, 0);
    meter_note(&m, START + 90 * US_PER_S, 1);
    expect_rate(&m, START + 90 * US_PER_S, 1 / 59.4);
}

Test(meter, long_silences_leave_nothing_behind)
{
    static const uint64_t silences_s[] = {59, 60, 61, 62, 119, 120, 121, 100000};
    for (size_t i = 0; i < sizeof(silences_s) / sizeof(silences_s[0]); i++) {
        struct meter m;
        meter_init(&m, START);
        for (uint64_t s = 0; s < 60; s++)
            meter_note(&m, START + s * US_PER_S, 5);
        uint64_t now_us = START + (59 + silences_s[i]) * US_PER_S;
        meter_note(&m, now_us, 1);
        uint64_t left = silences_s[i] < 60 ? 5 + 1 : 1;
        expect_rate(&m, now_us, (double)left / 59.4);
    }
}

Test(meter, a_clock_that_begins_with_zero)
{
    struct meter m;
    meter_init(&m, 0);
    meter_note(&m, 0, 4);
    expect_rate(&m, 2 * US_PER_S, 2);
}
