/*
 * How long a new prompt would wait (Little's law, with the calls of late as the measure): so that one whose
 * answer would come after its deadline is refused at once instead of late. Pure.
 */
#ifndef CARPOOL_BATCH_PACE_H
#define CARPOOL_BATCH_PACE_H

#include <stdint.h>

/* Mean time of a call, newer ones counting more (exponentially weighted, 1/8). All zero: none known. */
struct pace {
    uint64_t mean_us;
};

void pace_note(struct pace *p, uint64_t call_us);
/* Until an answer, for a prompt with `ahead` calls before its own, running and waiting, of which `slots`
 * (>= 1) run at once. 0: nothing is known, or a slot is free, so that there is always a call to measure. */
uint64_t pace_wait_us(const struct pace *p, uint32_t ahead, uint32_t slots);

#endif
