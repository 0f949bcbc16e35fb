/*
 * Intake: prompts on their way in, and everybody who waits for one: submits, joins, replays, watches,
 * cancellations, deadlines.
 */
#ifndef CARPOOL_COORDINATOR_INTAKE_H
#define CARPOOL_COORDINATOR_INTAKE_H

#include "coordinator/core.h"
#include "coordinator/refusal.h"

/* A prompt. Answers (now or later) with ANSWER, REFUSAL or QUEUED. ERR_INVAL: no submit. */
MUST_CHECK
int intake_submit(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us);
/* The client behind that submit went away. */
void intake_cancel(struct core *c, struct core_link *l, uint64_t id, uint64_t now_us);
MUST_CHECK
int intake_watch(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us);

/* A job that is ASKING or ELSEWHERE may run here after all; its waiters are on it. shared_cached: the chat
 * that the machines' server would give again for it, if there is one. Takes it. */
void intake_go_on(struct core *c, struct job *j, struct slice shared_cached, uint64_t now_us);
/* Counts a prompt that was taken in. */
void intake_count(struct core *c, const struct job *j);
/* Records an asynchronous job, which its keepers hear of then. On failure they are refused, and it ends. */
void intake_accept(struct core *c, struct job *j);
/* What the batcher goes by, again: the job's payload has changed. */
void intake_fill_member(struct core *c, struct job *j);

/* An asynchronous duplicate j of running: told QUEUED once a record stands for it that outlives this process,
 * or why running failed. Takes j. */
void intake_keep(struct core *c, struct core_link *l, uint64_t id, struct job *running, struct job *j,
                 uint64_t now_us);
/* A commit failed that was to record j, which is not to run any more, and nobody knows whether it reached the
 * disk: what it left there is taken out, as soon as the store works. */
void intake_retract(struct core *c, const struct job *j);
void intake_answer_queued(struct core *c, struct core_link *l, uint64_t id);

/* Whether somebody on this link waits under that id already. */
bool intake_is_open(const struct core *c, const struct core_link *l, uint64_t id);
void intake_answer_progress(struct core *c, struct core_link *l, uint64_t id, enum wire_progress progress);
/* QUEUED or RUNNING, as far as this machine knows. */
enum wire_progress intake_progress(const struct job *j);
/* A waiter leaves without an answer; a job that nobody awaits any more is dropped if it is still queued. */
void intake_leave(struct core *c, struct waiter *w, uint64_t now_us);
/* A waiter's time is up. */
void intake_deadline(struct core *c, struct waiter *w, uint64_t now_us);

/* Takes up again what an earlier coordinator left: async requests are queued, its dispatched records become
 * unknown. */
MUST_CHECK
int intake_recover(struct core *c, struct store_read *r, uint64_t now_us, struct err *e);
/* Puts a job that has a place in the hash into the batcher; on failure its state is as before and *ret_why
 * says why. */
MUST_CHECK
int intake_queue(struct core *c, struct job *j, uint64_t now_us, enum refusal *ret_why);
/* Takes an async job that is recorded already: into the batcher, or parked. ERR_NOMEM: it stays the caller's.
 */
MUST_CHECK
int intake_adopt(struct core *c, struct job *j, uint64_t now_us);
/* Queues parked jobs while there is room. */
void intake_unpark(struct core *c, uint64_t now_us);
/* Goes on sweeping while the last step left something. Part of core_turn. */
void intake_sweep_on(struct core *c);
/* Draining: queued prompts are refused; async ones stay recorded for the next coordinator. */
void intake_refuse_queued(struct core *c);
/* Refuses the queued prompts that somebody waits for: the server that they need first does not come back. */
void intake_refuse_held(struct core *c);
/* Refuses the queued prompts that somebody waits for, of a key that was revoked. What is recorded of it is
 * refused when its turn comes (dispatch.c). */
void intake_refuse_revoked(struct core *c, const uint8_t group[TRUST_GROUP_SIZE]);
/* Refuses the queued prompts that cannot wait until from_us, when the provider is tried again. */
void intake_refuse_hopeless(struct core *c, uint64_t from_us);

#endif
