/* DELETE /v1/chat/{request_id}: the chats of an id and its stored answer, in bounded steps; the id leaves a
 * tombstone. */
#ifndef CARPOOL_COORDINATOR_DELETE_H
#define CARPOOL_COORDINATOR_DELETE_H

#include "coordinator/core.h"

/* Answers DONE or REFUSAL. ERR_INVAL: no request id. Where several machines share a server, the tombstone
 * stands there before anything is deleted here; without the server nothing is deleted, since its answer
 * would still be given elsewhere. */
MUST_CHECK
int delete_chat(struct core *c, struct core_link *l, const struct wire_frame *frame);

/* A link is going: nothing answers it any more. */
void delete_forget_link(struct core *c, const struct core_link *l);

#endif
