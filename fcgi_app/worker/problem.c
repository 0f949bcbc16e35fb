/* Error answers; see problem.h. */
#include "worker/problem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/redact.h"
#include "worker/answer.h"
#include "worker/exchange.h"
#include "worker/openai_error.h"
#include "worker/state.h"

#define LOG_503_PER_S  10   /* of a process */
#define RETRY_AFTER_MS 1000 /* of the worker's own 503s: they clear as soon as others are answered */

static const struct {
    uint16_t status;
    const char *type, *code;
} problems[] = {
#define PROBLEM_ROW(code, status, type) [PROBLEM_##code] = {status, type, #code},
    PROBLEM_LIST(PROBLEM_ROW)
#undef PROBLEM_ROW
};

const char *problem_code(enum problem p)
{
    return problems[p].code;
}

const char *problem_type(enum problem p)
{
    return problems[p].type;
}

/* details: absent, or one JSON object to stand for them. */
static void write_error(struct json_writer *w, const struct wire_refusal *r, struct slice details)
{
    json_object_begin(w);
    json_field_text(w, "error_type", r->error_type);
    json_field_text(w, "error_code", r->error_code);
    json_field_text(w, "message", r->message);
    if (r->field.p)
        json_field_text(w, "field", r->field);
    json_key(w, "details");
    if (details.p)
        json_raw(w, details);
    else {
        json_object_begin(w);
        if (r->retry_after_ms)
            json_field_u64(w, "retry_after_ms", r->retry_after_ms);
        if (slice_is(r->error_type, "rate_limit_error"))
            json_field_bool(w, "rate_limited", true);
        json_object_end(w);
    }
    json_object_end(w);
}

void problem_write_refusal(struct json_writer *w, const struct wire_refusal *r)
{
    write_error(w, r, (struct slice){0});
}

static void write_chat_body(struct exchange *x, const struct wire_refusal *r)
{
    struct json_writer w;
    buf_clear(&x->response.body);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_text(&w, "chat_id", x->chat_id);
    json_field_text(&w, "error", r->message);
    json_field_text(&w, "error_code", r->error_code);
    json_object_end(&w);
}

static void write_body(struct exchange *x, const struct wire_refusal *r, struct slice details)
{
    struct json_writer w;
    char now[CLOCK_RFC3339_SIZE];

    clock_format_rfc3339(clock_real_us(), now);
    buf_clear(&x->response.body);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_bool(&w, "success", false);
    json_field_text(&w, "request_id", x->prompt_id);
    json_key(&w, "error");
    write_error(&w, r, details);
    json_field_cstr(&w, "timestamp", now);
    json_object_end(&w);
}

static void write_openai_body(struct exchange *x, const struct wire_refusal *r)
{
    struct json_writer w;
    x->response.status = openai_error_status(r);
    if (r->retry_after_ms)
        response_header(&x->response, "retry-after-ms", "%u", r->retry_after_ms);
    if (openai_error_final(r))
        response_header(&x->response, "x-should-retry", "false");
    buf_clear(&x->response.body);
    json_writer_init(&w, &x->response.body);
    openai_error_write(&w, r);
}

/* Overload refuses thousands a second; a few lines of that say as much. */
static bool may_log(int status)
{
    static _Atomic uint64_t second;
    static _Atomic uint32_t lines;
    uint64_t now = clock_mono_us() / US_PER_S;
    if (status != 503)
        return true;
    if (atomic_exchange_explicit(&second, now, memory_order_relaxed) != now)
        atomic_store_explicit(&lines, 0, memory_order_relaxed);
    return atomic_fetch_add_explicit(&lines, 1, memory_order_relaxed) < LOG_503_PER_S;
}

static void respond(struct exchange *x, const struct wire_refusal *r, struct slice details)
{
    x->response.status = r->status;
    x->response.content_type = "application/json";
    if (r->retry_after_ms)
        response_header(&x->response, "Retry-After", "%u", (r->retry_after_ms + 999) / 1000);
    answer_limit_headers(x, &r->limits);
    if (r->status == 401)
        response_header(&x->response, "WWW-Authenticate", "Bearer realm=\"carpool\"");
    if (x->shape == ERROR_CHAT)
        write_chat_body(x, r);
    else if (x->shape == ERROR_OPENAI)
        write_openai_body(x, r);
    else
        write_body(x, r, details);
    if (r->status >= 500 && may_log(r->status))
        log_write(r->status == 503 ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, exchange_id(x), "%u %.*s: %.*s",
                  r->status, (int)r->error_code.n, r->error_code.p, (int)r->message.n, r->message.p);
}

void problem_respond_refusal(struct exchange *x, const struct wire_refusal *r)
{
    respond(x, r, (struct slice){0});
}

PRINTF_LIKE(5, 0)
static void tell(struct exchange *x, enum problem p, const char *field, struct slice details,
                 const char *format, va_list args)
{
    char message[1024];
    vsnprintf(message, sizeof(message), format, args);
    redact(message, strlen(message)); /* it may repeat a name or a value of the request, and so a key */
    counts_add_problem(&x->worker->counts, p);
    respond(x,
            &(struct wire_refusal){
                .status = problems[p].status,
                .retry_after_ms = problems[p].status == 503 ? RETRY_AFTER_MS : 0,
                .error_type = slice_of(problems[p].type),
                .error_code = slice_of(problems[p].code),
                .message = slice_of(message),
                .field = slice_of(field),
            },
            details);
}

void problem_respond(struct exchange *x, enum problem p, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(x, p, field, (struct slice){0}, format, args);
    va_end(args);
}

void problem_respond_details(struct exchange *x, enum problem p, const char *field, struct slice details,
                             const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(x, p, field, details, format, args);
    va_end(args);
}

void problem_respond_err(struct exchange *x, const struct err *e)
{
    enum problem p = PROBLEM_INTERNAL;
    if (e->code == ERR_NOMEM)
        p = PROBLEM_OUT_OF_MEMORY;
    else if (e->code == ERR_LIMIT || e->code == ERR_IO || e->code == ERR_CORRUPT || e->code == ERR_PERM)
        p = PROBLEM_STORE_UNAVAILABLE;
    problem_respond(x, p, NULL, "%s", e->text[0] ? e->text : "There is no memory for this request now.");
}
