/*
 * Answers that are told while they are being written: from the provider's events to DELTA frames, as fast as
 * the client reads, and what becomes of the call when it leaves. A stream is alone in its call, and one
 * client hears it. Called by dispatch.c, waiting.c and outcome.c; upstream and links call the core's
 * core_streamed() and core_link_flows().
 */
#ifndef CARPOOL_COORDINATOR_STREAM_H
#define CARPOOL_COORDINATOR_STREAM_H

#include "coordinator/call.h"

/* The call is about to be sent (once more): whatever it was told before is forgotten. ERR_NOMEM. */
MUST_CHECK
int stream_begin(struct core *c, struct call *call);
/* The call is on its way: whoever hears its stream has waited for that, and the first piece may take as long
 * as a call may. Of other calls nothing changes. */
void stream_sent(struct core *c, struct call *call, uint64_t now_us);
/* Somebody who waited for j, which is CALLING, left. If that is who heard its stream: what nobody waits for,
 * nor could ask for again, ends at the provider, too; the rest goes on to its end, read or not. */
void stream_left(struct core *c, struct job *j, uint64_t now_us);
/* Whether the call is of a stream that nobody hears, and nobody could ask for again: not worth sending. */
bool stream_is_given_up(const struct call *call);
/* All is said that may be of use, and the provider has not ended its response: the core does. Takes it. */
void stream_close(struct core *c, struct call *call, uint64_t now_us);
/* What came of it in the end. response is only lent. ERR_NOMEM. */
MUST_CHECK
int stream_end(struct call *call, const struct provider_response *response, struct arena *arena,
               struct provider_outcome *ret_outcome);
/* How many clients are being told now. */
uint32_t stream_count(const struct core *c);

#endif
