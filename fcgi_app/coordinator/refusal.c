/* The coordinator's own refusals; see refusal.h. */
#include "coordinator/refusal.h"

#define ENTRY(status_, retry_ms, type_, code_, message_)                                                     \
    {                                                                                                        \
        .status = (status_), .retry_after_ms = (retry_ms), .error_type = {(type_), sizeof(type_) - 1},       \
        .error_code = {(code_), sizeof(code_) - 1}, .message = {                                             \
            (message_),                                                                                      \
            sizeof(message_) - 1                                                                             \
        }                                                                                                    \
    }

static const struct wire_refusal refusals[] = {
    [REFUSAL_DRAINING] = ENTRY(503, 1000, "unavailable_error", "SHUTTING_DOWN",
                               "The service is shutting down; nothing was sent. Ask again in a moment."),
    [REFUSAL_QUEUE_FULL] =
        ENTRY(503, 1000, "unavailable_error", "QUEUE_FULL",
              "As many prompts wait as limits.queue_max allows; nothing was sent. Ask again later."),
    [REFUSAL_TENANT_FULL] = ENTRY(
        429, 1000, "rate_limit_error", "TENANT_QUEUE_FULL",
        "Your prompts fill your share of the queue (limits.tenant_share); wait for some of them first."),
    [REFUSAL_ID_REUSED] =
        ENTRY(409, 0, "conflict_error", "REQUEST_ID_REUSED",
              "This request_id was used for another request; choose a new one for a new question."),
    [REFUSAL_OUTCOME_UNKNOWN] = ENTRY(424, 0, "outcome_unknown", "OUTCOME_UNKNOWN",
                                      "The call for this request_id was cut off after it was sent, so it may "
                                      "have been charged; ask again under a new request_id."),
    [REFUSAL_DELETED] = ENTRY(410, 0, "gone_error", "REQUEST_DELETED",
                              "The answer of this request_id was deleted; ask again under a new request_id."),
    [REFUSAL_DEADLINE] = ENTRY(504, 0, "timeout_error", "DEADLINE_PASSED",
                               "No answer in the time this priority allows. GET /v1/requests/{request_id} "
                               "has it if it still arrives."),
    [REFUSAL_NOT_SENT_IN_TIME] =
        ENTRY(504, 1000, "timeout_error", "NOT_SENT_IN_TIME",
              "As many calls as provider.max_concurrency allows ran for as long as this request can wait; "
              "nothing of it was sent. Ask again later."),
    [REFUSAL_NOT_READ] = ENTRY(504, 0, "timeout_error", "NOT_READ",
                               "Nothing of this answer was read for as long as a call may take "
                               "(provider.timeout_ms), so the rest of it is not told."),
    [REFUSAL_STORE_DOWN] =
        ENTRY(503, 5000, "unavailable_error", "STORE_UNAVAILABLE",
              "The store cannot be written (see /health), so the prompt was not sent. Ask again later."),
    [REFUSAL_NO_MEMORY] = ENTRY(503, 1000, "unavailable_error", "OUT_OF_MEMORY",
                                "The coordinator is short of memory; nothing was sent. Ask again later."),
    [REFUSAL_STILL_RUNNING] = ENTRY(409, 1000, "conflict_error", "REQUEST_RUNNING",
                                    "This request is still running; delete it when it has ended."),
    [REFUSAL_RUNS_ALREADY] =
        ENTRY(409, 1000, "conflict_error", "REQUEST_RUNNING",
              "A request of this id is still running; ask again when it has ended, to be given its answer."),
    [REFUSAL_CLIENT_GONE] = ENTRY(499, 0, "client_error", "CLIENT_GONE",
                                  "The client left before there was anything to tell; nothing was sent."),
    [REFUSAL_GIVEN_UP] =
        ENTRY(424, 0, "outcome_unknown", "CLIENT_GONE",
              "The client left while its answer was being told, so the call was ended; what had been said of "
              "it may have been charged."),
    [REFUSAL_NO_CHAT] =
        ENTRY(404, 0, "not_found_error", "CHAT_NOT_FOUND", "No chat is stored under this request_id."),
    [REFUSAL_TOO_LARGE] =
        ENTRY(400, 0, "validation_error", "PROMPT_TOO_LARGE",
              "The prompt and its max_tokens do not fit the model's context (provider.context_tokens)."),
    [REFUSAL_ASYNC_WITH_KEY] = ENTRY(400, 0, "validation_error", "ASYNC_WITH_KEY",
                                     "A request that brings its own provider key cannot be answered later, "
                                     "since that key is never stored."),
    [REFUSAL_KEY_ELSEWHERE] =
        ENTRY(400, 0, "validation_error", "API_KEY_NOT_ACCEPTED",
              "Another provider was put in force meanwhile, and a key that a request brings is sent to an "
              "OpenAI one only; nothing was sent. Ask again without it."),
    [REFUSAL_BAD_ANSWER] =
        ENTRY(502, 0, "provider_error", "BAD_UPSTREAM_ANSWER",
              "The provider's answer does not hold this prompt's part; ask again under a new request_id."),
    [REFUSAL_MISCONFIGURED] =
        ENTRY(503, 60000, "provider_error", "PROVIDER_MISCONFIGURED",
              "The provider is not set up right (see GET /v1/settings); nothing was sent."),
    [REFUSAL_NOT_TAKEN] =
        ENTRY(400, 0, "validation_error", "PARAMETER_NOT_SUPPORTED",
              "The provider in force has no counterpart of what is asked; nothing was sent."),
    [REFUSAL_PROVIDER_DOWN] =
        ENTRY(503, 1000, "unavailable_error", "PROVIDER_DOWN",
              "The provider failed several times in a row (see /health), so nothing is sent to it for a "
              "moment; this prompt was not sent. Ask again later."),
    [REFUSAL_WAIT_TOO_LONG] =
        ENTRY(503, 1000, "unavailable_error", "WAIT_TOO_LONG",
              "So many calls wait for the provider that the answer would come after this request's deadline; "
              "nothing was sent. Ask again later."),
    [REFUSAL_SHARED_DOWN] =
        ENTRY(503, 1000, "unavailable_error", "SHARED_DOWN",
              "The Redis that the machines share cannot be reached (see /health), and without it this cannot "
              "be promised for all of them; nothing was sent or changed. Ask again later."),
    [REFUSAL_MACHINE_LOST] =
        ENTRY(424, 0, "outcome_unknown", "OUTCOME_UNKNOWN",
              "Another machine had this request_id and does not answer any more, so it may have been "
              "charged; ask again under a new request_id."),
    [REFUSAL_KEY_REVOKED] = ENTRY(403, 0, "permission_error", "KEY_REVOKED",
                                  "The API key was revoked while this prompt waited; nothing was sent."),
    [REFUSAL_KEYS_NOT_SAVED] =
        ENTRY(503, 5000, "unavailable_error", "KEYS_NOT_SAVED",
              "The store cannot be written (see /health), so the keys are as before. Try again later."),
    [REFUSAL_KEYS_BUSY] = ENTRY(503, 1000, "unavailable_error", "TOO_MANY_CHANGES",
                                "Too many changes of keys wait for the disk; try again in a moment."),
};

const struct wire_refusal *refusal_get(enum refusal r)
{
    return &refusals[r];
}

struct wire_refusal refusal_unknown(struct slice recorded)
{
    const struct wire_refusal *unknown = &refusals[REFUSAL_OUTCOME_UNKNOWN];
    struct wire_refusal r;
    if (wire_refusal_decode(recorded, &r) < 0)
        return *unknown;
    r.status = unknown->status;
    r.error_type = unknown->error_type;
    r.error_code = unknown->error_code;
    return r;
}
