/* What a job looks like to the others: to the store (request record, chat) and to the provider codecs. */
#ifndef CARPOOL_COORDINATOR_RECORD_H
#define CARPOOL_COORDINATOR_RECORD_H

#include "coordinator/core.h"

/* How long a record is kept, in seconds: idempotency.ttl_hours, and what a clock may be wrong by. */
uint64_t record_kept_s(const struct core *c);

/* A record of j in that state; the caller adds what only some states have (submit, chat_id, refusal). */
struct request_record record_of(const struct core *c, const struct job *j, enum request_state state);

/* j as a member of a call, with the defaults in force filled in. Lends from j and c. */
void job_member(const struct core *c, const struct job *j, struct provider_member *ret_member);

/* Encodes j's answer into j->chat and fills *ret_chat, which lends from it. ERR_NOMEM. */
MUST_CHECK
int record_chat(struct core *c, struct job *j, const char *model, const struct provider_part *part,
                uint64_t now_us, struct chat *ret_chat);

/* The same for an answer that is given again: what was said is found's, the rest is j's own. */
MUST_CHECK
int record_given(struct core *c, struct job *j, const struct chat *found, uint64_t now_us,
                 struct chat *ret_chat);

/* "high", "medium", "low": as counter names have it. */
const char *priority_key(enum priority p);

#endif
