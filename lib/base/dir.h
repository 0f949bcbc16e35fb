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

/* How a directory that was there already stands to other users. */
enum dir_privacy {
    DIR_PRIVATE,   /* 0700 or less */
    DIR_TIGHTENED, /* it was open, and is 0700 now */
    DIR_OPEN       /* it is open and stays so: another user's, or there is more in it than names says */
};

/* Shuts path to other users, if it is ours alone: everything in it is one of names, a NULL-terminated list.
 * Who set storage.dir = /var/lib by mistake must not find /var/lib shut. Blocks on the directory. */
enum dir_privacy dir_tighten(const char *path, const char *const *names);

/* Whether nothing but names, a NULL-terminated list, is in the directory path; false when it cannot be read.
 */
bool dir_holds_only(const char *path, const char *const *names);

/* Whether path, as it is written, lies below the directory dir. */
bool dir_contains(const char *dir, const char *path);

#endif
