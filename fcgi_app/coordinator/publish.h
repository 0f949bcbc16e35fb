/*
 * The records for Kafka's topics (etc/kafka.md): what became of each prompt, each refusal and failed call,
 * and how the coordinator is. Only with core_ports.publish; callers look, so that nothing is built without
 * it.
 */
#ifndef CARPOOL_COORDINATOR_PUBLISH_H
#define CARPOOL_COORDINATOR_PUBLISH_H

#include "coordinator/call.h"
#include "coordinator/core.h"

/* A job is over: answered, refused, or given up by those who waited. A refusal is an error, too. */
void publish_ended(struct core *c, const struct job *j);
/* A prompt that was not taken in. */
void publish_turned_away(struct core *c, const struct job *j, const struct wire_refusal *r);
/* Somebody who waits for a job is refused, and it goes on. */
void publish_error(struct core *c, const struct job *j, const struct wire_refusal *r);
/* A call came back: an error when a member has no answer from it. */
void publish_call(struct core *c, const struct call *call, const struct provider_response *response,
                  const struct provider_outcome *o, uint64_t now_us);
/* From time to time. */
void publish_metrics(struct core *c, uint64_t now_us);
/* Counters that are on the disk now, for the metrics. */
void publish_counted(struct core *c, const struct commit_op *op);

#endif
