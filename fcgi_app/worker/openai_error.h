/*
 * Errors as OpenAI's API words them, for programs that were written for it: its types and codes, and the
 * headers that tell its SDKs whether to try again. They do so by themselves after 408, 409, 429 and any 5xx.
 * Source: platform.openai.com/docs/guides/error-codes; "x-should-retry" and "retry-after-ms" are in the SDKs'
 * own sources (openai-node src/client.ts).
 */
#ifndef CARPOOL_WORKER_OPENAI_ERROR_H
#define CARPOOL_WORKER_OPENAI_ERROR_H

#include <stdbool.h>

#include "wire/message.h"
#include "json/write.h"

/* The status that goes with it there: 422 for an id of another body, else r's. */
int openai_error_status(const struct wire_refusal *r);
/* Whether it must not be tried again unasked: it may have been charged, or time alone does not help. */
bool openai_error_final(const struct wire_refusal *r);
/* {"error":{"message","type","param","code"}} */
void openai_error_write(struct json_writer *w, const struct wire_refusal *r);

#endif
