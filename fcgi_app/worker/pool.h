/*
 * The parent of a pool: forks its processes on one listening socket, replaces those that die, passes signals
 * on and sees to it that all of them leave in time. Holds no request, no store and no thread itself.
 */
#ifndef CARPOOL_WORKER_POOL_H
#define CARPOOL_WORKER_POOL_H

#include "worker/serve.h"

struct pool_options {
    struct serve_options serve; /* parent_fd and waiting.child are filled for each child */
    uint32_t processes;
    bool adopted; /* not the web server's child: it has to be watched */
};

#define POOL_GRACE_MS 28000 /* of its processes; what they need on top is over at POOL_LIMIT_S */
#define POOL_LIMIT_S  30

/* Runs until SIGTERM, SIGUSR1 or SIGINT; the exit status of the program. */
int pool_run(const struct pool_options *o);

#endif
