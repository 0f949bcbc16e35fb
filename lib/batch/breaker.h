/*
 * A circuit breaker (M. Nygard, "Release It!"): after some failures in a row nothing more is sent to the
 * provider for a while, so that neither money nor waiting clients pile up in front of one that is down. Then
 * one batch is let through to see (half-open): if it works the breaker closes, if it fails it opens again,
 * for longer. Pure: time and chance come in as arguments.
 *
 * Only what is the provider's own fault counts: no whole answer, a 5xx. A refused prompt, a rate limit, or an
 * answer that is no use is an answer.
 */
#ifndef CARPOOL_BATCH_BREAKER_H
#define CARPOOL_BATCH_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_OPEN_MIN_US 1000000ull  /* the first time */
#define BREAKER_OPEN_MAX_US 30000000ull /* after doubling each time, and whatever Retry-After says */

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* All zero but for trip_after is a closed one. Invariant: probes > 0 only while HALF_OPEN. */
struct breaker {
    uint32_t trip_after; /* failures in a row that open it; 0: it never opens */
    enum breaker_state state;
    uint32_t failures;      /* in a row */
    uint32_t times;         /* opened since it was last closed */
    uint64_t open_until_us; /* OPEN: when the next probe may go */
    uint32_t probes;        /* calls that are out to see */
};

/* Whether a batch may be sent now. */
bool breaker_permits(const struct breaker *b, uint64_t now_us);
/* How long new prompts had better not come: 0 unless it is open. */
uint64_t breaker_open_us(const struct breaker *b, uint64_t now_us);
/* There is a sign of life: an open one lets its probe through now. */
void breaker_hurry(struct breaker *b, uint64_t now_us);
/* A call is about to be sent (a batch permitted may send several). True: it is a probe. */
bool breaker_enter(struct breaker *b, uint64_t now_us);
/* A probe is over, whatever came of it; before breaker_worked or breaker_failed, if it was sent at all. */
void breaker_leave(struct breaker *b);
/* The provider answered. */
void breaker_worked(struct breaker *b);
/* It did not. retry_after_ms: what it asked for, or 0. random is uniform in 0..2^32-1. A failure of a call
 * from before the breaker opened changes nothing. True: this opened it. */
bool breaker_failed(struct breaker *b, bool probe, uint64_t now_us, uint32_t retry_after_ms, uint32_t random);

#endif
