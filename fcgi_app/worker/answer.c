/* Rendered answers; see answer.h. */
#include "worker/answer.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/digits.h"
#include "worker/exchange.h"
#include "worker/prompt.h"

void answer_write(struct json_writer *w, const struct chat *c)
{
    char completed[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    clock_format_rfc3339(c->time_us, completed);
    uuid_format(&c->batch_id, batch);
    json_object_begin(w);
    chat_write_answer(w, c, completed);
    json_field_cstr(w, "batch_id", batch);
    json_field_cstr(w, "priority", conf_priority_name(c->priority));
    if (c->metadata.p) {
        json_key(w, "metadata");
        json_raw(w, c->metadata);
    }
    json_object_end(w);
}

#define DURATION_SIZE 32

/* "6m0s", "1.2s", "12ms": as Go writes a duration, which OpenAI does. */
static void format_duration(uint32_t ms, char ret_text[DURATION_SIZE])
{
    if (ms && ms < 1000) {
        snprintf(ret_text, DURATION_SIZE, "%ums", ms);
        return;
    }
    uint32_t minutes = ms / 60000, seconds = ms / 1000 % 60, rest = ms % 1000;
    int n = minutes ? snprintf(ret_text, DURATION_SIZE, "%um", minutes) : 0;
    n += snprintf(ret_text + n, (size_t)(DURATION_SIZE - n), "%u", seconds);
    if (rest) {
        n += snprintf(ret_text + n, (size_t)(DURATION_SIZE - n), ".%03u", rest);
        while (ret_text[n - 1] == '0')
            n--;
    }
    snprintf(ret_text + n, (size_t)(DURATION_SIZE - n), "s");
}

void answer_limit_headers(struct exchange *x, const struct wire_limits *l)
{
    static const struct {
        const char *limit, *remaining, *reset;
    } names[] = {
        {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"},
        {"x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"}};
    const struct wire_limit *both[] = {&l->requests, &l->tokens};
    char reset[DURATION_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        if (!both[i]->per_minute)
            continue;
        format_duration(both[i]->reset_ms, reset);
        response_header(&x->response, names[i].limit, "%u", both[i]->per_minute);
        response_header(&x->response, names[i].remaining, "%u", both[i]->remaining);
        response_header(&x->response, names[i].reset, "%s", reset);
    }
}

void answer_headers(struct exchange *x, const struct prompt_result *p)
{
    const struct {
        const char *name;
        uint64_t us;
    } parts[] = {{"accept;dur=", p->accept_us},
                 {", queue;dur=", p->timing.queue_us},
                 {", upstream;dur=", p->timing.upstream_us},
                 {", split;dur=", p->timing.split_us},
                 {", commit;dur=", p->timing.commit_us}};
    char text[ARRAY_LEN(parts) * (16 + DIGITS_MS_SIZE)], *end = text;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        end = digits_ms(stpcpy(end, parts[i].name), parts[i].us);
    *end = 0;
    response_header(&x->response, "Server-Timing", "%s", text);
    answer_limit_headers(x, &p->limits);
    if (p->replayed)
        response_header(&x->response, "Idempotent-Replayed", "true");
}
