/*
 * Records as they stand at the server, and the names of keys there. All keys carry the hash tag {carpool}, so
 * that in a cluster they are in one slot and one script can reach them all.
 *
 * A record: u8 version, u8 state, 16 bytes machine, 32 bytes fingerprint, then the value. The scripts
 * (scripts.c) read state and machine by their places.
 */
#ifndef CARPOOL_SHARED_RECORD_H
#define CARPOOL_SHARED_RECORD_H

#include "base/buf.h"
#include "shared/shared.h"

#define RECORD_VERSION 1
#define RECORD_HEAD    50 /* bytes before the value */

/* The head; fingerprint may be NULL (zeroes). */
void record_encode_head(uint8_t ret_head[RECORD_HEAD], enum shared_state state, const struct uuid *machine,
                        const uint8_t *fingerprint);

/* What a script answered for a key: raw absent means that there is none (FREE). The value lends from raw.
 * ERR_CORRUPT: no version of this program wrote that. */
MUST_CHECK
int record_decode(struct slice raw, bool owner_alive, const struct uuid *me,
                  struct shared_record *ret_record);

/* A key's name has at most this many bytes. */
#define RECORD_KEY_MAX 160

/* Invariant: n <= sizeof(bytes). Not terminated: what follows the prefix may be any bytes. */
struct record_key {
    char bytes[RECORD_KEY_MAX];
    size_t n;
};

/* The kinds of keys; what follows the kind's name is cut where the room ends. */
#define KEY_RECORD   "r:"       /* 32 bytes of the request's key */
#define KEY_CACHE    "c:"       /* 32 bytes of the cache key */
#define KEY_BUCKET   "b:"       /* the bucket's name */
#define KEY_FENCE    "f:"       /* machine */
#define KEY_ALIVE    "m:"       /* machine */
#define KEY_OPEN     "open:"    /* machine */
#define KEY_SETTINGS "settings" /* nothing */
#define KEY_NEWS     "news"
#define KEY_BORN     "born"
void record_key(struct record_key *ret_key, const char *kind, const void *rest, size_t n);

#endif
