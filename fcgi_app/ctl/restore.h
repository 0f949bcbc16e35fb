/*
 * carpoolctl restore: files and order (restore.c), and making the store of the backup the successor of the
 * one that is there (restore_store.c; restore_requests.c for request ids and money, restore_keys.c for API
 * keys).
 */
#ifndef CARPOOL_CTL_RESTORE_H
#define CARPOOL_CTL_RESTORE_H

#include "ctl/ctl.h"

/* What became of request ids. */
struct restored {
    bool has_old; /* there was a store that could be read */
    uint64_t old_epoch, backup_epoch, epoch;
    uint64_t records, chats;
    uint64_t still_queued; /* queued in both: they run */
    uint64_t unknown;      /* under way in the backup, and maybe sent since: their outcome is unknown */
    uint64_t carried;      /* others that were sent, answered or deleted since */
    uint64_t keys;         /* texts of API keys that are not as in the backup */
};

/*
 * Opens the store in fresh, a directory with the data.mdb of the backup, reads all of it, and writes into it
 * what it has to know of the store that is there: an epoch beyond both, who this machine is, which requests
 * were or may have been sent since it was made, so that they are not sent again, and what was spent. t->store
 * is the old one then, until ctl_close_store(). sealed: the file is as a backup wrote it; any other one, and
 * the store that is there, is read by a child first. ERR_INVAL: it is of a newer version; ERR_CORRUPT.
 */
MUST_CHECK
int restore_succeed(struct ctl *t, const char *fresh, bool sealed, struct restored *ret_restored,
                    struct err *e);

/* Part of it: what was sent since the backup is not sent again. What has no end in s is as in the store that
 * is there, but without its answer, which becomes UNKNOWN; what was spent in the present month is the larger
 * of both. *ret_carried: those of which s did not know that they were under way. Several durable commits. */
MUST_CHECK
int restore_requests(struct store *s, struct store_read *old, uint64_t now_s, uint64_t *ret_carried,
                     struct err *e);

/* Part of it: API keys of the store that is there stay, and what is revoked or has ended in either of the two
 * does so in s. *ret_changed: how many texts of s are other than they were. A durable commit. */
MUST_CHECK
int restore_keys(struct store *s, struct store_read *old, uint64_t now_s, uint64_t *ret_changed,
                 struct err *e);

#endif
