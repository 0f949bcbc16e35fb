/*
 * The path of a prompt through the worker, the same for every endpoint that takes one: replay from the store,
 * or hand it to the coordinator and wait for its answer, also across the death of a coordinator (api.md
 * "Request ids").
 */
#ifndef CARPOOL_WORKER_PROMPT_H
#define CARPOOL_WORKER_PROMPT_H

#include <stdbool.h>

#include "store/chats.h"
#include "wire/message.h"

struct exchange;

#define PROMPT_GRACE_US        2000000ull /* for the coordinator's own refusal at the deadline to arrive */
#define PROMPT_HAND_INS_MAX    20         /* of one prompt to coordinators that die */
#define PROMPT_HAND_IN_WAIT_US 25000ull
#define PROMPT_SILENCE_US      10000000ull

#define WAIT_BASE_MS 30000 /* a prompt waits this long and the latency target of its priority */

/* Outcome of a prompt. The chat lends from the exchange and is good until it ends or its link is used again.
 */
struct prompt_result {
    bool queued;        /* async: durable, not answered yet; nothing else is filled */
    bool replayed;      /* from a finished record */
    uint64_t accept_us; /* from the accepted connection to the hand-over */
    struct wire_timing timing;
    struct wire_limits limits; /* none: nothing was taken */
    struct chat chat;
};

/*
 * Runs m, whose family, endpoint, priority, flags, texts and parameters are set by the caller;
 * trust group, key, fingerprint and wait are set here. request_id absent: one is made. True: *ret_result is
 * filled. False: the exchange has been answered with a refusal, or its client is gone. Blocks up to the wait
 * of its priority.
 */
MUST_CHECK
bool prompt_run(struct exchange *x, struct wire_submit *m, struct prompt_result *ret_result);

/* Key, fingerprint and trust group of m, what Cache-Control asks for, and an id of its own when it has none.
 * False: no memory, answered.
 */
MUST_CHECK
bool prompt_identify(struct exchange *x, struct wire_submit *m);
/* Answers that as many prompts wait as are let in. */
void prompt_refuse_waiting(struct exchange *x);

/* Who hears an answer as it comes. Each returns false when nobody is there any more. */
struct prompt_ear {
    /* A piece, one of OpenAI's chunk objects; lent. more: the next one, or the answer, is there already. */
    bool (*delta)(void *arg, struct slice chunk, bool more);
    bool (*silence)(void *arg); /* nothing came for PROMPT_SILENCE_US */
    void *arg;
};
/* The same as prompt_run(), for m with SUBMIT_STREAM. The wait is for its call to be sent; after that, an
 * answer may take as long as pieces come, the first of them too. A refusal may come after pieces:
 * x->response.begun tells. */
MUST_CHECK
bool prompt_run_heard(struct exchange *x, struct wire_submit *m, const struct prompt_ear *ear,
                      struct prompt_result *ret_result);

struct request_record;

/* Whether the id of this record may run again, as idempotency.on_unknown has it for UNKNOWN ones: here, or on
 * another machine, which then knows what became of it. */
bool prompt_runs_again(const struct exchange *x, const struct request_record *record);

/* Why a FAILED or UNKNOWN record has no answer; lends from it. False: the record does not say. */
MUST_CHECK
bool prompt_recorded_refusal(const struct request_record *r, struct wire_refusal *ret_refusal);

#endif
