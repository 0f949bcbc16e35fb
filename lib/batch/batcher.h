/*
 * The batcher: waiting prompts in groups that may share a call, and the rules for when a group's call is due
 * and which due group goes next (api.md "Batching"). Pure: time comes in as an argument (never going back),
 * nothing is sent from here. Not for several threads at once.
 *
 * A group holds the waiting members of one priority, tenant and batch key, oldest first. It is due
 *   alone     when its one member shares with nobody,
 *   full      when it holds max_batch members, or tokens_max tokens,
 *   window    when its oldest member has waited the window,
 *   all_wait  when nobody is left to join (clients waiting >= capacity),
 *   idle      when its policy is adaptive and no call runs at all. Once one runs, an adaptive group is due as
 *             any other, and leaves early at the next take without a running call: low latency while there
 *             is little to do, full batches under load. So take again whenever a call has ended.
 * Taking a batch seals it: until then the group goes on filling. What one batch cannot hold stays in the
 * group, whose window then counts from its new oldest member.
 *
 * Ageing: the effective priority of a group is its own, and one higher for each step its oldest member has
 * waited beyond the window; a step is 4 windows, at least 1 s.
 *
 * Slots: a group of priority p and effective priority e may run while fewer than `slots` calls run in all,
 * and fewer than max(1, slots - 2) of p for e LOW, max(1, slots - 1) of p for e MEDIUM. That p's calls are
 * counted but e's bound holds is what lets an aged LOW group past the LOW calls that run: nothing starves.
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
    uint32_t slots;      /* calls that may run at once, at least 1 */
    uint32_t queue_max;  /* members waiting, all in all */
    double tenant_share; /* 0..1 of queue_max, at least 1: what a tenant may hold while others wait */
    uint64_t tokens_max; /* estimated tokens of a batch; 0: no limit. A member larger than this goes alone. */
    bool flush_when_all_wait;
};

struct batcher;

MUST_CHECK
int batcher_new(const struct batcher_config *config, struct batcher **ret_batcher);
void batcher_free(struct batcher *b); /* must be empty; NULL is allowed */
/* In force for everything that waits, too. */
void batcher_configure(struct batcher *b, const struct batcher_config *config);

/* Queues m (its fields set, group NULL). m->arrived_us may lie before now_us (tried again: it keeps its
 * place) and is set to now_us if it lies after it. ERR_LIMIT with *ret_tenant_full true: its tenant has its
 * share while others wait too, or has the whole queue to itself; false: the queue is full. ERR_NOMEM. On
 * failure m is in no group and nothing has changed. No malloc for a member that joins a group. */
MUST_CHECK
int batcher_add(struct batcher *b, struct batch_member *m, uint64_t now_us, bool *ret_tenant_full);
/* Whether a member of that tenant would be let in if `others` more members waited, `own` of them its own: 0,
 * or ERR_LIMIT as batcher_add. For those that are on their way in. */
MUST_CHECK
int batcher_admits(const struct batcher *b, const uint8_t tenant[TENANT_SIZE], uint32_t others, uint32_t own,
                   bool *ret_tenant_full);
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

/* running[p]: calls that hold a slot now and were taken as priority p. one_each: every member will hold a
 * slot of its own (concurrent mode), so the slots that are free to the group bound the batch too. Returns
 * true and fills *ret_taken (its list is initialised here) when a group is due and may run. Of several: the
 * highest effective priority first, in it the tenant served longest ago in that effective priority, of that
 * tenant the oldest group. Call until false, with running counted up. A member goes whatever its size; more
 * join it while the sum stays within tokens_max. */
bool batcher_take(struct batcher *b, uint64_t now_us, const uint32_t running[PRIORITIES], bool one_each,
                  struct batch_taken *ret_taken);

/* How many calls of a priority may run at once (of config.slots). */
uint32_t batcher_slots_for(const struct batcher *b, enum priority p);

/* When the next group falls due by its window, or UINT64_MAX. Groups that are due already and wait for a slot
 * do not count. */
uint64_t batcher_next_due_us(struct batcher *b, uint64_t now_us);

/* About how many calls would be made before that of a member of that tenant and priority who came now, in
 * turns as batcher_take gives them: rather too few than too many (groups are taken to be as full as can be,
 * ageing is left out). one_each: as for batcher_take. Costs a look at each tenant that waits. */
uint32_t batcher_calls_ahead(const struct batcher *b, const uint8_t tenant[TENANT_SIZE], enum priority p,
                             bool one_each);

struct batcher_depth {
    uint32_t waiting[PRIORITIES];
    uint64_t oldest_us[PRIORITIES]; /* arrival of the oldest; 0: none waits */
};
void batcher_depth(const struct batcher *b, struct batcher_depth *ret_depth);

#endif
