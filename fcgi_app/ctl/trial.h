/*
 * Reading a store that may be damaged, in a process of its own: LMDB trusts what it maps, and a file that was
 * cut short, or that has pages of something else, ends whoever reads it (SIGBUS). For restore and doctor.
 */
#ifndef CARPOOL_CTL_TRIAL_H
#define CARPOOL_CTL_TRIAL_H

#include "store/store.h"

/* Reads every record of the store in dir. ERR_NOT_FOUND: there is none; ERR_CORRUPT; ERR_INVAL: it is of a
 * newer version; ERR_NOMEM, ERR_AGAIN: nobody knows. Blocks for as long as that takes. */
MUST_CHECK
int trial_read(const char *dir, const struct store_options *reader, struct err *e);

#endif
