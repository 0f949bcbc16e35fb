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

/* The three below append to out; the caller checks buf_failed(). */

/* The system instruction for a combined call: what the object must look like, the priority's style (HIGH
 * short and fast, MEDIUM balanced, LOW detailed), each member's max_tokens, and the system prompt that the
 * members share, if any. */
void combined_instruction(struct buf *out, const struct provider_member *members, size_t n,
                          char (*ids)[PROVIDER_ID_SIZE]);
/* The user text: every question under its id, as JSON, so that no question can close its own quotes. */
void combined_questions(struct buf *out, const struct provider_member *members, size_t n,
                        char (*ids)[PROVIDER_ID_SIZE]);
/* The JSON schema of the answer: all ids required, each {"echo", "answer"}. OpenAI's strict mode wants
 * additionalProperties false; Gemini's responseSchema refuses that word, writes types in capitals and sorts
 * members by name (answer before echo) unless told their order. */
enum combined_dialect { COMBINED_OPENAI, COMBINED_GEMINI };
void combined_schema(struct buf *out, size_t n, char (*ids)[PROVIDER_ID_SIZE], enum combined_dialect dialect);

/* One id a member: "q" and 8 characters of [a-z0-9], distinct, and found in no prompt or system prompt of the
 * call. ERR_INVAL when random keeps repeating itself. */
MUST_CHECK
int combined_ids(const struct provider_member *members, size_t n,
                 void (*random)(void *arg, void *bytes, size_t n), void *random_arg,
                 char (*ret_ids)[PROVIDER_ID_SIZE]);
/* max_tokens of the whole call: the members' sum and an allowance for ids, echoes and JSON. */
uint32_t combined_max_tokens(const struct provider_member *members, size_t n);

enum split_result { SPLIT_OK, SPLIT_DISCARD };

/*
 * Splits the model's text. SPLIT_OK: ret_texts[i] (from arena) is the answer of member i, or absent when its
 * id is missing or its answer is empty or blank (ask again alone). SPLIT_DISCARD: *ret_reason (static) says
 * why nothing of it may be used: not JSON, not an object, an id that was not sent, an id twice, an echo that
 * does not match (echo.h), an entry that is anything but two strings named echo and answer. A text that is
 * one Markdown code fence as a whole is taken out of it first. Then ret_texts is untouched. ERR_NOMEM.
 */
MUST_CHECK
int combined_split(struct slice model_text, const struct provider_member *members, size_t n,
                   char (*ids)[PROVIDER_ID_SIZE], struct arena *arena, struct slice *ret_texts,
                   enum split_result *ret_result, const char **ret_reason);

/* Shares of a whole by weight that add up to it exactly (largest remainder; ties to the earlier). All weights
 * 0: equal shares. */
void usage_share(uint64_t whole, const uint64_t *weights, size_t n, uint64_t *ret_shares);

#endif
