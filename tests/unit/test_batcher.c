/*
 * lib/batch/batcher: each rule of when a batch is due and which goes next, by small scenes under a fake
 * clock. test_batcher_model.c checks the rules together, at random.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "batch/batcher.h"

#define MS           1000ull
#define MEMBERS      4096
#define NOBODY       ((uint32_t[PRIORITIES]){0})
#define LOW_HOLDS(n) ((uint32_t[PRIORITIES]){[PRIORITY_LOW] = (n)})

static struct batcher_config config;
static struct batcher *b;
static struct batch_member *members;
static unsigned used;
static uint64_t now;
static struct batch_taken taken;

static void setup(void)
{
    config = (struct batcher_config){
        .priority = {[PRIORITY_LOW] = {4000 * MS, 4, false},
                     [PRIORITY_MEDIUM] = {1000 * MS, 4, false},
                     [PRIORITY_HIGH] = {200 * MS, 6, false}},
        .slots = 8,
        .queue_max = 1000,
        .tenant_share = 1,
        .flush_when_all_wait = true,
    };
    cr_assert_eq(batcher_new(&config, &b), 0);
    members = calloc(MEMBERS, sizeof(*members));
    cr_assert_not_null(members);
    used = 0;
    now = 1000000 * MS;
}

static void teardown(void)
{
    for (unsigned i = 0; i < used; i++)
        batcher_remove(b, &members[i]);
    batcher_free(b);
    free(members);
}

TestSuite(batcher, .init = setup, .fini = teardown);

static struct batch_member *prepare(enum priority p, char tenant, char key)
{
    cr_assert_lt(used, MEMBERS);
    struct batch_member *m = &members[used++];
    *m = (struct batch_member){.priority = p, .key = {(uint8_t)key}, .tenant = {(uint8_t)tenant}};
    m->arrived_us = now;
    return m;
}

static struct batch_member *add(struct batch_member *m)
{
    bool tenant_full;
    cr_assert_eq(batcher_add(b, m, now, &tenant_full), 0);
    return m;
}

static struct batch_member *arrive(enum priority p, char tenant, char key)
{
    return add(prepare(p, tenant, key));
}

static void arrive_n(unsigned n, enum priority p)
{
    while (n--)
        arrive(p, 'a', 'k');
}

static bool take(const uint32_t running[PRIORITIES])
{
    return batcher_take(b, now, running, false, &taken);
}

static void expect(unsigned n, enum priority p, enum flush_reason reason, const uint32_t *running)
{
    cr_assert(take(running), "a batch is due");
    cr_assert_eq(taken.n, n, "%u members, not %u", taken.n, n);
    cr_assert_eq(taken.priority, p);
    cr_assert_eq(taken.reason, reason, "because %s", flush_reason_name(taken.reason));
    unsigned counted = 0;
    uint64_t before = 0;
    list_for_each (it, &taken.members) {
        struct batch_member *m = LIST_ENTRY(it, struct batch_member, node);
        cr_assert_null(m->group);
        cr_assert_geq(m->arrived_us, before, "oldest first");
        before = m->arrived_us;
        counted++;
    }
    cr_assert_eq(counted, n);
}

static struct batch_member *first_taken(void)
{
    return LIST_ENTRY(taken.members.next, struct batch_member, node);
}

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

Test(batcher, higher_priorities_go_first)
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

Test(batcher, low_does_not_starve_under_endless_high)
{
    cr_assert_eq(starve(PRIORITY_LOW, 'a'), 36000 * MS, "its window and two steps of four windows");
}

Test(batcher, medium_does_not_starve_under_endless_high)
{
    cr_assert_eq(starve(PRIORITY_MEDIUM, 'b'), 5000 * MS, "its window and one step");
}

Test(batcher, an_aged_group_is_bounded_as_what_it_counts_for)
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

Test(batcher, tenants_take_turns)
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

Test(batcher, a_tenant_served_before_is_remembered_when_it_comes_back)
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

Test(batcher, turns_are_counted_for_each_effective_priority)
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

Test(batcher, many_tenants_that_come_and_go)
{
    for (unsigned i = 0; i < 3000; i++) {
        struct batch_member *m = prepare(PRIORITY_HIGH, 0, 'k');
        memcpy(m->tenant, &i, sizeof(i));
        m->alone = true;
        add(m);
        expect(1, PRIORITY_HIGH, FLUSH_ALONE, NOBODY);
    }
}

static void expect_refusal(char tenant, bool tenant_full)
{
    struct batch_member *m = prepare(PRIORITY_HIGH, tenant, 'k');
    bool got = !tenant_full;
    cr_assert_eq(batcher_add(b, m, now, &got), ERR_LIMIT);
    cr_assert_eq(got, tenant_full);
    cr_assert_null(m->group);
}

Test(batcher, tenant_share)
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

Test(batcher, a_tenant_by_itself_may_fill_the_queue)
{
    config.queue_max = 4;
    config.tenant_share = 0.25;
    batcher_configure(b, &config);
    arrive_n(4, PRIORITY_LOW);
    expect_refusal('a', true);
    expect_refusal('b', false);
}

Test(batcher, the_share_is_at_least_one)
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

Test(batcher, remove_in_the_middle)
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

Test(batcher, remove_of_the_oldest_after_its_window)
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

Test(batcher, what_is_tried_again_keeps_its_place)
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

Test(batcher, an_arrival_in_the_future_counts_as_now)
{
    struct batch_member *m = prepare(PRIORITY_HIGH, 'a', 'k');
    m->arrived_us = UINT64_MAX;
    add(m);
    cr_assert_eq(batcher_next_due_us(b, now), now + 200 * MS);
}

Test(batcher, equal_clocks_keep_the_order_of_arrival)
{
    for (char key = 'a'; key <= 'z'; key++)
        arrive(PRIORITY_HIGH, 't', key);
    now += 200 * MS;
    for (char key = 'a'; key <= 'z'; key++) {
        expect(1, PRIORITY_HIGH, FLUSH_WINDOW, NOBODY);
        cr_assert_eq(first_taken()->key[0], key);
    }
}

Test(batcher, configuration_is_in_force_for_what_waits)
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

Test(batcher, depth)
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

Test(batcher, reason_names)
{
    cr_assert_str_eq(flush_reason_name(FLUSH_WINDOW), "window");
    cr_assert_str_eq(flush_reason_name(FLUSH_ALONE), "alone");
    cr_assert_str_eq(flush_reason_name(FLUSH_REASONS), "?");
}
