/* See settle.h. */
#include "settle.h"

#include "server.h"

#define SETTLE_US (3600 * US_PER_S) /* in this time everything must have come to its end */
#define QUIET_US  (2 * US_PER_S)

static bool shared_quiet(const struct core *c)
{
    const struct core_shared *s = &c->shared;
    return s->reach == SHARED_OFF ||
           (list_empty(&s->inquiries) && list_empty(&s->deletions) && list_empty(&s->news) &&
            !s->news_going && (s->reach != SHARED_THERE || !s->untold));
}

static bool quiet(const struct world *w)
{
    const struct core *c = w->core;
    /* Until the next start, once it drains; what takes its record back waits for it. */
    bool parked = c->jobs_n[JOB_PARKED];
    return core_idle(c) && shared_quiet(c) && !c->waiters_n && !heap_peek(&c->deadlines) &&
           list_empty(&w->flights) && server_due_us(w) == UINT64_MAX && list_empty(&w->ops) &&
           list_empty(&w->fresh) && list_empty(&w->group) && (list_empty(&c->stuck_ops) || parked) &&
           (c->draining || !parked);
}

static bool all_quiet(const struct world *w)
{
    return quiet(w) && (!w->twin || quiet(w->twin));
}

void settle_world(struct world *w)
{
    uint64_t limit = world_time(w) + SETTLE_US, commit_us = 0;
    /* Each machine sweeps once a second: together for half of the time at most, or there would always be a
     * sweep. */
    uint64_t commit_max_us = w->twin ? US_PER_S / 4 : US_PER_S / 2;
    for (struct world *each = w; each; each = each == w ? w->twin : NULL) {
        if (each->commit_us > commit_max_us && each->at_random)
            each->commit_us = commit_max_us;
        if (each->commit_us > commit_us)
            commit_us = each->commit_us;
    }
    do {
        world_run(w, world_time(w) + QUIET_US);
        /* Sweeps that have just begun: each machine has its own times, so in steps that find both idle. */
        for (int i = 0; i < 40 && (!list_empty(&w->group) || (w->twin && !list_empty(&w->twin->group))); i++)
            world_run(w, world_time(w) + commit_us / 10 + 1);
    } while (!w->fault[0] && !all_quiet(w) && world_time(w) < limit);
    if (!w->fault[0] && !all_quiet(w))
        world_blame(w, "it does not come to its end");
    if (!w->fault[0])
        rules_final(w);
    if (!w->fault[0] && w->twin)
        rules_final(w->twin);
}
