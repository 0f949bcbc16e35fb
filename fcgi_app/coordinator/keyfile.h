/* The provider key put through PUT /v1/settings: in <storage.dir>/provider.key, 0600, read by the coordinator
 * alone. */
#ifndef CARPOOL_COORDINATOR_KEYFILE_H
#define CARPOOL_COORDINATOR_KEYFILE_H

#include <stddef.h>

#include "base/err.h"

/* ret_key gets the terminated key, empty when there is none. Refuses a file that others could read. */
MUST_CHECK
int keyfile_read(const char *dir, char *ret_key, size_t size, struct err *e);
/* Replaces the file durably (written beside, synced, renamed); "" removes it. */
MUST_CHECK
int keyfile_write(const char *dir, const char *key, struct err *e);

#endif
