/*
 * OpenAI's objects for what a provider said in other words, or what was made here. Private to lib/provider.
 * Source: platform.openai.com/docs/api-reference/chat/object, …/chat-streaming, …/completions/object.
 */
#ifndef CARPOOL_PROVIDER_MADE_H
#define CARPOOL_PROVIDER_MADE_H

#include "provider/provider.h"
#include "json/write.h"

/* What an object says of itself. Slices lend. */
struct made {
    struct slice id; /* without "chatcmpl-" */
    struct slice model;
    uint64_t created_s;
    bool completion; /* a text completion rather than a chat's */
    bool chunk;      /* one of a stream */
};

struct made made_of(const struct provider_call *call);
/* Opens the object and writes all that stands before "choices"; the caller closes it. */
void made_begin(struct json_writer *w, const struct made *m);
void made_usage(struct json_writer *w, uint64_t prompt_tokens, uint64_t completion_tokens);
/* A response of one choice that is a text, from the arena. ERR_NOMEM. */
MUST_CHECK
int made_text(const struct made *m, struct slice text, uint64_t prompt_tokens, uint64_t completion_tokens,
              struct arena *arena, struct slice *ret_response);
/* The JSON of a writer's buf moves to the arena. ERR_NOMEM, also for a buf that failed; b is freed. */
MUST_CHECK
int made_keep(struct buf *b, struct arena *arena, struct slice *ret_json);

#endif
