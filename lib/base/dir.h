/* Private directories. */
#ifndef CARPOOL_BASE_DIR_H
#define CARPOOL_BASE_DIR_H

#include "base/err.h"

/* Makes path and the directories above it that are missing, each 0700 whatever the umask. One that is there
 * is left as it is. */
MUST_CHECK
int dir_make(const char *path, struct err *e);

#endif
