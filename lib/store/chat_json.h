/*
 * A chat as a JSON object: what an element of GET /v1/chat is, and a line of `carpoolctl export`.
 */
#ifndef CARPOOL_STORE_CHAT_JSON_H
#define CARPOOL_STORE_CHAT_JSON_H

#include "store/chats.h"
#include "json/write.h"

/* {timestamp, batch_id, request {…}, response {…}, endpoint} */
void chat_write_json(struct json_writer *w, const struct chat *c);
/* The members of an answer, inside an object that the caller has begun. completed_at: RFC 3339. */
void chat_write_answer(struct json_writer *w, const struct chat *c, const char *completed_at);

#endif
