/* Private directories. */
#ifndef CARPOOL_BASE_DIR_H
#define CARPOOL_BASE_DIR_H

#include <stdbool.h>

#include "base/err.h"

/* Makes path and the directories above it that are missing, each 0700 whatever the umask, and syncs the names
 * of those it made. One that is there is left as it is. */
MUST_CHECK
int dir_make(const char *path, struct err *e);

/* fsync of a directory: the names in it are on the disk afterwards, as fsync of a file does not promise for
 * its own (fsync(2)). Blocks. Where the system offers none, or the directory cannot be opened for reading,
 * nothing is done. */
MUST_CHECK
int dir_sync(const char *path, struct err *e);
/* Whether path, as it is written, lies below the directory dir. */
bool dir_contains(const char *dir, const char *path);

#endif
