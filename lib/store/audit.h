/*
 * The audit trail: who changed which setting or key, and when. An entry is in the same transaction as the
 * change, so there is no change without one. The newest AUDIT_ENTRIES_MAX are kept. No secret is ever in an
 * entry.
 *
 * Table: time in microseconds, big-endian, and a number for those of one moment -> entry.
 */
#ifndef CARPOOL_STORE_AUDIT_H
#define CARPOOL_STORE_AUDIT_H

#include <stdint.h>

#include "base/slice.h"
#include "store/store.h"

#define AUDIT_ENTRIES_MAX 10000
#define AUDIT_ACTOR_MAX   200 /* bytes */

struct audit_entry {
    uint64_t at_us;     /* real time */
    struct slice actor; /* "key 5f3a… backoffice", "ADMIN_KEY", "127.0.0.1 without a key", "carpoolctl, user
                           carpool" */
    struct slice action;  /* "settings.put", "key.create", "key.rotate", "key.revoke" */
    struct slice details; /* a JSON object: what was before and is now */
};

MUST_CHECK
int audit_append(struct store_write *w, const struct audit_entry *entry, struct err *e);
/* Calls each for every entry, the newest first, until it returns other than 0, which is then returned.
 * Entries lend from the transaction. */
MUST_CHECK
int audit_each(struct store_read *r, int (*each)(void *arg, const struct audit_entry *entry), void *arg,
               struct err *e);

#endif
