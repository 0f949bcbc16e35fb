/*
 * The live figures, which only a running coordinator knows: what waits, what runs, how the provider is. Asked
 * for by /stats and /metrics; asking never starts a coordinator.
 */
#ifndef CARPOOL_WORKER_LIVE_H
#define CARPOOL_WORKER_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

struct exchange;

#define LIVE_BREAKER_STATES 3
extern const char *const live_breaker_states[LIVE_BREAKER_STATES]; /* "closed", "open", "half_open" */

struct live {
    bool there;     /* else nothing below holds */
    bool idle;      /* not there: it starts with the next prompt */
    struct err why; /* not there: a sentence */

    uint64_t started_ms; /* since 1970 */
    uint64_t uptime_s;
    double prompts_per_second;
    uint64_t prompts, calls; /* under way */
    uint64_t streams;        /* of the calls: told while they are written */
    uint64_t waiting[PRIORITIES], oldest_ms[PRIORITIES];
    unsigned breaker; /* index of live_breaker_states */
    uint64_t breaker_failures;
};

/* Blocks for half a second at most. */
void live_ask(struct exchange *x, struct live *ret_live);

#endif
