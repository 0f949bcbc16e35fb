/*
 * The Idempotency-Key header: the request id of a request whose body has no place for one.
 * Source: draft-ietf-httpapi-idempotency-key-header.
 */
#ifndef CARPOOL_WORKER_IDEMPOTENCY_H
#define CARPOOL_WORKER_IDEMPOTENCY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct exchange;

/* The id that the header stands for: itself, without quotes, when it could be a request id, else one made of
 * its hash. Absent when there is no header. False: answered with what is wrong with it. */
bool idempotency_id(struct exchange *x, struct slice *ret_id);

/* The id of the prompt of that number, from 0, of a request with that id: that of the first is the request's
 * own. False: no memory, answered. */
bool idempotency_part(struct exchange *x, struct slice id, size_t index, struct slice *ret_id);

#endif
