/*
 * What the coordinator gives up once it knows its configuration (coordinator.sandbox): files outside of its
 * own directories, then all system calls it has no use for. etc/security.md says what is left.
 */
#ifndef CARPOOL_COORDINATOR_SANDBOX_H
#define CARPOOL_COORDINATOR_SANDBOX_H

#include "base/conf.h"

/* Before the first thread starts and after the log is open. Makes the log directory, which must be there to
 * be allowed. What the kernel cannot do is left out; nothing here keeps the program from starting. Returns
 * the Landlock ABI in force, 0 for none. */
int sandbox_files(const struct conf *conf);
/* The last step of the start; landlock_abi is what sandbox_files returned. Says in the log what is in force.
 */
void sandbox_calls(const struct conf *conf, int landlock_abi);

#endif
