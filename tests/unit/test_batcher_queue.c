/* Who gets into the queue and out of it again, and what is seen of it. */
#include "batcher_fixture.h"

TestSuite(batcher_queue, .init = setup, .fini = teardown);

static void expect_refusal(char tenant, bool tenant_full)
{
    struct batch_member *m = prepare(PRIORITY_HIGH, tenant, 'k');
    bool got = !tenant_full;
    cr_assert_eq(batcher_add(b, m, now, &got), ERR_LIMIT);
    cr_assert_eq(got, tenant_full);
    cr_assert_null(m->group);
}

Test(batcher_queue, tenant_share)
{
    config.queue_max = 10;
    config.tenant_share = 0.5;
    batcher_configure(b, &config);
    for (int i = 0; i < 7; i++)
        arrive(PRIORITY_LOW, 'a', 'k');
    arrive(PRIORITY_HIGH, 'b', 'k');
    expect_refusal('a', true);
    arrive(PRIORITY_HIGH, 'b', 'k');
    arrive(PRIORITY_HIGH, 'c', 'k');
    expect_refusal('b', false);
    expect_refusal('d', false);
    expect_refusal('a', true);
    batcher_remove(b, &members[0]);
    expect_refusal('a', true);
    arrive(PRIORITY_HIGH, 'b', 'k');
}

Test(batcher_queue, a_tenant_by_itself_may_fill_the_queue)
{
    config.queue_max = 4;
    config.tenant_share = 0.25;
    batcher_configure(b, &config);
    arrive_n(4, PRIORITY_LOW);
    expect_refusal('a', true);
    expect_refusal('b', false);
}

Test(batcher_queue, the_share_is_at_least_one)
{
    static const double shares[] = {0, 0.001, -1};
    for (unsigned i = 0; i < 3; i++) {
        config.tenant_share = shares[i];
        config.queue_max = 100;
        batcher_configure(b, &config);
        struct batch_member *m = arrive(PRIORITY_LOW, 'a', 'k'), *n = NULL;
        if (shares[i] >= 0) {
            n = arrive(PRIORITY_LOW, 'b', 'k');
            expect_refusal('a', true);
            expect_refusal('b', true);
            batcher_remove(b, n);
        }
        batcher_remove(b, m);
    }
}

Test(batcher_queue, remove_in_the_middle)
{
    struct batch_member *m[6];
    for (int i = 0; i < 6; i++) {
        m[i] = arrive(PRIORITY_HIGH, 'a', 'k');
        now += MS;
    }
    batcher_remove(b, m[3]);
    cr_assert_null(m[3]->group);
    batcher_remove(b, m[3]);
    cr_assert_not(take(NOBODY), "no longer full");
    cr_assert_eq(batcher_next_due_us(b, now), m[0]->arrived_us + 200 * MS);
    batcher_remove(b, m[0]);
    cr_assert_eq(batcher_next_due_us(b, now), m[1]->arrived_us + 200 * MS);
    now = m[1]->arrived_us + 200 * MS;
    expect(4, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    cr_assert_eq(first_taken(), m[1]);
}

Test(batcher_queue, remove_of_the_oldest_after_its_window)
{
    struct batch_member *old = arrive(PRIORITY_HIGH, 'a', 'k');
    now += 150 * MS;
    arrive(PRIORITY_HIGH, 'a', 'k');
    now += 50 * MS;
    cr_assert_not(take(LOW_HOLDS(8)));
    batcher_remove(b, old);
    cr_assert_not(take(NOBODY), "the other has waited 50 ms");
    cr_assert_eq(batcher_next_due_us(b, now), now + 150 * MS);
}

Test(batcher_queue, what_is_tried_again_keeps_its_place)
{
    arrive(PRIORITY_HIGH, 'a', 'k');
    now += 100 * MS;
    struct batch_member *m = prepare(PRIORITY_HIGH, 'a', 'k');
    m->arrived_us = now - 200 * MS;
    add(m);
    m = prepare(PRIORITY_HIGH, 'a', 'k');
    m->arrived_us = now - 50 * MS;
    add(m);
    arrive(PRIORITY_HIGH, 'a', 'k');
    expect(4, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
    cr_assert_eq(first_taken()->arrived_us, now - 200 * MS);
}

Test(batcher_queue, an_arrival_in_the_future_counts_as_now)
{
    struct batch_member *m = prepare(PRIORITY_HIGH, 'a', 'k');
    m->arrived_us = UINT64_MAX;
    add(m);
    cr_assert_eq(batcher_next_due_us(b, now), now + 200 * MS);
}

Test(batcher_queue, equal_clocks_keep_the_order_of_arrival)
{
    for (char key = 'a'; key <= 'z'; key++)
        arrive(PRIORITY_HIGH, 't', key);
    now += 200 * MS;
    for (char key = 'a'; key <= 'z'; key++) {
        expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
        cr_assert_eq(first_taken()->key[0], key);
    }
}

Test(batcher_queue, configuration_is_in_force_for_what_waits)
{
    arrive_n(3, PRIORITY_LOW);
    now += 1000 * MS;
    cr_assert_not(take(NOBODY));
    config.priority[PRIORITY_LOW].window_us = 1500 * MS;
    batcher_configure(b, &config);
    cr_assert_eq(batcher_next_due_us(b, now), now + 500 * MS);
    config.priority[PRIORITY_LOW].window_us = 500 * MS;
    batcher_configure(b, &config);
    cr_assert_not(take(LOW_HOLDS(8)));
    config.priority[PRIORITY_LOW].window_us = 9000 * MS;
    batcher_configure(b, &config);
    cr_assert_not(take(NOBODY), "it was due for a while");
    config.priority[PRIORITY_LOW].max_batch = 2;
    batcher_configure(b, &config);
    expect(2, PRIORITY_LOW, FLUSH_FULL, NOBODY);
    cr_assert_not(take(NOBODY));
}

Test(batcher_queue, depth)
{
    struct batcher_depth d;
    batcher_depth(b, &d);
    cr_assert_eq(d.waiting[PRIORITY_LOW] + d.oldest_us[PRIORITY_LOW], 0);
    uint64_t first = now;
    arrive_n(3, PRIORITY_LOW);
    now += 5 * MS;
    arrive_n(4, PRIORITY_LOW);
    arrive(PRIORITY_HIGH, 'a', 'k');
    batcher_depth(b, &d);
    cr_assert_eq(d.waiting[PRIORITY_LOW], 7);
    cr_assert_eq(d.oldest_us[PRIORITY_LOW], first);
    cr_assert_eq(d.waiting[PRIORITY_MEDIUM], 0);
    cr_assert_eq(d.oldest_us[PRIORITY_MEDIUM], 0);
    cr_assert_eq(d.oldest_us[PRIORITY_HIGH], now);
    expect(4, PRIORITY_LOW, FLUSH_FULL, NOBODY);
    batcher_depth(b, &d);
    cr_assert_eq(d.waiting[PRIORITY_LOW], 3);
    cr_assert_eq(d.oldest_us[PRIORITY_LOW], now);
}

Test(batcher_queue, reason_names)
{
    cr_assert_str_eq(flush_reason_name(FLUSH_WINDOW), "window");
    cr_assert_str_eq(flush_reason_name(FLUSH_ALONE), "alone");
    cr_assert_str_eq(flush_reason_name(FLUSH_REASONS), "?");
}
