/*
 * The event log's queue and its thread; see sink.h. Callers copy a record into one growing buffer a stream,
 * which the thread swaps for an empty one: neither waits for the other longer than that copy or swap takes.
 * What a file does with the records is files.c, what Kafka does topics.c.
 */
#include "sink/sink.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/redact.h"
#include "sink/files.h"
#include "sink/topics.h"

/* After a write the thread lets records gather for so long: a busy log is written in large pieces, and the
 * first record after a quiet time at once. */
#define GATHER_US (25 * US_PER_MS)
/* A buffer that a burst has blown up beyond this is given back. */
#define KEEP_BYTES (256u << 10)
/* With topics the thread looks after what came back from Kafka so often. */
#define TURN_US (500 * US_PER_MS)
/* At the end it waits so long for Kafka's acknowledgements; the rest goes to files. */
#define FLUSH_MS 1000

#define STREAMS (SINK_STREAMS + SINK_TOPICS)

struct stream {
    struct buf filling; /* under the lock: records as log_file_write() or topics_write() takes them */
    struct buf writing; /* the thread's */
};

/* Invariant: queued is the bytes in all filling and writing buffers; the thread sleeps only while it is 0.
 * The struct belongs to whoever is last: sink_close(), or the thread if that has given up waiting. */
struct sink {
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    pthread_t thread;
    struct stream streams[STREAMS]; /* of the files, then of the topics */
    struct log_file files[SINK_STREAMS];
    struct topics *topics; /* NULL: there are none */
    uint64_t queued, queue_max;
    bool sleeping, closing, abandoned, done;
    atomic_uint_fast64_t dropped;
};

static const char *const names[SINK_STREAMS] = {
    [SINK_CALLS] = "llm_request_response.log",
    [SINK_PAIRS] = "individual_request_response.log",
    [SINK_EVENTS] = "events.jsonl",
    [SINK_AUDIT] = "audit.log",
};

static struct timespec after_us(uint64_t us)
{
    uint64_t at = clock_mono_us() + us;
    return (struct timespec){(time_t)(at / US_PER_S), (long)(at % US_PER_S * 1000)};
}

static void sink_free(struct sink *s)
{
    for (unsigned i = 0; i < SINK_STREAMS; i++)
        log_file_close(&s->files[i]);
    for (unsigned i = 0; i < STREAMS; i++) {
        buf_fini(&s->streams[i].filling);
        buf_fini(&s->streams[i].writing);
    }
    topics_free(s->topics);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Waits, with the lock held, until there is something to do. False: nothing will come any more. */
static bool wait_for_records(struct sink *s)
{
    struct timespec until = after_us(GATHER_US);
    while (!s->closing && pthread_cond_timedwait(&s->wake, &s->lock, &until) == 0)
        ;
    until = after_us(TURN_US);
    for (bool turn = false; !s->queued && !s->closing && !turn;) {
        s->sleeping = true;
        if (s->topics)
            turn = pthread_cond_timedwait(&s->wake, &s->lock, &until) != 0;
        else
            pthread_cond_wait(&s->wake, &s->lock);
    }
    s->sleeping = false;
    return (s->queued || !s->closing) && !s->abandoned;
}

/* records: this thread's own bytes, from which secrets are taken out on the way. */
static uint64_t write_stream(struct sink *s, unsigned i, struct slice records, uint64_t now_us)
{
    if (i >= SINK_STREAMS)
        return topics_write(s->topics, i - SINK_STREAMS, records, now_us);
    struct slice rest = records;
    for (struct slice r; (r = log_record_next(rest)).p; log_record_skip(&rest, r))
        redact((char *)r.p, r.n);
    return log_file_write(&s->files[i], records, now_us);
}

/* One round: everything that is queued, without the lock. */
static void write_queued(struct sink *s)
{
    uint64_t written = 0;
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *t = &s->streams[i];
        struct buf full = t->filling;
        t->filling = t->writing;
        t->writing = full;
    }
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < STREAMS; i++) {
        struct stream *t = &s->streams[i];
        if (!t->writing.len)
            continue;
        written += t->writing.len;
        atomic_fetch_add(&s->dropped, write_stream(s, i, buf_slice(&t->writing), clock_mono_us()));
        if (t->writing.cap > KEEP_BYTES)
            buf_fini(&t->writing);
        else
            buf_clear(&t->writing);
    }
    if (s->topics)
        atomic_fetch_add(&s->dropped, topics_turn(s->topics, clock_mono_us()));
    pthread_mutex_lock(&s->lock);
    s->queued -= written;
}

/* The end of the topics: nothing of them stays in memory. */
static void finish_topics(struct sink *s)
{
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->dropped, topics_finish(s->topics, FLUSH_MS, clock_mono_us()));
    topics_free(s->topics);
    pthread_mutex_lock(&s->lock);
    s->topics = NULL;
}

static void *run(void *arg)
{
    struct sink *s = arg;
    pthread_setname_np(pthread_self(), "sink");
    pthread_mutex_lock(&s->lock);
    while (wait_for_records(s))
        write_queued(s);
    if (s->topics)
        finish_topics(s);
    s->done = true;
    bool mine = s->abandoned;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    if (mine)
        sink_free(s);
    return NULL;
}

/* The program's signals are not for this thread and Kafka's; a full disk quota's SIGXFSZ and a FIFO's SIGPIPE
 * neither. */
static int start_threads(struct sink *s, const struct sink_options *o, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = o->kafka ? topics_open(o, &s->topics, e) : 0;
    int number = rc == 0 ? pthread_create(&s->thread, NULL, run, s) : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!number)
        return rc;
    errno = number;
    return err_set_errno(e, "The thread of the event log cannot be started");
}

int sink_open(const struct sink_options *options, struct sink **ret_sink, struct err *e)
{
    struct sink *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, ERR_NOMEM, "There is no memory for the event log.");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_cond_init(&s->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->queue_max = options->queue_max_bytes;
    for (unsigned i = 0; i < SINK_STREAMS; i++)
        s->files[i].fd = -1;
    for (unsigned i = 0; i < STREAMS; i++) {
        buf_init(&s->streams[i].filling, s->queue_max);
        buf_init(&s->streams[i].writing, s->queue_max);
    }
    int rc = 0;
    for (unsigned i = 0; i < SINK_STREAMS && !rc; i++)
        rc = log_file_open(&s->files[i], options->dir, names[i], options->rotate_bytes, options->rotate_keep,
                           e);
    if (!rc)
        rc = start_threads(s, options, e);
    if (rc) {
        sink_free(s);
        return rc;
    }
    *ret_sink = s;
    return 0;
}

void sink_close(struct sink *s, uint32_t timeout_ms)
{
    if (!s)
        return;
    struct timespec until = after_us(timeout_ms * US_PER_MS);
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->wake);
    while (!s->done && pthread_cond_timedwait(&s->ended, &s->lock, &until) == 0)
        ;
    bool done = s->done;
    pthread_t thread = s->thread;
    s->abandoned = !done;
    pthread_mutex_unlock(&s->lock);
    if (done) {
        pthread_join(thread, NULL);
        sink_free(s);
    } else {
        pthread_detach(thread);
    }
}

/* Queues one record behind its head, which says how long it is. */
static bool put(struct sink *s, unsigned stream, struct slice head, struct slice record)
{
    uint64_t size = (uint64_t)head.n + record.n;
    char *place = NULL;
    bool wake = false;
    pthread_mutex_lock(&s->lock);
    if (record.n <= UINT32_MAX && size <= s->queue_max && s->queued <= s->queue_max - size && !s->closing) {
        struct buf *b = &s->streams[stream].filling;
        place = buf_reserve(b, size);
        b->failed = false; /* without memory this record is dropped, and the next one tries again */
        if (place) {
            memcpy(place, head.p, head.n);
            memcpy(place + head.n, record.p, record.n);
            buf_advance(b, size);
            s->queued += size;
            wake = s->sleeping;
            s->sleeping = false;
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->wake);
    if (!place)
        atomic_fetch_add(&s->dropped, 1);
    return place;
}

bool sink_write(struct sink *s, enum sink_stream stream, struct slice record)
{
    uint32_t n = (uint32_t)record.n;
    return !record.n || put(s, stream, (struct slice){(const char *)&n, sizeof(n)}, record);
}

bool sink_publish(struct sink *s, enum sink_topic topic, struct slice key, struct slice record)
{
    char head[TOPICS_HEAD_MAX];
    return put(s, SINK_STREAMS + topic, topics_head(key, record, head), record);
}

uint64_t sink_dropped(const struct sink *s)
{
    return atomic_load(&s->dropped);
}

void sink_kafka(struct sink *s, struct sink_kafka *ret_state)
{
    *ret_state = (struct sink_kafka){0};
    if (s->topics)
        topics_state(s->topics, ret_state);
}
