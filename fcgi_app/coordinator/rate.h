/*
 * Rate limits: requests and tokens a minute, of each API key (its trust group; all callers without one are
 * together) and of each user within it (limits.requests_per_minute and its like; a key's own limits win over
 * the first two). What is on its way into the
 * queue takes from its buckets, all of them or none; replays, joins and answers given again are free. Tokens
 * are taken as estimated at intake, and put right by the real usage at the end.
 *
 * The buckets are this machine's own (batch/rate.h), or those of the server that machines share: then
 * rate_list() says which, and rate_decide() takes what the server made of them.
 */
#ifndef CARPOOL_COORDINATOR_RATE_H
#define CARPOOL_COORDINATOR_RATE_H

#include "batch/rate.h"
#include "coordinator/keys.h"

#define RATE_JOB_BUCKETS 4  /* requests and tokens, of key and user */
#define RATE_NAME_SIZE   96 /* with its terminator */
/* Buckets kept. When there are more, what was used least lately goes, a full one if there is one near. */
#define RATE_BUCKETS_MAX 65536

/* The buckets a prompt takes from, with what they say of it. Names are the same on all machines. */
struct rate_list {
    size_t n;
    struct shared_bucket buckets[RATE_JOB_BUCKETS];
    char names[RATE_JOB_BUCKETS][RATE_NAME_SIZE];
    bool of_key[RATE_JOB_BUCKETS]; /* the limit is the key's own, not the configuration's */
};

/* Its message lends from it. */
struct rate_refusal {
    struct wire_refusal refusal;
    char message[256];
};

/* Whether there is any bucket that j may have to take from. */
static inline bool rate_applies(const struct core *c, const struct job *j)
{
    const struct key_record *k = keys_of(c, j->submit.trust_group);
    return (k && (k->requests_per_minute || k->tokens_per_minute)) || c->conf->limits.requests_per_minute ||
           c->conf->limits.tokens_per_minute || c->conf->limits.user_requests_per_minute ||
           c->conf->limits.user_tokens_per_minute;
}

/* The buckets of j, whose member is filled in. *ret lends to itself: do not copy it. */
void rate_list(const struct core *c, const struct job *j, struct rate_list *ret_list);
/* What came of it: j has taken from them (shared: the server's), or is not to go on: true, with the refusal
 * to tell. */
MUST_CHECK
bool rate_decide(struct core *c, struct job *j, const struct rate_list *list, bool limited, bool shared,
                 struct rate_refusal *ret_refusal);
/* The same with this machine's own buckets. */
MUST_CHECK
bool rate_refuses(struct core *c, struct job *j, uint64_t now_us, struct rate_refusal *ret_refusal);
/* It does not go into the queue after all: all is given back. */
void rate_return(struct core *c, struct job *j);
/* It has ended: its tokens are put right. */
void rate_settle(struct core *c, struct job *j);

/* Housekeeping: full buckets that nobody has used go, a few at a time. */
void rate_tend(struct core *c, uint64_t now_us);
void rate_fini(struct core *c);

#endif
