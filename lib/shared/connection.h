/*
 * One connection to a Redis server on a libuv loop: resolves, connects, writes commands together, reads
 * answers in their order. It knows nothing of what they mean.
 *
 * Of hiredis only the reader of the protocol is used. Its asynchronous part (0.14) resolves names while the
 * loop stands still, takes one command's answer for the next one's when memory was short in between, and its
 * libuv adapter does not notice a refused connection.
 */
#ifndef CARPOOL_SHARED_CONNECTION_H
#define CARPOOL_SHARED_CONNECTION_H

#include "shared/shared.h"
#include "shared/url.h"

struct connection;

/* All are called from the loop, never from inside a call of this module, and none after connection_close. */
struct connection_events {
    void (*connected)(void *arg);
    /* The answer to op, which is on no list any more. It lends. */
    void (*answered)(void *arg, struct shared_op *op, const struct redisReply *reply);
    /* It is of no use any more; to be closed. */
    void (*lost)(void *arg, const struct err *fault);
    void *arg;
};

/* turn picks one of several addresses of a host. ERR_NOMEM, ERR_IO. */
MUST_CHECK
int connection_open(struct uv_loop_s *loop, const struct shared_url *url, unsigned turn,
                    const struct connection_events *events, struct connection **ret_connection,
                    struct err *e);
/* The operations that wait for an answer move to the end of `unanswered`. Frees when the loop has run. */
void connection_close(struct connection *c, struct list *unanswered);

/* A command: how many arguments (its name included), then each of them, then who waits for the answer. It
 * leaves when the loop comes round. What cannot be written for want of memory ends the connection. */
void connection_command(struct connection *c, size_t arguments);
void connection_argument(struct connection *c, const void *bytes, size_t n);
/* An argument of two pieces. */
void connection_argument_two(struct connection *c, const void *a, size_t a_n, const void *b, size_t b_n);
void connection_number(struct connection *c, int64_t number);
void connection_text(struct connection *c, const char *text);
void connection_expect(struct connection *c, struct shared_op *op);

/* Gives up: lost() follows when the loop comes round. */
void connection_fail(struct connection *c, const struct err *fault);

/* Whether the oldest thing that is waited for (the connect, or an answer) was begun before then, and still
 * was when this was asked last: a process that was stopped itself reads first, and judges then. */
bool connection_overdue(struct connection *c, uint64_t then_us);

#endif
