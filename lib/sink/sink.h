/*
 * The event log: what happened to batches and prompts, for people and programs that read along. Files
 * in the log directory, 0600, rotated by size:
 *   llm_request_response.log         a block for each call: what was sent and the raw answer (source 2)
 *   individual_request_response.log  a block for each prompt and its answer (source 2)
 *   events.jsonl                     ENQUEUE, DISPATCH, BATCH_START, LLM_BATCH, BATCH_COMPLETE, … as JSON
 * lines.
 *   audit.log                        who changed which settings and keys (store/audit.h), as JSON lines
 * Written by a thread of its own from a bounded queue: a full queue drops records and counts them, and
 * so does a disk that fails, which is tried again each second. The caller never waits. Files may be moved
 * away or removed at any time; new ones are made within a second.
 *
 * Secrets are taken out of every record on its way out (base/redact.h).
 *
 * With Kafka (etc/kafka.md) there are records for three topics besides. What Kafka does not take or does not
 * acknowledge is appended to <topic>.jsonl in the same directory, under the same rules.
 */
#ifndef CARPOOL_SINK_SINK_H
#define CARPOOL_SINK_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

enum sink_stream { SINK_CALLS, SINK_PAIRS, SINK_EVENTS, SINK_AUDIT };
#define SINK_STREAMS 4
enum sink_topic { SINK_REQUESTS, SINK_METRICS, SINK_ERRORS };
#define SINK_TOPICS 3

struct sink_kafka_options {
    const char *servers;             /* host:port, comma-separated */
    const char *options_file;        /* properties for librdkafka; empty: none */
    const char *topics[SINK_TOPICS]; /* their names */
};

/* How Kafka is. */
struct sink_kafka {
    bool enabled;
    struct err fault;   /* why records go to the files; code 0: they do not */
    uint64_t delivered; /* records that the brokers acknowledged */
    uint64_t filed;     /* records that went to the files instead */
};

struct sink_options {
    const char *dir;          /* made 0700 when missing */
    uint64_t rotate_bytes;    /* a file that would grow beyond is renamed to .1, .1 to .2, …; 0: never */
    unsigned rotate_keep;     /* rotated files kept of each */
    uint64_t queue_max_bytes; /* of records not yet written */
    const struct sink_kafka_options *kafka; /* NULL: no topics; needed inside sink_open() only */
};

struct sink;

/* Opens the files and starts the thread, in which all signals are blocked. Blocks on files. Not before fork.
 */
MUST_CHECK
int sink_open(const struct sink_options *options, struct sink **ret_sink, struct err *e);
/* Writes what is queued, at most timeout_ms long, then stops the thread. One that hangs on its disk is left
 * to itself and frees s if it ever comes back. No other call on s may run or follow. NULL is allowed. */
void sink_close(struct sink *s, uint32_t timeout_ms);

/* Queues one record (bytes are copied; it should end in a newline). Never blocks. Returns false when it was
 * dropped. Any thread. */
bool sink_write(struct sink *s, enum sink_stream stream, struct slice record);
/* The same for a record of a topic, a line of JSON without its newline; key is cut at 255 bytes. Not without
 * topics. */
bool sink_publish(struct sink *s, enum sink_topic topic, struct slice key, struct slice record);
/* Records dropped since the start, because the queue was full or the disk failed. */
uint64_t sink_dropped(const struct sink *s);
void sink_kafka(struct sink *s, struct sink_kafka *ret_state);

#endif
