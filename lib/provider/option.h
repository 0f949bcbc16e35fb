/* What a parameter of OpenAI's API asks for, told from its bytes; for codecs that must say it in other words
 * or refuse. Private to lib/provider. */
#ifndef CARPOOL_PROVIDER_OPTION_H
#define CARPOOL_PROVIDER_OPTION_H

#include <stdint.h>

#include "provider/extra.h"

/* Whether it asks for nothing: null, its default, or something that no answer depends on (user, metadata). */
bool option_idle(const struct extra_item *item);
/* Whether it only colours an answer that is otherwise the same (top_p, seed): what a shared call may have. */
bool option_sampling(struct slice key);
/* The refusal of a parameter; ERR_NOT_FOUND. who: "the gemini provider". */
int option_refuse(const struct extra_item *item, const char *who, struct err *e);

/* Whether the value is JSON of these bytes, white space between them aside. */
bool option_is(struct slice value, const char *json);
bool option_is_number(struct slice value);
/* A string as it stands between its quotes; absent when the value is none. */
struct slice option_text(struct slice value);
/* The one text that a prompt is, as a JSON string; absent when it is several, or tokens. */
struct slice option_prompt(struct slice value);
/* A whole number of 0 .. max; -1 for anything else. */
int64_t option_number(struct slice value, int64_t max);

#endif
