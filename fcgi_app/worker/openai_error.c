/* Errors in OpenAI's words; see openai_error.h. */
#include "worker/openai_error.h"

#include <ctype.h>
#include <string.h>

#include "base/err.h"

#define CODE_MAX 64

/* Where OpenAI has a word of its own for ours, or none of ours fits. */
static const struct row {
    const char *ours, *type, *code; /* type NULL: by the status */
    int status;                     /* 0: ours */
    const char *message;            /* NULL: ours */
    const char *instead_of;         /* only when ours has this in it; NULL: always */
} rows[] = {
    {"RATE_LIMITED", NULL, "rate_limit_exceeded", 0, NULL, NULL},
    {"TENANT_QUEUE_FULL", NULL, "rate_limit_exceeded", 0, NULL, NULL},
    {"PROVIDER_RATE_LIMITED", NULL, "rate_limit_exceeded", 0, NULL, NULL},
    {"BUDGET_SPENT", "insufficient_quota", "insufficient_quota", 0, NULL, NULL},
    {"REQUEST_ID_REUSED", NULL, "idempotency_key_reused", 422,
     "This Idempotency-Key came with another body before; a new request needs a new one.", NULL},
    {"REQUEST_RUNNING", NULL, "request_running", 0,
     "The request of this Idempotency-Key is still running; ask again in a moment.", NULL},
    {"REQUEST_DELETED", NULL, "request_deleted", 0,
     "The answer to this Idempotency-Key was deleted; a new request needs a new one.", NULL},
    {"DEADLINE_PASSED", NULL, "deadline_passed", 0,
     "The answer did not come in the time that its priority allows, and may have been charged. With an "
     "Idempotency-Key, asking again later gives it.",
     NULL},
    {"OUTCOME_UNKNOWN", NULL, "outcome_unknown", 0,
     "The call was cut off after it was sent, so it may have been charged. Ask again as a new request, with "
     "another Idempotency-Key if it had one.",
     "request_id"},
    {"BAD_UPSTREAM_ANSWER", NULL, "bad_upstream_answer", 0,
     "The provider's answer does not hold this prompt's part. Ask again as a new request, with another "
     "Idempotency-Key if it had one.",
     "request_id"},
};

static bool has(struct slice text, const char *word)
{
    return !word || (text.n && memmem(text.p, text.n, word, strlen(word)));
}

static const struct row *find(const struct wire_refusal *r)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_is(r->error_code, rows[i].ours) && has(r->message, rows[i].instead_of))
            return &rows[i];
    return NULL;
}

static const char *type_of(int status)
{
    if (status >= 500 || status == 424)
        return "server_error";
    return status == 429 ? "rate_limit_error" : status == 403 ? "permission_error" : "invalid_request_error";
}

int openai_error_status(const struct wire_refusal *r)
{
    const struct row *row = find(r);
    return row && row->status ? row->status : r->status;
}

bool openai_error_final(const struct wire_refusal *r)
{
    if (slice_is(r->error_code, "NOT_SENT_IN_TIME"))
        return false;
    return r->status == 424 || r->status == 500 || r->status == 502 || r->status == 504 ||
           slice_is(r->error_code, "BUDGET_SPENT");
}

/* "QUEUE_FULL" as "queue_full". */
static struct slice lower(struct slice code, char ret_text[CODE_MAX])
{
    size_t n = code.n < CODE_MAX ? code.n : CODE_MAX;
    for (size_t i = 0; i < n; i++)
        ret_text[i] = (char)tolower((unsigned char)code.p[i]);
    return (struct slice){ret_text, n};
}

void openai_error_write(struct json_writer *w, const struct wire_refusal *r)
{
    const struct row *row = find(r);
    int status = openai_error_status(r);
    char text[CODE_MAX];
    json_object_begin(w);
    json_key(w, "error");
    json_object_begin(w);
    json_field_text(w, "message", row && row->message ? slice_of(row->message) : r->message);
    json_field_cstr(w, "type", row && row->type ? row->type : type_of(status));
    json_field_text(w, "param", row && row->message ? (struct slice){0} : r->field);
    json_field_text(w, "code",
                    row             ? slice_of(row->code)
                    : status == 401 ? SLICE_LITERAL("invalid_api_key")
                                    : lower(r->error_code, text));
    json_object_end(w);
    json_object_end(w);
}
