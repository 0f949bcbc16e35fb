/*
 * Which chat answers what was asked before: the newest of the store's table `cache` (store/cache.h), by key,
 * in memory. So looking for an answer costs no read of the disk, and keeping one no page of its own. Holds a
 * fixed number of entries; the oldest makes room for a new one. No memory is asked for after init.
 */
#ifndef CARPOOL_COORDINATOR_CACHE_INDEX_H
#define CARPOOL_COORDINATOR_CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"
#include "store/cache.h"

struct cache_index_entry {
    uint8_t key[CACHE_KEY_SIZE];
    struct uuid chat_id;
    uint64_t until_s;
};

/* Invariants: ring[(first + i) % size], i < n, are the entries, oldest first; a place in slots is 0, or one
 * more than the number of the newest ring entry of its key, which is found from the key's own place on
 * without a 0 between. Entries that a newer one of the same key replaced stay in the ring until they are the
 * oldest. */
struct cache_index {
    struct cache_index_entry *ring; /* NULL: holds nothing */
    uint32_t *slots;
    uint32_t size, mask, first, n;
};

/* size: entries, at least 1. ERR_NOMEM. */
MUST_CHECK
int cache_index_init(struct cache_index *x, uint32_t size);
void cache_index_fini(struct cache_index *x); /* a zeroed one is allowed */

void cache_index_add(struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
                     uint64_t until_s);
/* Adds one that is older than all there are. False: it is full. One of the same key that is there stays. */
bool cache_index_add_older(struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE],
                           const struct uuid *chat_id, uint64_t until_s);
/* False: there is none, or it has expired by now_s. */
bool cache_index_find(const struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s,
                      struct uuid *ret_chat_id);

#endif
