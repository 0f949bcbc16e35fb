/* How long a new prompt would wait; see pace.h. */
#include "batch/pace.h"

void pace_note(struct pace *p, uint64_t call_us)
{
    if (!p->mean_us)
        p->mean_us = call_us;
    else if (call_us > p->mean_us)
        p->mean_us += (call_us - p->mean_us) / 8;
    else
        p->mean_us -= (p->mean_us - call_us) / 8;
}

uint64_t pace_wait_us(const struct pace *p, uint32_t ahead, uint32_t slots)
{
    if (!p->mean_us || ahead < slots)
        return 0;
    /* Of `slots` that run one ends every mean / slots; then there is its own call. */
    uint64_t ends = (uint64_t)ahead - slots + 1;
    if (ends > UINT64_MAX / 2 / p->mean_us)
        return UINT64_MAX / 2;
    return ends * p->mean_us / slots + p->mean_us;
}
