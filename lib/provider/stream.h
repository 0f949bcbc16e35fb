/*
 * An answer that streams: the events of a provider (Server-Sent Events with OpenAI's chunks or Gemini's
 * responses in them) taken in as they come, given on as OpenAI's chunks, and put together to the response
 * that would have come without streaming. Pure, as provider.h: bytes in, pieces out. Source:
 * platform.openai.com/docs/api-reference/chat-streaming; html.spec.whatwg.org "Server-sent events".
 */
#ifndef CARPOOL_PROVIDER_STREAM_H
#define CARPOOL_PROVIDER_STREAM_H

#include "provider/provider.h"

struct provider_stream;

/* For a call with call->streams, which lives as long, as do p's texts. max_bytes: of the response put
 * together, and of one event. delta is called from provider_stream_feed for each chunk to be given on: one
 * JSON object, lent until it returns. ERR_NOMEM. */
MUST_CHECK
int provider_stream_open(const struct provider *p, const struct provider_call *call, size_t max_bytes,
                         void (*delta)(void *arg, struct slice chunk), void *arg,
                         struct provider_stream **ret_stream);
/* NULL is allowed. */
void provider_stream_free(struct provider_stream *s);

/* The next bytes of a 200's body, cut anywhere. After something that is none of the provider's events, an
 * error event, a chunk over max_bytes or without memory, the rest is ignored: provider_stream_end() says what
 * happened. */
void provider_stream_feed(struct provider_stream *s, struct slice bytes);
/* Whether whatever else may come is of no use: it said that it was done, or it cannot be understood. */
bool provider_stream_over(const struct provider_stream *s);
/* Whether any chunk was given on: from then on the call has been heard. */
bool provider_stream_heard(const struct provider_stream *s);
/* Estimated tokens (bytes / 3) of what was said so far, for a stream that is given up. */
uint64_t provider_stream_tokens(const struct provider_stream *s);

/*
 * What the call came to, as provider_decode() has it, for its one verbatim member. ANSWERED when the stream
 * came to its end: [DONE], or a response that is COMPLETE with a finish_reason of every choice begun. What
 * ended before that, or with an error event, is UNKNOWN if anything had come, else as provider_decode()
 * judges such an error. Usage is what the provider said, else an estimate, of UNKNOWN, too. A response that
 * was no stream of events (an error, or an answer in one) is decoded from its body. ERR_NOMEM.
 */
MUST_CHECK
int provider_stream_end(struct provider_stream *s, const struct provider_response *response,
                        struct arena *arena, struct provider_outcome *ret_outcome);

/*
 * The other way round, for an answer that is given again or came in one: a response (OpenAI's JSON object) as
 * the chunks of a stream, the usage not among them. each gets one JSON object at a time, lent, without line
 * breaks, as does delta. chunk_bytes: of text in one chunk at most, but always a character; 0: a
 * word in each. A tool call comes in one chunk; what a response has of its own comes in the first.
 * ERR_CORRUPT for what is no response; ERR_NOMEM.
 */
MUST_CHECK
int provider_stream_replay(struct slice response, size_t chunk_bytes,
                           void (*each)(void *arg, struct slice chunk), void *arg);

#endif
