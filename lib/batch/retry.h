/*
 * Retry arithmetic (AWS Architecture Blog, "Exponential Backoff And Jitter", full jitter). Pure.
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

#endif
