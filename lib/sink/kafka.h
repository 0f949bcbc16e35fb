/*
 * A Kafka producer (librdkafka), as the sink's thread uses it. It takes records while the brokers answer and
 * gives back each one that they did not acknowledge in time; while they are away it takes one record at a
 * time, to see whether they are back, so that nothing piles up. At least once: a record whose acknowledgement
 * was lost is given back though it may stand in the topic.
 *
 * One thread at a time; librdkafka's own threads do the network. Built without librdkafka, kafka_open() says
 * so.
 */
#ifndef CARPOOL_SINK_KAFKA_H
#define CARPOOL_SINK_KAFKA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define KAFKA_TOPICS 3

struct kafka;

struct kafka_options {
    const char *servers;              /* host:port, comma-separated */
    const char *options_file;         /* librdkafka's properties, "name = value" a line; empty: none */
    const char *topics[KAFKA_TOPICS]; /* their names */
    /* A record that was taken and not delivered. Called inside kafka_turn() and kafka_finish(); record is
     * lent. */
    void (*give_back)(void *arg, unsigned topic, struct slice record);
    void *arg;
};

/* ERR_INVAL (the sentence names option, file and line, never a value), ERR_NOMEM, ERR_NOT_FOUND (built
 * without). Signals must be blocked, which its threads inherit. Blocks on the options file only. */
MUST_CHECK
int kafka_open(const struct kafka_options *options, struct kafka **ret_kafka, struct err *e);
/* Hands a record (copied) to the producer. False: it was not taken. Never blocks. */
bool kafka_send(struct kafka *k, unsigned topic, struct slice key, struct slice record);
/* Serves what came back since the last time. At least each second. Never blocks. */
void kafka_turn(struct kafka *k, uint64_t now_us);
/* Waits at most timeout_ms for what is on its way, then gives back the rest. Nothing is sent after it. */
void kafka_finish(struct kafka *k, uint32_t timeout_ms);
/* May block for seconds while a connection is being made, and longer in a resolver. NULL is allowed. */
void kafka_free(struct kafka *k);

/* Why nothing can be delivered now; code 0: all is well. Lends until the next call. */
const struct err *kafka_fault(const struct kafka *k);
uint64_t kafka_delivered(const struct kafka *k);
/* Records given back so far. */
uint64_t kafka_failed(const struct kafka *k);

#endif
