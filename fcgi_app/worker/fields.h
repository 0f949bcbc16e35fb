/*
 * Fields that several prompt endpoints have in common: checked, and refused in the same words.
 */
#ifndef CARPOOL_WORKER_FIELDS_H
#define CARPOOL_WORKER_FIELDS_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/conf.h"
#include "base/slice.h"

struct exchange;

/* Whether every character is white space, Unicode's included: models drop such prompts. */
bool field_is_blank(struct slice s);

/* Those below answer the exchange themselves when they give false. */

/* A prompt under that key: a text that holds more than white space. Lends from the tree. */
bool field_prompt(struct exchange *x, const cJSON *root, const char *key, struct slice *ret_prompt);
/* HIGH, MEDIUM or LOW, or 2, 1 or 0: the body's word (root may be NULL) counts before X-Priority's; MEDIUM
 * without either. */
bool field_priority(struct exchange *x, const cJSON *root, enum priority *ret_priority);
/* The exchange has it as its own from then on, so that what is wrong with the rest is told under it. Absent:
 * left alone, as with those below. */
bool field_request_id(struct exchange *x, const cJSON *root, struct slice *ret_id);
/* The name of a model, under "model". */
bool field_model(struct exchange *x, const cJSON *root, struct slice *ret_model);
bool field_username(struct exchange *x, const cJSON *root, struct slice *ret_name);
/* A date-time of RFC 3339; absent: field_created_now(). */
bool field_created_at(struct exchange *x, const cJSON *root, struct slice *ret_text);
/* A JSON object of at most 8 KiB, byte for byte as it stood in the body. */
bool field_metadata(struct exchange *x, const cJSON *root, struct slice *ret_json);
/* The time of now as RFC 3339, from the exchange's arena. */
bool field_created_now(struct exchange *x, struct slice *ret_text);

#endif
