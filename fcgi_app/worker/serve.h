/*
 * One process of the pool: its request threads, and the main thread that waits for the end. Stops on SIGTERM,
 * SIGUSR1, SIGINT and when the parent is gone (see heir.h); requests that run are finished first.
 */
#ifndef CARPOOL_WORKER_SERVE_H
#define CARPOOL_WORKER_SERVE_H

#include <stdint.h>

#include "base/conf.h"
#include "base/uuid.h"
#include "store/settings.h"
#include "worker/heir.h"
#include "worker/waiting.h"

#define SERVE_GRACE_S 30 /* running requests have this long to finish */

struct serve_options {
    const struct conf *conf;
    const struct settings *settings; /* what the configuration alone makes of them */
    struct heir heir;
    int listen_fd;
    int parent_fd; /* read end of a pipe whose write end only the parent holds */
    uint32_t threads;
    struct waiting waiting;
    struct uuid pool_id;
    uint32_t capacity;
};

/* Runs until told to stop; the exit status of the process. Called right after fork, with the signals above
 * blocked. */
int serve_run(const struct serve_options *o);

#endif
