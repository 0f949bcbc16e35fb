/* Waiting for the holder of the lock; see holder.h. */
#include "coordinator/holder.h"

#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/socket_path.h"
#include "coordinator/loop.h"

#define PAUSE_US (20 * US_PER_MS)

/* Not by whoever else listens there: a program that has no right to, or one whose lock was taken away. */
static bool can_be_asked(const char *dir, const char *socket)
{
    long listener;
    return socket_has_listener(socket, &listener) && (!listener || listener == lock_holder(dir));
}

static int too_long(const struct conf *conf, const char *socket, uint32_t limit_ms, struct err *e)
{
    return err_set(
        e, ERR_TIMEOUT,
        "A process holds %.160s/coordinator.lock (the pid in it is %ld), but after %u ms it does not "
        "listen at %.160s; if it hangs, end it.",
        conf->storage.dir, lock_holder(conf->storage.dir), limit_ms, socket);
}

int holder_await(const struct conf *conf, uint32_t limit_ms, int *ret_lock_fd, struct err *e)
{
    char socket[PATH_MAX];
    uint64_t until_us = clock_mono_us() + limit_ms * US_PER_MS;
    loop_socket_path(conf, socket);
    for (;;) {
        int rc = lock_take(conf->storage.dir, ret_lock_fd, e);
        if (rc != ERR_EXISTS || can_be_asked(conf->storage.dir, socket))
            return rc;
        if (clock_mono_us() >= until_us)
            return too_long(conf, socket, limit_ms, e);
        usleep(PAUSE_US);
    }
}
