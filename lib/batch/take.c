/*
 * Which batch goes next; see batcher.h for the rules. Looks at groups through their shelves (group.h) and
 * moves the members out.
 */
#include "batch/group.h"

#include "base/clock.h"

#define AGEING_WINDOWS 4
#define AGEING_MIN_US  US_PER_S

/* What a take asks of each priority, found out once. */
struct question {
    uint64_t now_us;
    const uint32_t *running;
    bool all_wait, idle;
};

struct choice {
    struct batch_group *group;
    enum priority level;
};

static enum priority level_at(const struct batcher *b, enum priority p, uint64_t arrived_us, uint64_t now_us)
{
    uint64_t window = b->config.priority[p].window_us;
    uint64_t step = AGEING_WINDOWS * window < AGEING_MIN_US ? AGEING_MIN_US : AGEING_WINDOWS * window;
    if (now_us <= arrived_us || now_us - arrived_us <= window)
        return p;
    uint64_t gained = (now_us - arrived_us - window) / step;
    return gained >= PRIORITY_HIGH - p ? PRIORITY_HIGH : p + (enum priority)gained;
}

/* How many calls of p may run while it counts as level. */
uint32_t batcher_slots_for(const struct batcher *b, enum priority level)
{
    uint32_t reserved = PRIORITY_HIGH - level, slots = b->config.slots;
    return slots > reserved ? slots - reserved : 1;
}

static bool may_run(const struct batcher *b, const struct question *q, enum priority p, enum priority level)
{
    return q->running[p] < batcher_slots_for(b, level);
}

static bool better(const struct choice *a, const struct choice *b)
{
    if (!b->group || a->level != b->level)
        return !b->group || a->level > b->level;
    uint64_t served_a = a->group->tenant->served[a->level], served_b = b->group->tenant->served[b->level];
    if (served_a != served_b)
        return served_a < served_b;
    return age_older(&a->group->in_lane, &b->group->in_lane) == &a->group->in_lane;
}

/* The oldest due group of a lane is the one furthest in ageing too, so no other of the lane needs a look. */
static void choose(struct batcher *b, enum priority p, const struct question *q, struct choice *best)
{
    const struct shelf *shelf = &b->shelves[p];
    bool all_due = q->all_wait || (q->idle && b->config.priority[p].adaptive);
    struct age_node *oldest = all_due ? age_older(shelf->ready.root, shelf->waiting.root) : shelf->ready.root;
    if (!oldest || !may_run(b, q, p, level_at(b, p, oldest->at_us, q->now_us)))
        return;
    list_for_each (it, &b->lanes[p]) {
        shelf = &LIST_ENTRY(it, struct lane, node)->shelf;
        oldest = all_due ? age_older(shelf->ready.root, shelf->waiting.root) : shelf->ready.root;
        if (!oldest)
            continue;
        struct choice c = {CONTAINER_OF(oldest, struct batch_group, in_lane),
                           level_at(b, p, oldest->at_us, q->now_us)};
        if (may_run(b, q, p, c.level) && better(&c, best))
            *best = c;
    }
}

static enum flush_reason reason_of(const struct batcher *b, const struct batch_group *g,
                                   const struct question *q)
{
    if (g->alone)
        return FLUSH_ALONE;
    if (group_is_full(b, g))
        return FLUSH_FULL;
    if (g->ready)
        return FLUSH_WINDOW;
    return q->all_wait ? FLUSH_ALL_WAIT : FLUSH_IDLE;
}

/* From the front, as many as one call may hold; the first goes whatever its size. */
static void move_members(struct batcher *b, struct batch_group *g, uint32_t max,
                         struct batch_taken *ret_taken)
{
    uint64_t tokens = 0;
    list_init(&ret_taken->members);
    ret_taken->n = 0;
    list_for_each_safe (it, tmp, &g->members) {
        struct batch_member *m = member_of(it);
        if (ret_taken->n >= max ||
            (ret_taken->n && b->config.tokens_max &&
             (m->tokens > b->config.tokens_max || tokens > b->config.tokens_max - m->tokens)))
            break;
        tokens += m->tokens;
        group_detach(g, m);
        list_append(&ret_taken->members, it);
        ret_taken->n++;
    }
}

bool batcher_take(struct batcher *b, uint64_t now_us, const uint32_t running[PRIORITIES], bool one_each,
                  struct batch_taken *ret_taken)
{
    uint64_t total = 0;
    for (unsigned p = 0; p < PRIORITIES; p++)
        total += running[p];
    if (!b->queued_all || total >= b->config.slots)
        return false;
    groups_look_at_clock(b, now_us);
    struct question q = {.now_us = now_us, .running = running, .idle = !total};
    q.all_wait = b->config.flush_when_all_wait && b->clients_max && b->clients_waiting >= b->clients_max;
    struct choice best = {0};
    for (unsigned p = PRIORITIES; p-- > 0;)
        choose(b, (enum priority)p, &q, &best);
    struct batch_group *g = best.group;
    if (!g)
        return false;
    g->tenant->served[best.level] = ++b->takes;
    ret_taken->priority = g->priority;
    ret_taken->reason = reason_of(b, g, &q);
    uint32_t max = b->config.priority[g->priority].max_batch;
    if (one_each) {
        uint32_t own = batcher_slots_for(b, best.level) - running[g->priority],
                 all = b->config.slots - (uint32_t)total;
        uint32_t bound = own < all ? own : all;
        max = bound < max ? bound : max;
    }
    move_members(b, g, max, ret_taken);
    group_shrunk(b, g, ret_taken->n);
    return true;
}
