/*
 * Addresses of Unix sockets whose path may be longer than sun_path holds (107 bytes): such a one is reached
 * through a descriptor of its directory. For bind() and for connect().
 */
#ifndef CARPOOL_BASE_SOCKET_PATH_H
#define CARPOOL_BASE_SOCKET_PATH_H

#include <stdbool.h>
#include <sys/un.h>

#include "base/err.h"

/*
 * Fills *ret_address for path. *ret_dirfd is -1, or a close-on-exec descriptor of the path's directory that
 * the caller keeps open until bind() or connect() has returned, and then closes. ERR_NOT_FOUND: a long path
 * whose directory does not exist (for a short one bind() and connect() say so themselves). ERR_INVAL: empty
 * path, no file name at its end, or one that is too long even so.
 */
MUST_CHECK
int socket_address(const char *path, struct sockaddr_un *ret_address, int *ret_dirfd, struct err *e);

/* Whether a process listens at path, though it may be too busy (or stopped) to take a connection. What cannot
 * be found out counts as no. *ret_pid (NULL: not wanted) is the process that began to listen; 0: not known.
 * Connects and closes again; never blocks. */
bool socket_has_listener(const char *path, long *ret_pid);

#endif
