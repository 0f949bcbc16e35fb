/*
 * Batches and calls. A batch is what was sealed together; a call is one request to the provider on its
 * behalf. Most batches are one call; repairs, retries and bisection after a content filter make more of them,
 * concurrent mode one for each member.
 */
#ifndef CARPOOL_COORDINATOR_CALL_H
#define CARPOOL_COORDINATOR_CALL_H

#include "base/heap.h"
#include "base/list.h"
#include "coordinator/core.h"

/* Lives until its last member has an outcome. */
struct batch {
    struct uuid id;
    char id_text[UUID_TEXT_SIZE];
    enum priority priority;
    enum flush_reason reason;
    uint32_t n, pending; /* members; those without a durable outcome */
    uint32_t calls, answered, failed;
    uint64_t sealed_us, oldest_us;
    uint64_t tokens;
};

enum call_state {
    CALL_CLAIMING,  /* holds a slot; its members become this machine's first */
    CALL_RECORDING, /* holds a slot; its dispatched records are on their way to the disk */
    CALL_RUNNING,   /* holds a slot; at the provider */
    CALL_DELAYED,   /* in core.timers until it may be sent again */
    CALL_READY      /* in core.ready_calls until a slot is free */
};

struct call {
    struct list node;       /* in core.ready_calls while READY */
    struct list all_node;   /* in core.calls */
    struct heap_node timer; /* DELAYED; RUNNING when the provider is the mock, or has said all of a stream */
    enum call_state state;
    struct batch *batch;
    struct provider_ref *provider;
    struct settlement *settlement;  /* room for its outcome */
    struct provider_call request;   /* built when it is first sent */
    struct provider_stream *stream; /* of a request that streams, once it is sent: what has come of it */
    struct list held_node;          /* in core_link.held while its client does not keep up */
    bool encoded;
    bool holds_slot;
    bool probe;        /* let through by a half-open breaker */
    char *caller_key;  /* a key the members brought; owned, wiped */
    uint32_t failures; /* complete failures so far */
    bool again;        /* it was sent before, and did not run */
    uint64_t sent_us;
    size_t n;
    struct job *members[];
};

/* How calls are made now: the configured mode, or one by one while the provider has no call of several. */
enum provider_mode call_mode(const struct provider_ref *p, uint64_t now_us);
/* Seals and starts whatever is due and has a slot. Part of core_turn. */
void dispatch_pump(struct core *c, uint64_t now_us);
/* Encodes, records and sends a call. Takes it. */
void dispatch_go(struct core *c, struct call *call, uint64_t now_us);
/* A timer of a call fired: a delayed one becomes ready, a mock one answers. */
void dispatch_timer(struct core *c, struct call *call, uint64_t now_us);

/* The call's members as the codec wants them; members has room for call->n. */
void call_members(const struct core *c, const struct call *call, struct provider_member *members);
/* The follow-up call for some members of a call (repair, bisection); NULL when memory is short. */
struct call *call_new(struct core *c, struct batch *b, struct provider_ref *provider, size_t n);
void call_free(struct core *c, struct call *call);
void call_make_ready(struct core *c, struct call *call);
/* Takes a slot. */
void call_take_slot(struct core *c, struct call *call, enum call_state state, uint64_t now_us);
/* Gives the slot back. */
void call_release_slot(struct core *c, struct call *call);

/* outcome.c: what a call came to, member by member: answers, repairs, retries, refusals. Takes the call. */
void outcome_settle(struct core *c, struct call *call, const struct provider_response *response,
                    uint64_t now_us);
/* Ends jobs of a call that cannot be sent at all, before anything was: refuses its members and drops their
 * dispatched records. Takes the call. */
void outcome_refuse_call(struct core *c, struct call *call, const struct wire_refusal *refusal,
                         uint64_t now_us);

/* A call that was ended at the provider after it was sent: it may be charged for what it had said. Takes the
 * call. */
void outcome_give_up(struct core *c, struct call *call, uint64_t now_us);

/* Room for what n members come to; NULL when memory is short. */
struct settlement *settlement_new(size_t n);
void settlement_free(struct settlement *s);

void batch_free_if_done(struct core *c, struct batch *b, uint64_t now_us);

/* events.c: the event log. */
void event_enqueue(struct core *c, const struct job *j);
void event_dispatch(struct core *c, const struct batch *b, uint64_t now_us);
void event_call_start(struct core *c, const struct call *call);
void event_call_end(struct core *c, const struct call *call, const struct provider_response *response,
                    const struct provider_outcome *outcome, uint64_t now_us);
void event_retry(struct core *c, const struct call *call, uint32_t delay_ms);
void event_pair(struct core *c, const struct chat *chat);
void event_batch_complete(struct core *c, const struct batch *b, uint64_t now_us);

#endif
