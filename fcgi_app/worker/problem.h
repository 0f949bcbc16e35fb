/*
 * What can go wrong with a request, as the worker tells it: one list of status, type and code, the body in
 * the one error shape of api.md, and the log line of those that are the server's fault. Refusals that come
 * from the coordinator are passed on in the same shape.
 */
#ifndef CARPOOL_WORKER_PROBLEM_H
#define CARPOOL_WORKER_PROBLEM_H

#include "base/err.h"
#include "base/slice.h"
#include "wire/message.h"
#include "json/write.h"

struct exchange;

#define PROBLEM_LIST(X)                                                                                      \
    X(INVALID_JSON, 400, "validation_error")                                                                 \
    X(INVALID_PATH, 400, "validation_error")                                                                 \
    X(INVALID_PARAMETER, 400, "validation_error")                                                            \
    X(INVALID_PRIORITY, 400, "validation_error")                                                             \
    X(INVALID_REQUEST_ID, 400, "validation_error")                                                           \
    X(INVALID_PROMPT, 400, "validation_error")                                                               \
    X(INVALID_USERNAME, 400, "validation_error")                                                             \
    X(INVALID_CREATED_AT, 400, "validation_error")                                                           \
    X(INVALID_METADATA, 400, "validation_error")                                                             \
    X(INVALID_SETTING, 400, "validation_error")                                                              \
    X(INVALID_QUERY, 400, "validation_error")                                                                \
    X(INVALID_MAX_NEW_TOKENS, 400, "validation_error")                                                       \
    X(INVALID_API_KEY, 400, "validation_error")                                                              \
    X(MISSING_API_KEY, 400, "validation_error")                                                              \
    X(API_KEY_NOT_ACCEPTED, 400, "validation_error")                                                         \
    X(ASYNC_WITH_KEY, 400, "validation_error")                                                               \
    X(INVALID_MODEL, 400, "validation_error")                                                                \
    X(INVALID_TEMPERATURE, 400, "validation_error")                                                          \
    X(INVALID_MAX_TOKENS, 400, "validation_error")                                                           \
    X(INVALID_SYSTEM_PROMPT, 400, "validation_error")                                                        \
    X(INVALID_MESSAGES, 400, "validation_error")                                                             \
    X(INVALID_IDEMPOTENCY_KEY, 400, "validation_error")                                                      \
    X(DOUBLED_HEADER, 400, "validation_error")                                                               \
    X(INCOMPLETE_BODY, 400, "validation_error")                                                              \
    X(KEY_MISSING, 401, "authentication_error")                                                              \
    X(KEY_UNKNOWN, 401, "authentication_error")                                                              \
    X(KEY_REVOKED, 401, "authentication_error")                                                              \
    X(KEY_REPLACED, 401, "authentication_error")                                                             \
    X(KEY_NEEDED, 403, "permission_error")                                                                   \
    X(ADMIN_ONLY, 403, "permission_error")                                                                   \
    X(NOT_FOUND, 404, "not_found_error")                                                                     \
    X(REQUEST_NOT_FOUND, 404, "not_found_error")                                                             \
    X(MODEL_NOT_FOUND, 404, "not_found_error")                                                               \
    X(METHOD_NOT_ALLOWED, 405, "method_error")                                                               \
    X(REQUEST_ID_REUSED, 409, "conflict_error")                                                              \
    X(REQUEST_DELETED, 410, "gone_error")                                                                    \
    X(BODY_TOO_LARGE, 413, "validation_error")                                                               \
    X(UNSUPPORTED_MEDIA_TYPE, 415, "validation_error")                                                       \
    X(OUTCOME_UNKNOWN, 424, "outcome_unknown")                                                               \
    X(INTERNAL, 500, "internal_error")                                                                       \
    X(TOO_MANY_WAITING, 503, "unavailable_error")                                                            \
    X(COORDINATOR_DOWN, 503, "unavailable_error")                                                            \
    X(SHUTTING_DOWN, 503, "unavailable_error")                                                               \
    X(STORE_UNAVAILABLE, 503, "unavailable_error")                                                           \
    X(OUT_OF_MEMORY, 503, "unavailable_error")                                                               \
    X(DEADLINE_PASSED, 504, "timeout_error")

#define PROBLEM_ENUM(code, status, type) PROBLEM_##code,
enum problem { PROBLEM_LIST(PROBLEM_ENUM) PROBLEMS };
#undef PROBLEM_ENUM

/* How the body of an error looks: api.md's own shape, source 5's {"chat_id", "error"}, or OpenAI's. */
enum error_shape { ERROR_NATIVE, ERROR_CHAT, ERROR_OPENAI };

const char *problem_code(enum problem p);
const char *problem_type(enum problem p);

/* Answers the exchange with p, in a sentence. field may be NULL. Counts it, and logs it when its status is
 * 500 or above. Whatever of a body was rendered before is dropped. */
void problem_respond(struct exchange *x, enum problem p, const char *field, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* The same with details: one JSON object, which stands in the answer as it is. */
void problem_respond_details(struct exchange *x, enum problem p, const char *field, struct slice details,
                             const char *format, ...) PRINTF_LIKE(5, 6);
/* What went wrong inside, from the code of e: no memory, store, or anything else. */
void problem_respond_err(struct exchange *x, const struct err *e);
/* Answers with what the coordinator said. Not counted here: it counted already. */
void problem_respond_refusal(struct exchange *x, const struct wire_refusal *r);

/* The object that stands under "error", of a refusal or of a problem without a sentence of its own. */
void problem_write_refusal(struct json_writer *w, const struct wire_refusal *r);

#endif
