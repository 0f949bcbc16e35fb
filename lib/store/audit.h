/*
 * The audit trail: who changed which setting or key, and when. An entry is in the same transaction as the
 * change, so there is no change without one. The newest AUDIT_ENTRIES_MAX are kept. No secret is ever in an
 * entry.
 *
 * Table: time in microseconds, big-endian, and a number for those of one moment -> entry. The order is that
 * in which they were written: while the clock is behind the newest entry, entries stand at that one's time.
 */
#ifndef CARPOOL_STORE_AUDIT_H
#define CARPOOL_STORE_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "store/store.h"

#define AUDIT_ENTRIES_MAX 10000
/* Bytes. */
#define AUDIT_ACTOR_MAX   200
#define AUDIT_ACTION_MAX  32
#define AUDIT_DETAILS_MAX (64u << 10)

struct audit_entry {
    uint64_t at_us;     /* real time */
    struct slice actor; /* "key 5f3a… backoffice", "ADMIN_KEY", "127.0.0.1 without a key", "carpoolctl, user
                           carpool" */
    struct slice action;  /* "settings.put", "key.create", "key.rotate", "key.revoke" */
    struct slice details; /* a JSON object: what was before and is now */
};

/* Pushes out the oldest ones beyond AUDIT_ENTRIES_MAX, a few at a time. ERR_INVAL: a text is empty or longer
 * than its maximum. */
MUST_CHECK
int audit_append(struct store_write *w, const struct audit_entry *entry, struct err *e);
/* Calls each for every entry, the newest first, until it returns other than 0, which is then returned.
 * Entries lend from the transaction. What this version cannot read is left out. */
MUST_CHECK
int audit_each(struct store_read *r, int (*each)(void *arg, const struct audit_entry *entry), void *arg,
               struct err *e);

/* A place in the trail: behind the entry with that key; n 0: before the first one. */
#define AUDIT_PLACE_SIZE 12
struct audit_place {
    uint8_t key[AUDIT_PLACE_SIZE];
    size_t n;
};
/* The other way round, in pieces: calls each for up to max entries behind *at, the oldest first, until it
 * returns other than 0; *at moves along, *ret_more says whether there may be more. A caller that ends the
 * transaction between calls holds none while it waits. */
MUST_CHECK
int audit_scan(struct store_read *r, struct audit_place *at, uint32_t max,
               int (*each)(void *arg, const struct audit_entry *entry), void *arg, bool *ret_more,
               struct err *e);

#endif
