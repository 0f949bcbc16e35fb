/*
 * The directory of the store and its files: private whatever the umask, refused when it lies on a
 * file system where memory-mapped files are not coherent or locks cannot be trusted.
 *
 * Not for use outside lib/store, but for the doctor of carpoolctl, which says the same before the start.
 */
#ifndef CARPOOL_STORE_PLACE_H
#define CARPOOL_STORE_PLACE_H

#include <stdint.h>

#include "base/err.h"

/* Makes dir/name as a file of that many zero bytes, all of them on the disk (no holes), 0600, or takes the
 * permissions of group and others away from one that is there. Never opens one that is there: closing a
 * descriptor of LMDB's lock file would drop the locks that this process holds on it. */
MUST_CHECK
int place_make_file(const char *dir, const char *name, uint64_t bytes, struct err *e);

/* statfs. ERR_INVAL with a sentence that says what to do when dir is on a network file system. */
MUST_CHECK
int place_check_local(const char *dir, struct err *e);
/* What people call a network file system of that magic number (statfs(2)); NULL for any other. */
const char *place_network_name(unsigned long magic);

#endif
