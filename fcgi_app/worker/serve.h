/*
 * One process of the pool: its request threads, and the main thread that waits for the end. Stops on SIGTERM,
 * SIGUSR1, SIGINT and when the parent is gone (see heir.h); requests that run are finished first.
 */
#ifndef CARPOOL_WORKER_SERVE_H
#define CARPOOL_WORKER_SERVE_H

#include <signal.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/uuid.h"
#include "store/settings.h"
#include "worker/heir.h"
#include "worker/waiting.h"

/* Of a process that was told to stop: running requests have the grace to finish, then this long to be told
 * that they did not. */
#define SERVE_LAST_WORD_MS 800

struct serve_options {
    const struct conf *conf;
    const struct settings *settings; /* what the configuration alone makes of them */
    struct heir heir;
    int listen_fd;
    int parent_fd; /* read end of a pipe whose write end only the parent holds; -1: no pool */
    uint32_t threads;
    uint32_t grace_ms;
    bool own_socket;          /* nobody else accepts connections at listen_fd */
    bool leave_when_replaced; /* once it is idle: nobody would tell it to after an update */
    struct waiting waiting;
    struct uuid pool_id;
    uint32_t capacity;
    uint32_t wait_max_ms; /* the longest a poll may wait where the web server has little patience; 0: any */
};

/* The signals above: blocked by whoever calls serve_run(), before it starts anything that they could hit. */
void serve_signals(sigset_t *ret_set);

/* Runs until told to stop; the exit status of the process. At most grace_ms + SERVE_LAST_WORD_MS pass from
 * the first of the signals to its return, however many follow. */
int serve_run(const struct serve_options *o);

#endif
