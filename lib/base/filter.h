/*
 * A filter of system calls (seccomp, through libseccomp where it was there at build time): what a program
 * never does, it can no longer be made to do. For all threads and all that is started later, for good.
 *
 * The coordinator has a list of what it may call. What else is asked for does not exist (ENOSYS), which a
 * newer C library understands as an older kernel and works around: a list that is a call short does not take
 * the service down. Processes and programs it cannot start at all. The worker, which has to start a
 * coordinator, may call everything but what only an attack would: the machine's own affairs, other processes'
 * memory, odd kinds of sockets, namespaces. In both, what no library has an innocent reason for ends the
 * process.
 */
#ifndef CARPOOL_BASE_FILTER_H
#define CARPOOL_BASE_FILTER_H

#include "base/err.h"

enum filter_kind { FILTER_COORDINATOR, FILTER_WORKER };

/* 1: in force; 0: the kernel or this build has no filters. Needs no-new-privileges. */
MUST_CHECK
int filter_enforce(enum filter_kind kind, struct err *e);

#endif
