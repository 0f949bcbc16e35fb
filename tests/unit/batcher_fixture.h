/* A batcher, members to put into it and a clock, for the suites test_batcher*.c: each test has them fresh. */
#ifndef CARPOOL_TESTS_BATCHER_FIXTURE_H
#define CARPOOL_TESTS_BATCHER_FIXTURE_H

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

__attribute__((unused)) static void setup(void)
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

__attribute__((unused)) static void teardown(void)
{
    for (unsigned i = 0; i < used; i++)
        batcher_remove(b, &members[i]);
    batcher_free(b);
    free(members);
}

__attribute__((unused)) static struct batch_member *prepare(enum priority p, char tenant, char key)
{
    cr_assert_lt(used, MEMBERS);
    struct batch_member *m = &members[used++];
    *m = (struct batch_member){.priority = p, .key = {(uint8_t)key}, .tenant = {(uint8_t)tenant}};
    m->arrived_us = now;
    return m;
}

__attribute__((unused)) static struct batch_member *add(struct batch_member *m)
{
    bool tenant_full;
    cr_assert_eq(batcher_add(b, m, now, &tenant_full), 0);
    return m;
}

__attribute__((unused)) static struct batch_member *arrive(enum priority p, char tenant, char key)
{
    return add(prepare(p, tenant, key));
}

__attribute__((unused)) static void arrive_n(unsigned n, enum priority p)
{
    while (n--)
        arrive(p, 'a', 'k');
}

__attribute__((unused)) static bool take(const uint32_t running[PRIORITIES])
{
    return batcher_take(b, now, running, false, &taken);
}

__attribute__((unused)) static void expect(unsigned n, enum priority p, enum flush_reason reason,
                                           const uint32_t *running)
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

__attribute__((unused)) static struct batch_member *first_taken(void)
{
    return LIST_ENTRY(taken.members.next, struct batch_member, node);
}

#endif
