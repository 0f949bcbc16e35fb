/*
 * A request of OpenAI's API as a submit. What says no more than a prompt of any endpoint could (plain)
 * becomes one, and may share a call; all else goes to the provider as it stands (SUBMIT_VERBATIM).
 */
#ifndef CARPOOL_WORKER_OPENAI_REQUEST_H
#define CARPOOL_WORKER_OPENAI_REQUEST_H

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "wire/message.h"

struct exchange;

/* Texts lend from the tree and the body. */
struct openai_request {
    struct wire_submit m;
    const cJSON *prompts; /* of /v1/completions: an array of at least two plain texts, and m is what all of
                             them have in common; else NULL */
    bool stream;          /* m is verbatim, with SUBMIT_STREAM */
    bool include_usage;   /* at the end of the stream */
    struct buf extra;     /* where m.extra is */
};

/* root is x's body. endpoint: ENDPOINT_CHAT_COMPLETIONS or ENDPOINT_COMPLETIONS. The caller ends it with
 * openai_request_fini() in any case. False: answered with what is wrong with it. */
bool openai_request_read(struct exchange *x, const cJSON *root, enum endpoint endpoint,
                         struct openai_request *ret_request);
void openai_request_fini(struct openai_request *r);

#endif
