/* A chat as a JSON object; see chat_json.h. */
#include "store/chat_json.h"

#include "base/clock.h"

void chat_write_answer(struct json_writer *w, const struct chat *c, const char *completed_at)
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

static void write_request(struct json_writer *w, const struct chat *c)
{
    json_object_begin(w);
    json_field_text(w, "request_id", c->request_id);
    json_field_text(w, "username", c->username);
    json_field_text(w, "prompt", c->prompt);
    json_field_u64(w, "priority", (uint64_t)c->priority);
    json_field_text(w, "created_at", c->created_at);
    if (c->system_prompt.p)
        json_field_text(w, "system_prompt", c->system_prompt);
    if (c->metadata.p) {
        json_key(w, "metadata");
        json_raw(w, c->metadata);
    }
    json_object_end(w);
}

void chat_write_json(struct json_writer *w, const struct chat *c)
{
    char completed[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    clock_format_rfc3339(c->time_us, completed);
    uuid_format(&c->batch_id, batch);
    json_object_begin(w);
    json_field_cstr(w, "timestamp", completed);
    json_field_cstr(w, "batch_id", batch);
    json_key(w, "request");
    write_request(w, c);
    json_key(w, "response");
    json_object_begin(w);
    chat_write_answer(w, c, completed);
    json_object_end(w);
    json_field_cstr(w, "endpoint", endpoint_path(c->endpoint));
    json_object_end(w);
}
