/*
 * Answers that may be given again: what determines an answer (as 32 bytes of BLAKE2b) -> the chat that has
 * it. The answer itself stays in the chat, so whatever deletes that (DELETE, retention) deletes what would be
 * given again; the entry then finds nothing until it expires or is replaced.
 *
 * An entry is a version byte, expires_s and the id of the chat, and has one in `expiry` (expiry.h) beside it;
 * requests_expire() drops both in time.
 */
#ifndef CARPOOL_STORE_CACHE_H
#define CARPOOL_STORE_CACHE_H

#include "base/uuid.h"
#include "store/store.h"

#define CACHE_KEY_SIZE 32

/* Lends the record of the chat (chats.h) from the transaction. ERR_NOT_FOUND without a sentence: no entry,
 * one that has expired by now_s, or its chat is gone. */
MUST_CHECK
int cache_get(struct store_read *r, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s, struct slice *ret_chat,
              struct err *e);
/* Inserts or replaces. expires_s: real time, seconds. */
MUST_CHECK
int cache_put(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
              uint64_t expires_s, struct err *e);
/* Deletes the entry if it has expired by now_s; *ret_deleted says so. For requests_expire(). */
MUST_CHECK
int cache_expire(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s, bool *ret_deleted,
                 struct err *e);

#endif
