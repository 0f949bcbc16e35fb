/*
 * Calls that follow a call (api.md "Request ids" and "Batching"): members whose part was missing are asked
 * for again, alone; a filtered batch is bisected; a call that certainly did not run is sent again where
 * waiting helps. Called by outcome.c.
 */
#ifndef CARPOOL_COORDINATOR_FOLLOWUP_H
#define CARPOOL_COORDINATOR_FOLLOWUP_H

#include "coordinator/call.h"

/* Whether another repair of j is allowed. */
bool followup_allowed(const struct core *c, const struct job *j);
/* A new call for members[0..n), to be recorded and sent when a slot is free. bought: after one that may have
 * been charged, which counts as a repair. False when memory is short. */
bool followup_ask(struct core *c, struct call *call, struct job **members, size_t n, bool bought);
/* Each member is asked for alone, since together they cannot be: nothing was sent. Returns how many were
 * taken care of. */
size_t followup_part(struct core *c, struct call *call);
/* The halves of the call's members are asked for apart, so that only the one whom the filter means fails;
 * when the repairs allowed would not reach single members, all go alone. Returns how many members were taken
 * care of. */
size_t followup_bisect(struct core *c, struct call *call);
/* Sends the call again later, if it certainly did not run and waiting may help in the time its members have.
 * True: the call lives on. */
bool followup_retry(struct core *c, struct call *call, const struct provider_outcome *o, uint64_t now_us);

#endif
