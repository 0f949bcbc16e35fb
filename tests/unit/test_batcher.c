/* When a batch is due, and what goes into it. */
#include "batcher_fixture.h"

TestSuite(batcher, .init = setup, .fini = teardown);

Test(batcher, empty)
{
    cr_assert_not(take(NOBODY));
    cr_assert_eq(batcher_next_due_us(b, now), UINT64_MAX);
    batcher_free(NULL);
}

Test(batcher, window_of_the_oldest)
{
    arrive(PRIORITY_HIGH, 'a', 'k');
    now += 150 * MS;
    arrive(PRIORITY_HIGH, 'a', 'k');
    cr_assert_not(take(NOBODY));
    cr_assert_eq(batcher_next_due_us(b, now), now + 50 * MS);
    now += 50 * MS - 1;
    cr_assert_not(take(NOBODY));
    now++;
    expect(2, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    cr_assert_eq(batcher_next_due_us(b, now), UINT64_MAX);
}

Test(batcher, full_at_once_and_the_rest_by_its_own_window)
{
    arrive_n(6, PRIORITY_HIGH);
    expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    now += 10 * MS;
    arrive_n(7, PRIORITY_HIGH);
    expect(6, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    cr_assert_not(take(NOBODY));
    cr_assert_eq(batcher_next_due_us(b, now), now + 200 * MS);
    now += 200 * MS;
    expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
}

Test(batcher, each_priority_has_its_own_window_and_size)
{
    arrive_n(3, PRIORITY_HIGH);
    arrive_n(3, PRIORITY_MEDIUM);
    arrive_n(2, PRIORITY_LOW);
    cr_assert_not(take(NOBODY));
    now += 200 * MS;
    expect(3, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    cr_assert_not(take(NOBODY));
    now += 800 * MS;
    expect(3, PRIORITY_MEDIUM, FLUSH_WINDOW, NOBODY);
    now += 3000 * MS;
    expect(2, PRIORITY_LOW, FLUSH_WINDOW, NOBODY);
    cr_assert_not(take(NOBODY));
}

Test(batcher, only_equal_keys_and_tenants_share)
{
    arrive(PRIORITY_HIGH, 'a', 'k');
    arrive(PRIORITY_HIGH, 'a', 'l');
    arrive(PRIORITY_HIGH, 'b', 'k');
    arrive(PRIORITY_HIGH, 'a', 'k');
    now += 200 * MS;
    expect(2, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
}

Test(batcher, flushes_when_all_wait)
{
    arrive_n(2, PRIORITY_LOW);
    arrive_n(1, PRIORITY_MEDIUM);
    batcher_set_waiting(b, 3, 4);
    cr_assert_not(take(NOBODY));
    batcher_set_waiting(b, 4, 4);
    expect(1, PRIORITY_MEDIUM, FLUSH_ALL_WAIT, NOBODY);
    expect(2, PRIORITY_LOW, FLUSH_ALL_WAIT, NOBODY);
    arrive(PRIORITY_LOW, 'a', 'k');
    batcher_set_waiting(b, 5, 0);
    cr_assert_not(take(NOBODY), "capacity unknown");
    batcher_set_waiting(b, 4, 4);
    config.flush_when_all_wait = false;
    batcher_configure(b, &config);
    cr_assert_not(take(NOBODY), "switched off");
}

Test(batcher, alone_goes_at_once_and_by_itself)
{
    arrive(PRIORITY_LOW, 'a', 'k');
    for (int i = 0; i < 3; i++) {
        struct batch_member *m = prepare(PRIORITY_LOW, 'a', 'k');
        m->alone = true;
        add(m);
    }
    for (int i = 0; i < 3; i++)
        expect(1, PRIORITY_LOW, FLUSH_ALONE, NOBODY);
    cr_assert_not(take(NOBODY));
}

static void arrive_sized(uint64_t tokens)
{
    struct batch_member *m = prepare(PRIORITY_HIGH, 'a', 'k');
    m->tokens = tokens;
    add(m);
}

Test(batcher, a_batch_stops_before_tokens_max)
{
    config.tokens_max = 100;
    batcher_configure(b, &config);
    arrive_sized(40);
    arrive_sized(40);
    cr_assert_not(take(NOBODY));
    arrive_sized(30);
    expect(2, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    cr_assert_not(take(NOBODY), "30 are left");
    arrive_sized(70);
    expect(2, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    arrive_sized(101);
    expect(1, PRIORITY_HIGH, FLUSH_ALONE, NOBODY);
    arrive_sized(UINT64_MAX);
    expect(1, PRIORITY_HIGH, FLUSH_ALONE, NOBODY);
}

Test(batcher, tokens_max_lowered_while_they_wait)
{
    arrive_sized(50);
    arrive_sized(50);
    arrive_sized(10);
    cr_assert_not(take(NOBODY));
    config.tokens_max = 20;
    batcher_configure(b, &config);
    expect(1, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    expect(1, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    cr_assert_not(take(NOBODY));
    now += 200 * MS;
    expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
}

Test(batcher, slots_are_kept_for_higher_priorities)
{
    arrive_n(4, PRIORITY_LOW);
    cr_assert_not(take(LOW_HOLDS(6)));
    expect(4, PRIORITY_LOW, FLUSH_FULL, LOW_HOLDS(5));
    arrive_n(4, PRIORITY_MEDIUM);
    cr_assert_not(take(((uint32_t[]){0, 7, 0})));
    cr_assert_not(take(((uint32_t[]){2, 6, 0})), "no slot is left");
    expect(4, PRIORITY_MEDIUM, FLUSH_FULL, (uint32_t[]){1, 6, 0});
    arrive_n(6, PRIORITY_HIGH);
    cr_assert_not(take(((uint32_t[]){0, 0, 8})));
    expect(6, PRIORITY_HIGH, FLUSH_FULL, (uint32_t[]){6, 1, 0});
}

Test(batcher, one_slot_serves_every_priority)
{
    for (uint32_t slots = 0; slots <= 2; slots++) {
        config.slots = slots;
        batcher_configure(b, &config);
        for (int p = PRIORITY_LOW; p <= PRIORITY_HIGH; p++) {
            arrive_n(6, (enum priority)p);
            uint32_t held[PRIORITIES] = {0};
            held[p] = slots ? slots : 1;
            cr_assert_not(take(held));
            cr_assert(take(NOBODY));
            now += 4000 * MS;
            while (take(NOBODY))
                ;
        }
    }
}

Test(batcher, max_batch_one)
{
    config.priority[PRIORITY_LOW].max_batch = 1;
    config.priority[PRIORITY_HIGH].max_batch = 0;
    batcher_configure(b, &config);
    arrive_n(2, PRIORITY_LOW);
    arrive_n(1, PRIORITY_HIGH);
    expect(1, PRIORITY_HIGH, FLUSH_FULL, NOBODY);
    expect(1, PRIORITY_LOW, FLUSH_FULL, NOBODY);
    expect(1, PRIORITY_LOW, FLUSH_FULL, NOBODY);
    cr_assert_not(take(NOBODY));
}

Test(batcher, no_window_at_all)
{
    config.priority[PRIORITY_LOW].window_us = 0;
    batcher_configure(b, &config);
    arrive(PRIORITY_LOW, 'a', 'k');
    cr_assert_eq(batcher_next_due_us(b, now), UINT64_MAX, "it is due already");
    expect(1, PRIORITY_LOW, FLUSH_WINDOW, NOBODY);
}

Test(batcher, a_group_goes_on_filling_while_it_waits_for_a_slot)
{
    arrive(PRIORITY_MEDIUM, 'a', 'k');
    now += 1000 * MS;
    cr_assert_not(take(LOW_HOLDS(8)));
    cr_assert_eq(batcher_next_due_us(b, now), UINT64_MAX, "no timer for what waits for a slot");
    arrive(PRIORITY_MEDIUM, 'a', 'k');
    expect(2, PRIORITY_MEDIUM, FLUSH_WINDOW, NOBODY);
}

Test(batcher, free_slots_bound_a_batch_whose_members_take_one_each)
{
    arrive_n(6, PRIORITY_HIGH);
    cr_assert(batcher_take(b, now, LOW_HOLDS(4), true, &taken));
    cr_assert_eq(taken.n, 4, "8 slots, 4 of them taken");
    cr_assert_eq(taken.reason, FLUSH_FULL);
    cr_assert_not(batcher_take(b, now, NOBODY, true, &taken), "two are no full batch");
    now += 200 * MS;
    cr_assert(batcher_take(b, now, NOBODY, true, &taken));
    cr_assert_eq(taken.n, 2);
}

Test(batcher, members_with_a_slot_each_leave_the_reserved_ones)
{
    arrive_n(4, PRIORITY_LOW);
    cr_assert(batcher_take(b, now, LOW_HOLDS(4), true, &taken));
    cr_assert_eq(taken.n, 2, "LOW holds at most 6 of 8");
}

Test(batcher, adaptive_leaves_at_once_while_nothing_runs)
{
    config.priority[PRIORITY_LOW].adaptive = true;
    batcher_configure(b, &config);
    arrive(PRIORITY_LOW, 'a', 'k');
    arrive(PRIORITY_MEDIUM, 'a', 'k');
    expect(1, PRIORITY_LOW, FLUSH_IDLE, NOBODY);
    cr_assert_not(take(NOBODY), "MEDIUM has the window policy");
    arrive_n(2, PRIORITY_LOW);
    cr_assert_not(take(LOW_HOLDS(1)), "a call runs: wait for it or for the window");
    expect(2, PRIORITY_LOW, FLUSH_IDLE, NOBODY);
    arrive_n(4, PRIORITY_LOW);
    expect(4, PRIORITY_LOW, FLUSH_FULL, LOW_HOLDS(1));
    arrive(PRIORITY_LOW, 'a', 'k');
    now += 4000 * MS;
    expect(1, PRIORITY_MEDIUM, FLUSH_WINDOW, LOW_HOLDS(1));
    expect(1, PRIORITY_LOW, FLUSH_WINDOW, LOW_HOLDS(1));
}
