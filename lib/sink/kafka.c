/*
 * The producer; see kafka.h. Whether the brokers are there is learnt from what becomes of records, and from
 * librdkafka's word that no broker can be reached, which counts when it has stood for a moment: a broker
 * that restarts is back before that.
 */
#include "sink/kafka.h"

#ifdef HAVE_RDKAFKA

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/redact.h"
#include "sink/properties.h"

#define SILENCE_US (2 * US_PER_S) /* no broker can be reached for so long: away */

/* A fault of one topic leaves the others alone. */
struct topic {
    rd_kafka_topic_t *handle;
    uint32_t under_way;
    struct err fault;
};

/* Invariant: under_way is the sum of the topics'; while there is a fault it is what was under way before, and
 * one more. */
struct kafka {
    rd_kafka_t *producer;
    struct topic topics[KAFKA_TOPICS];
    uint32_t under_way;
    struct err fault;    /* of the brokers */
    uint64_t silent_us;  /* when no broker could be reached any more; 0: not so */
    bool silence_begins; /* said by librdkafka since the last turn */
    bool purge;          /* what waits in memory is to come back now */
    char said[256];      /* what librdkafka said last of a connection */
    uint64_t delivered, failed;
    void (*give_back)(void *arg, unsigned topic, struct slice record);
    void *arg;
};

/* librdkafka's defaults are made for records that must not be lost; ours have a file to go to. */
static const char *const defaults[][2] = {
    {"client.id", "carpool"},
    {"acks", "all"},
    {"linger.ms", "50"},
    {"queue.buffering.max.messages", "50000"},
    {"queue.buffering.max.kbytes", "16384"},
    {"message.timeout.ms", "10000"},
    {"socket.timeout.ms", "10000"},
    {"socket.connection.setup.timeout.ms", "5000"},
    {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.max.ms", "1000"},
    {"topic.metadata.propagation.max.ms", "5000"}, /* less than a message lives, so that its reason is told */
    {"partitioner", "murmur2_random"},             /* a key's partition is the same as with Java's clients */
};

static void set_fault(struct kafka *k, const char *why)
{
    if (!k->fault.code)
        k->purge = true;
    err_set(&k->fault, ERR_CLOSED, "%s", why[0] ? why : "no broker answers");
}

/* What is wrong with one record says nothing of the next. */
static bool is_of_record(rd_kafka_resp_err_t why)
{
    return why == RD_KAFKA_RESP_ERR__PURGE_QUEUE || why == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
           why == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || why == RD_KAFKA_RESP_ERR_INVALID_MSG ||
           why == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE;
}

static bool is_of_topic(rd_kafka_resp_err_t why)
{
    return why == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || why == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
           why == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || why == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION ||
           why == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

static void note_failure(struct kafka *k, struct topic *t, rd_kafka_resp_err_t why)
{
    if (is_of_record(why))
        return;
    if (is_of_topic(why))
        err_set(&t->fault, ERR_CLOSED, "topic %s: %s", rd_kafka_topic_name(t->handle), rd_kafka_err2str(why));
    else if (why == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && k->silent_us)
        set_fault(k, k->said);
    else {
        char text[256];
        snprintf(text, sizeof(text), "%s (topic %s)", rd_kafka_err2str(why), rd_kafka_topic_name(t->handle));
        set_fault(k, text);
    }
}

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *m, void *arg)
{
    struct kafka *k = arg;
    struct topic *t = m->_private;
    (void)producer;
    k->under_way--;
    t->under_way--;
    if (!m->err) {
        k->delivered++;
        k->silent_us = 0;
        k->silence_begins = false;
        k->fault.code = t->fault.code = 0;
        return;
    }
    note_failure(k, t, m->err);
    k->failed++;
    k->give_back(k->arg, (unsigned)(t - k->topics), (struct slice){m->payload, m->len});
}

static void on_error(rd_kafka_t *producer, int code, const char *reason, void *arg)
{
    struct kafka *k = arg;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        k->silence_begins = true;
        return;
    }
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_fatal_error(producer, k->said, sizeof(k->said));
        set_fault(k, k->said);
        return;
    }
    snprintf(k->said, sizeof(k->said), "%s", reason);
}

static void on_log(const rd_kafka_t *producer, int level, const char *facility, const char *text)
{
    (void)producer;
    (void)level;
    log_debug("librdkafka, %s: %s", facility, text);
}

static int set_property(void *arg, const char *name, const char *value, struct err *e)
{
    char said[256];
    if (strstr(name, "password") || strstr(name, "secret"))
        redact_remember(slice_of(value));
    switch (rd_kafka_conf_set(arg, name, value, said, sizeof(said))) {
    case RD_KAFKA_CONF_OK:
        return 0;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_set(e, ERR_INVAL, "librdkafka knows no property \"%.64s\"", name);
    default: /* what was said may repeat the value */
        return err_set(e, ERR_INVAL, "librdkafka does not take this value of %.64s", name);
    }
}

/* Takes conf. */
static int start(struct kafka *k, const struct kafka_options *o, rd_kafka_conf_t *conf, struct err *e)
{
    char said[256];
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, said, sizeof(said));
    if (!k->producer) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_INVAL, "librdkafka cannot be started: %s", said);
    }
    for (unsigned i = 0; i < KAFKA_TOPICS; i++) {
        k->topics[i].handle = rd_kafka_topic_new(k->producer, o->topics[i], NULL);
        if (!k->topics[i].handle)
            return err_set(e, ERR_INVAL, "\"%.64s\" is no name of a topic: %s", o->topics[i],
                           rd_kafka_err2str(rd_kafka_last_error()));
    }
    return 0;
}

int kafka_open(const struct kafka_options *o, struct kafka **ret_kafka, struct err *e)
{
    struct kafka *k = calloc(1, sizeof(*k));
    rd_kafka_conf_t *conf = k ? rd_kafka_conf_new() : NULL;
    if (!conf) {
        free(k);
        return err_set(e, ERR_NOMEM, "There is no memory for a Kafka producer.");
    }
    k->give_back = o->give_back;
    k->arg = o->arg;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(defaults) && rc == 0; i++)
        rc = set_property(conf, defaults[i][0], defaults[i][1], e);
    if (rc == 0 && set_property(conf, "bootstrap.servers", o->servers, NULL) < 0)
        rc = err_set(e, ERR_INVAL, "kafka.bootstrap_servers must be a list of host:port.");
    if (rc == 0 && o->options_file && o->options_file[0])
        rc = properties_read(o->options_file, set_property, conf, e);
    if (rc == 0)
        rc = start(k, o, conf, e);
    else
        rd_kafka_conf_destroy(conf);
    if (rc == 0)
        *ret_kafka = k;
    else
        kafka_free(k);
    return rc;
}

bool kafka_send(struct kafka *k, unsigned topic, struct slice key, struct slice record)
{
    struct topic *t = &k->topics[topic];
    if ((k->fault.code && k->under_way) || (t->fault.code && t->under_way))
        return false;
    if (rd_kafka_produce(t->handle, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)record.p, record.n,
                         key.p, key.n, t) != 0) {
        rd_kafka_resp_err_t why = rd_kafka_last_error();
        if (why != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            note_failure(k, t, why);
        return false;
    }
    t->under_way++;
    k->under_way++;
    return true;
}

void kafka_turn(struct kafka *k, uint64_t now_us)
{
    rd_kafka_poll(k->producer, 0);
    if (k->silence_begins && !k->silent_us)
        k->silent_us = now_us;
    k->silence_begins = false;
    if (k->silent_us && !k->fault.code && now_us - k->silent_us >= SILENCE_US)
        set_fault(k, k->said);
    if (k->purge) {
        rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_NON_BLOCKING);
        rd_kafka_poll(k->producer, 0);
    }
    k->purge = false;
}

void kafka_finish(struct kafka *k, uint32_t timeout_ms)
{
    if (!k->fault.code && !k->silent_us)
        rd_kafka_flush(k->producer, (int)timeout_ms);
    rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(k->producer, (int)timeout_ms);
}

void kafka_free(struct kafka *k)
{
    if (!k)
        return;
    for (unsigned i = 0; i < KAFKA_TOPICS; i++)
        if (k->topics[i].handle)
            rd_kafka_topic_destroy(k->topics[i].handle);
    if (k->producer)
        rd_kafka_destroy(k->producer);
    free(k);
}

const struct err *kafka_fault(const struct kafka *k)
{
    for (unsigned i = 0; i < KAFKA_TOPICS && !k->fault.code; i++)
        if (k->topics[i].fault.code)
            return &k->topics[i].fault;
    return &k->fault;
}

uint64_t kafka_delivered(const struct kafka *k)
{
    return k->delivered;
}

uint64_t kafka_failed(const struct kafka *k)
{
    return k->failed;
}

#else

int kafka_open(const struct kafka_options *options, struct kafka **ret_kafka, struct err *e)
{
    (void)options;
    (void)ret_kafka;
    return err_set(e, ERR_NOT_FOUND, "this carpool was built without Kafka (librdkafka-dev was missing)");
}

bool kafka_send(struct kafka *k, unsigned topic, struct slice key, struct slice record)
{
    (void)k;
    (void)topic;
    (void)key;
    (void)record;
    return false;
}

void kafka_turn(struct kafka *k, uint64_t now_us)
{
    (void)k;
    (void)now_us;
}

void kafka_finish(struct kafka *k, uint32_t timeout_ms)
{
    (void)k;
    (void)timeout_ms;
}

void kafka_free(struct kafka *k)
{
    (void)k;
}

const struct err *kafka_fault(const struct kafka *k)
{
    (void)k;
    return NULL;
}

uint64_t kafka_delivered(const struct kafka *k)
{
    (void)k;
    return 0;
}

uint64_t kafka_failed(const struct kafka *k)
{
    (void)k;
    return 0;
}

#endif
