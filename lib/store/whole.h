/*
 * Whether data.mdb has all the pages that it needs, before it is mapped: LMDB trusts its length, and whoever
 * reads a page beyond the end of a file that was cut short is ended by SIGBUS. For store.c.
 */
#ifndef CARPOOL_STORE_WHOLE_H
#define CARPOOL_STORE_WHOLE_H

#include "base/err.h"

/*
 * 0 also for a file that is no LMDB file of this machine, or empty: LMDB says what to make of that. The file
 * is shorter than its last page number says without harm when what is missing is free: LMDB never writes a
 * page that one transaction takes and gives back, but counts it. Reads some 300 bytes, and of a short file
 * the table of free pages. Safe beside a writer. ERR_CORRUPT: it was cut short. Blocks on the file.
 */
MUST_CHECK
int whole_check(const char *dir, struct err *e);

#endif
