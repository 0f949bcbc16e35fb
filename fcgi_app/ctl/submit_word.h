/*
 * What a refusal means to a file of prompts: whether the line is asked again by itself, and what a person can
 * do otherwise. Pure.
 */
#ifndef CARPOOL_CTL_SUBMIT_WORD_H
#define CARPOOL_CTL_SUBMIT_WORD_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/message.h"

/* Whether the same line is to be asked again, under the same id, after tries such refusals; *ret_delay_us:
 * when. */
MUST_CHECK
bool submit_word_again(const struct wire_refusal *r, unsigned tries, uint64_t *ret_delay_us);
/* NULL: the refusal says all there is to say. */
const char *submit_word_hint(const struct wire_refusal *r);

#endif
