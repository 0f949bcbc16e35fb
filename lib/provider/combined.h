/*
 * The combined prompt: many questions in one call, and the splitter that gives each its own answer back.
 *
 * Every member gets a random id. The call asks, through the provider's structured output, for an object with
 * exactly those ids, each {"echo": the first words of its question, "answer": text}. Nothing is handed out
 * unless the ids returned are the ids sent, each once, and every echo matches.
 */
#ifndef CARPOOL_PROVIDER_COMBINED_H
#define CARPOOL_PROVIDER_COMBINED_H

#include "provider/provider.h"

/* The system instruction for a combined call: what the object must look like, the priority's style (HIGH
 * short and fast, MEDIUM balanced, LOW detailed), each member's max_tokens, and the system prompt that the
 * members share, if any. */
void combined_instruction(struct buf *out, const struct provider_member *members, size_t n,
                          char (*ids)[PROVIDER_ID_SIZE]);
/* The user text: every question under its id, as JSON, so that no question can close its own quotes. */
void combined_questions(struct buf *out, const struct provider_member *members, size_t n,
                        char (*ids)[PROVIDER_ID_SIZE]);
/* The JSON schema (draft 2020-12 subset that OpenAI's strict mode takes): all ids required. with_additional:
 * say additionalProperties false (OpenAI wants it, Gemini's responseSchema refuses it). */
void combined_schema(struct buf *out, size_t n, char (*ids)[PROVIDER_ID_SIZE], bool with_additional);

/* The words of a prompt that its echo must repeat: the first 8, at most 64 bytes. */
struct slice combined_echo(struct slice prompt);

enum split_result { SPLIT_OK, SPLIT_DISCARD };

/*
 * Splits the model's text. SPLIT_OK: texts[i] is the answer of member i, or absent when its id is missing
 * (ask again alone). SPLIT_DISCARD: *ret_reason (static) says why nothing of it may be used: not JSON, not an
 * object, an id that was not sent, an id twice, an echo that does not match, an entry of another shape. A
 * text in a Markdown code fence is taken out of it first. ERR_NOMEM.
 */
MUST_CHECK
int combined_split(struct slice model_text, const struct provider_member *members, size_t n,
                   char (*ids)[PROVIDER_ID_SIZE], struct arena *arena, struct slice *ret_texts,
                   enum split_result *ret_result, const char **ret_reason);

/* Shares of a whole by weight that add up to it exactly (largest remainder; ties to the earlier). All weights
 * 0: equal shares. */
void usage_share(uint64_t whole, const uint64_t *weights, size_t n, uint64_t *ret_shares);

#endif
