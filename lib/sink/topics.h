/*
 * The sink's records for Kafka: they go to their topics, and those that Kafka does not take, or does not
 * acknowledge, to one file a topic in the log directory, <topic>.jsonl. Used by the sink's thread, but for
 * topics_state().
 */
#ifndef CARPOOL_SINK_TOPICS_H
#define CARPOOL_SINK_TOPICS_H

#include "sink/sink.h"

struct topics;

/* Opens the files; Kafka that cannot be opened is a fault that topics_state() tells, not an error. Signals
 * must be blocked. Blocks on files. */
MUST_CHECK
int topics_open(const struct sink_options *options, struct topics **ret_topics, struct err *e);
/* NULL is allowed. May block in librdkafka. */
void topics_free(struct topics *t);

/* What stands in front of a record for topics_write(); lends ret_head. */
#define TOPICS_HEAD_MAX 260
struct slice topics_head(struct slice key, struct slice record, char ret_head[TOPICS_HEAD_MAX]);

/* Records on their way out, each behind its head; secrets are taken out of them in place. Returns how many
 * were lost. */
uint64_t topics_write(struct topics *t, enum sink_topic topic, struct slice records, uint64_t now_us);
/* At least once a second: what became of earlier ones. Returns how many were lost. */
uint64_t topics_turn(struct topics *t, uint64_t now_us);
/* Waits at most timeout_ms for acknowledgements; the rest goes to the files. Returns how many were lost. */
uint64_t topics_finish(struct topics *t, uint32_t timeout_ms, uint64_t now_us);

/* Any thread. */
void topics_state(struct topics *t, struct sink_kafka *ret_state);

#endif
