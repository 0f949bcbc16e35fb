/* Responses and chunks in OpenAI's words; see made.h. */
#include "provider/made.h"

#include <stdio.h>

struct made made_of(const struct provider_call *call)
{
    return (struct made){.id = slice_of(call->id),
                         .model = slice_of(call->model),
                         .created_s = call->created_s,
                         .completion = call->completion};
}

void made_begin(struct json_writer *w, const struct made *m)
{
    static const char *const objects[2][2] = {{"chat.completion", "chat.completion.chunk"},
                                              {"text_completion", "text_completion"}};
    char id[2 * PROVIDER_NAME_SIZE];
    int n = snprintf(id, sizeof(id), "%s-%.*s", m->completion ? "cmpl" : "chatcmpl",
                     (int)(m->id.n < PROVIDER_NAME_SIZE ? m->id.n : PROVIDER_NAME_SIZE), m->id.p);
    json_object_begin(w);
    json_field_text(w, "id", (struct slice){id, (size_t)n});
    json_field_cstr(w, "object", objects[m->completion][m->chunk]);
    json_field_u64(w, "created", m->created_s);
    json_field_text(w, "model", m->model.p ? m->model : SLICE_LITERAL(""));
}

void made_usage(struct json_writer *w, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    json_key(w, "usage");
    json_object_begin(w);
    json_field_u64(w, "prompt_tokens", prompt_tokens);
    json_field_u64(w, "completion_tokens", completion_tokens);
    json_field_u64(w, "total_tokens", prompt_tokens + completion_tokens);
    json_object_end(w);
}

int made_keep(struct buf *b, struct arena *arena, struct slice *ret_json)
{
    struct slice json = buf_slice(b);
    char *kept = buf_failed(b) ? NULL : arena_copy(arena, json);
    buf_fini(b);
    if (!kept)
        return ERR_NOMEM;
    *ret_json = (struct slice){kept, json.n};
    return 0;
}

static void write_message(struct json_writer *w, struct slice text)
{
    json_key(w, "message");
    json_object_begin(w);
    json_field_cstr(w, "role", "assistant");
    json_field_text(w, "content", text);
    json_key(w, "refusal");
    json_null(w);
    json_object_end(w);
}

int made_text(const struct made *m, struct slice text, uint64_t prompt_tokens, uint64_t completion_tokens,
              struct arena *arena, struct slice *ret_response)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 6 * text.n + m->model.n * 6 + 1024);
    json_writer_init(&w, &b);
    made_begin(&w, m);
    json_key(&w, "choices");
    json_array_begin(&w);
    json_object_begin(&w);
    json_field_u64(&w, "index", 0);
    if (m->completion)
        json_field_text(&w, "text", text);
    else
        write_message(&w, text);
    json_key(&w, "logprobs");
    json_null(&w);
    json_field_cstr(&w, "finish_reason", "stop");
    json_object_end(&w);
    json_array_end(&w);
    made_usage(&w, prompt_tokens, completion_tokens);
    json_object_end(&w);
    return made_keep(&b, arena, ret_response);
}
