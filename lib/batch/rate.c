/* Token buckets; see rate.h. */
#include "batch/rate.h"

#define MINUTE_US 60e6
#define SLACK_US  1.0 /* for sums of fractions that come out a little short */

static double debt(const struct rate_bucket *b, uint64_t now_us)
{
    double passed = now_us > b->at_us ? (double)(now_us - b->at_us) : 0;
    return b->debt_us > passed ? b->debt_us - passed : 0;
}

static uint32_t up_to_ms(double us)
{
    uint32_t ms = (uint32_t)(us / 1000);
    return ms + ((double)ms * 1000 < us);
}

uint32_t rate_wait_ms(const struct rate_bucket *b, uint32_t per_minute, int64_t cost, uint64_t now_us)
{
    if (cost <= 0)
        return 0;
    double held = cost < per_minute ? (double)cost : per_minute;
    double wait = debt(b, now_us) + held * MINUTE_US / per_minute - MINUTE_US;
    return wait > SLACK_US ? up_to_ms(wait) : 0;
}

void rate_take(struct rate_bucket *b, uint32_t per_minute, int64_t cost, uint64_t now_us)
{
    double owed = debt(b, now_us) + (double)cost * MINUTE_US / per_minute;
    b->debt_us = owed < 0 ? 0 : owed < RATE_DEBT_MAX_US ? owed : RATE_DEBT_MAX_US;
    if (now_us > b->at_us)
        b->at_us = now_us;
}

int64_t rate_remaining(const struct rate_bucket *b, uint32_t per_minute, uint64_t now_us)
{
    double left = MINUTE_US + SLACK_US - debt(b, now_us);
    int64_t n = left > 0 ? (int64_t)(left * per_minute / MINUTE_US) : 0;
    return n < per_minute ? n : per_minute;
}

uint32_t rate_reset_ms(const struct rate_bucket *b, uint64_t now_us)
{
    return up_to_ms(debt(b, now_us));
}

bool rate_is_full(const struct rate_bucket *b, uint64_t now_us)
{
    return debt(b, now_us) <= 0;
}
