/*
 * What time it may be, for what expires. The real clock can be wrong for a while: it is set forwards and back
 * again, or starts years behind and is put right later. The time that has passed since the start is known, so
 * the real time is one of two: what the clock says now, and what it said at the start and as much as has
 * passed.
 */
#ifndef CARPOOL_BASE_STEADY_H
#define CARPOOL_BASE_STEADY_H

#include <stdint.h>

/* Both in microseconds. passed_us is of a clock that nobody sets (CLOCK_BOOTTIME: it goes on while a machine
 * is suspended). */
struct steady {
    uint64_t real_us, passed_us; /* at the start */
};

struct steady_bounds {
    uint64_t earliest_us, latest_us;
};

/* What is to be kept until a time is given up only when earliest_us has reached it; until when something is
 * to be kept is counted from latest_us. Then nothing expires early, whatever is done to the clock between the
 * two. */
struct steady_bounds steady_now(const struct steady *start, uint64_t real_us, uint64_t passed_us);

#endif
