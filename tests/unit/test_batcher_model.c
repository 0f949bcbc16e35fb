/*
 * lib/batch/batcher against a model that follows the rules of batcher.h word for word and slowly: no groups,
 * no queues, one look at every member for every question. 100,000 random operations from fixed seeds.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "batch/batcher.h"

#define MEMBERS 200
#define TENANTS 5
#define KEYS    3

/* What the model knows of a member beyond what the member says. */
struct note {
    bool in, own; /* own: shares with nobody */
    uint64_t order, group;
};

static struct batch_member members[MEMBERS];
static struct note notes[MEMBERS];
static struct batcher_config config;
static struct batcher *b;
static uint64_t now, orders, groups, takes, served[TENANTS][PRIORITIES];
static uint32_t clients, capacity;
static uint64_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((rng_state >> 33) % below);
}

static unsigned queued(int tenant, int priority)
{
    unsigned n = 0;
    for (int i = 0; i < MEMBERS; i++)
        n += notes[i].in && (tenant < 0 || members[i].tenant[0] == tenant) &&
             (priority < 0 || (int)members[i].priority == priority);
    return n;
}

static bool older(int i, int j)
{
    if (members[i].arrived_us != members[j].arrived_us)
        return members[i].arrived_us < members[j].arrived_us;
    return notes[i].order < notes[j].order;
}

/* The members of i's group, oldest first. */
static int group_of(int i, int ret_group[MEMBERS])
{
    int n = 0;
    for (int j = 0; j < MEMBERS; j++)
        if (notes[j].in && notes[j].group == notes[i].group) {
            int at = n++;
            for (; at > 0 && older(j, ret_group[at - 1]); at--)
                ret_group[at] = ret_group[at - 1];
            ret_group[at] = j;
        }
    return n;
}

static bool by_window(int oldest)
{
    return now - members[oldest].arrived_us >= config.priority[members[oldest].priority].window_us;
}

static bool full(const int *group, int n)
{
    uint64_t tokens = 0;
    for (int i = 0; i < n; i++)
        tokens += members[group[i]].tokens;
    return (uint32_t)n >= config.priority[members[group[0]].priority].max_batch ||
           (config.tokens_max && tokens >= config.tokens_max);
}

/* FLUSH_REASONS: not due. */
static enum flush_reason due(const int *group, int n, bool idle)
{
    if (notes[group[0]].own)
        return FLUSH_ALONE;
    if (full(group, n))
        return FLUSH_FULL;
    if (by_window(group[0]))
        return FLUSH_WINDOW;
    if (config.flush_when_all_wait && capacity && clients >= capacity)
        return FLUSH_ALL_WAIT;
    return idle && config.priority[members[group[0]].priority].adaptive ? FLUSH_IDLE : FLUSH_REASONS;
}

static unsigned level_of(int oldest)
{
    unsigned p = members[oldest].priority;
    uint64_t window = config.priority[p].window_us, step = window * 4 > 1000000 ? window * 4 : 1000000;
    uint64_t waited = now - members[oldest].arrived_us;
    while (p < PRIORITY_HIGH && waited >= window + step) {
        p++;
        waited -= step;
    }
    return p;
}

/* Slots that are free to calls of p while it counts as level. */
static int slots_left(unsigned p, unsigned level, const uint32_t *running)
{
    int bound = (int)config.slots - (level == PRIORITY_LOW ? 2 : level == PRIORITY_MEDIUM ? 1 : 0);
    int own = (bound < 1 ? 1 : bound) - (int)running[p];
    int all = (int)config.slots - (int)(running[0] + running[1] + running[2]);
    return own < all ? own : all;
}

static bool may_run(unsigned p, unsigned level, const uint32_t *running)
{
    return slots_left(p, level, running) > 0;
}

static bool goes_before(int i, int j)
{
    if (j < 0 || level_of(i) != level_of(j))
        return j < 0 || level_of(i) > level_of(j);
    uint64_t served_i = served[members[i].tenant[0]][level_of(i)];
    uint64_t served_j = served[members[j].tenant[0]][level_of(j)];
    if (served_i != served_j)
        return served_i < served_j;
    if (members[i].arrived_us != members[j].arrived_us)
        return members[i].arrived_us < members[j].arrived_us;
    return notes[i].group < notes[j].group;
}

/* The oldest member of the group that must be taken, or -1. */
static int model_choice(const uint32_t *running)
{
    int best = -1, group[MEMBERS];
    bool idle = !(running[0] + running[1] + running[2]);
    for (int i = 0; i < MEMBERS; i++) {
        if (!notes[i].in)
            continue;
        int n = group_of(i, group);
        if (group[0] == i && due(group, n, idle) != FLUSH_REASONS &&
            may_run(members[i].priority, level_of(i), running) && goes_before(i, best))
            best = i;
    }
    return best;
}

static void check_taken(const struct batch_taken *taken, int oldest, uint32_t slots, bool idle)
{
    int group[MEMBERS], n = group_of(oldest, group), i = 0;
    uint32_t max = config.priority[members[oldest].priority].max_batch;
    uint64_t tokens = 0;
    cr_assert_eq(taken->priority, members[oldest].priority);
    cr_assert_eq(taken->reason, due(group, n, idle));
    served[members[oldest].tenant[0]][level_of(oldest)] = ++takes;
    if (slots < max)
        max = slots;
    list_for_each (it, &taken->members) {
        struct batch_member *m = LIST_ENTRY(it, struct batch_member, node);
        cr_assert_lt(i, n);
        cr_assert_eq(m, &members[group[i]]);
        cr_assert_null(m->group);
        tokens += m->tokens;
        notes[group[i]].in = false;
        i++;
    }
    cr_assert_eq(taken->n, i);
    cr_assert_leq(taken->n, max);
    cr_assert(i == 1 || !config.tokens_max || tokens <= config.tokens_max);
    if (i < n && (uint32_t)i < max)
        cr_assert(config.tokens_max && tokens + members[group[i]].tokens > config.tokens_max,
                  "only their size keeps the rest back");
}

static void do_take(void)
{
    uint32_t running[PRIORITIES] = {0};
    if (rng(4))
        for (int p = 0; p < PRIORITIES; p++)
            running[p] = rng(config.slots + 1) / 2;
    bool one_each = !rng(5);
    for (;;) {
        int oldest = model_choice(running);
        struct batch_taken taken;
        uint32_t slots = one_each && oldest >= 0
                             ? (uint32_t)slots_left(members[oldest].priority, level_of(oldest), running)
                             : UINT32_MAX;
        bool idle = !(running[0] + running[1] + running[2]);
        bool got = batcher_take(b, now, running, one_each, &taken);
        cr_assert_eq(got, oldest >= 0);
        if (!got)
            return;
        check_taken(&taken, oldest, slots, idle);
        running[taken.priority] += one_each ? taken.n : 1;
    }
}

static void model_add(int i)
{
    notes[i] = (struct note){.in = true, .order = ++orders};
    notes[i].own = members[i].alone || (config.tokens_max && members[i].tokens > config.tokens_max);
    for (int j = 0; j < MEMBERS && !notes[i].own; j++)
        if (j != i && notes[j].in && !notes[j].own && members[j].priority == members[i].priority &&
            members[j].tenant[0] == members[i].tenant[0] && members[j].key[0] == members[i].key[0]) {
            notes[i].group = notes[j].group;
            return;
        }
    notes[i].group = ++groups;
}

static void do_add(void)
{
    int i = (int)rng(MEMBERS), tenant = (int)rng(TENANTS);
    if (notes[i].in)
        return;
    members[i] = (struct batch_member){.priority = (enum priority)rng(PRIORITIES), .alone = !rng(12)};
    members[i].tenant[0] = (uint8_t)tenant;
    members[i].key[0] = (uint8_t)rng(KEYS);
    members[i].tokens = rng(60);
    members[i].arrived_us = rng(6) ? now : now - rng(3000000);
    unsigned all = queued(-1, -1), own = queued(tenant, -1);
    unsigned share = (unsigned)(config.queue_max * config.tenant_share);
    bool share_full = own >= (share ? share : 1) && all > own, tenant_full = false;
    int rc = batcher_add(b, &members[i], now, &tenant_full);
    if (all >= config.queue_max || share_full) {
        cr_assert_eq(rc, ERR_LIMIT);
        cr_assert_eq(tenant_full, share_full || all == own);
        return;
    }
    cr_assert_eq(rc, 0);
    model_add(i);
}

static void do_remove(void)
{
    int i = (int)rng(MEMBERS);
    batcher_remove(b, &members[i]);
    cr_assert_null(members[i].group);
    notes[i].in = false;
}

static void random_config(void)
{
    for (int p = 0; p < PRIORITIES; p++)
        config.priority[p] = (struct batch_policy_config){rng(4) ? rng(1000000) : 0, 1 + rng(6), !rng(3)};
    config.slots = 1 + rng(6);
    config.queue_max = rng(4) ? 20 + rng(MEMBERS) : 1 + rng(20);
    config.tenant_share = rng(3) ? rng(100) / 100.0 : 1;
    config.tokens_max = rng(3) ? 0 : 20 + rng(100);
    config.flush_when_all_wait = rng(2);
}

static void check_views(void)
{
    struct batcher_depth d;
    uint64_t next = UINT64_MAX;
    int group[MEMBERS];
    batcher_depth(b, &d);
    for (int p = 0; p < PRIORITIES; p++) {
        cr_assert_eq(d.waiting[p], queued(-1, p));
        uint64_t oldest = 0;
        for (int i = 0; i < MEMBERS; i++) {
            if (!notes[i].in || (int)members[i].priority != p)
                continue;
            if (!oldest || members[i].arrived_us < oldest)
                oldest = members[i].arrived_us;
            int n = group_of(i, group);
            uint64_t at = members[i].arrived_us + config.priority[p].window_us;
            if (group[0] == i && !notes[i].own && !full(group, n) && at > now && at < next)
                next = at;
        }
        cr_assert_eq(d.oldest_us[p], oldest);
    }
    cr_assert_eq(batcher_next_due_us(b, now), next);
}

static void operate(void)
{
    uint32_t what = rng(100);
    if (what < 60) {
        do_add();
    } else if (what < 70) {
        do_remove();
    } else if (what < 85) {
        now += rng(3) ? rng(20000) : rng(8) ? rng(400000) : rng(6000000);
    } else if (what < 95) {
        do_take();
    } else if (what < 97) {
        clients = rng(20);
        capacity = rng(20);
        batcher_set_waiting(b, clients, capacity);
    } else if (what < 98) {
        random_config();
        batcher_configure(b, &config);
    } else {
        check_views();
    }
}

static void run(uint64_t seed)
{
    rng_state = seed;
    now = 1000000000;
    random_config();
    cr_assert_eq(batcher_new(&config, &b), 0);
    for (int i = 0; i < 25000; i++)
        operate();
    for (int i = 0; i < MEMBERS; i++)
        batcher_remove(b, &members[i]);
    batcher_free(b);
    cr_assert_gt(takes, 500, "the run has taken enough to mean something");
}

Test(batcher_model, seed_1)
{
    run(1);
}

Test(batcher_model, seed_2)
{
    run(20261120);
}

Test(batcher_model, seed_3)
{
    run(3);
}

Test(batcher_model, seed_4)
{
    run(0xfeedface);
}
