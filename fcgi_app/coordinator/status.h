/* The coordinator's part of /health: its state, the store's and the provider's, queue depths. */
#ifndef CARPOOL_COORDINATOR_STATUS_H
#define CARPOOL_COORDINATOR_STATUS_H

#include "coordinator/core.h"

/* Answers STATUS_ASK with STATUS, a JSON object (etc/protocol.md). */
void status_answer(struct core *c, struct core_link *l, uint64_t id, uint64_t now_us);

#endif
