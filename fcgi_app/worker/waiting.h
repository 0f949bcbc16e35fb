/*
 * How many prompts wait in the whole pool, so that limits.waiting_max holds across its processes. One count a
 * child in memory shared from the parent: a child that is killed takes its share with it.
 */
#ifndef CARPOOL_WORKER_WAITING_H
#define CARPOOL_WORKER_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define WAITING_CHILDREN_MAX 256

struct waiting_shared; /* inherited by fork */

/* A child's view. */
struct waiting {
    struct waiting_shared *shared;
    unsigned child, children;
    uint32_t max;
};

MUST_CHECK
int waiting_new(struct waiting_shared **ret_shared, struct err *e);
/* By the parent, when a child has died. */
void waiting_forget(struct waiting_shared *s, unsigned child);

/* False when max prompts wait already. Else the caller calls waiting_leave() later. */
bool waiting_enter(struct waiting *w);
void waiting_leave(struct waiting *w);

#endif
