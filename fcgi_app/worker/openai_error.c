/* Errors in OpenAI's words; see openai_error.h. */
#include "worker/openai_error.h"

#include <ctype.h>

#include "base/err.h"

#define CODE_MAX 64

/* Where OpenAI has a word of its own for ours, or none of ours fits. */
static const struct row {
    const char *ours, *type, *code; /* type NULL: by the status */
    int status;                     /* 0: ours */
    const char *message;            /* NULL: ours */
} rows[] = {
    {"RATE_LIMITED", NULL, "rate_limit_exceeded", 0, NULL},
    {"TENANT_QUEUE_FULL", NULL, "rate_limit_exceeded", 0, NULL},
    {"PROVIDER_RATE_LIMITED", NULL, "rate_limit_exceeded", 0, NULL},
    {"BUDGET_SPENT", "insufficient_quota", "insufficient_quota", 0, NULL},
    {"REQUEST_ID_REUSED", NULL, "idempotency_key_reused", 422,
     "This Idempotency-Key came with another body before; a new request needs a new one."},
    {"REQUEST_RUNNING", NULL, "request_running", 0,
     "The request of this Idempotency-Key is still running; ask again in a moment."},
    {"REQUEST_DELETED", NULL, "request_deleted", 0,
     "The answer to this Idempotency-Key was deleted; a new request needs a new one."},
    {"DEADLINE_PASSED", NULL, "deadline_passed", 0,
     "The answer did not come in the time that its priority allows, and may have been charged. With an "
     "Idempotency-Key, asking again later gives it."},
};

static const struct row *find(const struct wire_refusal *r)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_is(r->error_code, rows[i].ours))
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
