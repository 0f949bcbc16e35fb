/*
 * Prometheus's text format, version 0.0.4 (prometheus.io, "Exposition formats"), written straight into a
 * buffer: escapes and line ends are kept here, names and order are the caller's. The caller checks
 * buf_failed() once at the end.
 *
 * A family is its head and then all of its samples; a sample is begun, given its labels, and ended with its
 * value.
 */
#ifndef CARPOOL_WORKER_EXPOSITION_H
#define CARPOOL_WORKER_EXPOSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct exposition {
    struct buf *out;
    const char *family;
    bool labelled; /* the sample has a label already */
};

/* # HELP and # TYPE. name must stay as it is for the family's samples. */
void exposition_family(struct exposition *x, const char *name, enum metric_type type, const char *help);
/* suffix: "" or "_bucket" and so on. */
void exposition_begin(struct exposition *x, const char *suffix);
/* Invalid UTF-8 in value is replaced by U+FFFD: one bad byte would cost the whole scrape. */
void exposition_label(struct exposition *x, const char *name, struct slice value);
void exposition_u64(struct exposition *x, uint64_t value);
/* The shortest form that reads back the same. */
void exposition_double(struct exposition *x, double value);
/* Microseconds as seconds, exactly. */
void exposition_us(struct exposition *x, uint64_t us);

#endif
