/*
 * How often something happens, over the last minute: a ring of 60 counts, one a second. Pure: time comes in
 * as an argument (monotonic, never going back).
 */
#ifndef CARPOOL_BASE_METER_H
#define CARPOOL_BASE_METER_H

#include <stdint.h>

#define METER_SECONDS 60

/* Invariant: counts[s % 60] is of second s, for the 60 seconds that end with `second`; others are gone. */
struct meter {
    uint64_t began_us, second;
    uint64_t counts[METER_SECONDS];
};

void meter_init(struct meter *m, uint64_t now_us);
void meter_note(struct meter *m, uint64_t now_us, uint64_t n);
/* The mean per second over the last minute, or since meter_init when that is less long ago; the first second
 * counts as a whole one. */
double meter_per_second(const struct meter *m, uint64_t now_us);

#endif
