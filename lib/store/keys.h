/*
 * API keys: what is kept of each text that carpoolctl has handed out. Only its BLAKE2b-256 is, so nobody who
 * reads the store gets at a key. Several texts may be one key: rotation makes a new text and lets the old one
 * end after a while; both have the same id, which is the trust group of whoever comes with them (api.md
 * "Keys").
 *
 * Table: hash of the text -> record. The coordinator writes; workers look up the hash of what a caller
 * presents.
 */
#ifndef CARPOOL_STORE_KEYS_H
#define CARPOOL_STORE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"
#include "wire/message.h"

#define KEY_HASH_SIZE 32
#define KEY_LABEL_MAX 64    /* bytes, UTF-8 without control characters */
#define KEY_TEXTS_MAX 10000 /* for a new one, that which has not been usable for the longest goes */

/* Values are stored: never renumber. */
enum key_role { KEY_CLIENT = 1, KEY_ADMIN = 2 };

/* One text. Times are seconds since 1970, 0: never. */
struct key_record {
    uint8_t hash[KEY_HASH_SIZE];
    uint8_t id[TRUST_GROUP_SIZE]; /* random; of the key, whichever text it came with */
    enum key_role role;
    char label[KEY_LABEL_MAX + 1];
    uint32_t requests_per_minute, tokens_per_minute; /* 0: the configuration's limits */
    uint64_t budget_microusd; /* that prompts may cost in a calendar month (UTC); 0: any */
    uint64_t created_s;
    uint64_t ends_s;    /* of a text that rotation has replaced */
    uint64_t revoked_s; /* of the key; it stays in the table, so that its use is told from a typing error */
};

static inline bool key_usable(const struct key_record *k, uint64_t now_s)
{
    return !k->revoked_s && (!k->ends_s || now_s < k->ends_s);
}

/* Also one that is not usable any more. ERR_NOT_FOUND, without a sentence. One lookup. */
MUST_CHECK
int keys_find(struct store_read *r, const uint8_t hash[KEY_HASH_SIZE], struct key_record *ret_key,
              struct err *e);
/* Whether there ever was a key: revoking the last one does not open the door to those without. Cheap. */
MUST_CHECK
int keys_any(struct store_read *r, bool *ret_any, struct err *e);
/* Calls each for every text, by hash, until it returns other than 0, which is then returned. */
MUST_CHECK
int keys_each(struct store_read *r, int (*each)(void *arg, const struct key_record *k), void *arg,
              struct err *e);
/* Replaces the record of that hash. */
MUST_CHECK
int keys_put(struct store_write *w, const struct key_record *k, struct err *e);
/* 0 also when there is none. */
MUST_CHECK
int keys_delete(struct store_write *w, const uint8_t hash[KEY_HASH_SIZE], struct err *e);

#endif
