/* Keys, what they may spend and what they have spent; see money.h. */
#include "money.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cost.h"
#include "coordinator/budget.h"
#include "coordinator/keys.h"
#include "provider/stream.h"
#include "random.h"
#include "reach.h"
#include "script.h"
#include "store/spend.h"
#include "upstream.h"

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
    } else if (l->n == 3 && strcmp(l->words[1], "back") == 0)
        w->real_base_us -= script_us(s, l->words[2]);
    else
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

/* ---- random lives ---- */

static struct payer *payer_of(struct world *w, const uint8_t id[TRUST_GROUP_SIZE])
{
    return w->at_random && id[0] && id[0] < WORLD_PAYERS ? &w->payers[id[0]] : NULL;
}

static void ask(struct world *w, const char *op, unsigned tenant, const char *more)
{
    uint8_t id[TRUST_GROUP_SIZE] = {(uint8_t)tenant}, hash[KEY_HASH_SIZE] = {(uint8_t)tenant, 1};
    char id_hex[2 * sizeof(id) + 1], hash_hex[2 * sizeof(hash) + 1], json[512];
    bool creates = strcmp(op, "create") == 0;
    sodium_bin2hex(id_hex, sizeof(id_hex), id, sizeof(id));
    sodium_bin2hex(hash_hex, sizeof(hash_hex), hash, sizeof(hash));
    snprintf(json, sizeof(json), "{\"op\":\"%s\",\"id\":\"%s\"%s%s%s%s}", op, id_hex,
             creates ? ",\"role\":\"client\",\"hash\":\"" : "", creates ? hash_hex : "", creates ? "\"" : "",
             more);
    client_keys_aside(w, json);
    world_turn(w);
}

/* A prompt of such a life is estimated at 110 to 230 microdollars, or ten times that, and costs a tenth. */
static void give(struct world *w, const char *op, unsigned tenant)
{
    struct payer *p = &w->payers[tenant];
    uint64_t budget = random_chance(w, 50) ? 300 + world_random(w, 1000) : 1000 + world_random(w, 20000);
    char more[128] = "";
    if (p->budget_max || strcmp(op, "create") == 0)
        snprintf(more, sizeof(more), ",\"budget_usd\":0.%06u", (unsigned)budget);
    if (more[0] && cost_of_microusd(budget) > p->budget_max)
        p->budget_max = cost_of_microusd(budget);
    if (random_chance(w, 30))
        snprintf(more + strlen(more), sizeof(more) - strlen(more), ",\"requests_per_minute\":%u",
                 (unsigned)world_random(w, 20));
    if (more[0])
        ask(w, op, tenant, more);
}

void money_open(struct world *w, unsigned tenants)
{
    for (unsigned t = 1; t < tenants; t++)
        if (random_chance(w, 70))
            give(w, "create", t);
        else
            ask(w, "create", t, "");
    world_run(w, world_time(w) + US_PER_S); /* so that all are in force before anybody asks */
}

void money_know(struct world *w, unsigned tenants)
{
    for (unsigned t = 1; t < tenants; t++)
        ask(w, "create", t, "");
    world_run(w, world_time(w) + US_PER_S);
}

void money_change(struct world *w, unsigned tenants)
{
    if (tenants < 2)
        return;
    REACH("other limits for a key");
    give(w, "set", 1 + (unsigned)world_random(w, tenants - 1));
}

uint64_t money_sent(struct world *w, const struct call *call, const enum verdict *fates)
{
    const struct job *first = call->members[0];
    struct payer *p = payer_of(w, first->submit.trust_group);
    struct slice model =
        first->submit.model.p ? first->submit.model : slice_of(call->provider->provider.model);
    uint64_t cost;
    bool whole = true;
    if (!p || !first->hold.account || first->submit.caller_key.p)
        return 0;
    for (size_t i = 0; i < call->n; i++) {
        whole &= fates[i] == VERDICT_ANSWERED;
        if (fates[i] == VERDICT_MISSING || fates[i] == VERDICT_FILTERED)
            p->slack = cost_add(p->slack, call->members[i]->hold.held);
    }
    if (!whole || !cost_picousd(&w->conf, model, 10 * call->n, 7 * call->n, &cost)) /* as upstream.c says */
        return 0;
    p->billed = cost_add(p->billed, cost);
    return cost;
}

void money_ended(struct world *w, const struct flight *f)
{
    const struct job *j = f->call->members[0];
    struct payer *p = payer_of(w, j->submit.trust_group);
    uint64_t said;
    struct slice model = j->submit.model.p ? j->submit.model : slice_of(f->call->provider->provider.model);
    if (!p || !j->hold.account || j->submit.caller_key.p)
        return;
    /* Nobody knows what it bills, nor, before it is said, how much it says. */
    p->billed -= f->billed < p->billed ? f->billed : p->billed;
    if (cost_picousd(&w->conf, model, 0, provider_stream_tokens(f->call->stream), &said))
        p->slack = cost_add(p->slack, said);
}

/* ---- rules ---- */

static void check_bound(struct world *w, const struct budget_account *a)
{
    const struct payer *p = payer_of(w, a->id);
    bool alone = !w->twin && !w->server;
    if (!p || !p->budget_max || !alone || w->unbounded || w->lossy)
        return;
    if (a->spent + a->reserved > cost_add(p->budget_max, p->slack))
        world_blame(w, "a key has spent %llu picodollars and holds %llu, of %llu (and %llu)",
                    (unsigned long long)a->spent, (unsigned long long)a->reserved,
                    (unsigned long long)p->budget_max, (unsigned long long)p->slack);
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
        check_bound(w, a);
    }
}

struct sum {
    uint8_t tenant;
    uint64_t picousd;
};

static void add_month(void *arg, const struct spend *s)
{
    struct sum *sum = arg;
    if (s->id[0] == sum->tenant)
        sum->picousd = cost_add(sum->picousd, s->picousd);
}

/* The clock may have gone back over the end of a year: REAL_US of random.c. When hours pass in the middle of
 * a call, its record may go before a crash, and with it what it holds. */
static void check_bills(struct world *w)
{
    if (w->slept_us && (w->crashes || w->takeovers))
        return;
    for (uint8_t t = 1; t < WORLD_PAYERS; t++) {
        struct sum sum = {.tenant = t};
        struct store_read *r;
        if (!w->payers[t].billed || store_read_begin(w->store, &r, NULL) < 0)
            continue;
        if (spend_each(r, 202912, add_month, &sum, NULL) < 0 ||
            spend_each(r, 203001, add_month, &sum, NULL) < 0)
            world_blame(w, "what is spent cannot be read");
        store_read_end(r);
        REACH("a key pays");
        if (sum.picousd < w->payers[t].billed)
            world_blame(w, "a key has spent %llu picodollars, and the provider billed %llu",
                        (unsigned long long)sum.picousd, (unsigned long long)w->payers[t].billed);
    }
}

void money_final(struct world *w)
{
    check_bills(w);
    struct budget_account *a, *tmp;
    HASH_ITER (hh, w->core->budgets.by_id, a, tmp) {
        uint64_t durable = stored(w, a->id);
        /* Parked ones wait for the next start. */
        if (a->reserved && !(w->core->draining && w->core->jobs_n[JOB_PARKED]))
            world_blame(w, "a key still holds %llu picodollars", (unsigned long long)a->reserved);
        /* What reached the disk though its commit failed, and had its time before it was tried again, leaves
         * nothing by which that could be seen. */
        bool twice = w->lossy && w->slept_us && durable > a->spent;
        if (a->spent != durable && !twice && !w->server)
            world_blame(w, "a key has spent %llu picodollars, the store says %llu",
                        (unsigned long long)a->spent, (unsigned long long)durable);
    }
}
