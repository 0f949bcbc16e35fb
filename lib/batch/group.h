/*
 * The inside of the batcher, shared by its three files: batcher.c (what the coordinator calls, but for
 * taking), take.c (which batch goes next), group.c (groups, tenants and the shelves they lie on).
 *
 * Each group lies on two shelves, that of its priority and that of its tenant within the priority (a lane),
 * on both among the ready or among the waiting. Ready: full, alone, or its window had passed when somebody
 * last told the time. So "the next to fall due" and "the oldest due of this tenant" are the tops of heaps,
 * and a take looks at one group for each tenant that waits.
 */
#ifndef CARPOOL_BATCH_GROUP_H
#define CARPOOL_BATCH_GROUP_H

#include <uthash.h>

#include "batch/age.h"
#include "batch/batcher.h"

struct shelf {
    struct age_heap ready, waiting;
};

/* The groups of one tenant and priority. Invariant: node is on the priority's list of lanes exactly while the
 * shelf holds a group. */
struct lane {
    struct list node;
    struct shelf shelf;
    struct tenant *tenant;
    uint32_t waiting;
};

/* Kept for a while after its last member has left, for served[]. Invariant: idle is on the batcher's list
 * exactly while waiting is 0. */
struct tenant {
    uint8_t id[TENANT_SIZE];
    UT_hash_handle hh;
    struct list idle;
    uint32_t waiting;
    uint64_t served[PRIORITIES]; /* number of the last take at that effective priority; 0: none */
    struct lane lanes[PRIORITIES];
};

struct group_id {
    uint8_t key[BATCH_KEY_SIZE];
    uint8_t tenant[TENANT_SIZE];
    uint8_t priority;
};

/* Invariants: members are n > 0, tokens is their sum, both nodes' at_us is the arrival of the first; in the
 * table of groups unless alone. */
struct batch_group {
    struct group_id id;
    UT_hash_handle hh;
    struct list spare; /* links it while it is of no use */
    struct list members;
    uint32_t n;
    uint64_t tokens;
    bool alone, ready;
    enum priority priority;
    struct tenant *tenant;
    struct age_node in_priority, in_lane;
};

struct batcher {
    struct batcher_config config;
    uint32_t share; /* members one tenant may hold */
    struct batch_group *groups;
    struct tenant *tenants;
    struct shelf shelves[PRIORITIES];
    struct list lanes[PRIORITIES];
    uint32_t queued[PRIORITIES], queued_all;
    uint32_t clients_waiting, clients_max;
    struct list spare_groups, idle_tenants;
    unsigned spare_groups_n, idle_tenants_n;
    uint64_t takes, groups_made;
};

/* The tenant of that id, if it is known. */
struct tenant *tenant_find(const struct batcher *b, const uint8_t id[TENANT_SIZE]);
/* A new tenant of which nobody waits yet, or NULL without memory. */
struct tenant *tenant_make(struct batcher *b, const uint8_t id[TENANT_SIZE]);
/* Counts members that came or went. A tenant that has none left may be gone afterwards. */
void tenant_count(struct batcher *b, struct tenant *t, uint32_t joined, uint32_t left);
void tenants_forget_all(struct batcher *b);

/* A group without members, on no shelf yet, or NULL without memory. */
struct batch_group *group_make(struct batcher *b, const struct group_id *id, struct tenant *t, bool alone);
void groups_free_spare(struct batcher *b);
bool group_is_full(const struct batcher *b, const struct batch_group *g);

/* In and out of the list of members, in order of arrival; counts and shelves are left alone. */
void group_attach(struct batch_group *g, struct batch_member *m);
void group_detach(struct batch_group *g, struct batch_member *m);
/* After attaching one, to a group just made or to an older one. */
void group_grown(struct batcher *b, struct batch_group *g, struct batch_member *m);
/* After detaching n. A group that is empty is gone afterwards. */
void group_shrunk(struct batcher *b, struct batch_group *g, uint32_t n);

/* Makes ready what has waited its window. */
void groups_look_at_clock(struct batcher *b, uint64_t now_us);
/* Places every group anew, after the configuration has changed. */
void groups_reshelve(struct batcher *b);

static inline struct batch_member *member_of(struct list *node)
{
    return LIST_ENTRY(node, struct batch_member, node);
}

#endif
