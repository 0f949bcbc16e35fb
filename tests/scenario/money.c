/* Keys, what they may spend and what they have spent; see money.h. */
#include "money.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cost.h"
#include "coordinator/budget.h"
#include "script.h"
#include "store/spend.h"

static void set_tenant(uint8_t id[TRUST_GROUP_SIZE], const char *tenant)
{
    memset(id, 0, TRUST_GROUP_SIZE);
    memcpy(id, tenant, strnlen(tenant, TRUST_GROUP_SIZE));
}

void money_clock(struct script *s, struct line *l)
{
    struct world *w = s->at;
    if (l->n == 3 && strcmp(l->words[1], "month") == 0) {
        uint64_t end_us = clock_month_end_us(clock_month(disk_real_us(w)));
        w->real_base_us = end_us - script_us(s, l->words[2]) - world_time(w);
    } else
        w->real_base_us += l->n > 1 ? script_us(s, l->words[1]) : 0;
    if (w->twin)
        w->twin->real_base_us = w->real_base_us;
}

static uint64_t stored(struct world *w, const uint8_t id[TRUST_GROUP_SIZE])
{
    struct store_read *r;
    struct err e = {0};
    uint64_t sum = 0;
    int rc = store_read_begin(w->store, &r, &e);
    if (rc < 0 || keys_spent(r, id, w->core->budgets.month, &sum, &e) < 0)
        world_blame(w, "what is spent cannot be read: %s", e.text);
    if (rc == 0)
        store_read_end(r);
    return sum;
}

static const struct budget_account *account_of(const struct world *w, const uint8_t id[TRUST_GROUP_SIZE])
{
    struct budget_account *a;
    HASH_FIND(hh, w->core->budgets.by_id, id, TRUST_GROUP_SIZE, a);
    return a;
}

static void expect_usd(struct script *s, const char *what, const char *expected, uint64_t picousd)
{
    char text[COST_TEXT_SIZE];
    cost_format(picousd, text);
    if (!expected || strcmp(expected, text) != 0)
        script_fail(s, "expected %s USD %s, got %s", expected ? expected : "?", what, text);
}

void money_expect(struct script *s, struct line *l)
{
    uint8_t id[TRUST_GROUP_SIZE];
    const char *held = line_value(l, "held");
    set_tenant(id, l->n > 1 ? l->words[1] : "");
    const struct budget_account *a = account_of(s->at, id);
    expect_usd(s, "in the store", l->n > 2 ? l->words[2] : NULL, stored(s->at, id));
    expect_usd(s, "in memory", l->n > 2 ? l->words[2] : NULL, a ? a->spent : 0);
    if (held)
        expect_usd(s, "held", held, a ? a->reserved : 0);
}

static uint64_t held_by_jobs(const struct core *c, const struct budget_account *a)
{
    uint64_t sum = 0;
    for (int state = 0; state < JOB_STATES; state++) {
        list_for_each (it, &c->jobs[state]) {
            const struct job *j = LIST_ENTRY(it, struct job, node);
            if (j->hold.account == a && j->hold.month == c->budgets.month)
                sum += j->hold.held;
        }
    }
    return sum;
}

void money_check(struct world *w)
{
    struct budget_account *a, *tmp;
    if (w->elder_acts)
        return;
    HASH_ITER (hh, w->core->budgets.by_id, a, tmp) {
        uint64_t held = held_by_jobs(w->core, a);
        if (a->reserved != held)
            world_blame(w, "a key holds %llu picodollars, its prompts %llu", (unsigned long long)a->reserved,
                        (unsigned long long)held);
    }
}

void money_final(struct world *w)
{
    struct budget_account *a, *tmp;
    HASH_ITER (hh, w->core->budgets.by_id, a, tmp) {
        uint64_t durable = stored(w, a->id);
        if (a->reserved)
            world_blame(w, "a key still holds %llu picodollars", (unsigned long long)a->reserved);
        if (a->spent != durable && !w->server)
            world_blame(w, "a key has spent %llu picodollars, the store says %llu",
                        (unsigned long long)a->spent, (unsigned long long)durable);
    }
}
