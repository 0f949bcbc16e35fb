/* The words of the coordinator's own refusals, in one place: status, type, code and a sentence that says what
 * to do. */
#ifndef CARPOOL_COORDINATOR_REFUSAL_H
#define CARPOOL_COORDINATOR_REFUSAL_H

#include "wire/message.h"

enum refusal {
    REFUSAL_DRAINING,
    REFUSAL_QUEUE_FULL,
    REFUSAL_TENANT_FULL,
    REFUSAL_ID_REUSED,
    REFUSAL_OUTCOME_UNKNOWN,
    REFUSAL_DELETED,
    REFUSAL_DEADLINE,
    REFUSAL_NOT_SENT_IN_TIME,
    REFUSAL_NOT_READ,
    REFUSAL_STORE_DOWN,
    REFUSAL_NO_MEMORY,
    REFUSAL_STILL_RUNNING,
    REFUSAL_RUNS_ALREADY,
    REFUSAL_CLIENT_GONE,
    REFUSAL_GIVEN_UP,
    REFUSAL_NO_CHAT,
    REFUSAL_TOO_LARGE,
    REFUSAL_ASYNC_WITH_KEY,
    REFUSAL_KEY_ELSEWHERE,
    REFUSAL_BAD_ANSWER,
    REFUSAL_MISCONFIGURED,
    REFUSAL_NOT_TAKEN,
    REFUSAL_PROVIDER_DOWN,
    REFUSAL_WAIT_TOO_LONG,
    REFUSAL_SHARED_DOWN,
    REFUSAL_MACHINE_LOST,
    REFUSAL_KEY_REVOKED,
    REFUSAL_KEYS_NOT_SAVED,
    REFUSAL_KEYS_BUSY
};

/* Lends static text. */
const struct wire_refusal *refusal_get(enum refusal r);
/* What is told from then on of a request whose outcome is unknown, whatever went wrong on the way: the
 * message of the refusal told then, whose payload was recorded, under status, type and code of
 * OUTCOME_UNKNOWN, which are static. Without a readable one that refusal itself. */
struct wire_refusal refusal_unknown(struct slice recorded);

#endif
