/* Kafka, and the files beside it; see topics.h. */
#include "sink/topics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/redact.h"
#include "sink/files.h"
#include "sink/kafka.h"

_Static_assert(KAFKA_TOPICS == SINK_TOPICS, "a topic each");

#define NAME_BYTES 256
#define KEEP_BYTES (256u << 10) /* a buffer that a burst has blown up beyond this is given back */
#define HEAD_BYTES (sizeof(uint32_t) + sizeof(uint8_t)) /* before the key */

/* Topics of the same name share the file of the first. */
struct topic_file {
    struct log_file file;
    struct buf waiting; /* records for the file, as log_file_write() takes them */
    unsigned shares;    /* the number of the topic whose file it is */
};

struct topics {
    struct kafka *kafka; /* NULL: it could not be opened, and the fault says why */
    struct topic_file files[SINK_TOPICS];
    uint64_t unheld; /* records lost for want of memory since the last count */
    pthread_mutex_t lock;
    struct sink_kafka state; /* under the lock */
};

/* A record for the file, with the newline that ends a line there. */
static void to_file(struct topics *t, unsigned topic, struct slice record)
{
    struct buf *b = &t->files[t->files[topic].shares].waiting;
    uint32_t n = (uint32_t)record.n + 1;
    char *place = buf_reserve(b, sizeof(n) + n);
    b->failed = false; /* without memory this record is lost, and the next one tries again */
    if (!place) {
        t->unheld++;
        return;
    }
    memcpy(place, &n, sizeof(n));
    memcpy(place + sizeof(n), record.p, record.n);
    place[sizeof(n) + record.n] = '\n';
    buf_advance(b, sizeof(n) + n);
    pthread_mutex_lock(&t->lock);
    t->state.filed++;
    pthread_mutex_unlock(&t->lock);
}

static void on_give_back(void *arg, unsigned topic, struct slice record)
{
    to_file(arg, topic, record);
}

/* The name of a topic's file. Not every text that somebody configures is a name of a topic, and events.jsonl
 * is taken. */
static void file_name(const char *topic, char ret_name[NAME_BYTES])
{
    snprintf(ret_name, NAME_BYTES, "%.200s%s.jsonl", topic, strcmp(topic, "events") ? "" : ".kafka");
    for (char *p = ret_name; *p; p++)
        if (*p == '/')
            *p = '_';
}

static int open_file(struct topics *t, unsigned i, const struct sink_options *o, struct err *e)
{
    char name[NAME_BYTES];
    struct topic_file *f = &t->files[i];
    for (f->shares = 0; strcmp(o->kafka->topics[f->shares], o->kafka->topics[i]) != 0; f->shares++)
        ;
    if (f->shares != i)
        return 0;
    file_name(o->kafka->topics[i], name);
    return log_file_open(&f->file, o->dir, name, o->rotate_bytes, o->rotate_keep, e);
}

int topics_open(const struct sink_options *o, struct topics **ret_topics, struct err *e)
{
    struct topics *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(e, ERR_NOMEM, "There is no memory for Kafka.");
    pthread_mutex_init(&t->lock, NULL);
    t->state.enabled = true;
    for (unsigned i = 0; i < SINK_TOPICS; i++) {
        t->files[i].file.fd = -1;
        buf_init(&t->files[i].waiting, o->queue_max_bytes);
    }
    int rc = 0;
    for (unsigned i = 0; i < SINK_TOPICS && rc == 0; i++)
        rc = open_file(t, i, o, e);
    if (rc < 0) {
        topics_free(t);
        return rc;
    }
    struct kafka_options kafka = {.servers = o->kafka->servers,
                                  .options_file = o->kafka->options_file,
                                  .topics = {o->kafka->topics[0], o->kafka->topics[1], o->kafka->topics[2]},
                                  .give_back = on_give_back,
                                  .arg = t};
    if (kafka_open(&kafka, &t->kafka, &t->state.fault) < 0)
        t->kafka = NULL;
    *ret_topics = t;
    return 0;
}

void topics_free(struct topics *t)
{
    if (!t)
        return;
    kafka_free(t->kafka);
    for (unsigned i = 0; i < SINK_TOPICS; i++) {
        log_file_close(&t->files[i].file);
        buf_fini(&t->files[i].waiting);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* The length of the record (u32, in this machine's byte order), that of the key (u8), the key. */
struct slice topics_head(struct slice key, struct slice record, char ret_head[TOPICS_HEAD_MAX])
{
    uint32_t n = (uint32_t)record.n;
    uint8_t key_n = key.n > UINT8_MAX ? UINT8_MAX : (uint8_t)key.n;
    memcpy(ret_head, &n, sizeof(n));
    memcpy(ret_head + sizeof(n), &key_n, sizeof(key_n));
    if (key_n)
        memcpy(ret_head + HEAD_BYTES, key.p, key_n);
    return (struct slice){ret_head, HEAD_BYTES + key_n};
}

/* The records that wait for the files. */
static uint64_t write_files(struct topics *t, uint64_t now_us)
{
    uint64_t lost = t->unheld;
    t->unheld = 0;
    for (unsigned i = 0; i < SINK_TOPICS; i++) {
        struct topic_file *f = &t->files[i];
        if (!f->waiting.len)
            continue;
        lost += log_file_write(&f->file, buf_slice(&f->waiting), now_us);
        if (f->waiting.cap > KEEP_BYTES)
            buf_fini(&f->waiting);
        else
            buf_clear(&f->waiting);
    }
    return lost;
}

static void note_state(struct topics *t)
{
    if (!t->kafka)
        return;
    pthread_mutex_lock(&t->lock);
    t->state.fault = *kafka_fault(t->kafka);
    t->state.delivered = kafka_delivered(t->kafka);
    pthread_mutex_unlock(&t->lock);
}

uint64_t topics_write(struct topics *t, enum sink_topic topic, struct slice records, uint64_t now_us)
{
    while (records.n) {
        uint32_t n;
        uint8_t key_n;
        memcpy(&n, records.p, sizeof(n));
        memcpy(&key_n, records.p + sizeof(n), sizeof(key_n));
        struct slice key = {records.p + HEAD_BYTES, key_n}, record = {key.p + key.n, n};
        redact((char *)key.p, key.n);
        redact((char *)record.p, record.n);
        if (!t->kafka || !kafka_send(t->kafka, topic, key, record))
            to_file(t, topic, record);
        records.p += HEAD_BYTES + key.n + record.n;
        records.n -= HEAD_BYTES + key.n + record.n;
    }
    return write_files(t, now_us);
}

uint64_t topics_turn(struct topics *t, uint64_t now_us)
{
    if (t->kafka)
        kafka_turn(t->kafka, now_us);
    note_state(t);
    return write_files(t, now_us);
}

uint64_t topics_finish(struct topics *t, uint32_t timeout_ms, uint64_t now_us)
{
    if (t->kafka)
        kafka_finish(t->kafka, timeout_ms);
    note_state(t);
    return write_files(t, now_us);
}

void topics_state(struct topics *t, struct sink_kafka *ret_state)
{
    pthread_mutex_lock(&t->lock);
    *ret_state = t->state;
    pthread_mutex_unlock(&t->lock);
}
