/*
 * What the prompts of a key may cost in a calendar month (UTC), and what they have cost. A prompt reserves
 * its estimate (its tokens and max_tokens, at the price of its model) when it is taken in; what it really
 * cost takes the place of that once its outcome is known, and is counted in the commit that makes that
 * durable. So prompts that run at once cannot spend more than the budget by more than their estimates were
 * wrong.
 *
 * What may have been charged (time-out, reset, crash after dispatch) counts by its estimate, which the
 * dispatched record holds. Free are: what the mock answers, calls with a key that the caller brought, and all
 * that makes no call. Spending is counted for each key of the store whose model has a price, with a budget or
 * without.
 *
 * A prompt counts for the month in which it came in.
 */
#ifndef CARPOOL_COORDINATOR_BUDGET_H
#define CARPOOL_COORDINATOR_BUDGET_H

#include "coordinator/call.h"

/* One key in the month of core.budgets. Lives as long as the core. */
struct budget_account {
    UT_hash_handle hh;
    uint8_t id[TRUST_GROUP_SIZE];
    uint64_t spent, reserved; /* picodollars; reserved: by jobs of this month that have not ended */
};

/* Its message lends from it. */
struct budget_refusal {
    struct wire_refusal refusal;
    char message[512];
};

/* Reads what has been spent this month. */
MUST_CHECK
int budget_init(struct core *c, struct store_read *r, struct err *e);
void budget_fini(struct core *c);

/* j, whose answer must be bought, reserves what it may cost, unless it has. True: it is not to go on, with
 * the refusal to tell. */
MUST_CHECK
bool budget_refuses(struct core *c, struct job *j, struct budget_refusal *ret_refusal);
/* j waits, and is to be kept as duplicate, which would run in its place after a crash: if j costs nothing
 * (with its caller's key), what that may cost is reserved by j until it is sent. */
MUST_CHECK
bool budget_refuses_kept(struct core *c, struct job *j, struct job *duplicate,
                         struct budget_refusal *ret_refusal);
/* For one that was promised to run: it reserves whether there is so much or not. */
void budget_reserve(struct core *c, struct job *j);
/* It does not go into the queue after all. */
void budget_release(struct core *c, struct job *j);

/* A call is about to be recorded and sent: its members reserve what they may cost there, since the model
 * may have been changed while they waited. True: it is not to be sent, with the refusal to tell. */
MUST_CHECK
bool budget_refuses_call(struct core *c, const struct call *call, struct budget_refusal *ret_refusal);
/* What the call came to is what its members have spent, so far. */
void budget_note(struct core *c, struct call *call, const struct provider_outcome *o);
/* j goes into another call after that one. */
void budget_ask_again(struct core *c, struct job *j);
/* j goes into no call any more: nothing but what it has spent stays reserved. Gives what is to be committed.
 */
struct spend budget_close(struct core *c, struct job *j);
/* It has ended: part of job_set_state(). */
void budget_end(struct core *c, struct job *j);

/* What stands in j's dispatched record, for a coordinator that finds it. */
struct spend budget_held(const struct job *j);
/* What an earlier coordinator may have bought is to be counted, and what another machine has spent. */
void budget_spend(struct core *c, const struct spend *s);

#endif
