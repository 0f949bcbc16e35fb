/*
 * The coordinator's socket and its connections: bytes in, frames to the core, frames out. One connection a
 * worker thread.
 */
#ifndef CARPOOL_COORDINATOR_LINK_H
#define CARPOOL_COORDINATOR_LINK_H

#include <limits.h>
#include <sys/types.h>
#include <uv.h>

#include "coordinator/core.h"

struct links {
    uv_loop_t *loop;
    struct core *core;
    uv_poll_t *listener; /* of listen_fd; its own block: closing outlives its replacement */
    int listen_fd;
    uv_timer_t accept_again; /* runs while no descriptor is left for connections */
    bool accept_fault;       /* the last one could not be taken */
    char path[PATH_MAX];
    bool take_over; /* whoever listens at path has no right to */
    dev_t device;   /* of the socket file */
    ino_t inode;
    struct list open; /* struct link.node; those that said something last are at the end */
    uint32_t n, max;  /* connections */
};

/* Binds (replacing a stale socket: the caller holds the lock) and listens. Somebody who listens there is
 * replaced as well with take_over, else ERR_EXISTS. Only processes of this uid are let in. Blocks on nothing.
 */
MUST_CHECK
int links_open(struct links *l, uv_loop_t *loop, struct core *core, const char *path, bool take_over,
               uint32_t max, struct err *e);
/* Binds again when somebody removed the socket file: nobody could connect any more. Now and then. */
void links_check(struct links *l);
/* Writes what the core left for its links. At the end of each turn. */
void links_flush(struct links *l);
/* True while some link has bytes that its worker has not taken. */
bool links_pending(const struct links *l);
/* Closes everything but the timer, as the program closes those; the loop must run once more for the close
 * callbacks. */
void links_close(struct links *l);

#endif
