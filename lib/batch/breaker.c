/* The circuit breaker; see breaker.h. */
#include "batch/breaker.h"

#include "base/clock.h"

bool breaker_permits(const struct breaker *b, uint64_t now_us)
{
    switch (b->state) {
    case BREAKER_OPEN:
        return now_us >= b->open_until_us;
    case BREAKER_HALF_OPEN:
        return !b->probes;
    default:
        return true;
    }
}

uint64_t breaker_open_us(const struct breaker *b, uint64_t now_us)
{
    return b->state == BREAKER_OPEN && now_us < b->open_until_us ? b->open_until_us - now_us : 0;
}

void breaker_hurry(struct breaker *b, uint64_t now_us)
{
    if (b->state == BREAKER_OPEN && b->open_until_us > now_us)
        b->open_until_us = now_us;
}

bool breaker_enter(struct breaker *b, uint64_t now_us)
{
    if (b->state == BREAKER_OPEN && now_us >= b->open_until_us)
        b->state = BREAKER_HALF_OPEN;
    if (b->state != BREAKER_HALF_OPEN)
        return false;
    b->probes++;
    return true;
}

void breaker_leave(struct breaker *b)
{
    if (b->probes)
        b->probes--;
}

void breaker_worked(struct breaker *b)
{
    b->state = BREAKER_CLOSED;
    b->failures = b->times = b->probes = 0;
}

/* Between half and the whole of a time that doubles: machines that share a provider do not come back to it
 * all at once. */
static void open_for_a_while(struct breaker *b, uint64_t now_us, uint32_t retry_after_ms, uint32_t random)
{
    uint64_t open_us = BREAKER_OPEN_MIN_US;
    for (uint32_t i = 0; i < b->times && open_us < BREAKER_OPEN_MAX_US; i++)
        open_us *= 2;
    if (open_us > BREAKER_OPEN_MAX_US)
        open_us = BREAKER_OPEN_MAX_US;
    open_us = open_us / 2 + ((open_us / 2 * random) >> 32);
    uint64_t asked_us = retry_after_ms * US_PER_MS;
    if (open_us < asked_us)
        open_us = asked_us < BREAKER_OPEN_MAX_US ? asked_us : BREAKER_OPEN_MAX_US;
    b->state = BREAKER_OPEN;
    b->open_until_us = now_us + open_us;
    b->probes = 0;
    b->times++;
}

bool breaker_failed(struct breaker *b, bool probe, uint64_t now_us, uint32_t retry_after_ms, uint32_t random)
{
    if (!b->trip_after || (b->state != BREAKER_CLOSED && !probe) || b->state == BREAKER_OPEN)
        return false;
    if (b->failures < UINT32_MAX)
        b->failures++;
    if (b->state == BREAKER_CLOSED && b->failures < b->trip_after)
        return false;
    open_for_a_while(b, now_us, retry_after_ms, random);
    return true;
}
