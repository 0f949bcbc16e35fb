/*
 * The coordinator's epoch: raised by each coordinator at its start, compared in every write transaction of
 * store_write(), so that one that was replaced while stopped writes nothing more. And who this machine is.
 */
#ifndef CARPOOL_STORE_META_H
#define CARPOOL_STORE_META_H

#include "base/uuid.h"
#include "store/store.h"

/* Raises the epoch and gives the new one. A durable commit. */
MUST_CHECK
int meta_raise_epoch(struct store *s, uint64_t *ret_epoch, struct err *e);
MUST_CHECK
int meta_epoch(struct store_read *r, uint64_t *ret_epoch, struct err *e);

/* How far what other machines did was taken in here (shared/shared.h): the position of the newest news ("":
 * none yet), and the version of the settings (0: none yet). Stored with what they brought. */
#define META_POSITION_SIZE 64
MUST_CHECK
int meta_shared(struct store_read *r, char ret_position[META_POSITION_SIZE], uint64_t *ret_settings_version,
                struct err *e);
MUST_CHECK
int meta_put_position(struct store_write *w, const char *position, struct err *e);
MUST_CHECK
int meta_put_settings_version(struct store_write *w, uint64_t version, struct err *e);

/* Who this machine is among several, made at the first call; it stays with the store. May commit. */
MUST_CHECK
int meta_machine(struct store *s, uint64_t epoch, struct uuid *ret_machine, struct err *e);
/* The same without making it: ERR_NOT_FOUND while no coordinator has asked. */
MUST_CHECK
int meta_machine_get(struct store_read *r, struct uuid *ret_machine, struct err *e);

/* Makes a copy of a store (store/copy.h) the successor of another one: the epoch becomes at least that given,
 * so that the next coordinator is newer than all that knew either; and, unless NULL, it is that machine's
 * from now on. A durable commit. */
MUST_CHECK
int meta_succeed(struct store *s, uint64_t epoch, const struct uuid *machine, struct err *e);

#endif
