/*
 * The keys of the indexes over chats, shared by chats.c and chats_delete.c. Not for use outside lib/store.
 */
#ifndef CARPOOL_STORE_CHATS_PRIVATE_H
#define CARPOOL_STORE_CHATS_PRIVATE_H

#include "store/chats.h"
#include "store/table.h"

/* An index key: the name (username, request id), a zero byte, a chat id. Names come from JSON texts, which
 * have no zero bytes; should one have, its keys stand among those of a shorter name but differ in length. */
struct chat_index {
    char bytes[CHAT_NAME_MAX + 1 + sizeof(struct uuid)];
};

/* Fills *k and lends it. name.n <= CHAT_NAME_MAX. */
struct slice chat_index_key(struct chat_index *k, struct slice name, const struct uuid *id);
/* Whether key belongs to name; *ret_behind: it does not, nor does any after it. */
bool chat_index_match(struct slice key, struct slice name, bool *ret_behind);

#endif
