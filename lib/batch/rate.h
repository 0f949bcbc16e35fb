/*
 * Rate limits as token buckets: one fills evenly, per_minute a minute, and holds as much at most. Pure; the
 * same arithmetic runs in the server that machines share (lib/shared/scripts.c), under the same names.
 *
 * What is kept of a bucket is its debt: how long it takes to be full again. An empty one owes 60 s, whatever
 * it holds. What is known only afterwards may be taken from an empty bucket, too: it then owes more.
 */
#ifndef CARPOOL_BATCH_RATE_H
#define CARPOOL_BATCH_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: full. Times are monotonic; where time goes back, none has passed. */
struct rate_bucket {
    uint64_t at_us;
    double debt_us; /* at at_us; a double, since a share of a large limit is less than a microsecond */
};

#define RATE_DEBT_MAX_US 300e6 /* nobody waits longer than that for anything */

/* Until `cost` is there, in milliseconds rounded up; 0: now (also for a cost <= 0). A cost over what the
 * bucket holds is there when it is full. per_minute is never 0. */
uint32_t rate_wait_ms(const struct rate_bucket *b, uint32_t per_minute, int64_t cost, uint64_t now_us);
/* Takes it, whether it is there or not; gives back what is below 0, up to full. */
void rate_take(struct rate_bucket *b, uint32_t per_minute, int64_t cost, uint64_t now_us);
/* What is in it, rounded down; 0 when it owes more than that. */
int64_t rate_remaining(const struct rate_bucket *b, uint32_t per_minute, uint64_t now_us);
/* Until it is full, in milliseconds rounded up. */
uint32_t rate_reset_ms(const struct rate_bucket *b, uint64_t now_us);
bool rate_is_full(const struct rate_bucket *b, uint64_t now_us);

#endif
