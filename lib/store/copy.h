/*
 * Copies of the whole store, for backups: taking one while everything runs, and looking through one before it
 * takes the place of the store (carpoolctl backup, restore).
 */
#ifndef CARPOOL_STORE_COPY_H
#define CARPOOL_STORE_COPY_H

#include "store/store.h"

/* Writes the newest commit to fd, from its position on, as a data.mdb without free pages: what was
 * overwritten or deleted is not in it. Readers and the writer go on; pages that are freed meanwhile are not
 * used again until it is over, so fd must be a file and not somebody who reads slowly. The calling thread
 * must have no transaction. ERR_NOSPC: the disk of fd is full. Blocks on the disk. */
MUST_CHECK
int store_copy(struct store *s, int fd, struct err *e);

/* Reads every record of every table, so that a damaged page is met now and not later. *ret_records counts.
 * ERR_CORRUPT. */
MUST_CHECK
int store_look_through(struct store_read *r, uint64_t *ret_records, struct err *e);

#endif
