/*
 * One coordinator a storage directory: a lock file held for life, its first line the pid. Whoever holds it
 * may bind the socket, and replace the store (carpoolctl restore).
 */
#ifndef CARPOOL_BASE_LOCK_H
#define CARPOOL_BASE_LOCK_H

#include <stdbool.h>

#include "base/err.h"

/* Makes dir when it is missing (0700), locks <dir>/coordinator.lock (made 0600) and writes the pid.
 * ERR_EXISTS: another coordinator holds it. The descriptor in *ret_fd is the lock; closing it releases. */
MUST_CHECK
int lock_take(const char *dir, int *ret_fd, struct err *e);

/* The pid that the lock file names; 0: none. */
long lock_holder(const char *dir);

/* The pid of the process that holds the lock now; 0: nobody does. Looks without touching the lock, so that
 * who starts meanwhile is not turned away. Where the system does not list its locks (/proc/locks), a process
 * of that pid is taken for the holder. */
long lock_held_by(const char *dir);

/* Whether the lock file is still the one that is locked: otherwise somebody removed it, and another
 * coordinator may hold another. */
bool lock_holds(const char *dir, int fd);

#endif
