/*
 * What stands between the queue and a provider in trouble: the circuit breaker, the wait for a model that is
 * being loaded, the retry budget, and the refusal of prompts whose answer would come too late (lib/batch:
 * breaker.h, retry.h, pace.h). All of it is about the provider in force; calls that began under another one
 * (settings changed) are left alone.
 */
#ifndef CARPOOL_COORDINATOR_GUARD_H
#define CARPOOL_COORDINATOR_GUARD_H

#include "coordinator/call.h"

#define GUARD_LOADING_MS 500 /* between two looks whether a model is loaded */

/* A provider is put in force: nothing is known of it. */
void guard_reset(struct core *c, uint64_t now_us);

/* Whether a batch of the provider in force, or this call, may go now: the breaker lets it, and no model is
 * being loaded as far as is known. */
bool guard_permits(const struct core *c, uint64_t now_us);
bool guard_permits_call(const struct core *c, const struct call *call, uint64_t now_us);
/* The call takes its slot, and gives it back (before guard_note, if it was sent). */
void guard_enter(struct core *c, struct call *call, uint64_t now_us);
void guard_leave(struct core *c, struct call *call);
/* What the call says of the provider: for the breaker, the pace, and /health. */
void guard_note(struct core *c, const struct call *call, const struct provider_outcome *o, uint64_t now_us);
/* When a closed door opens by itself; UINT64_MAX: it is open, or waits for an answer. */
uint64_t guard_next_us(const struct core *c, uint64_t now_us);

/* How long the call must wait for the breaker before it is sent again, in ms. */
uint32_t guard_retry_wait_ms(const struct core *c, const struct call *call, uint64_t now_us);
/* Whether the budget allows a retry; it is paid for. */
bool guard_retry_spend(struct core *c, uint64_t now_us);

/* True, with *ret_refusal: a new prompt had better be refused, since the provider is down, or since it would
 * wait longer than it can. Asynchronous ones are never. */
bool guard_refuses(const struct core *c, const struct job *j, uint64_t now_us,
                   struct wire_refusal *ret_refusal);

#endif
