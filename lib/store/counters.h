/*
 * Counters: named u64 sums, in total and by day (UTC). Analytics and stats read these and nothing else, so
 * they cost the same at a million chats as at ten.
 *
 * Names are dotted, lower case: "requests.high", "flush.window", "latency.high.0000001216" (a histogram
 * bucket).
 * Key in LMDB: name NUL day, where day is "00000000" for the total, so that one name's days are neighbours.
 *
 * A histogram is a family of counters, one a bucket that has been hit. Buckets are HdrHistogram's with one
 * significant digit: 16 to an octave (at most 6.25 % wide).
 */
#ifndef CARPOOL_STORE_COUNTERS_H
#define CARPOOL_STORE_COUNTERS_H

#include "base/buf.h"
#include "store/store.h"

#define COUNTER_NAME_MAX 200

/* Adds to the total and to the day (as clock_day() gives it; 0: the total only). Sums stop at the top of u64.
 * ERR_INVAL: a name that is empty, longer than COUNTER_NAME_MAX or has a zero byte. */
MUST_CHECK
int counters_add(struct store_write *w, struct slice name, uint32_t day, uint64_t delta, struct err *e);

/* Sum over the days from..to inclusive (20260101; one of them 0: open at that end); 0, 0: the total. 0 for a
 * name never counted. */
MUST_CHECK
int counters_sum(struct store_read *r, struct slice name, uint32_t from_day, uint32_t to_day,
                 uint64_t *ret_sum, struct err *e);

/* Calls each once for every name that begins with prefix, with its sum over the days (as above), in name
 * order; names whose sum is 0 are left out. Seeks past the days it does not need. */
MUST_CHECK
int counters_each(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                  void (*each)(void *arg, struct slice name, uint64_t sum), void *arg, struct err *e);

/* Calls each for every day on which the name was counted, in order. */
MUST_CHECK
int counters_days(struct store_read *r, struct slice name, uint32_t from_day, uint32_t to_day,
                  void (*each)(void *arg, uint32_t day, uint64_t sum), void *arg, struct err *e);

/* "<prefix>.<bucket>", where the bucket's ten digits are the lowest value that falls into it.
 * Values that ten digits cannot say count as the largest that they can. */
void histogram_bucket_name(char ret_name[COUNTER_NAME_MAX], const char *prefix, uint64_t value);
/* The value at each percentile (0..100, ascending) of the histogram: the middle of its bucket. Zeros when it
 * is empty; *ret_count is the number of values. */
MUST_CHECK
int histogram_percentiles(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                          const double *percentiles, size_t n, uint64_t *ret_values, uint64_t *ret_count,
                          struct err *e);

/*
 * The names in use (<p> is high, medium or low). Everything from the coordinator but where marked.
 *   requests.<p>            prompts taken in            answered.<p>          prompts answered by a call, or
 *                                                                             from the cache
 *   batches.<p>             batches sealed              calls.<p>             calls sent to the provider
 *   fill.<p>.<n>            batches of n members        flush.<reason>        batches by flush reason
 *   tokens.in.<model>       prompt tokens               tokens.out.<model>    completion tokens
 *   latency.<p>.<bucket>    us from intake to answer    queue.<p>.<bucket>    us from intake to seal
 *   cache.hits              answers given again         cache.misses          looked for one, found none
 *   joined                  duplicates that joined      repairs               members asked again alone
 *   retries.<reason>        calls sent again            probes                writes tried on a store at
 * fault errors.<CODE>           refusals; the worker adds its own replays                 answers from a
 * finished record; the worker adds its own
 */

#endif
