/* Retry arithmetic; see retry.h. */
#include "batch/retry.h"

#include "base/clock.h"

uint32_t retry_delay_ms(const struct retry_config *c, uint32_t failed, uint32_t retry_after_ms,
                        uint32_t random)
{
    uint64_t ceiling = c->base_ms;
    for (uint32_t i = 1; i < failed && ceiling && ceiling < c->cap_ms; i++)
        ceiling *= 2;
    if (ceiling > c->cap_ms)
        ceiling = c->cap_ms;
    /* Uniform in 0..ceiling without a division: the upper half of a 32 by 33 bit product. */
    uint32_t delay = (uint32_t)(((ceiling + 1) * random) >> 32);
    return delay > retry_after_ms ? delay : retry_after_ms;
}

bool retry_allowed(const struct retry_config *c, uint32_t failed, uint32_t delay_ms, uint64_t now_us,
                   uint64_t deadline_us)
{
    return failed < c->attempts && now_us < deadline_us && delay_ms * US_PER_MS < deadline_us - now_us;
}

#define WHOLE     1000ull
#define SAVED_MAX (RETRY_SAVED_MAX * WHOLE)

static void save(struct retry_budget *b, uint64_t earned)
{
    b->saved = b->saved + earned < SAVED_MAX ? b->saved + earned : SAVED_MAX;
}

void retry_budget_fill(struct retry_budget *b, uint64_t now_us)
{
    *b = (struct retry_budget){SAVED_MAX, now_us};
}

void retry_budget_earn(struct retry_budget *b, uint32_t percent)
{
    save(b, percent * WHOLE / 100);
}

bool retry_budget_spend(struct retry_budget *b, uint32_t percent, uint64_t now_us)
{
    if (percent >= 100)
        return true;
    if (!percent)
        return false;
    if (now_us > b->at_us) {
        uint64_t gone_us = now_us - b->at_us;
        const uint64_t part_us = US_PER_S / WHOLE;
        save(b, gone_us < RETRY_SAVED_MAX * US_PER_S ? gone_us / part_us : SAVED_MAX);
        b->at_us = now_us - gone_us % part_us;
    }
    if (b->saved < WHOLE)
        return false;
    b->saved -= WHOLE;
    return true;
}
