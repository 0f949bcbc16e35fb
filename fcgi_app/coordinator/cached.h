/*
 * Answers given again (cache.mode = exact): who asks for what was answered before, in the same trust group,
 * gets that answer without a call.
 *
 * It is a request like any other: with a record, a chat of its own (cached, with the model, finish reason,
 * confidence, tokens and batch of the answer it repeats, and with a time and latency of its own) and a place
 * in the counters, all in one commit before it is told. So replays, asynchronous requests and deletions need
 * nothing special. The tokens shown are those the answer cost when it was bought: none are counted again.
 *
 * What is stored may be a text that was cut short at max_tokens: since that is part of the key, asking again
 * would give no more. Whatever is no answer (a refusal, a filtered prompt) is not stored.
 */
#ifndef CARPOOL_COORDINATOR_CACHED_H
#define CARPOOL_COORDINATOR_CACHED_H

#include "coordinator/core.h"

/* Finds what the store has that may be given again. ERR_*. */
MUST_CHECK
int cached_init(struct core *c, struct store_read *r, struct err *e);

/* A job that has its place in the hash, before it is queued. True: it is dealt with: its answer is on its way
 * to the disk, or there was no memory for it. */
bool cached_answer(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us);

/* Whether j may be given what was answered before; its cache_key is made then. */
bool cached_applies(const struct core *c, struct job *j);
/* Whether this machine has an answer for it. */
bool cached_has(const struct core *c, struct job *j);
/* The same as cached_answer for a job whose waiters are on it, with the chat that the machines' server has
 * for it (absent: none). */
bool cached_go_on(struct core *c, struct job *j, struct slice shared, uint64_t now_us);

/* Adds somebody who wants to know when j's answer can be fetched, to a job that is given one again.
 * ERR_NOMEM.
 */
MUST_CHECK
int cached_keep(struct core *c, struct job *j, struct core_link *l, uint64_t id, uint64_t deadline_us);

/* The bytes of the call are fixed: notes for each member what determines its answer from now on. */
void cached_note_call(struct core *c, struct call *call);
/* Makes j's answer, which is the chat of that part of a commit, one that may be given again; and when that is
 * durable, finds it from then on. */
void cached_store(const struct core *c, const struct job *j, struct commit_chat *chat);
void cached_stored(struct core *c, const struct commit_chat *chat);

#endif
