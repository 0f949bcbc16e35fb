/* lib/batch/pace: what a new prompt would wait. */
#include <criterion/criterion.h>

#include "batch/pace.h"

#define S 1000000ull

Test(pace, knows_nothing_before_the_first_call)
{
    struct pace p = {0};
    cr_assert_eq(pace_wait_us(&p, 1000, 1), 0);
}

Test(pace, a_free_slot_is_no_wait)
{
    struct pace p = {10 * S};
    cr_assert_eq(pace_wait_us(&p, 0, 8), 0);
    cr_assert_eq(pace_wait_us(&p, 7, 8), 0);
}

Test(pace, slots_end_one_after_the_other)
{
    struct pace p = {8 * S};
    cr_assert_eq(pace_wait_us(&p, 8, 8), 1 * S + 8 * S, "the first of eight that ends, then its own call");
    cr_assert_eq(pace_wait_us(&p, 15, 8), 8 * S + 8 * S);
    cr_assert_eq(pace_wait_us(&p, 3, 1), 3 * 8 * S + 8 * S);
}

Test(pace, follows_the_calls)
{
    struct pace p = {0};
    pace_note(&p, 8 * S);
    cr_assert_eq(p.mean_us, 8 * S);
    pace_note(&p, 0);
    cr_assert_eq(p.mean_us, 7 * S);
    pace_note(&p, 15 * S);
    cr_assert_eq(p.mean_us, 8 * S);
    for (unsigned i = 0; i < 200; i++)
        pace_note(&p, 1 * S);
    cr_assert_lt(p.mean_us, 1 * S + 10);
}

Test(pace, extreme_values)
{
    struct pace p = {UINT64_MAX / 4};
    cr_assert_eq(pace_wait_us(&p, UINT32_MAX, 1), UINT64_MAX / 2);
    pace_note(&p, UINT64_MAX);
    cr_assert_gt(p.mean_us, UINT64_MAX / 4);
}
