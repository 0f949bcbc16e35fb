/* Rendered answers; see answer.h. */
#include "worker/answer.h"

#include "base/clock.h"
#include "worker/exchange.h"
#include "worker/prompt.h"

void answer_write_members(struct json_writer *w, const struct chat *c, const char *completed_at)
{
    json_field_text(w, "request_id", c->request_id);
    json_field_text(w, "username", c->username);
    json_field_text(w, "text", c->text);
    json_field_u64(w, "tokens_used", c->prompt_tokens + c->completion_tokens);
    json_key(w, "latency_ms");
    json_us_as_ms(w, c->latency_us);
    json_field_text(w, "created_at", c->created_at);
    json_field_cstr(w, "completed_at", completed_at);
    json_field_text(w, "model", c->model);
    json_field_bool(w, "cached", c->cached);
}

void answer_write(struct json_writer *w, const struct chat *c)
{
    char completed[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    clock_format_rfc3339(c->time_us, completed);
    uuid_format(&c->batch_id, batch);
    json_object_begin(w);
    answer_write_members(w, c, completed);
    json_field_cstr(w, "batch_id", batch);
    json_field_cstr(w, "priority", conf_priority_name(c->priority));
    if (c->metadata.p) {
        json_key(w, "metadata");
        json_raw(w, c->metadata);
    }
    json_object_end(w);
}

#define MS(us) ((double)(us) / (double)US_PER_MS)

void answer_headers(struct exchange *x, const struct prompt_result *p)
{
    response_header(&x->response, "Server-Timing",
                    "accept;dur=%.3f, queue;dur=%.3f, upstream;dur=%.3f, split;dur=%.3f, commit;dur=%.3f",
                    MS(p->accept_us), MS(p->timing.queue_us), MS(p->timing.upstream_us),
                    MS(p->timing.split_us), MS(p->timing.commit_us));
    if (p->replayed)
        response_header(&x->response, "Idempotent-Replayed", "true");
}
