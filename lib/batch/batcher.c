/*
 * The batcher: who is let in, and what the coordinator is told about those who wait; see batcher.h. The
 * dispatcher adds, removes and takes; deadlines, calls and answers are its business.
 */
#include "batch/batcher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "batch/group.h"

const char *flush_reason_name(enum flush_reason r)
{
    static const char *const names[FLUSH_REASONS] = {"window", "full", "all_wait", "idle", "alone"};
    return (unsigned)r < FLUSH_REASONS ? names[r] : "?";
}

void batcher_configure(struct batcher *b, const struct batcher_config *config)
{
    b->config = *config;
    if (!b->config.slots)
        b->config.slots = 1;
    for (unsigned p = 0; p < PRIORITIES; p++)
        if (!b->config.priority[p].max_batch)
            b->config.priority[p].max_batch = 1;
    double share = config->tenant_share;
    b->share = share >= 0 && share < 1 ? (uint32_t)(config->queue_max * share) : config->queue_max;
    if (!b->share)
        b->share = 1;
    groups_reshelve(b);
}

int batcher_new(const struct batcher_config *config, struct batcher **ret_batcher)
{
    struct batcher *b = calloc(1, sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    list_init(&b->spare_groups);
    list_init(&b->idle_tenants);
    for (unsigned p = 0; p < PRIORITIES; p++)
        list_init(&b->lanes[p]);
    batcher_configure(b, config);
    *ret_batcher = b;
    return 0;
}

void batcher_free(struct batcher *b)
{
    if (!b)
        return;
    assert(!b->queued_all);
    tenants_forget_all(b);
    groups_free_spare(b);
    free(b);
}

/* 0, or ERR_LIMIT: with `all` members waiting, `own` of them the tenant's. */
static int admit(const struct batcher *b, uint32_t all, uint32_t own, bool *ret_tenant_full)
{
    uint32_t others = all - own;
    bool full = all >= b->config.queue_max;
    bool share_full = own >= b->share && others;
    if (!full && !share_full)
        return 0;
    *ret_tenant_full = share_full || !others;
    return ERR_LIMIT;
}

int batcher_admits(const struct batcher *b, const uint8_t tenant[TENANT_SIZE], uint32_t others, uint32_t own,
                   bool *ret_tenant_full)
{
    const struct tenant *t = tenant_find(b, tenant);
    return admit(b, b->queued_all + others, (t ? t->waiting : 0) + own, ret_tenant_full);
}

int batcher_add(struct batcher *b, struct batch_member *m, uint64_t now_us, bool *ret_tenant_full)
{
    assert(!m->group);
    struct batch_group *g = NULL;
    bool alone = m->alone || (b->config.tokens_max && m->tokens > b->config.tokens_max);
    struct group_id id = {.priority = (uint8_t)m->priority};
    memcpy(id.key, m->key, sizeof(id.key));
    memcpy(id.tenant, m->tenant, sizeof(id.tenant));
    if (!alone)
        HASH_FIND(hh, b->groups, &id, sizeof(id), g);
    struct tenant *t = g ? g->tenant : tenant_find(b, m->tenant);
    int rc = admit(b, b->queued_all, t ? t->waiting : 0, ret_tenant_full);
    if (rc)
        return rc;
    if (!g) {
        if (!t && !(t = tenant_make(b, m->tenant)))
            return ERR_NOMEM;
        if (!(g = group_make(b, &id, t, alone)))
            return ERR_NOMEM;
    }
    if (m->arrived_us > now_us)
        m->arrived_us = now_us;
    group_attach(g, m);
    group_grown(b, g, m);
    return 0;
}

void batcher_remove(struct batcher *b, struct batch_member *m)
{
    struct batch_group *g = m->group;
    if (!g)
        return;
    group_detach(g, m);
    group_shrunk(b, g, 1);
}

void batcher_set_waiting(struct batcher *b, uint32_t waiting, uint32_t capacity)
{
    b->clients_waiting = waiting;
    b->clients_max = capacity;
}

uint64_t batcher_next_due_us(struct batcher *b, uint64_t now_us)
{
    uint64_t next = UINT64_MAX;
    groups_look_at_clock(b, now_us);
    for (unsigned p = 0; p < PRIORITIES; p++) {
        const struct age_node *n = b->shelves[p].waiting.root;
        uint64_t window = b->config.priority[p].window_us;
        if (n && n->at_us <= UINT64_MAX - window && n->at_us + window < next)
            next = n->at_us + window;
    }
    return next;
}

uint32_t batcher_calls_ahead(const struct batcher *b, const uint8_t tenant[TENANT_SIZE], enum priority p,
                             bool one_each)
{
    const struct tenant *t = tenant_find(b, tenant);
    uint32_t calls = 0;
    for (unsigned q = p + 1; q < PRIORITIES; q++) {
        uint32_t fill = one_each ? 1 : b->config.priority[q].max_batch;
        calls += (b->queued[q] + fill - 1) / fill;
    }
    uint32_t fill = one_each ? 1 : b->config.priority[p].max_batch;
    uint32_t own = t ? t->lanes[p].waiting / fill : 0; /* full ones; the next takes the new member along */
    calls += own;
    list_for_each (it, &b->lanes[p]) {
        const struct lane *lane = LIST_ENTRY(it, struct lane, node);
        uint32_t theirs = (lane->waiting + fill - 1) / fill;
        if (lane->tenant != t)
            calls += theirs < own + 1 ? theirs : own + 1;
    }
    return calls;
}

void batcher_depth(const struct batcher *b, struct batcher_depth *ret_depth)
{
    for (unsigned p = 0; p < PRIORITIES; p++) {
        const struct age_node *n = age_older(b->shelves[p].ready.root, b->shelves[p].waiting.root);
        ret_depth->waiting[p] = b->queued[p];
        ret_depth->oldest_us[p] = n ? n->at_us : 0;
    }
}
