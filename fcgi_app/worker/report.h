/*
 * Figures out of the stored counters, for the endpoints that tell them: /v1/analytics, /stats, /metrics. One
 * report works on one read transaction, so that its figures belong together, and costs the same whatever the
 * number of chats. The first failure is kept; nothing is read after it, and figures are 0 then.
 */
#ifndef CARPOOL_WORKER_REPORT_H
#define CARPOOL_WORKER_REPORT_H

#include <stdint.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/slice.h"
#include "store/store.h"
#include "json/write.h"

#define REPORT_MODELS_MAX 256 /* told apart */

struct report {
    struct arena *arena;
    const struct conf *conf;
    struct store_read *r;      /* NULL: no store yet, all is zero */
    uint32_t from_day, to_day; /* 0, 0: since ever */
    int rc;                    /* the first failure, with its sentence in */
    struct err *e;
};

/* "high" and so on, as counters and answers name them. */
const char *report_priority(enum priority p);

/* The counter prefix, or prefix.name; and prefix.<p> of all priorities. */
uint64_t report_sum(struct report *p, const char *prefix, const char *name);
uint64_t report_sum_priorities(struct report *p, const char *prefix);
/* counters_each(). prefix ends with a dot. */
void report_each(struct report *p, const char *prefix,
                 void (*visit)(void *arg, struct slice name, uint64_t sum), void *arg);

/* The counters of a family added up by a part of what follows the prefix. */
enum tally_by {
    TALLY_ALL,    /* the whole of it */
    TALLY_FIRST,  /* up to its first dot */
    TALLY_BEHIND, /* behind its first dot; of one without, nothing */
};
#define TALLY_MAX 512
struct tally {
    size_t n;
    uint64_t total;
    struct {
        struct slice key; /* terminated; in the arena */
        uint64_t sum;
    } rows[TALLY_MAX];
};
/* In the arena; empty after a failure, never NULL. What does not fit into the rows is in the total only. */
const struct tally *report_tally(struct report *p, const char *prefix, enum tally_by by);
/* As an object, key by key. */
void report_write_tally(struct report *p, struct json_writer *w, const char *key, const char *prefix,
                        enum tally_by by);

/* What batches held. */
struct report_fill {
    uint64_t batches, members;
};
struct report_fill report_fill(struct report *p);
/* Members a batch; null while there was none. */
void report_write_mean_fill(struct report *p, struct json_writer *w);

/* Tokens by model. Models beyond REPORT_MODELS_MAX are one row, "others", whose price nobody knows. */
struct report_usage {
    uint64_t prompt, completion; /* of all models */
    double priced_usd;           /* of those that have a price; NaN when there are some, but none has */
    bool unpriced;               /* some have none */
    size_t n;
    struct report_model {
        struct slice model; /* in the arena */
        uint64_t prompt, completion;
        double usd; /* NaN: no price is configured for it */
    } models[REPORT_MODELS_MAX];
};
/* In the arena; empty after a failure, never NULL. */
const struct report_usage *report_usage(struct report *p);
/* The members tokens, cost_usd and unpriced_models. */
void report_write_usage(struct report *p, struct json_writer *w);

/* p50, p90, p99 and the count of a histogram by priority, in milliseconds. */
void report_write_percentiles(struct report *p, struct json_writer *w, const char *key, const char *prefix);

#endif
