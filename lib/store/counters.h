/*
 * Counters: named u64 sums, in total and by day (UTC). Analytics and stats read these and nothing else, so
 * they cost the same at a million chats as at ten.
 *
 * Names are dotted, lower case: "requests.high", "flush.window", "latency.high.0000001216" (a histogram
 * bucket).
 * Key in LMDB: name NUL day, where day is "00000000" for the total, so that one name's days are neighbours.
 *
 * A histogram is a family of counters, one a bucket that has been hit, and one ("<prefix>.sum") of the values
 * added up. Buckets are HdrHistogram's with one significant digit: 16 to an octave (at most 6.25 % wide).
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

/* "<first>.<second>", cut off at the longest name. */
void counter_name(char ret_name[COUNTER_NAME_MAX], const char *first, const char *second);

/* "<prefix>.<bucket>", where the bucket's ten digits are the lowest value that falls into it.
 * Values that ten digits cannot say count as the largest that they can. */
void histogram_bucket_name(char ret_name[COUNTER_NAME_MAX], const char *prefix, uint64_t value);
/* "<prefix>.sum" */
void histogram_sum_name(char ret_name[COUNTER_NAME_MAX], const char *prefix);
/* The value at each percentile (0..100, ascending) of the histogram: the middle of its bucket. Zeros when it
 * is empty; *ret_count is the number of values. */
MUST_CHECK
int histogram_percentiles(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                          const double *percentiles, size_t n, uint64_t *ret_values, uint64_t *ret_count,
                          struct err *e);
/* How many values of these days lie below each bound (ascending): exactly so, and hence only for bounds at
 * which a bucket begins (25 * 2^k is one). ERR_INVAL for another. *ret_count is the number of values,
 * *ret_sum their sum. */
MUST_CHECK
int histogram_below(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                    const uint64_t *bounds, size_t n, uint64_t *ret_below, uint64_t *ret_count,
                    uint64_t *ret_sum, struct err *e);

/*
 * The names in use; <p> is high, medium or low. Everything is the coordinator's, but for what (w) marks: that
 * comes from the workers, about a second later (worker/counts.h).
 *   requests.<p>              prompts taken in
 *   endpoints.<path>          the same by where they came in: endpoints./v1/query
 *   answered.<p>              prompts answered by a call, or from the cache
 *   batches.<p>               batches sealed
 *   fill.<p>.<n>              batches of n members
 *   flush.<reason>            batches by flush reason
 *   calls.<p>                 calls sent to the provider
 *   tokens.in.<model>         prompt tokens               tokens.out.<model>     completion tokens
 *   latency.<p>.<bucket>      us from intake to answer    latency.<p>.sum        added up
 *   queue.<p>.<bucket>        us from intake to seal      queue.<p>.sum
 *   upstream.<p>.<bucket>     us of a call                upstream.<p>.sum
 *   retries.<reason>.<n>      calls sent again for the n-th time
 *   retries_over_budget       and those that were not, since there had been too many
 *   repairs                   members asked again alone
 *   streams                   answers told while they were written
 *   streams.held              times one waited for its client to read
 *   streams.aborted           ended at the provider, since their client had left
 *   breaker.opened            times the provider was given up for a while
 *   errors.<type>.<CODE>      refusals, also (w)
 *   rate_limited              prompts refused for the limits of their key or user
 *   cache.hits, cache.misses  looks into the cache
 *   replays                   answers from a finished record, also (w)
 *   joined                    duplicates that joined a prompt that ran
 *   saved.batch               answers that came in another prompt's call, so calls not made
 *   saved.tokens.<by>         tokens not bought: by is replay (also w), join or cache
 *   log.dropped               records that the event log had no room for
 *   probes                    writes tried on a store at fault
 *   spent.<yyyymm>.<key id>   picodollars that a key has spent in a month, without days (store/spend.h)
 *   http.<status>.<route>     (w) responses: "http.200.POST /v1/query"; the route is "other" for a path that
 * is none, the status 499 when the client had left
 */

#endif
