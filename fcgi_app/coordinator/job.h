/*
 * A job: one prompt from intake to the moment its outcome is durable and told. Whoever waits for it hangs on
 * it as a waiter, so a duplicate request joins by adding one. A job is on exactly one list and the list is
 * its state; only job_set_state moves it.
 */
#ifndef CARPOOL_COORDINATOR_JOB_H
#define CARPOOL_COORDINATOR_JOB_H

#include <uthash.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/uuid.h"
#include "batch/batcher.h"
#include "shared/shared.h"
#include "store/cache.h"
#include "store/spend.h"
#include "wire/message.h"

struct core;
struct core_link;
struct call;
struct batch;

enum job_state {
    JOB_ASKING,     /* the server that several machines share is asked whether it may run here */
    JOB_ACCEPTING,  /* async: its QUEUED record is on its way to the disk */
    JOB_PARKED,     /* async and durable, but the queue is full: queued when there is room */
    JOB_ELSEWHERE,  /* another machine has it: looked at there until that has ended */
    JOB_QUEUED,     /* in the batcher */
    JOB_CALLING,    /* in a call, from sealing to the last answer */
    JOB_COMMITTING, /* its outcome is on its way to the disk */
    JOB_REAPED,     /* told; freed at the end of the turn */
    JOB_STATES
};

/* Whose buckets a job has taken from (rate.h). */
enum rate_charged { RATE_FREE, RATE_OWN, RATE_SHARED };

/* Somebody who waits for a job: for its answer (SUBMIT) or for its end (WATCH). Invariant: on the lists of
 * its job and of its link. */
struct waiter {
    struct list job_node, link_node;
    struct heap_node deadline;
    struct job *job;
    struct core_link *link;
    uint64_t id;  /* of the frame to answer */
    bool watches; /* WATCH: gets PROGRESS */
    bool joined;  /* came when the job was there already */
    bool told;    /* pieces of an answer that streams: from then on it waits for as long as it reads */
    bool fetches; /* asynchronous, of an answer given again: gets QUEUED */
    bool keeps;   /* asynchronous: waits to hear that it is kept; while ASKING and ACCEPTING */
};

/* What a job holds of its key's budget (budget.h), in picodollars. Invariant: held is part of what the
 * account has reserved in that month. */
struct budget_account;
struct budget_hold {
    struct budget_account *account; /* NULL: nothing, and nothing is counted */
    uint32_t month;
    uint64_t estimate;    /* of one call */
    uint64_t spent, held; /* by its calls so far; that, and the estimate of the one to come or under way */
};

struct job {
    struct list node; /* the list of its state */
    enum job_state state;
    UT_hash_handle hh; /* by submit.key, in core.by_key */
    struct batch_member member;
    struct list waiters;
    char *payload; /* submit lends from it; owned */
    size_t payload_len;
    struct wire_submit submit;
    struct batch *batch;  /* while CALLING and COMMITTING; NULL: its answer is given again (cached.h) */
    uint64_t arrived_us;  /* monotonic */
    uint64_t deadline_us; /* latest of its waiters so far; for async of its own wait */
    uint64_t sealed_us;
    struct wire_timing timing;
    bool recorded;    /* its dispatched record is durable */
    bool promised;    /* its id was accepted with a 202 before, and has failed since */
    uint8_t repairs;  /* calls after the first that asked again for its part */
    uint32_t retries; /* calls sent again after a failure */
    bool rate_limited;
    bool given_again; /* COMMITTING what another request was answered */
    /* What determines its answer, under the settings of that version; if cacheable. */
    bool cacheable;
    uint64_t cache_version;
    uint8_t cache_key[CACHE_KEY_SIZE];
    uint64_t prompt_tokens, completion_tokens; /* shares of all its calls so far */
    enum rate_charged charged;                 /* member.tokens of tokens, until it has ended */
    struct wire_limits limits;                 /* what was left then */
    struct budget_hold hold;
    /* Among several machines (machines.h). */
    bool claimed;            /* by this one: it may be sent */
    bool noted;              /* the server may hold that it goes on, or is kept, on this machine */
    bool elsewhere;          /* another machine has it: where it goes once it is accepted */
    bool runs_elsewhere;     /* it may have been sent there */
    bool replayed;           /* its outcome is another machine's from before it came */
    enum shared_state ended; /* what the server hears at its end; FREE: nothing was bought */
    uint64_t look_at_us, look_step_us;
    /* Its outcome: one of the two is filled before JOB_COMMITTING. */
    struct buf chat;          /* record of the answer */
    struct buf refusal;       /* payload of WIRE_REFUSAL; empty without memory for it: */
    struct wire_refusal bare; /* what is told then; static texts */
};

/* A job that owns a copy of payload, in no state yet (on no list, not in the hash). ERR_NOMEM, or ERR_INVAL
 * for a payload that is no submit. */
MUST_CHECK
int job_new(struct slice payload, uint64_t now_us, struct job **ret_job);
void job_free(struct job *j);
/* Into the hash of jobs by key, where duplicates find it; out of it again. ERR_NOMEM. */
MUST_CHECK
int job_enter(struct core *c, struct job *j);
void job_leave(struct core *c, struct job *j);
/* The job with that request key that runs; NULL: none. */
struct job *job_find(const struct core *c, const uint8_t key[REQUEST_KEY_SIZE]);
void job_set_state(struct core *c, struct job *j, enum job_state state);

/* Adds somebody who waits, until deadline_us. ERR_NOMEM. */
MUST_CHECK
int job_add_waiter(struct core *c, struct job *j, struct core_link *link, uint64_t id, bool watches,
                   uint64_t deadline_us);
/* Adds one who waits to hear that an asynchronous job is kept. ERR_NOMEM. */
MUST_CHECK
int job_add_keeper(struct core *c, struct job *j, struct core_link *link, uint64_t id);
/* Tells those QUEUED and takes them off. */
void job_tell_kept(struct core *c, struct job *j);
/* Running continues as the request that other is, of the same id and fingerprint; other gets its own. */
void job_swap_payload(struct core *c, struct job *running, struct job *other);
/* Takes a waiter off its lists and frees it. */
void waiter_free(struct core *c, struct waiter *w);
/* Whether anybody still waits for the answer itself. */
bool job_is_awaited(const struct job *j);

/* Sets the refusal that is the outcome. The texts of r are copied, but type and code must be static. */
void job_refuse(struct job *j, const struct wire_refusal *r);
/* Tells every waiter the outcome (chat or refusal) and takes them off. */
void job_tell(struct core *c, struct job *j);

static inline bool job_is_async(const struct job *j)
{
    return j->submit.flags & SUBMIT_ASYNC;
}

/* Whether one that asks for the same under its id waits with it: OpenAI's clients are told that it runs
 * (IETF draft httpapi-idempotency-key-header). An id that a worker made nobody knows but that worker, who
 * asks again when its link was lost. */
static inline bool job_is_joined(const struct job *j)
{
    return j->submit.family != FAMILY_OPENAI || (j->submit.flags & SUBMIT_OWN_ID);
}

/* Whether a record must stand for it when it fails: whoever got a 202 may ask what became of that. */
static inline bool job_keeps_record(const struct job *j)
{
    return job_is_async(j) || j->promised;
}

#endif
