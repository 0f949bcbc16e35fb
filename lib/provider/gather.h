/*
 * Puts the chunks of a stream together to the response that would have come in one. Texts are kept as they
 * stand, escapes and all, and joined without being read; numbers keep their digits; what this does not know
 * goes into the response, too. Source: platform.openai.com/docs/api-reference/chat-streaming,
 * …/completions. Private to lib/provider.
 */
#ifndef CARPOOL_PROVIDER_GATHER_H
#define CARPOOL_PROVIDER_GATHER_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* What is kept of one JSON value. */
struct gather_node;

struct gather {
    struct gather_node *root;
    size_t bytes, max_bytes; /* kept so far, the nodes themselves counted */
    uint64_t said;           /* bytes of text among them, escaped: what the model wrote */
};

void gather_init(struct gather *g, size_t max_bytes);
/* NULL is allowed. */
void gather_fini(struct gather *g);

/* Whether texts of that key say the same in every piece in which they are, rather than grow. */
bool gather_is_name(struct slice key);

/* A chunk, checked to be a JSON object. What is missing from it, or null, leaves what was there. ERR_INVAL:
 * no chunk of OpenAI's. ERR_LIMIT, ERR_NOMEM. After a failure the rest is not to be added. */
MUST_CHECK
int gather_add(struct gather *g, struct slice chunk);
/* Sets a member of the response; value is one checked JSON value. */
MUST_CHECK
int gather_set(struct gather *g, const char *key, struct slice value);
/* Whether there are choices and all of them are finished. */
bool gather_finished(const struct gather *g);
bool gather_has(const struct gather *g, const char *key);
/* The response, appended to out: the caller checks buf_failed(). */
void gather_write(const struct gather *g, struct buf *out);

#endif
