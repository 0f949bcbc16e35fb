/* How many calls go before that of a new member. */
#include "batcher_fixture.h"

TestSuite(batcher_ahead, .init = setup, .fini = teardown);

static uint32_t ahead(char tenant, enum priority p, bool one_each)
{
    uint8_t id[TENANT_SIZE] = {(uint8_t)tenant};
    return batcher_calls_ahead(b, id, p, one_each);
}

Test(batcher_ahead, nobody_waits)
{
    cr_assert_eq(ahead('a', PRIORITY_LOW, false), 0);
}

Test(batcher_ahead, a_batch_that_has_room_takes_the_new_one_along)
{
    arrive_n(3, PRIORITY_LOW);
    cr_assert_eq(ahead('a', PRIORITY_LOW, false), 0);
    arrive_n(1, PRIORITY_LOW);
    cr_assert_eq(ahead('a', PRIORITY_LOW, false), 1);
    arrive_n(5, PRIORITY_LOW);
    cr_assert_eq(ahead('a', PRIORITY_LOW, false), 2);
    cr_assert_eq(ahead('a', PRIORITY_LOW, true), 9, "one call each");
}

Test(batcher_ahead, only_what_is_as_urgent_or_more)
{
    arrive_n(8, PRIORITY_LOW);
    arrive_n(5, PRIORITY_MEDIUM);
    arrive_n(7, PRIORITY_HIGH);
    cr_assert_eq(ahead('a', PRIORITY_HIGH, false), 1);
    cr_assert_eq(ahead('a', PRIORITY_MEDIUM, false), 2 + 1);
    cr_assert_eq(ahead('a', PRIORITY_LOW, false), 2 + 2 + 2);
}

Test(batcher_ahead, tenants_take_turns)
{
    for (unsigned i = 0; i < 60; i++)
        arrive(PRIORITY_HIGH, 'a', 'k');
    cr_assert_eq(ahead('a', PRIORITY_HIGH, false), 10);
    cr_assert_eq(ahead('b', PRIORITY_HIGH, false), 1,
                 "a new tenant's first is served after one of the other's");
    for (unsigned i = 0; i < 12; i++)
        arrive(PRIORITY_HIGH, 'b', 'k');
    cr_assert_eq(ahead('b', PRIORITY_HIGH, false), 2 + 3);
    cr_assert_eq(ahead('a', PRIORITY_HIGH, false), 10 + 2,
                 "and the one with many waits for all of the other's");
    cr_assert_eq(ahead('c', PRIORITY_HIGH, false), 2);
}

Test(batcher_ahead, what_was_taken_is_not_ahead_any_more)
{
    arrive_n(12, PRIORITY_HIGH);
    cr_assert(take(NOBODY));
    cr_assert_eq(ahead('a', PRIORITY_HIGH, false), 1);
    cr_assert(take(NOBODY));
    cr_assert_eq(ahead('a', PRIORITY_HIGH, false), 0);
}
