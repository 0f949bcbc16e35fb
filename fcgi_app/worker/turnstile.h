/*
 * Who of a process's threads waits for a connection. The kernel hands connections to waiting threads in turn;
 * if hundreds waited, each request would run on the thread that was idle longest, with cold stack, buffers
 * and coordinator connection. So only a few wait, and the others are parked, the one that ran last first in
 * line.
 */
#ifndef CARPOOL_WORKER_TURNSTILE_H
#define CARPOOL_WORKER_TURNSTILE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* One thread's place; its own. Invariant: on the list of parked ones exactly while it waits there. */
struct turnstile_place {
    struct list node;
    pthread_cond_t turn;
    bool called;
};

/* Invariant: waiting counts the threads between enter and leave, called ones included; it is below
 * TURNSTILE_MIN only while nobody is parked. */
struct turnstile {
    pthread_mutex_t lock;
    struct list parked; /* last parked first */
    uint32_t waiting;
    bool open; /* closing: everybody through */
};

#define TURNSTILE_MIN 8  /* fewer than this wait: a parked one is called */
#define TURNSTILE_MAX 32 /* so many wait: the next one is parked */

void turnstile_init(struct turnstile *t);
void turnstile_fini(struct turnstile *t);
void turnstile_place_init(struct turnstile_place *p);
void turnstile_place_fini(struct turnstile_place *p);

/* Before waiting for a connection; blocks while parked. */
void turnstile_enter(struct turnstile *t, struct turnstile_place *p);
/* After one has come (or waiting has failed). */
void turnstile_leave(struct turnstile *t);
/* Lets everybody through from now on: the process is stopping. */
void turnstile_open(struct turnstile *t);

#endif
