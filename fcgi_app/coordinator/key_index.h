/*
 * The texts of all API keys, in memory: by the hash of the text, and by trust group, as prompts name them. As
 * the store has them; keys.c keeps both in step. What may fail is reserved beforehand, so that a change which
 * is on the disk is in here, too.
 */
#ifndef CARPOOL_COORDINATOR_KEY_INDEX_H
#define CARPOOL_COORDINATOR_KEY_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "store/keys.h"

/* Invariants: n <= cap; slots is a power of two of at least twice cap (0 while there is no memory); by_hash
 * holds every record's place + 1 (0: free), by_id one for each id: the text that is handed out now. */
struct key_index {
    struct key_record *records; /* in no order */
    uint32_t *by_hash, *by_id;
    size_t n, cap, slots;
};

void key_index_fini(struct key_index *x); /* a zeroed one is allowed; it is one afterwards */
/* Room for n texts in all. ERR_NOMEM: nothing changed. */
MUST_CHECK
int key_index_reserve(struct key_index *x, size_t n);
/* In the place of the record of that hash; for a new one room must have been reserved. */
void key_index_put(struct key_index *x, const struct key_record *k);
void key_index_remove(struct key_index *x, const uint8_t hash[KEY_HASH_SIZE]);

/* NULL: none. Lent until the next change. */
const struct key_record *key_index_by_hash(const struct key_index *x, const uint8_t hash[KEY_HASH_SIZE]);
/* Of the texts of that key the one that rotation has made last: the others are the same but for when they
 * end. */
const struct key_record *key_index_by_id(const struct key_index *x, const uint8_t id[TRUST_GROUP_SIZE]);
/* How many keys there are, whatever texts they have. */
size_t key_index_ids(const struct key_index *x);

#endif
