/*
 * Landlock: the process gives up the file system but for a few places, for itself and all it starts, for
 * good. By raw system calls, as far as the kernel goes (Linux 5.13 for files, 6.7 for TCP); see
 * Documentation/userspace-api/landlock.rst of the kernel. Connecting is left alone, to TCP ports as to Unix
 * sockets: a provider may be anywhere.
 */
#ifndef CARPOOL_BASE_LANDLOCK_H
#define CARPOOL_BASE_LANDLOCK_H

#include "base/err.h"

/* A set of rules while it is made. Invariant: fd is -1 where the kernel has no Landlock; then nothing is
 * done.
 */
struct landlock {
    int fd, abi;
};

/* abi is 0 and all else does nothing when the kernel has none, or it is switched off. */
void landlock_begin(struct landlock *l);
/* What is allowed below a path, or for the file that it is. */
enum landlock_use {
    LANDLOCK_READ,
    LANDLOCK_CHANGE, /* and writing, making, removing, renaming */
    LANDLOCK_BIND    /* Unix sockets made and removed, and nothing else */
};

/* A path that does not exist is passed over. */
void landlock_allow(struct landlock *l, const char *path, enum landlock_use use);
/* Puts the rules in force for the calling thread and those it starts: call it before there are others. TCP
 * ports cannot be bound from then on, where the kernel can forbid that. Returns the ABI in force, 0 for none,
 * or a negative code; l is closed in any case. Needs no-new-privileges. */
MUST_CHECK
int landlock_enforce(struct landlock *l, struct err *e);

#endif
