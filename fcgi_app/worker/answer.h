/*
 * How the answer to a prompt looks to source 2's clients, rendered from the chat record alone, so that a
 * replay is the same bytes.
 */
#ifndef CARPOOL_WORKER_ANSWER_H
#define CARPOOL_WORKER_ANSWER_H

#include "store/chat_json.h"
#include "json/write.h"

struct exchange;
struct prompt_result;

/* The response object of POST /v1/query. */
void answer_write(struct json_writer *w, const struct chat *c);
/* Server-Timing, the limits, and Idempotent-Replayed where it is due. */
void answer_headers(struct exchange *x, const struct prompt_result *p);
/* x-ratelimit-limit-requests and its like, in OpenAI's names and forms; nothing for a limit that is none. */
void answer_limit_headers(struct exchange *x, const struct wire_limits *l);

#endif
