/*
 * Answers that may be given again: the id of a chat -> what determined its answer (32 bytes of BLAKE2b), a
 * version byte and expires_s. Entries are in the order of the chats, so that a commit appends them to one
 * page, the newest are read first at a start, and the oldest expire first. Who looks for an answer by what
 * determines it has an index in memory (coordinator/cache_index.h). The answer itself stays in the chat:
 * whatever deletes that (DELETE, retention) deletes what would be given again.
 */
#ifndef CARPOOL_STORE_CACHE_H
#define CARPOOL_STORE_CACHE_H

#include <stdbool.h>

#include "base/uuid.h"
#include "store/store.h"

#define CACHE_KEY_SIZE 32

/* expires_s: real time, seconds. */
MUST_CHECK
int cache_append(struct store_write *w, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE],
                 uint64_t expires_s, struct err *e);
/* Visits the entries that have not expired by now_s, newest first. each returns false to stop. What this
 * version cannot read is left out. */
MUST_CHECK
int cache_newest(struct store_read *r, uint64_t now_s,
                 bool (*each)(void *arg, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE],
                              uint64_t expires_s),
                 void *arg, struct err *e);
/* Drops at most max_entries of the oldest, up to the first that has not expired by now_s. */
MUST_CHECK
int cache_expire(struct store_write *w, uint64_t now_s, uint32_t max_entries, uint32_t *ret_dropped,
                 struct err *e);

#endif
