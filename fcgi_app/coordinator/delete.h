/* DELETE /v1/chat/{request_id}: the chats of an id and its stored answer, in bounded steps; the id leaves a
 * tombstone. */
#ifndef CARPOOL_COORDINATOR_DELETE_H
#define CARPOOL_COORDINATOR_DELETE_H

#include "coordinator/core.h"

/* Answers DONE or REFUSAL. ERR_INVAL: no request id. */
MUST_CHECK
int delete_chat(struct core *c, struct core_link *l, const struct wire_frame *frame);

#endif
