/*
 * Groups, tenants and shelves of the batcher; see group.h. Everything here costs O(log groups) at most, and
 * memory is asked for only when a group or a tenant is made: none of the moves between shelves can fail.
 */
#include "batch/group.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_GROUPS_MAX 256
#define IDLE_TENANTS_MAX 1024

bool group_is_full(const struct batcher *b, const struct batch_group *g)
{
    return g->n >= b->config.priority[g->priority].max_batch ||
           (b->config.tokens_max && g->tokens >= b->config.tokens_max);
}

static bool lane_is_empty(const struct lane *lane)
{
    return !lane->shelf.ready.root && !lane->shelf.waiting.root;
}

static void group_unshelve(struct batcher *b, struct batch_group *g)
{
    struct shelf *of_priority = &b->shelves[g->priority], *of_lane = &g->tenant->lanes[g->priority].shelf;
    age_remove(g->ready ? &of_priority->ready : &of_priority->waiting, &g->in_priority);
    age_remove(g->ready ? &of_lane->ready : &of_lane->waiting, &g->in_lane);
}

static void group_shelve(struct batcher *b, struct batch_group *g, bool ready)
{
    struct shelf *of_priority = &b->shelves[g->priority], *of_lane = &g->tenant->lanes[g->priority].shelf;
    g->ready = ready;
    g->in_priority.at_us = g->in_lane.at_us = member_of(g->members.next)->arrived_us;
    age_push(ready ? &of_priority->ready : &of_priority->waiting, &g->in_priority);
    age_push(ready ? &of_lane->ready : &of_lane->waiting, &g->in_lane);
}

static struct batch_group *group_by_priority(struct age_node *n)
{
    return n ? CONTAINER_OF(n, struct batch_group, in_priority) : NULL;
}

void groups_look_at_clock(struct batcher *b, uint64_t now_us)
{
    for (unsigned p = 0; p < PRIORITIES; p++) {
        struct batch_group *g;
        while ((g = group_by_priority(b->shelves[p].waiting.root)) && now_us >= g->in_priority.at_us &&
               now_us - g->in_priority.at_us >= b->config.priority[p].window_us) {
            group_unshelve(b, g);
            group_shelve(b, g, true);
        }
    }
}

struct tenant *tenant_find(const struct batcher *b, const uint8_t id[TENANT_SIZE])
{
    struct tenant *t;
    HASH_FIND(hh, b->tenants, id, TENANT_SIZE, t);
    return t;
}

static void tenant_forget(struct batcher *b, struct tenant *t)
{
    list_remove(&t->idle);
    b->idle_tenants_n--;
    HASH_DEL(b->tenants, t);
    free(t);
}

/* Nobody of it waits any more. The one idle longest is forgotten first: it was served longest ago, and that
 * is what one never seen counts as. */
static void tenant_rest(struct batcher *b, struct tenant *t)
{
    list_append(&b->idle_tenants, &t->idle);
    if (++b->idle_tenants_n > IDLE_TENANTS_MAX)
        tenant_forget(b, LIST_ENTRY(b->idle_tenants.next, struct tenant, idle));
}

struct tenant *tenant_make(struct batcher *b, const uint8_t id[TENANT_SIZE])
{
    struct tenant *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    memcpy(t->id, id, TENANT_SIZE);
    for (unsigned p = 0; p < PRIORITIES; p++) {
        list_init(&t->lanes[p].node);
        t->lanes[p].tenant = t;
    }
    HASH_ADD(hh, b->tenants, id, TENANT_SIZE, t);
    if (!t->hh.tbl) {
        free(t);
        return NULL;
    }
    list_init(&t->idle);
    tenant_rest(b, t);
    return t;
}

void tenants_forget_all(struct batcher *b)
{
    while (b->idle_tenants_n)
        tenant_forget(b, LIST_ENTRY(b->idle_tenants.next, struct tenant, idle));
}

void tenant_count(struct batcher *b, struct tenant *t, uint32_t joined, uint32_t left)
{
    if (!t->waiting && joined) {
        list_remove(&t->idle);
        b->idle_tenants_n--;
    }
    t->waiting = t->waiting + joined - left;
    if (!t->waiting && left)
        tenant_rest(b, t);
}

static void group_spare(struct batcher *b, struct batch_group *g)
{
    if (b->spare_groups_n >= SPARE_GROUPS_MAX) {
        free(g);
        return;
    }
    list_prepend(&b->spare_groups, &g->spare);
    b->spare_groups_n++;
}

void groups_free_spare(struct batcher *b)
{
    list_for_each_safe (it, tmp, &b->spare_groups)
        free(LIST_ENTRY(it, struct batch_group, spare));
}

struct batch_group *group_make(struct batcher *b, const struct group_id *id, struct tenant *t, bool alone)
{
    struct batch_group *g;
    if (b->spare_groups_n) {
        g = LIST_ENTRY(b->spare_groups.next, struct batch_group, spare);
        list_remove(&g->spare);
        b->spare_groups_n--;
    } else if (!(g = malloc(sizeof(*g)))) {
        return NULL;
    }
    memset(g, 0, sizeof(*g));
    list_init(&g->spare);
    list_init(&g->members);
    g->id = *id;
    g->alone = alone;
    g->priority = (enum priority)id->priority;
    g->tenant = t;
    if (!alone) {
        HASH_ADD(hh, b->groups, id, sizeof(g->id), g);
        if (!g->hh.tbl) {
            group_spare(b, g);
            return NULL;
        }
    }
    g->in_priority.seq = g->in_lane.seq = b->groups_made++;
    return g;
}

/* Of a group without members, off its shelves. */
static void group_drop(struct batcher *b, struct batch_group *g)
{
    struct lane *lane = &g->tenant->lanes[g->priority];
    if (lane_is_empty(lane))
        list_remove(&lane->node);
    if (!g->alone)
        HASH_DEL(b->groups, g);
    group_spare(b, g);
}

void group_detach(struct batch_group *g, struct batch_member *m)
{
    list_remove(&m->node);
    m->group = NULL;
    g->n--;
    g->tokens -= m->tokens;
}

/* In order of arrival. What is tried again keeps its first arrival and mostly goes to the front. */
void group_attach(struct batch_group *g, struct batch_member *m)
{
    struct list *after = g->members.prev;
    if (after != &g->members && m->arrived_us < member_of(g->members.next)->arrived_us)
        after = &g->members;
    while (after != &g->members && member_of(after)->arrived_us > m->arrived_us)
        after = after->prev;
    list_insert_before(after->next, &m->node);
    m->group = g;
    g->n++;
    g->tokens += m->tokens;
}

void group_grown(struct batcher *b, struct batch_group *g, struct batch_member *m)
{
    struct lane *lane = &g->tenant->lanes[g->priority];
    b->queued[g->priority]++;
    b->queued_all++;
    lane->waiting++;
    tenant_count(b, g->tenant, 1, 0);
    if (g->n == 1) {
        if (lane_is_empty(lane))
            list_append(&b->lanes[g->priority], &lane->node);
        group_shelve(b, g, g->alone || group_is_full(b, g));
    } else if (g->members.next == &m->node || (!g->ready && group_is_full(b, g))) {
        group_unshelve(b, g);
        group_shelve(b, g, group_is_full(b, g));
    }
}

void group_shrunk(struct batcher *b, struct batch_group *g, uint32_t n)
{
    struct tenant *t = g->tenant;
    b->queued[g->priority] -= n;
    b->queued_all -= n;
    t->lanes[g->priority].waiting -= n;
    group_unshelve(b, g);
    if (g->n) /* whether the window has passed for a new oldest one is for the next look at the clock */
        group_shelve(b, g, g->alone || group_is_full(b, g));
    else
        group_drop(b, g);
    tenant_count(b, t, 0, n);
}

void groups_reshelve(struct batcher *b)
{
    struct list all;
    list_init(&all);
    for (unsigned p = 0; p < PRIORITIES; p++) {
        struct batch_group *g;
        while ((g = group_by_priority(age_older(b->shelves[p].ready.root, b->shelves[p].waiting.root)))) {
            group_unshelve(b, g);
            list_append(&all, &g->spare);
        }
    }
    list_for_each_safe (it, tmp, &all) {
        struct batch_group *g = LIST_ENTRY(it, struct batch_group, spare);
        list_remove(it);
        group_shelve(b, g, g->alone || group_is_full(b, g));
    }
}
