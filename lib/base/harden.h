/*
 * What every program does to itself before it knows a secret, so that a bug in it gives away less: files are
 * private whatever the umask, no file becomes standard output, there is no core, nothing it executes gains
 * rights, and no other process of the same user may trace it or read its memory. What is particular to a
 * program is in landlock.h and filter.h.
 *
 * A program that is not dumpable belongs to root in /proc: its user's ps and kill still work, but not strace,
 * gdb and perf, nor reading its environ and fd there. coordinator.sandbox = off is for those who need them.
 * Under sanitizers and coverage (CARPOOL_UNCONFINED) it stays dumpable, since LeakSanitizer traces.
 */
#ifndef CARPOOL_BASE_HARDEN_H
#define CARPOOL_BASE_HARDEN_H

#include <stdbool.h>

/* The first thing in main(). Never fails: a kernel that lacks one of these runs without it. */
void harden_early(void);

/* Once the configuration is known. sandbox false: may be traced and dump core memory to a debugger again;
 * writing core files stays off. */
void harden_settle(bool sandbox);

/* Whether this process is closed to tracing now. */
bool harden_is_closed(void);

#endif
