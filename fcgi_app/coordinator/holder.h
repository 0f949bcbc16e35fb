/*
 * The process that holds the lock when this one wants it: another coordinator that comes up, runs or leaves.
 * Many workers may start coordinators at the same moment; all but one of these wait here until that one can
 * be asked, so that no worker has to start another meanwhile.
 */
#ifndef CARPOOL_COORDINATOR_HOLDER_H
#define CARPOOL_COORDINATOR_HOLDER_H

#include "base/conf.h"
#include "base/err.h"

/*
 * Takes the lock of conf->storage.dir, as lock_take(), as soon as its holder has left. ERR_EXISTS: the holder
 * can be asked (it listens at the coordinator's socket). ERR_TIMEOUT: neither within limit_ms; the
 * sentence names the holder. Blocks.
 */
MUST_CHECK
int holder_await(const struct conf *conf, uint32_t limit_ms, int *ret_lock_fd, struct err *e);

#endif
