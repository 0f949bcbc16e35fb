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
