/*
 * Answers that may be given again: what determines an answer (as 32 bytes of BLAKE2b) -> the chat that has
 * it. The answer itself stays in the chat, so whatever deletes that (DELETE, retention) deletes what would be
 * given again; the entry then finds nothing until it expires or is replaced.
 *
 * An entry is a version byte, expires_s and the id of the chat. Keys are spread evenly, so that each insert
 * writes a page of its own: it is the dearest part of an answer's commit, and nothing more is kept of it.
 * What has expired is found by going round the table in small steps.
 */
#ifndef CARPOOL_STORE_CACHE_H
#define CARPOOL_STORE_CACHE_H

#include "base/uuid.h"
#include "store/store.h"

#define CACHE_KEY_SIZE  32
#define CACHE_SWEEP_MAX 64 /* entries that a step looks at */

/* Lends the record of the chat (chats.h) from the transaction. ERR_NOT_FOUND without a sentence: no entry,
 * one that has expired by now_s, or its chat is gone. */
MUST_CHECK
int cache_get(struct store_read *r, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s, struct slice *ret_chat,
              struct err *e);
/* Inserts or replaces. expires_s: real time, seconds. */
MUST_CHECK
int cache_put(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
              uint64_t expires_s, struct err *e);
/* Looks at the next CACHE_SWEEP_MAX entries from the key `from` on (zeros: the first of all) and drops those
 * that have expired by now_s. *ret_next: where to go on, zeros behind the last; *ret_dropped counts. */
MUST_CHECK
int cache_sweep(struct store_write *w, const uint8_t from[CACHE_KEY_SIZE], uint64_t now_s,
                uint8_t ret_next[CACHE_KEY_SIZE], uint32_t *ret_dropped, struct err *e);

#endif
