/*
 * What a worker answers without the coordinator, counted in memory and sent as differences over a connection
 * of their own about once a second and at exit (names in store/counters.h). Nothing is sent, and no
 * coordinator is started, when there is nothing to tell.
 */
#ifndef CARPOOL_WORKER_COUNTS_H
#define CARPOOL_WORKER_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "worker/problem.h"

struct link;

struct counts {
    _Atomic uint64_t replays;
    _Atomic uint64_t problems[PROBLEMS];
};

void counts_add_replay(struct counts *c);
void counts_add_problem(struct counts *c, enum problem p);
/* Sends what has gathered, when a coordinator runs; keeps it otherwise. May block for a second. */
void counts_flush(struct counts *c, struct link *l);

#endif
