/* Rates over a minute; see meter.h. */
#include "base/meter.h"

#include "base/clock.h"

void meter_init(struct meter *m, uint64_t now_us)
{
    *m = (struct meter){.began_us = now_us, .second = now_us / US_PER_S};
}

void meter_note(struct meter *m, uint64_t now_us, uint64_t n)
{
    uint64_t second = now_us / US_PER_S;
    if (second > m->second + METER_SECONDS)
        m->second = second - METER_SECONDS; /* the whole ring is old */
    while (m->second < second)
        m->counts[++m->second % METER_SECONDS] = 0;
    m->counts[m->second % METER_SECONDS] += n;
}

double meter_per_second(const struct meter *m, uint64_t now_us)
{
    uint64_t second = now_us / US_PER_S, sum = 0;
    /* The second under way and the 59 before it. */
    for (uint64_t age = 0; age < METER_SECONDS && age <= m->second; age++)
        if (m->second - age + METER_SECONDS > second)
            sum += m->counts[(m->second - age) % METER_SECONDS];
    uint64_t span_us = (METER_SECONDS - 1) * US_PER_S + now_us % US_PER_S;
    if (now_us - m->began_us < span_us)
        span_us = now_us - m->began_us;
    return (double)sum * (double)US_PER_S / (double)(span_us > US_PER_S ? span_us : US_PER_S);
}
