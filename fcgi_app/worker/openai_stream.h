/*
 * An answer as Server-Sent Events, as OpenAI's API streams it: each piece as it comes, the usage if it was
 * asked for, and [DONE] once all of it is durable. Source:
 * platform.openai.com/docs/api-reference/chat-streaming; html.spec.whatwg.org "Server-sent events".
 */
#ifndef CARPOOL_WORKER_OPENAI_STREAM_H
#define CARPOOL_WORKER_OPENAI_STREAM_H

#include <stdbool.h>

struct exchange;
struct wire_submit;

/* Runs m (SUBMIT_STREAM) and answers x with its stream. Headers wait for the first piece, or for 10 s; what
 * goes wrong before is an ordinary error, later an event in its place, and no [DONE]. */
void openai_stream_run(struct exchange *x, struct wire_submit *m, bool include_usage);

#endif
