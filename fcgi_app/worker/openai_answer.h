/*
 * Answers as objects of OpenAI's API, rendered from chat records alone, so that a replay is the same bytes.
 */
#ifndef CARPOOL_WORKER_OPENAI_ANSWER_H
#define CARPOOL_WORKER_OPENAI_ANSWER_H

#include "base/buf.h"
#include "store/chats.h"

/* The response object of n >= 1 chats of one request, a choice each: of a verbatim one, which comes alone,
 * the provider's own. */
void openai_answer_write(struct buf *out, const struct chat *const *chats, size_t n);

#endif
