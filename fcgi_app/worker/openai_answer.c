/* Answers of OpenAI's API; see openai_answer.h. */
#include "worker/openai_answer.h"

#include <stdio.h>

#include "base/clock.h"
#include "json/write.h"

static void write_choice(struct json_writer *w, const struct chat *c, size_t index, bool chat)
{
    json_object_begin(w);
    json_field_u64(w, "index", index);
    if (chat) {
        json_key(w, "message");
        json_object_begin(w);
        json_field_cstr(w, "role", "assistant");
        json_field_text(w, "content", c->text);
        json_key(w, "refusal");
        json_null(w);
        json_object_end(w);
    } else
        json_field_text(w, "text", c->text);
    json_key(w, "logprobs");
    json_null(w);
    json_field_text(w, "finish_reason", c->finish_reason);
    json_object_end(w);
}

static void write_usage(struct json_writer *w, const struct chat *const *chats, size_t n)
{
    uint64_t prompt = 0, completion = 0;
    for (size_t i = 0; i < n; i++) {
        prompt += chats[i]->prompt_tokens;
        completion += chats[i]->completion_tokens;
    }
    json_key(w, "usage");
    json_object_begin(w);
    json_field_u64(w, "prompt_tokens", prompt);
    json_field_u64(w, "completion_tokens", completion);
    json_field_u64(w, "total_tokens", prompt + completion);
    json_object_end(w);
}

void openai_answer_write(struct buf *out, const struct chat *const *chats, size_t n)
{
    const struct chat *first = chats[0];
    bool chat = first->endpoint == ENDPOINT_CHAT_COMPLETIONS;
    struct json_writer w;
    char uuid[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE + 16];
    if (first->response.p) {
        buf_append_slice(out, first->response);
        return;
    }
    uuid_format(&first->id, uuid);
    snprintf(id, sizeof(id), "%s-%s", chat ? "chatcmpl" : "cmpl", uuid);
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_cstr(&w, "id", id);
    json_field_cstr(&w, "object", chat ? "chat.completion" : "text_completion");
    json_field_u64(&w, "created", first->time_us / US_PER_S);
    json_field_text(&w, "model", first->model);
    json_key(&w, "choices");
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_choice(&w, chats[i], i, chat);
    json_array_end(&w);
    write_usage(&w, chats, n);
    json_object_end(&w);
}
