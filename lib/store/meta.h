/*
 * The coordinator's epoch: raised by each coordinator at its start, compared in every write transaction of
 * store_write(), so that one that was replaced while stopped writes nothing more.
 */
#ifndef CARPOOL_STORE_META_H
#define CARPOOL_STORE_META_H

#include "store/store.h"

/* Raises the epoch and gives the new one. A durable commit. */
MUST_CHECK
int meta_raise_epoch(struct store *s, uint64_t *ret_epoch, struct err *e);
MUST_CHECK
int meta_epoch(struct store_read *r, uint64_t *ret_epoch, struct err *e);

#endif
