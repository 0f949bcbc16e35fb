/*
 * HTTP to the provider: libcurl's multi interface on the coordinator's loop. The only code that includes
 * curl.
 *
 * A request is sent at most once: libcurl's own resend of a POST on a reused connection that died is refused
 * by a seek callback.
 */
#ifndef CARPOOL_COORDINATOR_UPSTREAM_H
#define CARPOOL_COORDINATOR_UPSTREAM_H

#include <uv.h>

#include "provider/provider.h"

struct upstream;

struct upstream_options {
    uint32_t timeout_ms;     /* of a call in all */
    size_t answer_max_bytes; /* a longer answer is cut off and the call is lost */
    uint32_t connections_max;
};

/* done is called from the loop when a request came back, with the owner it was sent for; the response lends
 * until it returns. */
MUST_CHECK
int upstream_open(uv_loop_t *loop, const struct upstream_options *options,
                  void (*done)(void *arg, void *owner, const struct provider_response *response), void *arg,
                  struct upstream **ret_upstream, struct err *e);
/* What a request with streams set is answered, as it comes: called from the loop for each piece of the body
 * of a 200 whose Content-Type is text/event-stream; such a body is not collected for done. False: the
 * transfer pauses before this piece, which comes again after upstream_resume(). timeout_ms is then the
 * longest silence, pauses aside, instead of the whole, which may take an hour. NULL (the default): streams
 * are collected like anything else. */
void upstream_on_piece(struct upstream *u, bool (*piece)(void *arg, void *owner, struct slice bytes));
/* The piece may come before it returns. */
void upstream_resume(struct upstream *u, void *owner);
/* Ends a request that runs: its connection is closed, done is not called. Not from inside piece. */
void upstream_abort(struct upstream *u, void *owner);
/* Abandons what is running (done is not called) and frees everything once the loop has run its close
 * callbacks. NULL is allowed. */
void upstream_close(struct upstream *u);

/* Starts a request, which must live until it is done. Never blocks. On failure nothing was sent and done is
 * not called. */
MUST_CHECK
int upstream_send(struct upstream *u, const struct provider_call *request, void *owner, struct err *e);

#endif
