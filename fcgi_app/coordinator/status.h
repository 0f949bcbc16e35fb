/* What the coordinator says of itself, for /health and the topic of metrics: its state, the store's, the
 * provider's and Kafka's, queue depths. */
#ifndef CARPOOL_COORDINATOR_STATUS_H
#define CARPOOL_COORDINATOR_STATUS_H

#include "coordinator/core.h"
#include "json/write.h"

/* Writes its fields into the object that is open. */
void status_write(struct json_writer *w, const struct core *c, uint64_t now_us);
/* Answers STATUS_ASK with STATUS, a JSON object (etc/protocol.md). */
void status_answer(struct core *c, struct core_link *l, uint64_t id, uint64_t now_us);

#endif
