/*
 * Many prompts of one client at once (POST /chat/batched, POST /v1/completions): handed to the coordinator
 * together, so that they fill batches by themselves, and waited for together. Each has an id of its own and
 * an outcome of its own.
 */
#ifndef CARPOOL_WORKER_PROMPT_MANY_H
#define CARPOOL_WORKER_PROMPT_MANY_H

#include "worker/prompt.h"

/* Invariant: m is NULL for a prompt that was never valid; it is left alone. Texts lend from the exchange's
 * arena. */
struct prompt_outcome {
    struct wire_submit *m; /* as for prompt_run */
    struct slice whole;    /* a text that the fingerprint covers, too: the same prompt as a part of something
                              else is another request. Absent: none */
    bool answered;
    bool replayed;    /* answered, from a finished record */
    struct chat chat; /* answered, as is timing */
    struct wire_timing timing;
    struct wire_refusal refusal; /* not answered: why */
    bool lost;                   /* it was handed in, and nobody says what became of it: it may be bought */
    uint64_t question;           /* its id in the link, while it waits */
};

/* Runs all of them. True: each is answered or refused; *ret_accept_us is the time from the accepted
 * connection to their hand-over. False: the exchange has been answered with a refusal of all, or its client
 * is gone. Blocks up to the wait of the lowest of their priorities. */
MUST_CHECK
bool prompt_run_many(struct exchange *x, struct prompt_outcome *outcomes, size_t n, uint64_t *ret_accept_us);

/* Of several prompts the longest of each phase. */
void prompt_timing_stretch(struct wire_timing *all, const struct wire_timing *one);

#endif
