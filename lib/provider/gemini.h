/*
 * The rooms of the Gemini codec: gemini.c builds calls and reads what plain prompts are answered,
 * gemini_contents.c and gemini_options.c put OpenAI's messages and parameters into Gemini's words, and
 * gemini_turn.c puts what Gemini says into OpenAI's. Private to lib/provider.
 * Source: ai.google.dev/api/generate-content, ai.google.dev/gemini-api/docs/openai (what Google itself
 * translates, and how), /function-calling, /thinking, /thought-signatures.
 */
#ifndef CARPOOL_PROVIDER_GEMINI_H
#define CARPOOL_PROVIDER_GEMINI_H

#include "provider/codec.h"

#define GEMINI_MODEL_BYTES 200
#define GEMINI_CHOICES_MAX 8 /* candidateCount's maximum */
#define GEMINI_WHO         "the gemini provider"

/* systemInstruction and contents: the system prompt, messages and prompt of a member, or the messages of a
 * verbatim one. ERR_NOT_FOUND, ERR_INVAL, ERR_NOMEM. */
MUST_CHECK
int gemini_write_contents(struct json_writer *w, const struct provider_member *m, struct err *e);

/* Into generationConfig: what a member's extra asks for; of a verbatim one temperature and the like, too. The
 * rest is in gemini_write_tools(). ERR_NOT_FOUND: what has no counterpart; ERR_INVAL, ERR_NOMEM. */
MUST_CHECK
int gemini_write_options(struct json_writer *w, const struct provider_member *m, const char *model,
                         struct err *e);
/* tools and toolConfig, if extra (checked by gemini_write_options) has any. */
MUST_CHECK
int gemini_write_tools(struct json_writer *w, struct slice extra, struct err *e);
/* The prompt of a completion, a JSON string; ERR_NOT_FOUND where it is anything but one text. */
MUST_CHECK
int gemini_prompt(struct slice extra, struct slice *ret_prompt, struct err *e);

/* stop, length, content_filter or Gemini's own word. */
struct slice gemini_finish(struct slice reason, bool *ret_filtered);

/* What was said so far in one answer, of which each piece depends. All zero at first. */
struct gemini_turn {
    bool begun;
    char id[PROVIDER_NAME_SIZE], model[GEMINI_MODEL_BYTES + 1]; /* of the answer, once it began */
    struct {
        bool begun;
        unsigned calls; /* of functions */
    } choices[GEMINI_CHOICES_MAX];
};

/* One response, or piece of a stream (a checked JSON object), as a chunk of OpenAI's, appended to chunk, and
 * as OpenAI's usage, appended to usage; each stays empty where event says nothing of it. The caller checks
 * buf_failed(). ERR_INVAL: it is no response of Gemini's. */
MUST_CHECK
int gemini_turn_chunk(struct gemini_turn *t, const struct provider_call *call, struct slice event,
                      struct buf *chunk, struct buf *usage);

MUST_CHECK
int gemini_response(const cJSON *root, struct slice body, const struct provider_call *call,
                    struct arena *arena, struct slice *ret_response);

#endif
