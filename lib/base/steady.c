/* What time it may be; see steady.h. */
#include "base/steady.h"

struct steady_bounds steady_now(const struct steady *start, uint64_t real_us, uint64_t passed_us)
{
    uint64_t counted_us = start->real_us + (passed_us - start->passed_us);
    return real_us < counted_us ? (struct steady_bounds){real_us, counted_us}
                                : (struct steady_bounds){counted_us, real_us};
}
