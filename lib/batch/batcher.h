/*
 * The batcher: waiting prompts in groups that may share a call, and the rules for when a group's call is due
 * and which due group goes next (api.md "Batching"). Pure: time comes in as an argument, nothing is sent from
 * here.
 *
 * A group holds the waiting members of one priority and one batch key, oldest first. A group is due when it
 * holds max_batch members, when its oldest member has waited the window, when nobody is left to join (waiting
 * >= capacity), when its policy is adaptive and no call is running, or when its members go alone. Taking a
 * batch seals it: until then it goes on filling.
 */
#ifndef CARPOOL_BATCH_BATCHER_H
#define CARPOOL_BATCH_BATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/list.h"

#define BATCH_KEY_SIZE 16
#define TENANT_SIZE    16

enum flush_reason { FLUSH_WINDOW, FLUSH_FULL, FLUSH_ALL_WAIT, FLUSH_IDLE, FLUSH_ALONE, FLUSH_REASONS };
const char *flush_reason_name(enum flush_reason r); /* "window", "full", "all_wait", "idle", "alone" */

struct batch_group;

/* One waiting prompt, embedded in the coordinator's job. Invariant: group is NULL exactly while the member is
 * in no batcher. */
struct batch_member {
    struct list node; /* in its group, oldest first */
    struct batch_group *group;
    enum priority priority;
    bool alone;                  /* shares a call with nobody */
    uint8_t key[BATCH_KEY_SIZE]; /* hash of everything members must have in common but for priority; unused
                                    when alone */
    uint8_t tenant[TENANT_SIZE]; /* whose turn it is: the trust group */
    uint64_t arrived_us;
    uint64_t tokens; /* estimated size, its answer included */
};

struct batch_policy_config {
    uint64_t window_us;
    uint32_t max_batch;
    bool adaptive;
};

struct batcher_config {
    struct batch_policy_config priority[PRIORITIES];
    uint32_t slots; /* calls that may run at once; LOW holds at most slots-2 and MEDIUM slots-1, at least 1 */
    uint32_t queue_max;  /* members waiting, all in all */
    double tenant_share; /* of queue_max that one tenant may hold, 0..1 */
    uint64_t tokens_max; /* estimated tokens of a batch; 0: no limit. A member larger than this goes alone. */
    bool flush_when_all_wait;
};

struct batcher;

MUST_CHECK
int batcher_new(const struct batcher_config *config, struct batcher **ret_batcher);
void batcher_free(struct batcher *b); /* must be empty */
/* In force for everything that waits, too. */
void batcher_configure(struct batcher *b, const struct batcher_config *config);

/* Queues m (its fields set, group NULL). now_us is for later aging; m->arrived_us may lie before it.
 * ERR_LIMIT: queue_max is reached (*ret_tenant_full false) or the tenant's share of it (true; only when
 * others wait too or the tenant alone holds it). ERR_NOMEM. */
MUST_CHECK
int batcher_add(struct batcher *b, struct batch_member *m, uint64_t now_us, bool *ret_tenant_full);
/* Takes a member out again (cancelled, deadline passed). Harmless when it is not in. */
void batcher_remove(struct batcher *b, struct batch_member *m);

/* How many clients wait in all (queued and running) and how many could at most (0: unknown). */
void batcher_set_waiting(struct batcher *b, uint32_t waiting, uint32_t capacity);

struct batch_taken {
    struct list members; /* of struct batch_member.node, oldest first; now the caller's */
    uint32_t n;
    enum priority priority; /* the one that was asked for, whatever ageing made of it */
    enum flush_reason reason;
};

/* running[p]: calls of priority p that hold a slot now. max_members bounds the batch further (concurrent
 * mode: free slots); 0: no bound. Returns true and fills *ret_taken (its list is initialised here) when a
 * group is due and its priority may have a slot. Of several: highest effective priority first (a group gains
 * one level each time it has waited ageing_windows = 4 windows past being due), then tenants in turn, then
 * the oldest. Call until false. */
bool batcher_take(struct batcher *b, uint64_t now_us, const uint32_t running[PRIORITIES],
                  uint32_t max_members, struct batch_taken *ret_taken);

/* When the next group falls due by its window, or UINT64_MAX. Groups that are due already and wait for a slot
 * do not count. */
uint64_t batcher_next_due_us(const struct batcher *b, uint64_t now_us);

struct batcher_depth {
    uint32_t waiting[PRIORITIES];
    uint64_t oldest_us[PRIORITIES]; /* arrival of the oldest; 0: none waits */
};
void batcher_depth(const struct batcher *b, struct batcher_depth *ret_depth);

#endif
