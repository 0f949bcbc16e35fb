/*
 * Retry arithmetic (AWS Architecture Blog, "Exponential Backoff And Jitter", full jitter) and the budget that
 * keeps retries from multiplying the load on a provider in trouble (Google SRE Book, "Handling Overload").
 * Pure.
 */
#ifndef CARPOOL_BATCH_RETRY_H
#define CARPOOL_BATCH_RETRY_H

#include <stdbool.h>
#include <stdint.h>

struct retry_config {
    uint32_t attempts; /* calls in all, the first included */
    uint32_t base_ms, cap_ms;
};

/* The wait before the next call after `failed` (>= 1) failed ones: uniform in [0, min(cap, base *
 * 2^(failed-1))], but not less than retry_after_ms. random is uniform in 0..2^32-1. */
uint32_t retry_delay_ms(const struct retry_config *c, uint32_t failed, uint32_t retry_after_ms,
                        uint32_t random);

/* Whether another call makes sense: attempts are left and it would start before deadline_us. */
bool retry_allowed(const struct retry_config *c, uint32_t failed, uint32_t delay_ms, uint64_t now_us,
                   uint64_t deadline_us);

/* What retries may cost altogether: each first call earns a part of one; what is not spent is saved up to
 * RETRY_SAVED_MAX. One more comes with each second, so that the few calls of a quiet service are retried,
 * too. All zero: an empty purse. */
#define RETRY_SAVED_MAX 10

struct retry_budget {
    uint64_t saved; /* thousandths of a retry, 0 .. RETRY_SAVED_MAX * 1000 */
    uint64_t at_us; /* when it was last looked at */
};

void retry_budget_fill(struct retry_budget *b, uint64_t now_us);
/* A call that is no retry was sent. percent (0..100) of these may be retried. */
void retry_budget_earn(struct retry_budget *b, uint32_t percent);
/* Whether a retry may be made; it is paid for. percent 100 is no limit, 0 is none at all. */
bool retry_budget_spend(struct retry_budget *b, uint32_t percent, uint64_t now_us);

#endif
