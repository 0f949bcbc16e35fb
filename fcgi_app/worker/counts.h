/*
 * What a worker counts: its responses, and what it answers without the coordinator. Kept in memory, where a
 * request costs an atomic addition, and sent as differences over a connection of their own about once a
 * second and at exit (names in store/counters.h). Nothing is sent, and no coordinator is started, when there
 * is nothing to tell.
 */
#ifndef CARPOOL_WORKER_COUNTS_H
#define CARPOOL_WORKER_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "worker/problem.h"
#include "worker/route.h"

struct link;

#define COUNTS_STATUSES 20
#define COUNTS_GONE     499 /* the status of a client that left before its answer, as nginx has it */

struct counts {
    _Atomic uint64_t replays, replayed_tokens;
    _Atomic uint64_t problems[PROBLEMS];
    _Atomic uint64_t responses[ROUTES_MAX][COUNTS_STATUSES];
};

/* An answer given again from a record, and the tokens that it cost the first time. */
void counts_add_replay(struct counts *c, uint64_t tokens);
/* route: a number of route.h. A status that is none of ours counts as the first of its class. */
void counts_add_response(struct counts *c, unsigned route, int status);
void counts_add_problem(struct counts *c, enum problem p);
/* Sends what has gathered, when a coordinator runs; keeps it otherwise. May block for a second. */
void counts_flush(struct counts *c, struct link *l);

#endif
