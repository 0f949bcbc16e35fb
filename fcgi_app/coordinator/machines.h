/*
 * The promise of request ids across machines that share a Redis (shared/shared.h): whether a prompt that came
 * in may run here, claims before a call leaves, prompts that another machine has, and what the server is told
 * when one ends. intake.c, dispatch.c and job.c call it at one place each; without Redis none of it runs.
 */
#ifndef CARPOOL_COORDINATOR_MACHINES_H
#define CARPOOL_COORDINATOR_MACHINES_H

#include "coordinator/call.h"
#include "coordinator/refusal.h"

/* Whether the other machines are asked before anything of this one may be given again to j. */
bool machines_come_first(const struct core *c, const struct job *j);
/* A prompt that nobody runs here and no record here stands against; in the hash already, in no state. True:
 * it is dealt with, or waits for what the server says of it (JOB_ASKING). */
bool machines_ask(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us);
/* Asynchronous duplicate of a job that is ASKING or ELSEWHERE: that one becomes asynchronous. Takes
 * duplicate. */
void machines_keep(struct core *c, struct core_link *l, uint64_t id, struct job *running,
                   struct job *duplicate, uint64_t now_us);
/* Another machine has j: it waits here for what becomes of it there. */
void machines_wait(struct core *c, struct job *j, uint64_t now_us);

/* Before a call is encoded. True: it was taken, to go on (dispatch_go) once its members are claimed, or there
 * is nobody left in it. */
bool machines_claim(struct core *c, struct call *call, uint64_t now_us);

/* Whether prompts run while the server is away (redis.on_loss = local). */
bool machines_may_go_without(const struct core *c);
/* Nothing new may be sent: the server is away, and there is no doing without it. */
static inline bool machines_hold(const struct core *c)
{
    return c->shared.reach == SHARED_AWAY && !machines_may_go_without(c);
}

/* What a record at the server means for a job of this machine. END: its outcome, or why it has none, is in
 * the job, to be told. */
enum meeting { MEETS_NOTHING, MEETS_RUNNING, MEETS_END };
enum meeting machines_meet(const struct core *c, struct job *j, const struct shared_record *r);
/* Ends a job that has no place in the batcher and none in a call: with what it has met, with a refusal, with
 * what is in it. */
void machines_end_met(struct core *c, struct job *j);
void machines_refuse(struct core *c, struct job *j, enum refusal why);
void machines_end(struct core *c, struct job *j);

/* The same for a job that is ASKING and is to be given an answer again (cached: the server's; absent: one of
 * this machine). False: there is no memory for it. */
bool machines_claim_given(struct core *c, struct job *j, struct slice cached);
/* The server notes that j, whose id nobody else can have, is this machine's; nobody waits for that. */
void machines_note(struct core *c, struct job *j);
/* Nothing stands against j, which is ASKING, and the server has an answer that may be given to it again,
 * unless the chat it is of was deleted. False: there is no memory to find out. */
bool machines_look_given(struct core *c, struct job *j, struct slice cached);
/* The answer was looked at (absent: there is none that may be given). */
void machines_go_on(struct core *c, struct job *j, struct slice cached, uint64_t now_us);
/* A job that is ASKING meets what another machine has of it. Takes it. */
void machines_met(struct core *c, struct job *j, const struct shared_record *r, uint64_t now_us);

/* reconcile.c: what the earlier coordinator of this machine left unknown is told to the server, which may
 * never have heard of it. */
void reconcile_lost(struct core *c);
/* A job has ended, and what it came to is durable: the server hears of it, if there is a connection. That may
 * be one that does not count as there yet: what was listed as open on it, while the job still ran, is not
 * listed again. */
void machines_over(struct core *c, const struct job *j);

/* A look with its end, for all who look. */
struct look_op {
    struct shared_look look;
    void (*back)(struct core *c, struct look_op *op, uint64_t now_us); /* frees it */
};
/* What runs elsewhere is looked at again by then; the time after this one, in steps that grow. */
void machines_look_by(struct core *c, uint64_t at_us);
void machines_look_later(uint64_t *at_us, uint64_t *step_us, uint64_t now_us);
/* Looks at what runs elsewhere, when it is time. Part of core_turn. */
void machines_turn(struct core *c, uint64_t now_us);
uint64_t machines_next_us(const struct core *c);
/* Draining: who waits for another machine's answer is refused; the next coordinator will know. */
void machines_drain(struct core *c);

#endif
