/* lib/batch/breaker: when it opens, for how long, and whom it lets through to see. */
#include <criterion/criterion.h>

#include "batch/breaker.h"

#define S       1000000ull
#define LONGEST UINT32_MAX /* the random number that makes the longest wait */

static struct breaker b;
static uint64_t now;

static void setup(void)
{
    b = (struct breaker){.trip_after = 3};
    now = 1000 * S;
}

static bool fail(void)
{
    bool probe = breaker_enter(&b, now);
    if (probe)
        breaker_leave(&b);
    return breaker_failed(&b, probe, now, 0, LONGEST);
}

static void open_it(void)
{
    while (!fail())
        ;
}

TestSuite(breaker, .init = setup);

Test(breaker, opens_after_so_many_failures_in_a_row)
{
    cr_assert_not(fail());
    cr_assert_not(fail());
    cr_assert(breaker_permits(&b, now));
    cr_assert(fail());
    cr_assert_not(breaker_permits(&b, now));
    cr_assert_eq(breaker_open_us(&b, now), 1 * S - 1);
}

Test(breaker, an_answer_between_starts_the_count_anew)
{
    fail();
    fail();
    breaker_worked(&b);
    cr_assert_not(fail());
    cr_assert_not(fail());
    cr_assert(fail());
}

Test(breaker, lets_one_batch_through_to_see)
{
    open_it();
    now += 1 * S;
    cr_assert(breaker_permits(&b, now));
    cr_assert_eq(breaker_open_us(&b, now), 0);
    cr_assert(breaker_enter(&b, now), "a probe");
    cr_assert_not(breaker_permits(&b, now));
    cr_assert(breaker_enter(&b, now), "another call of the same batch");
    breaker_leave(&b);
    cr_assert_not(breaker_permits(&b, now));
    breaker_leave(&b);
    breaker_worked(&b);
    cr_assert(breaker_permits(&b, now));
    cr_assert_not(breaker_enter(&b, now), "closed again: no probe");
}

Test(breaker, a_probe_that_was_never_sent_makes_room_for_the_next)
{
    open_it();
    now += 1 * S;
    breaker_enter(&b, now);
    breaker_leave(&b);
    cr_assert(breaker_permits(&b, now));
}

Test(breaker, opens_twice_as_long_each_time_up_to_a_bound)
{
    static const uint64_t seconds[] = {1, 2, 4, 8, 16, 30, 30};
    open_it();
    for (unsigned i = 0; i < 7; i++) {
        cr_assert_eq(breaker_open_us(&b, now), seconds[i] * S - 1, "the %u. time %llu us", i + 1,
                     (unsigned long long)breaker_open_us(&b, now));
        now = b.open_until_us;
        cr_assert(fail(), "one failed probe opens it");
    }
    breaker_worked(&b);
    open_it();
    cr_assert_eq(breaker_open_us(&b, now), 1 * S - 1, "after it was closed it begins anew");
}

Test(breaker, waits_at_least_half_of_it_by_chance)
{
    b.trip_after = 1;
    breaker_failed(&b, false, now, 0, 0);
    cr_assert_eq(breaker_open_us(&b, now), S / 2);
}

Test(breaker, honours_retry_after_within_its_bound)
{
    b.trip_after = 1;
    breaker_failed(&b, false, now, 7000, 0);
    cr_assert_eq(breaker_open_us(&b, now), 7 * S);
    breaker_worked(&b);
    breaker_failed(&b, false, now, UINT32_MAX, 0);
    cr_assert_eq(breaker_open_us(&b, now), BREAKER_OPEN_MAX_US);
}

Test(breaker, calls_from_before_do_not_lengthen_it_but_may_close_it)
{
    open_it();
    uint64_t until = b.open_until_us;
    cr_assert_not(breaker_failed(&b, false, now + 1, 0, LONGEST));
    cr_assert_eq(b.open_until_us, until);
    now = until;
    cr_assert(breaker_enter(&b, now));
    cr_assert_not(breaker_failed(&b, false, now, 0, LONGEST), "not the probe's word");
    cr_assert_eq(b.state, BREAKER_HALF_OPEN);
    breaker_worked(&b);
    cr_assert_eq(b.state, BREAKER_CLOSED);
}

Test(breaker, a_sign_of_life_lets_the_probe_through_at_once)
{
    breaker_hurry(&b, now);
    cr_assert_eq(b.state, BREAKER_CLOSED);
    open_it();
    breaker_hurry(&b, now);
    cr_assert(breaker_permits(&b, now));
    cr_assert(breaker_enter(&b, now), "still only to see");
    cr_assert_not(breaker_permits(&b, now));
}

Test(breaker, zero_never_opens)
{
    b.trip_after = 0;
    for (unsigned i = 0; i < 1000; i++)
        cr_assert_not(fail());
    cr_assert(breaker_permits(&b, now));
}
