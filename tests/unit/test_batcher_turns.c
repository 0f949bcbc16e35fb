/* Which of several due groups goes next: priorities, ageing, tenants. */
#include "batcher_fixture.h"

TestSuite(batcher_turns, .init = setup, .fini = teardown);

Test(batcher_turns, higher_priorities_go_first)
{
    arrive_n(4, PRIORITY_LOW);
    now += 10 * MS;
    arrive_n(4, PRIORITY_MEDIUM);
    now += 10 * MS;
    arrive_n(6, PRIORITY_HIGH);
    expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    expect(4, PRIORITY_MEDIUM, FLUSH_FULL, NOBODY);
    expect(4, PRIORITY_LOW, FLUSH_FULL, NOBODY);
}

/* One slot, and always a full HIGH batch that wants it. */
static uint64_t starve(enum priority p, char tenant)
{
    config.slots = 1;
    batcher_configure(b, &config);
    uint64_t start = now;
    arrive(p, tenant, 'x');
    for (;; now += 100 * MS) {
        if (used + 7 > MEMBERS)
            cr_assert_fail("it starves");
        arrive_n(6, PRIORITY_HIGH);
        cr_assert(take(NOBODY));
        if (taken.priority == p)
            return now - start;
    }
}

Test(batcher_turns, low_does_not_starve_under_endless_high)
{
    cr_assert_eq(starve(PRIORITY_LOW, 'a'), 36000 * MS, "its window and two steps of four windows");
}

Test(batcher_turns, medium_does_not_starve_under_endless_high)
{
    cr_assert_eq(starve(PRIORITY_MEDIUM, 'b'), 5000 * MS, "its window and one step");
}

Test(batcher_turns, an_aged_group_is_bounded_as_what_it_counts_for)
{
    arrive(PRIORITY_LOW, 'a', 'k');
    now += 20000 * MS - 1;
    cr_assert_not(take(LOW_HOLDS(6)), "still LOW");
    now++;
    cr_assert_not(take(LOW_HOLDS(7)), "MEDIUM by now");
    now += 16000 * MS - 1;
    cr_assert_not(take(LOW_HOLDS(7)));
    now++;
    expect(1, PRIORITY_LOW, FLUSH_WINDOW, LOW_HOLDS(7));
}

Test(batcher_turns, tenants_take_turns)
{
    for (int i = 0; i < 18; i++)
        arrive(PRIORITY_HIGH, 'a', 'k');
    now += MS;
    for (int i = 0; i < 12; i++)
        arrive(PRIORITY_HIGH, 'b', 'k');
    now += MS;
    for (int i = 0; i < 6; i++)
        arrive(PRIORITY_HIGH, 'c', 'k');
    char order[7] = "";
    for (int i = 0; i < 6; i++) {
        expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
        order[i] = (char)first_taken()->tenant[0];
    }
    cr_assert_str_eq(order, "abcaba");
}

Test(batcher_turns, a_tenant_served_before_is_remembered_when_it_comes_back)
{
    char order[9] = "";
    for (int i = 0; i < 48; i++)
        arrive(PRIORITY_HIGH, 'a', 'k');
    for (int i = 0; i < 8; i++) {
        now += MS;
        for (int j = 0; j < 6 && i % 2 == 0; j++)
            arrive(PRIORITY_HIGH, 'b', 'k');
        expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
        order[i] = (char)first_taken()->tenant[0];
    }
    cr_assert_str_eq(order, "abababab", "in turn, not b whenever it comes");
}

Test(batcher_turns, turns_are_counted_for_each_effective_priority)
{
    /* a is served as HIGH; that does not put it behind b among the LOW. */
    arrive_n(6, PRIORITY_HIGH);
    expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    arrive_n(4, PRIORITY_LOW);
    now++;
    for (int i = 0; i < 4; i++)
        arrive(PRIORITY_LOW, 'b', 'k');
    expect(4, PRIORITY_LOW, FLUSH_FULL, NOBODY);
    cr_assert_eq(first_taken()->tenant[0], 'a');
}

Test(batcher_turns, many_tenants_that_come_and_go)
{
    for (unsigned i = 0; i < 3000; i++) {
        struct batch_member *m = prepare(PRIORITY_HIGH, 0, 'k');
        memcpy(m->tenant, &i, sizeof(i));
        m->alone = true;
        add(m);
        expect(1, PRIORITY_HIGH, FLUSH_ALONE, NOBODY);
    }
}
