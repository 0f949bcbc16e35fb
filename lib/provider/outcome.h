/* Failures as an outcome: which verdict, status, code and words each kind of failing response comes to.
 * Private to lib/provider; used by decode.c. */
#ifndef CARPOOL_PROVIDER_OUTCOME_H
#define CARPOOL_PROVIDER_OUTCOME_H

#include "provider/codec.h"

/* out->parts and n are set beforehand. Messages are cut, cleaned of control characters and of the provider's
 * key. All of these: ERR_NOMEM. */
struct outcome_job {
    const struct provider *provider;
    size_t n;
    bool verbatim; /* its one member is */
    struct arena *arena;
    struct provider_outcome *out;
};

/* The response never came, or not whole: verdicts and why. */
MUST_CHECK
int outcome_transport(const struct outcome_job *j, const struct provider_response *r);
/* A complete response whose status is not 2xx: verdicts and why. error is NULL for a body that is no error of
 * this provider. */
MUST_CHECK
int outcome_status(const struct outcome_job *j, const struct provider_response *r,
                   const struct codec_error *error);
/* The server has no call of several prompts: asked one by one they may pass. */
MUST_CHECK
int outcome_array_missing(const struct outcome_job *j, int status);
/* The same with a provider that refused to give log-probabilities; error may be NULL. */
MUST_CHECK
int outcome_logprobs_missing(const struct outcome_job *j, int status, const struct codec_error *error);
/* The why alone; verdicts are the caller's. words, the provider's own, may be absent. */
MUST_CHECK
int outcome_filtered(const struct outcome_job *j, struct slice words);
/* A stream that broke off, or said that something went wrong: verdict (UNKNOWN) and why. sentence is without
 * its full stop; words may be absent. */
MUST_CHECK
int outcome_broken(const struct outcome_job *j, const char *sentence, struct slice words);
/* The why alone, for a complete answer that lacks parts. sentence is without its full stop. */
MUST_CHECK
int outcome_bad_answer(const struct outcome_job *j, const char *sentence, struct slice words);

void outcome_verdicts(const struct outcome_job *j, enum verdict v);

/* words copied into the arena: at most max_bytes, control characters as spaces, and every occurrence of key
 * and of anything that looks like a provider's key replaced. Absent stays absent. ERR_NOMEM. */
MUST_CHECK
int outcome_clean(struct arena *arena, struct slice words, const char *key, size_t max_bytes,
                  struct slice *ret_words);

#endif
