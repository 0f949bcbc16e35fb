/*
 * lib/batch/batcher: what is asked of it from outside: whether one more would be let in, and how many calls
 * of a priority may run.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "batch/batcher.h"

static struct batcher_config config = {
    .priority = {[PRIORITY_LOW] = {1000, 4, false},
                 [PRIORITY_MEDIUM] = {1000, 4, false},
                 [PRIORITY_HIGH] = {1000, 4, false}},
    .slots = 4,
    .queue_max = 10,
    .tenant_share = 0.5,
};
static struct batcher *b;
static struct batch_member members[32];
static unsigned used;

static void setup(void)
{
    cr_assert_eq(batcher_new(&config, &b), 0);
}

static void teardown(void)
{
    for (unsigned i = 0; i < used; i++)
        batcher_remove(b, &members[i]);
    batcher_free(b);
}

TestSuite(batcher_admits, .init = setup, .fini = teardown);

static int add(char tenant, bool *ret_tenant_full)
{
    struct batch_member *m = &members[used++];
    *m = (struct batch_member){.tenant = {(uint8_t)tenant}};
    return batcher_add(b, m, 0, ret_tenant_full);
}

static void add_n(unsigned n, char tenant)
{
    bool tenant_full;
    while (n--)
        cr_assert_eq(add(tenant, &tenant_full), 0);
}

enum outcome { LET_IN, FULL, TENANT_FULL };

static enum outcome ask(char tenant, uint32_t others, uint32_t own)
{
    uint8_t id[TENANT_SIZE] = {(uint8_t)tenant};
    bool tenant_full = false;
    int rc = batcher_admits(b, id, others, own, &tenant_full);
    cr_assert(rc == 0 || rc == ERR_LIMIT);
    return rc == 0 ? LET_IN : tenant_full ? TENANT_FULL : FULL;
}

Test(batcher_admits, nobody_waits)
{
    cr_assert_eq(ask('a', 0, 0), LET_IN);
    cr_assert_eq(ask('a', 9, 9), LET_IN, "by itself a tenant may fill the queue");
    cr_assert_eq(ask('a', 10, 10), TENANT_FULL);
    cr_assert_eq(ask('a', 9, 4), LET_IN);
    cr_assert_eq(ask('a', 9, 5), TENANT_FULL, "five are its share, and others are on their way");
    cr_assert_eq(ask('a', 10, 4), FULL);
    cr_assert_eq(ask('a', 10, 0), FULL);
}

Test(batcher_admits, those_in_the_queue_count_with_those_on_their_way)
{
    add_n(3, 'a');
    add_n(2, 'b');
    cr_assert_eq(ask('a', 0, 0), LET_IN);
    cr_assert_eq(ask('a', 1, 1), LET_IN);
    cr_assert_eq(ask('a', 2, 2), TENANT_FULL);
    cr_assert_eq(ask('a', 4, 1), LET_IN);
    cr_assert_eq(ask('c', 4, 4), LET_IN);
    cr_assert_eq(ask('c', 5, 0), FULL);
    cr_assert_eq(ask('c', 5, 5), TENANT_FULL);
    batcher_remove(b, &members[4]);
    batcher_remove(b, &members[3]);
    cr_assert_eq(ask('a', 2, 2), LET_IN, "the others are gone");
    cr_assert_eq(ask('a', 3, 2), TENANT_FULL, "one is on its way again");
}

/* With nobody on the way it says what adding would do, and changes nothing. */
Test(batcher_admits, says_what_adding_does)
{
    static const char tenants[] = "abaabacabaccabbcaaab";
    for (size_t i = 0; tenants[i]; i++) {
        struct batcher_depth before, after;
        bool tenant_full = false;
        batcher_depth(b, &before);
        enum outcome said = ask(tenants[i], 0, 0);
        batcher_depth(b, &after);
        cr_assert_eq(memcmp(before.waiting, after.waiting, sizeof(before.waiting)), 0);
        int rc = add(tenants[i], &tenant_full);
        cr_assert_eq(rc == 0, said == LET_IN, "%zu", i);
        if (rc < 0)
            cr_assert_eq(tenant_full, said == TENANT_FULL, "%zu", i);
    }
}

Test(batcher_admits, slots_for_each_priority)
{
    static const struct {
        uint32_t slots, low, medium, high;
    } cases[] = {{1, 1, 1, 1}, {2, 1, 1, 2}, {3, 1, 2, 3}, {4, 2, 3, 4}, {100, 98, 99, 100}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct batcher_config other = config;
        other.slots = cases[i].slots;
        batcher_configure(b, &other);
        cr_assert_eq(batcher_slots_for(b, PRIORITY_LOW), cases[i].low, "of %u", cases[i].slots);
        cr_assert_eq(batcher_slots_for(b, PRIORITY_MEDIUM), cases[i].medium, "of %u", cases[i].slots);
        cr_assert_eq(batcher_slots_for(b, PRIORITY_HIGH), cases[i].high, "of %u", cases[i].slots);
    }
}
